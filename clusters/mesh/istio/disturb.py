"""Injection broken on purpose, and mended again: only on clusters that we made.

What belongs here: the webhooks' state. What does not: what pods then miss (`injection`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Final

from clusters.kube import Kube
from clusters.mesh.dialect import Disturbance, Object
from clusters.mesh.istio.detect import webhooks
from flows.errors import HarnessError, UsageError

_API: Final = "admissionregistration.k8s.io/v1"
_KIND: Final = "MutatingWebhookConfiguration"
_NOWHERE: Final = "eastwest-nowhere"
"""A Service that nobody has: calling it fails at once."""


def disturb(kube: Kube, how: Disturbance) -> Callable[[], None]:
    """Take every injection webhook away, or have it call nobody; returns what puts them back.

    A configuration stays, without webhooks, when they are `gone`: it has the same effect as its deletion, and the
    object keeps its owner's marks.

    Raises:
        UsageError: The cluster is not one that we made.
        HarnessError: There is no injection webhook to break.
    """
    if not kube.cluster.ours:
        raise UsageError("injection can be broken only on a cluster that eastwest made; use the lab or kind")
    before = {each["metadata"]["name"]: copy.deepcopy(each.get("webhooks") or []) for each in webhooks(kube)}
    before = {name: hooks for name, hooks in before.items() if hooks}
    if not before:
        raise HarnessError("no injection webhook is installed, so there is none to break")

    def write(hooks: dict[str, list[Object]]) -> None:
        for name, each in hooks.items():
            kube.patch(_API, _KIND, name, "", {"webhooks": each})

    broken: dict[str, list[Object]] = {
        name: [] if how == "gone" else [_lost(hook, how) for hook in hooks] for name, hooks in before.items()
    }
    try:
        write(broken)
    except HarnessError:  # nobody is told how to mend what is half broken
        write(before)
        raise
    return lambda: write(before)


def _lost(hook: Object, how: Disturbance) -> Object:
    changed = copy.deepcopy(hook)
    changed["failurePolicy"] = "Ignore" if how == "down-ignore" else "Fail"
    service = (changed.get("clientConfig") or {}).get("service")
    if service:
        service["name"] = _NOWHERE
    return changed
