"""API objects to what is compiled: informer caches on one side, a `Mesh` and its `Proxy`s on the other.

What belongs here: following the API, and what has to be rebuilt when something changed; whatever did not keeps its
object identity. What does not: how one object is read (`reading`), what any of it means (`compile`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, cast

from clusters.lab.client import (
    AUTHORIZATION_POLICIES,
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    PEER_AUTHENTICATIONS,
    PODS,
    REQUEST_AUTHENTICATIONS,
    SERVICE_ENTRIES,
    SERVICES,
    VIRTUAL_SERVICES,
    Client,
    Informer,
    Key,
    Object,
    key,
)
from clusters.lab.client import Resource as Kind
from clusters.lab.mesh import reading
from clusters.lab.mesh.model import Mesh, Proxy, Service
from clusters.lab.mesh.visibility import kept
from flows.errors import HarnessError
from policies.istio.model import Resource, ServiceEntry
from policies.istio.read import read

FIELDS: Final[Mapping[Kind, str]] = {
    PEER_AUTHENTICATIONS: "peer_authentications",
    AUTHORIZATION_POLICIES: "authorization_policies",
    REQUEST_AUTHENTICATIONS: "request_authentications",
    DESTINATION_RULES: "destination_rules",
    VIRTUAL_SERVICES: "virtual_services",
    SERVICE_ENTRIES: "service_entries",
}
"""Istio's kinds, and where a Mesh has them."""
PATIENCE: Final = 20.0
"""Seconds for the first list of everything."""
WRONG: Final = (HarnessError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What one object may end with, foreseen or not, when it is read or compiled; the others go on."""


class Registry:
    """Follows the API; `changed` is called when the next `mesh` or a proxy may differ from the last one.

    Args:
        log: Told which object is left out, and why.
    """

    def __init__(self, client: Client, changed: Callable[[], None], log: Callable[[str], None]) -> None:
        self._changed, self._log = changed, log
        told: dict[Kind, Callable[[str, Object], None]] = {
            PODS: self.pod_told,
            SERVICES: self.service_told,
            ENDPOINT_SLICES: self.slice_told,
            **{kind: partial(self.resource_told, kind) for kind in FIELDS},
        }
        self.informers = {kind: Informer(client, kind, on_event=each) for kind, each in told.items()}
        self._pods: dict[Key, Proxy] = {}
        self._addresses: dict[tuple[str, str], Key] = {}
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, dict[str, Object]] = {}
        self._resources: dict[Kind, dict[Key, Resource]] = {kind: {} for kind in FIELDS}
        self._built: dict[Key, tuple[reading.Age, Service]] = {}
        self._entries: dict[Key, tuple[tuple[reading.Age, Service], ...]] = {}
        self._stale: set[Key] = set()
        self._last = Mesh()
        self._mesh: Mesh | None = self._last

    @property
    def synced(self) -> bool:
        """Whether every informer has had its first list."""
        return all(each.synced.is_set() for each in self.informers.values())

    async def wait_synced(self) -> None:
        """Return once every informer has had its first list.

        Raises:
            HarnessError: Some had none in `PATIENCE` seconds; names them.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(each.synced.wait() for each in self.informers.values()))
        except TimeoutError:
            late = ", ".join(kind.plural for kind, each in self.informers.items() if not each.synced.is_set())
            raise HarnessError(
                f"the API server gave no list of {late} in {PATIENCE:.0f} s; may istiod read them?"
            ) from None

    @property
    def mesh(self) -> Mesh:
        """Everything as it is now; the same object as long as nothing that matters has changed."""
        self._rebuild()
        if self._mesh is None:
            entries = (each for found in self._entries.values() for each in found)
            services = sorted((*self._built.values(), *entries), key=lambda each: each[0])
            found = {name: _in_order(self._resources[kind].values()) for kind, name in FIELDS.items()}
            parts: dict[str, tuple[Any, ...]] = {"services": tuple(each for _, each in services), **found}
            self._mesh = Mesh(**{name: kept(getattr(self._last, name), part) for name, part in parts.items()})
            self._last = self._mesh
        return self._mesh

    def proxy(self, namespace: str, pod: str) -> Proxy | None:
        """The pod as a proxy, with or without one in it; None while it is not known."""
        return self._pods.get((namespace, pod))

    def pod_told(self, event: str, obj: Object) -> None:
        """Take a pod's event; what it reports of itself again and again changes nothing."""
        place = key(obj)
        before = self._pods.get(place)
        now = None
        if event != "DELETED":
            try:
                now = reading.proxy(obj)
            except WRONG as error:
                self._left_out("Pod", place, error)
        if before == now:
            return
        for each in (before, now):
            if each and each.address:
                if self._addresses.get((place[0], each.address)) == place:  # it may be another pod's by now
                    del self._addresses[place[0], each.address]
                self._touch(place, each)
        if now is None:
            del self._pods[place]
        else:
            self._pods[place] = now
            if now.address:
                self._addresses[place[0], now.address] = place
        self._changed()

    def _touch(self, place: Key, pod: Proxy) -> None:
        """Rebuild the Services that have the pod as an endpoint."""
        for service, slices in self._slices.items():
            if service in self._services and any(
                reading.mentions(each, place, pod.address) for each in slices.values()
            ):
                self._stale.add(service)

    def service_told(self, event: str, obj: Object) -> None:
        """Take a Service's event."""
        place = key(obj)
        if event == "DELETED":
            self._services.pop(place, None)
        else:
            self._services[place] = obj
        self._stale.add(place)
        self._changed()

    def slice_told(self, event: str, obj: Object) -> None:
        """Take an EndpointSlice's event."""
        owner = reading.owner(obj)
        name = obj["metadata"]["name"]
        for place in [each for each, held in self._slices.items() if name in held and each[0] == owner[0]]:
            del self._slices[place][name]
            self._stale.add(place)
        if event != "DELETED" and owner[1]:
            self._slices.setdefault(owner, {})[name] = obj
            self._stale.add(owner)
        self._changed()

    def resource_told(self, kind: Kind, event: str, obj: Object) -> None:
        """Take an event of one of Istio's kinds; what cannot be read is logged and as if it were not there."""
        place, held = key(obj), self._resources[kind]
        before, now = held.get(place), None
        entries: tuple[tuple[reading.Age, Service], ...] = ()
        if event != "DELETED":
            try:
                found = read({"apiVersion": f"{kind.group}/{kind.version}", "kind": kind.kind} | obj)
                if kind is SERVICE_ENTRIES:
                    entries = reading.entry_services(cast("ServiceEntry", found))
                now = found
            except HarnessError as error:
                self._log(f"left out: {error}")
            except WRONG as error:
                self._left_out(kind.kind, place, error)
        if before == now:
            return
        if now is None:
            del held[place]
        else:
            held[place] = now
        if kind is SERVICE_ENTRIES:
            self._entries[place] = entries
        self._mesh = None
        self._changed()

    def _rebuild(self) -> None:
        """Read again what is stale; a Service that cannot be read is as if it were not there."""
        while self._stale:
            place = self._stale.pop()
            try:
                fresh = self._service(place)
            except WRONG as error:
                self._left_out("Service", place, error)
                fresh = None
            before = self._built.pop(place, None)
            if fresh is not None:
                self._built[place] = before if before == fresh else fresh
            if before != fresh:
                self._mesh = None

    def _service(self, place: Key) -> tuple[reading.Age, Service] | None:
        obj = self._services.get(place)
        if not obj or not reading.is_called(obj):
            return None
        return reading.service(obj, self._slices.get(place, {}).values(), self._pod_at)

    def _left_out(self, kind: str, place: Key, error: Exception) -> None:
        self._log(f"left out: {kind} {place[0]}/{place[1]}: {error!r}")

    def _pod_at(self, namespace: str, name: str, address: str) -> Proxy | None:
        """The pod of an endpoint: by name where it has one, else one of the namespace with that address."""
        place = (namespace, name) if name else self._addresses.get((namespace, address))
        return self._pods.get(place) if place else None


def _in_order(found: Iterable[Resource]) -> tuple[Resource, ...]:
    return tuple(sorted(found, key=lambda each: (each.meta.created, each.meta.name, each.meta.namespace)))
