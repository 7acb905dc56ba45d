"""From no mesh to a canary, the way teams go: each step with its matrix, and traffic that no step interrupts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.going import Traffics
from fixtures.mesh import Access, HttpRoute, Meshes, Mode, Mtls, Routing, Rule, Source, namespace, split, workload
from fixtures.workloads import CALLER, INTRUDER, PEER, SCRAPER, SERVER, SERVER_V2, Spec, in_mesh

TABLE = """
            server:8080/http@dns  server:9090@dns
caller      {caller}              .
peer        {peer}                {peer_tcp}
scraper     {foreign}             {foreign_tcp}
intruder    {naked}               {naked_tcp}
"""
RUNNING = """
            server:8080/http@dns
caller      .
"""


Pair = tuple[str, str]
OPEN: Pair = (".", ".")
PLAIN: Pair = ("reset", "reset")
FORBIDDEN: Pair = ("forbidden", "reset|closed")


@pytest.fixture(scope="module")
def world_specs() -> Sequence[Spec]:
    """A house without a mesh; its neighbours: one with a proxy, one without."""
    naked = [in_mesh(spec, meshed=False) for spec in (CALLER, SERVER, PEER, INTRUDER, SERVER_V2)]
    return (*naked, in_mesh(SCRAPER))


def table(*, caller: str = ".", peer: Pair = OPEN, foreign: Pair = OPEN, naked: Pair = OPEN) -> str:
    """The matrix of a step; each pair is what becomes of HTTP and of raw TCP."""
    return TABLE.format(
        caller=caller,
        peer=peer[0],
        peer_tcp=peer[1],
        foreign=foreign[0],
        foreign_tcp=foreign[1],
        naked=naked[0],
        naked_tcp=naked[1],
    )


def test_journey(
    mesh: Meshes,
    matrix: MatrixAsker,
    traffic: Traffics,
    caller: Actor,
    server: Actor,
    server_v2: Actor,
    peer: Actor,
    intruder: Actor,
) -> None:
    """Inject, permissive, observe, strict, deny by default, allow by identity, canary 90/10, roll back.

    Versions are made known before anything is routed to them: where both came at once, a real Istio answered one call
    with 503, since a proxy may learn of a route before it knows where that leads.
    """
    matrix.becomes(table())

    server.relabel_namespace(**mesh.dialect.namespace_labels(), **{"pod-security.kubernetes.io/enforce": None})
    for actor in (server, server_v2, caller, peer):
        actor.enmesh()
    matrix.becomes(table())

    going = traffic(RUNNING, connections="keep-alive")
    mode = mesh(Mtls(scope=namespace(), mode=Mode.PERMISSIVE))
    matrix.becomes(table())
    assert caller.call("server:8080/http@dns").evidence.identity == mesh.identity("caller")
    assert not intruder.call("server:8080/http@dns").evidence.identity

    mode.becomes(Mtls(scope=namespace(), mode=Mode.STRICT))
    matrix.becomes(table(naked=PLAIN))

    allow = Access(
        name="allow-caller", scope=workload("server"), rules=(Rule(sources=(Source(identities=("caller",)),)),)
    )
    mesh(allow)
    matrix.becomes(table(peer=FORBIDDEN, foreign=FORBIDDEN, naked=PLAIN))
    denies = mesh(Access(name="allow-nothing", scope=namespace(), rules=None))
    matrix.becomes(table(peer=FORBIDDEN, foreign=FORBIDDEN, naked=PLAIN))

    route = mesh(Routing(service="server", routes=(HttpRoute(),)))
    matrix.becomes(table(peer=FORBIDDEN, foreign=FORBIDDEN, naked=PLAIN))
    route.becomes(split("server", v1=100, v2=0))
    matrix.becomes(table(caller="=v1", peer=FORBIDDEN, foreign=FORBIDDEN, naked=PLAIN))
    route.becomes(split("server", v1=90, v2=10))
    matrix.becomes(table(peer=FORBIDDEN, foreign=FORBIDDEN, naked=PLAIN))
    going.more()
    caller.splits("server:8080/http@dns", {"v1": 90, "v2": 10})

    route.becomes(split("server", v1=100, v2=0))
    matrix.becomes(table(caller="=v1", peer=FORBIDDEN, foreign=FORBIDDEN, naked=PLAIN))
    denies.delete()
    mode.becomes(Mtls(scope=namespace(), mode=Mode.PERMISSIVE))
    matrix.becomes(table(caller="=v1", peer=FORBIDDEN, foreign=FORBIDDEN, naked=FORBIDDEN))
    going.more()
    going.ends()
