"""Weighted splits: one fixed sample and one exact test, planned and told before the first request is sent."""

from __future__ import annotations

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.mesh import Backend, Meshes, Routing, marked, split
from fixtures.workloads import MESH_WORLD, SERVER_V2
from flows.questions import Connections

WEIGHT = 2

WORKLOADS = (*MESH_WORLD, SERVER_V2)
"""Workloads with proxies; the server in two versions."""
IN_FORCE = """
caller  GET  server:8080/          {shared}
caller  GET  server:8080/in-force  {mark}
"""


def spread(mesh: Meshes, matrix: MatrixAsker, **weights: int) -> None:
    """Return once these weights are in force, which their mark tells: an even spread is there without any route."""
    route = mesh(marked(split("server", **{**dict.fromkeys(weights, 0), "v2": 100}), "/in-force", "v2"))
    matrix.requests(IN_FORCE.format(shared="=v2", mark="=v2"))
    route.becomes(marked(split("server", **weights), "/in-force", "v1"))
    matrix.requests(IN_FORCE.format(shared=".", mark="=v1"))


@pytest.mark.parametrize("connections", ["fresh", "keep-alive"])
@pytest.mark.parametrize(
    ("v1", "v2", "difference"),
    [
        pytest.param(90, 10, 0.05, id="90-10"),
        pytest.param(95, 5, 0.05, id="95-5"),
        pytest.param(50, 50, 0.1, id="50-50"),
    ],
)
def test_split(
    mesh: Meshes, matrix: MatrixAsker, caller: Actor, v1: int, v2: int, difference: float, connections: Connections
) -> None:
    """Requests are spread in the shares that the route names, one by one and independently."""
    spread(mesh, matrix, v1=v1, v2=v2)
    caller.splits("server:8080/http@dns", {"v1": v1, "v2": v2}, connections=connections, difference=difference)


def test_weights_are_shares(mesh: Meshes, matrix: MatrixAsker, caller: Actor) -> None:
    """Weights that do not add up to 100 are shares of their sum; zero for a version that nobody has costs nobody."""
    spread(mesh, matrix, v1=3, v2=1, v9=0)
    caller.splits("server:8080/http@dns", {"v1": 3, "v2": 1}, difference=0.1)


def test_connections(mesh: Meshes, matrix: MatrixAsker, caller: Actor) -> None:
    """Raw TCP is spread too, connection by connection; the even spread that was there before is another one."""
    backends = (Backend(version="v1", weight=80), Backend(version="v2", weight=20))
    mesh(Routing(service="server", tcp=backends))
    matrix.becomes("""
                server:9090@dns
    caller      .
    """)
    caller.splits("server:9090@dns", {"v1": 80, "v2": 20}, difference=0.1)


def test_all_to_one(mesh: Meshes, matrix: MatrixAsker, caller: Actor) -> None:
    """100/0 sends nothing to the other version."""
    mesh(split("server", v1=100, v2=0))
    matrix.becomes("""
                server:8080/http@dns
    caller      =v1
    """)
    caller.splits("server:8080/http@dns", {"v1": 100, "v2": 0})
