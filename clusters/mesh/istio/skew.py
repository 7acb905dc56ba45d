"""Whether a pod's proxy fits the control plane that it should have: of its revision, and of its version.

What belongs here: the comparison. What does not: reading the pod (`injection`), finding control planes (`detect`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from clusters.mesh.dialect import Injection, Object
from clusters.mesh.istio.words import DEFAULT, INJECTION, REVISION


def skew(found: Injection, pod: Object, namespace: Object, revisions: Mapping[str, str]) -> str:
    """How they differ, with the remedy; empty when they do not.

    Args:
        found: A pod's injection, with a proxy.
        revisions: Revision → the version of its control plane.
    """
    asked = _asked(pod, namespace)
    if asked in revisions and asked != found.revision:
        return f"its proxy is of revision {found.revision} and its labels ask for {asked} now; restart the pod"
    if found.revision not in revisions:
        there = ", ".join(revisions)
        return (
            f"its proxy is of revision {found.revision}, whose control plane is gone; there is {there}; restart the pod"
        )
    proxy, plane = _release(found.version), _release(revisions[found.revision])
    if proxy and plane and proxy != plane:
        return f"its proxy is {proxy} and its control plane, revision {found.revision}, is {plane}; restart the pod"
    return ""


def _asked(pod: Object, namespace: Object) -> str:
    """The revision that the labels ask for today: the pod's own before the namespace's; empty when they name none."""
    around = namespace["metadata"].get("labels") or {}
    own = (pod["metadata"].get("labels") or {}).get(REVISION)
    if around.get(INJECTION) == "enabled":
        return DEFAULT
    return str(around.get(REVISION) or own or "")


def _release(version: str) -> str:
    """`1.31.0-distroless` → `1.31.0`; empty when it is no version."""
    found = re.match(r"\d+(\.\d+)+", version)
    return found[0] if found else ""
