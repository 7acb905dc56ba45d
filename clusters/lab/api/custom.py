"""Kinds that are not Kubernetes' own: which module knows one. A lab without a mesh pays nothing for the mesh's.

What belongs here: the choice. What does not: any kind (`calico_kinds`, `mesh_kinds`).
"""

from __future__ import annotations

from typing import Any

from clusters.lab.api import calico_kinds
from clusters.lab.api.resources import Catalogue, ResourceType
from clusters.lab.api.store import Store

Object = dict[str, Any]


def decode(resource: ResourceType, body: Object) -> tuple[Object, list[str]]:
    """A fresh object with known fields only, and what a strict reader refuses.

    Raises:
        StatusError: 400; its metadata has wrong types.
    """
    if resource.group == calico_kinds.GROUP:
        return calico_kinds.decode(resource, body)
    from clusters.lab.api import mesh_kinds

    return mesh_kinds.decode(resource, body)


def default(resource: ResourceType, obj: Object) -> None:
    """Fill in what the object leaves open, in place."""
    if resource.group == calico_kinds.GROUP:
        calico_kinds.default(obj)


def validate(store: Store, resource: ResourceType, obj: Object, before: Object | None) -> list[str]:
    """Check an object; its kind's warnings.

    Raises:
        StatusError: Its rules, a webhook or the lab refuse it.
    """
    if resource.group == calico_kinds.GROUP:
        calico_kinds.validate(resource, obj, before)
        return []
    from clusters.lab.api import validation_mesh

    return validation_mesh.validate(store, resource, obj, before)


def schema_name(resource: ResourceType) -> str:
    """What OpenAPI calls a kind: Calico has a NetworkPolicy too."""
    group = "org.projectcalico.v3" if resource.group == calico_kinds.GROUP else "io.k8s.api"
    return f"{group}.{resource.kind}"


def definitions(catalogue: Catalogue, metadata: str) -> dict[str, Object]:
    """Name → schema of every custom kind that a catalogue has; `metadata` is the reference to that of ObjectMeta."""
    customs = [each for each in catalogue.registry if each.custom]
    found = {f"org.projectcalico.v3.{kind}": entry for kind, entry in calico_kinds.definitions(metadata).items()}
    if any(each.group != calico_kinds.GROUP for each in customs):
        from clusters.lab.api import mesh_kinds

        found |= {f"io.k8s.api.{kind}": entry for kind, entry in mesh_kinds.definitions(metadata).items()}
    return found
