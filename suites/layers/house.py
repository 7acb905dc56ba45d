"""The workloads of this area, the same for all who need them all: modules that ask for the same share a world."""

from __future__ import annotations

from fixtures.workloads import MESH_PORTS, MESH_WORLD, SERVER, STRAY, in_mesh

HOUSE = (
    *(each for each in MESH_WORLD if each.name != "server"),
    in_mesh(SERVER, ports={**MESH_PORTS, "tcp-more": (9091, "TCP")}),
    STRAY,
)
"""Workloads with proxies, of which the server has a second raw port; a naked one of the house and one of a foreign
namespace."""
