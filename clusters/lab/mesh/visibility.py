"""Which part of a Mesh the proxies of one namespace know of, by `exportTo`.

What belongs here: that part, as a Mesh of its own. What does not: what a client makes of it (`hosts`, `outbound`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, TypeVar

from clusters.lab.mesh.model import ROOT_NAMESPACE, Mesh
from policies.istio.model import Exports

_T = TypeVar("_T")


def exported(exports: Exports, home: str, namespace: str) -> bool:
    """Whether something of the namespace `home` is known in another one: everywhere, unless it says where."""
    return not exports or "*" in exports or namespace in exports or ("." in exports and namespace == home)


def seen(mesh: Mesh, namespace: str, before: Mesh) -> Mesh:
    """What matters to the namespace's proxies: what is exported to it, and policies where anything of that may be.

    Args:
        before: What it was before; the same object comes back when nothing of it has changed, and the same parts.
    """
    services = tuple(each for each in mesh.services if exported(each.exports, each.namespace, namespace))
    homes = {namespace, ROOT_NAMESPACE, *(each.namespace for each in services)}

    def of_homes(policies: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(each for each in policies if each.meta.namespace in homes)

    def told(resources: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(each for each in resources if exported(each.exports, each.meta.namespace, namespace))

    parts = {
        "services": services,
        "peer_authentications": of_homes(mesh.peer_authentications),
        "authorization_policies": of_homes(mesh.authorization_policies),
        "request_authentications": of_homes(mesh.request_authentications),
        "destination_rules": told(mesh.destination_rules),
        "virtual_services": told(mesh.virtual_services),
        "service_entries": told(mesh.service_entries),
    }
    held = {name: kept(getattr(before, name), part) for name, part in parts.items()}
    same = all(held[each.name] is getattr(before, each.name) for each in fields(Mesh))
    return before if same else Mesh(**held)


def kept(before: tuple[_T, ...], now: tuple[_T, ...]) -> tuple[_T, ...]:
    """The former tuple where the same objects are in it."""
    same = len(before) == len(now) and all(a is b for a, b in zip(before, now, strict=True))
    return before if same else now
