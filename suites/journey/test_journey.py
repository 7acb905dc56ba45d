"""From no mesh to a canary, the way teams go: each step with its matrix, and traffic that none of them interrupts.

But for one: to deny by default is meant to interrupt, so traffic ends before it and begins again once a rule allows it.
"""

from __future__ import annotations

from functools import partial

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.going import Traffics
from fixtures.mesh import Access, HttpRoute, Meshes, Mode, Mtls, Routing, Rule, Source, namespace, split, workload
from fixtures.workloads import CALLER, INTRUDER, PEER, SCRAPER, SERVER, SERVER_V2, in_mesh

WEIGHT = 16

WORKLOADS = (
    *(in_mesh(spec, meshed=False) for spec in (CALLER, SERVER, PEER, INTRUDER, SERVER_V2)),
    in_mesh(SCRAPER),
)
"""A house without a mesh; its neighbours: one with a proxy, one without."""
TABLE = """
            server:8080/http@dns  server:9090@dns  peer:8080/http@dns  scraper:8080/http@dns
caller      {caller}              {caller_tcp}     {to_peer}           .
peer        {peer}                {peer_tcp}       -                   .
scraper     {foreign}             {foreign_tcp}    -                   -
intruder    {naked}               {naked_tcp}      -                   .
"""
RUNNING = """
            server:8080/http@dns
caller      .
"""


Pair = tuple[str, str]
OPEN: Pair = (".", ".")
V1: Pair = ("=v1", ".")
UNTOLD: Pair = ("#", "#")
PLAIN: Pair = ("reset", "reset")
FORBIDDEN: Pair = ("forbidden", "reset|closed")


def table(
    *, caller: Pair = OPEN, peer: Pair = OPEN, foreign: Pair = OPEN, naked: Pair = OPEN, to_peer: str = "."
) -> str:
    """The matrix of a step; each pair is what becomes of HTTP and of raw TCP."""
    return TABLE.format(
        caller=caller[0],
        caller_tcp=caller[1],
        to_peer=to_peer,
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

    going.more()
    going.ends()
    denies = mesh(Access(name="allow-nothing", scope=namespace(), rules=None))
    # Of a foreign caller nothing is told here: no flow of its own stays allowed that could be its neighbour.
    matrix.becomes(table(caller=FORBIDDEN, peer=FORBIDDEN, foreign=UNTOLD, naked=PLAIN, to_peer="forbidden"))

    allowed = Rule(sources=(Source(identities=("caller",)),))
    mesh(Access(name="allow-caller", scope=workload("server"), rules=(allowed,)))
    denied = partial(table, peer=FORBIDDEN, foreign=FORBIDDEN, naked=PLAIN, to_peer="forbidden")
    matrix.becomes(denied())
    # Connections that a proxy keeps from before the rule answer once more as before it, and are then closed.
    settling = traffic(RUNNING, connections="keep-alive")
    settling.more()
    settling.close()

    going = traffic(RUNNING, connections="keep-alive")
    route = mesh(Routing(service="server", routes=(HttpRoute(),)))
    matrix.becomes(denied())
    route.becomes(split("server", v1=100, v2=0))
    matrix.becomes(denied(caller=V1))
    route.becomes(split("server", v1=90, v2=10))
    matrix.becomes(denied())
    going.more()
    caller.splits("server:8080/http@dns", {"v1": 90, "v2": 10})

    route.becomes(split("server", v1=100, v2=0))
    matrix.becomes(denied(caller=V1))
    caller.splits("server:8080/http@dns", {"v1": 100, "v2": 0})
    denies.delete()
    mode.becomes(Mtls(scope=namespace(), mode=Mode.PERMISSIVE))
    matrix.becomes(table(caller=V1, peer=FORBIDDEN, foreign=FORBIDDEN, naked=FORBIDDEN))
    going.more()
    going.ends()
