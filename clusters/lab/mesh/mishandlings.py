"""Mesh mutants that mishandle pods: who gets a proxy, when its application starts, what passes through it.

What belongs here: faults of injection and redirection. What does not: what proxies are told (`misreadings`,
`miswirings`, `lapses`), the mutants' names (`mutants`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

from clusters.lab.mesh.model import PROBES, PROMETHEUS, ROOT_NAMESPACE, STATUS
from clusters.lab.mesh.mutation import Admission, Fault, Inject, Object
from clusters.lab.mesh.redirect import Redirection

_INJECT = "sidecar.istio.io/inject"
_NATIVE = "sidecar.istio.io/nativeSidecar"
_REVISION = "istio.io/rev"
_ENABLED = "istio-injection"


def asked_otherwise(change: Callable[[Admission], None]) -> Fault:
    """The injector decides about a pod and a namespace that are not quite those that were sent.

    Args:
        change: Changes the copies that it is given.
    """

    def admission(asked: Admission, sound: Inject) -> Object | None:
        mine = replace(
            asked,
            pod=copy.deepcopy(asked.pod),
            namespace=copy.deepcopy(asked.namespace),
            webhooks=copy.deepcopy(list(asked.webhooks)),
        )
        change(mine)
        return sound(mine)

    return Fault(admission=admission)


def _labels(obj: Object) -> dict[str, str]:
    labels: dict[str, str] = obj["metadata"].setdefault("labels", {})
    return labels


def never_out(asked: Admission) -> None:
    """A pod that wants no proxy says nothing, but for the control plane's own, which could not start."""
    if asked.pod["metadata"].get("namespace") != ROOT_NAMESPACE and _labels(asked.pod).get(_INJECT) == "false":
        del _labels(asked.pod)[_INJECT]


def any_revision(asked: Admission) -> None:
    """Whoever asks for a revision asks for the one there is."""
    if _labels(asked.namespace).pop(_REVISION, ""):
        _labels(asked.namespace)[_ENABLED] = "enabled"


def annotation_counts(asked: Admission) -> None:
    """The annotation is as good as the label."""
    if (asked.pod["metadata"].get("annotations") or {}).get(_INJECT) == "true":
        _labels(asked.pod)[_INJECT] = "true"


def open_when_down(asked: Admission) -> None:
    """Every webhook that does not answer lets pods through."""
    for each in asked.webhooks:
        for webhook in each.get("webhooks") or []:
            webhook["failurePolicy"] = "Ignore"


def form_ignored(asked: Admission) -> None:
    """A pod's own wish for the form of its proxy is not heard."""
    (asked.pod["metadata"].get("annotations") or {}).pop(_NATIVE, None)


def not_held() -> Fault:
    """Applications start whether their proxies work or not."""

    def admission(asked: Admission, sound: Inject) -> Object | None:
        found = sound(asked)
        for each in (*(found["spec"].get("initContainers") or ()), *found["spec"]["containers"]) if found else ():
            if each["name"] == "istio-proxy":
                each.pop("startupProbe", None)
                each.pop("lifecycle", None)
        return found

    return Fault(admission=admission)


def without_exceptions(wanted: Redirection) -> Redirection:
    """Ports that were to be left alone are redirected like all others, but for the proxy's own."""
    own = {str(each) for each in (PROBES, STATUS, PROMETHEUS)}
    kept = tuple(each for each in wanted.inbound_excluded if each in own)
    return replace(wanted, excluded_ports=(), inbound_excluded=kept)


def leaving_out(*ports: str) -> Callable[[Redirection], Redirection]:
    """Calls to these ports go past the caller's proxy."""
    return lambda wanted: replace(wanted, excluded_ports=(*wanted.excluded_ports, *ports))
