"""Whether labels satisfy a selector: label selectors, plain maps, node selector terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Labels = Mapping[str, str]


def by_map(wanted: Mapping[str, str], labels: Labels) -> bool:
    """Every wanted label is there with that value (`nodeSelector`, a Service's `selector`)."""
    return all(labels.get(name) == value for name, value in wanted.items())


def by_selector(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """A LabelSelector holds; null selects nothing, empty selects everything."""
    if selector is None:
        return False
    expressions = selector.get("matchExpressions") or []
    return by_map(selector.get("matchLabels") or {}, labels) and all(_holds(each, labels) for each in expressions)


def by_node_terms(terms: Sequence[Mapping[str, Any]], name: str, labels: Labels) -> bool:
    """One of a node selector's terms holds; a term without requirements never does."""
    for term in terms:
        expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
        if not (expressions or fields):
            continue
        if all(_holds(each, labels) for each in expressions) and all(
            _holds(each, {"metadata.name": name}) for each in fields
        ):
            return True
    return False


def _holds(expression: Mapping[str, Any], labels: Labels) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            if value is None or not value.lstrip("-").isdigit():
                return False
            return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])
        case _:
            return False
