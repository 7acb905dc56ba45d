"""Modes changed and certificates renewed under running traffic: no allowed call fails, nothing is redeployed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.going import Traffics
from fixtures.mesh import Meshes, Mode, Mtls, namespace
from fixtures.workloads import MESH_WORLD
from flows.questions import Connections

WEIGHT = 5

TABLE = """
            server:8080/http@dns  peer:8080/http@dns
caller      .                     .
scraper     .                     .
intruder    {naked}               {naked}
"""
ALLOWED = """
            server:8080/http@dns  peer:8080/http@dns
caller      .                     .
scraper     .                     .
"""
LIFETIME = 8.0
"""Seconds that certificates of the caller and the server live; they are renewed after about half of that."""
WORKLOADS = tuple(
    replace(each, certificates=LIFETIME) if each.name in {"caller", "server"} else each for each in MESH_WORLD
)
"""Workloads with proxies, two of which renew their certificates often; and an intruder without a proxy."""
PERMISSIVE, STRICT = (Mtls(scope=namespace(), mode=mode) for mode in (Mode.PERMISSIVE, Mode.STRICT))


@pytest.mark.parametrize("connections", ["fresh", "keep-alive"])
def test_strict_and_back(
    mesh: Meshes, matrix: MatrixAsker, traffic: Traffics, server: Actor, connections: Connections
) -> None:
    """From permissive to strict and back; callers with a proxy notice nothing."""
    before = server.workload.uid
    mode = mesh(PERMISSIVE)
    matrix.becomes(TABLE.format(naked="."))
    going = traffic(ALLOWED, connections=connections)
    mode.becomes(STRICT)
    matrix.becomes(TABLE.format(naked="reset"))
    going.more()
    mode.becomes(PERMISSIVE)
    matrix.becomes(TABLE.format(naked="."))
    going.more()
    going.ends()
    assert server.workload.uid == before


def test_renewed_under_traffic(mesh: Meshes, matrix: MatrixAsker, traffic: Traffics) -> None:
    """Certificates of both ends are renewed while calls go on, under strict, and no call fails."""
    mesh(STRICT)
    matrix.becomes(TABLE.format(naked="reset"))
    going = [traffic(ALLOWED, connections="fresh"), traffic(ALLOWED, connections="keep-alive")]
    mesh.renewed("caller", "server", lifetime=LIFETIME)
    for each in going:
        each.more()
        each.ends()
