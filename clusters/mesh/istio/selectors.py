"""Label selectors of webhooks: which pods and namespaces they pick.

What belongs here: Kubernetes' own rules for selectors. What does not: what follows from a match (`injection`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether the selector picks these labels; none at all picks everything."""
    chosen = selector or {}
    exact = all(labels.get(key) == value for key, value in (chosen.get("matchLabels") or {}).items())
    return exact and all(_holds(each, labels) for each in chosen.get("matchExpressions") or [])


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case "In":
            return labels.get(key) in values
        case _:
            return labels.get(key) not in values
