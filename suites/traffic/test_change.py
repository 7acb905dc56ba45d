"""Weights changed and rolled back while requests are under way: no call fails, nothing is redeployed."""

from __future__ import annotations

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.going import Traffics
from fixtures.mesh import Meshes, Routing, marked, split
from fixtures.workloads import MESH_WORLD, SERVER_V2
from flows.questions import Connections

WEIGHT = 4

WORKLOADS = (*MESH_WORLD, SERVER_V2)
"""Workloads with proxies; the server in two versions."""
OPEN = """
            server:8080/http@dns
caller      .
peer        .
"""


STEP = """
caller  GET  server:8080/          {shared}
caller  GET  server:8080/in-force  {mark}
peer    GET  server:8080/          {shared}
peer    GET  server:8080/in-force  {mark}
"""
"""What a step is told by: weights alone would be told by chance, so the mark beside them goes where it did not go."""


def weighed(v1: int, v2: int, mark: str) -> Routing:
    """These weights, told by this mark."""
    return marked(split("server", v1=v1, v2=v2), "/in-force", mark)


@pytest.mark.parametrize("connections", ["fresh", "keep-alive"])
def test_canary_and_roll_back(
    mesh: Meshes, matrix: MatrixAsker, traffic: Traffics, caller: Actor, connections: Connections
) -> None:
    """From v1 alone to 90/10 and back, with two callers who notice nothing."""
    pods = {caller.workload.uid}
    route = mesh(weighed(100, 0, "v1"))
    matrix.requests(STEP.format(shared="=v1", mark="=v1"))
    going = traffic(OPEN, connections=connections)
    route.becomes(weighed(0, 100, "v2"))
    matrix.requests(STEP.format(shared="=v2", mark="=v2"))
    route.becomes(weighed(90, 10, "v1"))
    matrix.requests(STEP.format(shared=".", mark="=v1"))
    going.more()
    route.becomes(weighed(100, 0, "v2"))
    matrix.requests(STEP.format(shared="=v1", mark="=v2"))
    going.more()
    going.ends()
    assert {caller.workload.uid} == pods
