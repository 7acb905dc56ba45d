"""Calico's own policies in a cluster: which form it takes, what is in force, and how a manifest is written for it.

What belongs here: the two forms of Calico's API. What does not: what a policy means (`policies.calico`).
With Calico's API server a cluster takes `projectcalico.org/v3`; without it only the form in which objects are stored.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clusters.kube import Kube, KubeError
from policies.calico.model import CalicoPolicy, NetworkSet
from policies.calico.read import API_VERSION, POLICIES, SETS, STORED, TIER, is_calico, read

__all__ = ["API_VERSION", "STORED", "Own", "form", "in_force", "is_calico", "is_global", "kinds", "own", "written"]
Object = dict[str, Any]
_FORBIDDEN, _NOT_FOUND = 403, 404


def form(kube: Kube) -> str:
    """The API version in which the cluster takes Calico's policies; empty where it knows none.

    Raises:
        KubeError: The cluster did not answer.
    """
    return next((each for each in (API_VERSION, STORED) if kube.serves(each, "NetworkPolicy")), "")


def kinds(kube: Kube) -> tuple[tuple[str, str], ...]:
    """API version and kind of everything of Calico that a test may write here, policies first."""
    version = form(kube)
    return tuple((version, kind) for kind in (*POLICIES, *SETS)) if version else ()


def is_global(kind: str) -> bool:
    """Whether a kind of Calico's lives outside namespaces."""
    return kind.startswith("Global")


def written(obj: Object, version: str) -> Object:
    """A manifest in the form that a cluster takes; in the stored one names have their tier, and types are written out.

    Args:
        version: What `form` said.
    """
    if version != STORED:
        return {**obj, "apiVersion": version}
    stored = {**copy.deepcopy(obj), "apiVersion": version}
    if obj["kind"] in POLICIES:
        name = obj["metadata"]["name"]
        stored["metadata"]["name"] = name if name.startswith(f"{TIER}.") else f"{TIER}.{name}"
        spec = stored.get("spec") or {}
        stored["spec"] = {**spec, "types": spec.get("types") or _types(spec)}
    return stored


def _types(spec: Mapping[str, Any]) -> list[str]:
    """What Calico's API server would fill in: without it nobody does."""
    inward = ["Ingress"] if spec.get("ingress") or not spec.get("egress") else []
    return inward + (["Egress"] if spec.get("egress") else [])


def in_force(kube: Kube, namespaces: Iterable[str], *, sets: bool = False) -> list[Object]:
    """The policies that may be in force in these namespaces, global ones last; with `sets` network sets, too.

    Where nobody may see what is global, it is left out.

    Raises:
        KubeError: The cluster did not answer, or refused what is in the namespaces.
    """
    return _listed(kube, namespaces, sets=sets)[0]


def _listed(kube: Kube, namespaces: Iterable[str], *, sets: bool) -> tuple[list[Object], bool]:
    """What `in_force` tells, and whether global policies are there to be seen by others only."""
    version, hidden = form(kube), False
    if not version:
        return [], False
    wanted = (*POLICIES, *(SETS if sets else ()))
    found = [
        each
        for kind in wanted
        if not is_global(kind)
        for namespace in namespaces
        for each in kube.list(version, kind, namespace)
    ]
    for kind in wanted:
        if is_global(kind):
            try:
                found += kube.list(version, kind)
            except KubeError as error:
                if error.status not in {_FORBIDDEN, _NOT_FOUND}:
                    raise
                hidden = hidden or (error.status == _FORBIDDEN and kind in POLICIES)
    return found, hidden


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What of Calico's own is in force somewhere, for the oracle.

    Attributes:
        accounts: (namespace, name) of the ServiceAccounts there → labels; empty where no policy could ask for them.
        hidden: These credentials may not see global policies: one of them may close, or open, anything.
    """

    policies: tuple[CalicoPolicy, ...] = ()
    network_sets: tuple[NetworkSet, ...] = ()
    accounts: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    hidden: bool = False


def own(kube: Kube, namespaces: Iterable[str]) -> Own:
    """What of Calico's own is in force in these namespaces.

    Raises:
        KubeError: The cluster did not answer, or refused what is in the namespaces.
        UsageError: One of them has what is not read here; names it.
    """
    places = list(namespaces)
    objects, hidden = _listed(kube, places, sets=True)
    found = [read(each, f"Calico's {each['kind']} {each['metadata']['name']}") for each in objects]
    if not found:
        return Own(hidden=hidden)
    accounts = [each["metadata"] for place in places for each in kube.list("v1", "ServiceAccount", place)]
    return Own(
        policies=tuple(each for each in found if isinstance(each, CalicoPolicy)),
        network_sets=tuple(each for each in found if isinstance(each, NetworkSet)),
        accounts={(each["namespace"], each["name"]): each.get("labels") or {} for each in accounts},
        hidden=hidden,
    )
