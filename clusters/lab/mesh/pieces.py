"""A proxy's configuration as the named pieces of a push: JSON texts inside JSON, each part made once for a Mesh.

What belongs here: encoding. What does not: what is encoded (`compile`), who is sent which piece (`sessions`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from clusters.lab.mesh.model import Config, Json, Mesh

Pieces = Mapping[str, tuple[str, ...]]
"""`cds`, `lds`, `rds/NAME` → the resources' texts; equal ones are the same objects as long as anybody has them."""
CLUSTERS, LISTENERS, ROUTES = "cds", "lds", "rds"
_TYPE: Final = "type.googleapis.com/envoy.config."
_TYPES: Final = {
    CLUSTERS: f"{_TYPE}cluster.v3.Cluster",
    LISTENERS: f"{_TYPE}listener.v3.Listener",
    ROUTES: f"{_TYPE}route.v3.RouteConfiguration",
}
_dump = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Encoder:
    """Encodes an object once, by its identity, for as long as every Mesh that it is asked about has it."""

    def __init__(self) -> None:
        self._mesh: Mesh | None = None
        self._made: dict[int, tuple[Json, str]] = {}
        self._before: dict[int, tuple[Json, str]] = {}
        self._texts: dict[str, str] = {}

    def pieces(self, mesh: Mesh, config: Config) -> Pieces:
        """The pieces of a configuration that was compiled from this Mesh."""
        if mesh is not self._mesh:
            self._mesh = mesh
            self._before, self._made = self._made, {}
            self._texts = {text: text for _, text in self._before.values()}
        return {
            CLUSTERS: self._all(CLUSTERS, config.clusters),
            LISTENERS: self._all(LISTENERS, config.listeners),
            **{f"{ROUTES}/{name}": self._all(ROUTES, [each]) for name, each in config.routes.items()},
        }

    def _all(self, kind: str, resources: Iterable[Json]) -> tuple[str, ...]:
        return tuple(self._one(kind, each) for each in resources)

    def _one(self, kind: str, resource: Json) -> str:
        """The text, escaped as it stands in a message. The object is kept, so nobody else gets its `id`."""
        known = self._made.get(id(resource)) or self._before.get(id(resource))
        if known:
            self._made[id(resource)] = known
            return known[1]
        text = _dump(_dump({"@type": _TYPES[kind], **resource}))[1:-1]
        text = self._texts.get(text, text)
        self._made[id(resource)] = resource, text
        return text


def push(version: str, files: Pieces, removed: Collection[str]) -> bytes:
    """The message, with its line's end."""
    texts = ",".join(f'{_dump(name)}:"[{",".join(parts)}]"' for name, parts in files.items())
    return f'{{"op":"push","version":"{version}","files":{{{texts}}},"removed":{_dump(sorted(removed))}}}\n'.encode()
