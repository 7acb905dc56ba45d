"""Calico's own policies in a cluster: which form it takes, what is in force, and how a manifest is written for it.

What belongs here: the two forms of Calico's API. What does not: what a policy means (`policies.calico`).
With Calico's API server a cluster takes `projectcalico.org/v3`; without it only the form in which objects are stored.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Final

from clusters.kube import Kube, KubeError
from policies.calico.read import API_VERSION, POLICIES, SETS, STORED, TIER, is_calico

__all__ = ["API_VERSION", "STORED", "form", "in_force", "is_calico", "is_global", "kinds", "written"]
Object = dict[str, Any]
_UNSEEN: Final = (403, 404)


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
    version = form(kube)
    if not version:
        return []
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
                if error.status not in _UNSEEN:
                    raise
    return found
