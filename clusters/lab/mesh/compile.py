"""One proxy's whole configuration out of a Mesh.

What belongs here: putting the halves together. What does not: the halves (`inbound`, `outbound`), sending it
(`istiod`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from clusters.lab.mesh.inbound import compile_inbound
from clusters.lab.mesh.model import Config, Json, Mesh, Proxy
from clusters.lab.mesh.outbound import Outlook

_SEEN: Final = ("services", "peer_authentications", "destination_rules", "virtual_services", "service_entries")
"""All that clients see of a Mesh; the rest is for servers alone."""


class Cache:
    """Keeps what the proxies of one Mesh share, until it is asked about one whose clients see other objects."""

    def __init__(self) -> None:
        self._outlook: Outlook | None = None

    def outlook(self, mesh: Mesh) -> Outlook:
        """The one for these very objects."""
        if self._outlook is None or any(getattr(self._outlook.mesh, each) is not getattr(mesh, each) for each in _SEEN):
            self._outlook = Outlook(mesh)
        return self._outlook


_SHARED: Final = Cache()


def compile_proxy(mesh: Mesh, proxy: Proxy, cache: Cache = _SHARED) -> Config:
    """What Envoy is told for this proxy: the same Mesh and Proxy give the same Config.

    Proxies of one Mesh share parts of it as the same objects, so whoever sends them may compare and encode by identity,
    and nobody may change them. Listeners, clusters and routes are without `@type`, which a file of theirs must have.

    Raises:
        HarnessError: A resource says what the lab does not do and admission should have refused; names it.
    """
    outbound = cache.outlook(mesh).outbound(proxy)
    inbound = compile_inbound(mesh, proxy)
    return Config(
        listeners=(*outbound.listeners, *inbound.listeners),
        clusters=tuple(_once((*outbound.clusters, *inbound.clusters))),
        routes=outbound.routes,
        endpoints=outbound.endpoints,
    )


def _once(found: Iterable[Json]) -> list[Json]:
    """Both halves may lead to the black hole; Envoy takes a name only once."""
    return list({str(each["name"]): each for each in found}.values())
