"""Weights changed and rolled back while requests are under way: no call fails, nothing is redeployed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.going import Traffics
from fixtures.mesh import Meshes, split
from fixtures.workloads import MESH_WORLD, SERVER_V2, Spec
from flows.questions import Connections

TARGET = "server:8080/http@dns"
OPEN = """
            server:8080/http@dns
caller      .
peer        .
"""


@pytest.fixture(scope="module")
def world_specs() -> Sequence[Spec]:
    """Workloads with proxies; the server in two versions."""
    return (*MESH_WORLD, SERVER_V2)


@pytest.mark.parametrize("connections", ["fresh", "keep-alive"])
def test_canary_and_roll_back(
    mesh: Meshes, matrix: MatrixAsker, traffic: Traffics, caller: Actor, connections: Connections
) -> None:
    """From v1 alone to 90/10 and back, with two callers who notice nothing."""
    pods = {caller.workload.uid}
    route = mesh(split("server", v1=100, v2=0))
    matrix.becomes(OPEN.replace(" .", " =v1"))
    going = traffic(OPEN, connections=connections)
    route.becomes(split("server", v1=0, v2=100))
    matrix.becomes(OPEN.replace(" .", " =v2"))
    route.becomes(split("server", v1=90, v2=10))
    matrix.becomes(OPEN)
    going.more()
    route.becomes(split("server", v1=100, v2=0))
    matrix.becomes(OPEN.replace(" .", " =v1"))
    going.more()
    going.ends()
    assert {caller.workload.uid} == pods
