"""A NetworkPolicy for namespaces that are called otherwise: where it lives, and whom it means by name.

What belongs here: the one label by which a policy can name a namespace. What does not: choosing the names.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from policies.oracle import NAMESPACE_LABEL

Object = dict[str, Any]


def renamed(obj: Object, names: Mapping[str, str]) -> tuple[Object, tuple[str, ...]]:
    """The policy for namespaces of other names, and one line for each selector that had to be written anew.

    Args:
        names: Name in the manifest → name in the cluster; a namespace that is missing keeps its name.
    """
    fresh: Object = copy.deepcopy(obj)
    meta = fresh["metadata"]
    if "namespace" in meta:
        meta["namespace"] = names.get(meta["namespace"], meta["namespace"])
    lines = []
    for path, selector in _selectors(fresh.get("spec") or {}):
        labels = selector.get("matchLabels") or {}
        wanted = labels.get(NAMESPACE_LABEL, "")
        if wanted in names:
            labels[NAMESPACE_LABEL] = names[wanted]
            lines.append(f"{path}.matchLabels: {NAMESPACE_LABEL} {wanted} → {names[wanted]}")
        for number, each in enumerate(selector.get("matchExpressions") or []):
            values = each.get("values") or []
            if each.get("key") == NAMESPACE_LABEL and any(value in names for value in values):
                each["values"] = [names.get(value, value) for value in values]
                told = f"{', '.join(values)} → {', '.join(each['values'])}"
                lines.append(f"{path}.matchExpressions[{number}]: {NAMESPACE_LABEL} {told}")
    return fresh, tuple(lines)


def _selectors(spec: Object) -> Iterator[tuple[str, Object]]:
    """Every namespaceSelector, with where it stands."""
    for rules, peers in (("ingress", "from"), ("egress", "to")):
        for at, rule in enumerate(spec.get(rules) or []):
            for place, peer in enumerate((rule or {}).get(peers) or []):
                selector = (peer or {}).get("namespaceSelector")
                if selector:
                    yield f"spec.{rules}[{at}].{peers}[{place}].namespaceSelector", selector
