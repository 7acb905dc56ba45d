"""From no mesh to a canary, the way teams go: each step with its matrix, and traffic that no step interrupts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.going import Traffics
from fixtures.mesh import Access, Meshes, Mode, Mtls, Rule, Source, namespace, split, workload
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


@pytest.fixture(scope="module")
def world_specs() -> Sequence[Spec]:
    """A house without a mesh; its neighbours: one with a proxy, one without."""
    naked = [in_mesh(spec, meshed=False) for spec in (CALLER, SERVER, PEER, INTRUDER, SERVER_V2)]
    return (*naked, in_mesh(SCRAPER))


def table(
    *, caller: str = ".", peer: tuple[str, str] = (".", "."), foreign: tuple[str, str] = (".", "."), naked: str = "."
) -> str:
    """The matrix of a step."""
    return TABLE.format(
        caller=caller,
        peer=peer[0],
        peer_tcp=peer[1],
        foreign=foreign[0],
        foreign_tcp=foreign[1],
        naked=naked,
        naked_tcp=naked,
    )


def test_journey(
    mesh: Meshes, matrix: MatrixAsker, traffic: Traffics, caller: Actor, server: Actor, server_v2: Actor, peer: Actor
) -> None:
    """Inject, permissive, observe, strict, deny by default, allow by identity, canary 90/10, roll back."""
    forbidden = ("forbidden", "reset|closed")
    matrix.becomes(table())

    server.relabel_namespace(**mesh.dialect.namespace_labels(), **{"pod-security.kubernetes.io/enforce": None})
    for actor in (server, server_v2, caller, peer):
        actor.enmesh()
    matrix.becomes(table())

    going = traffic(RUNNING, connections="keep-alive")
    mode = mesh(Mtls(scope=namespace(), mode=Mode.PERMISSIVE))
    matrix.becomes(table())
    assert mesh.identity("caller") in caller.call("server:8080/http@dns").evidence.identity

    mode.becomes(Mtls(scope=namespace(), mode=Mode.STRICT))
    matrix.becomes(table(naked="reset"))

    allow = Access(
        name="allow-caller", scope=workload("server"), rules=(Rule(sources=(Source(identities=("caller",)),)),)
    )
    mesh(allow)
    matrix.becomes(table(peer=forbidden, foreign=forbidden, naked="reset"))
    denies = mesh(Access(name="allow-nothing", scope=namespace(), rules=None))
    matrix.becomes(table(peer=forbidden, foreign=forbidden, naked="reset"))

    route = mesh(split("server", v1=100, v2=0))
    matrix.becomes(table(caller="=v1", peer=forbidden, foreign=forbidden, naked="reset"))
    route.becomes(split("server", v1=90, v2=10))
    matrix.becomes(table(peer=forbidden, foreign=forbidden, naked="reset"))
    going.more()
    caller.splits("server:8080/http@dns", {"v1": 90, "v2": 10})

    route.becomes(split("server", v1=100, v2=0))
    matrix.becomes(table(caller="=v1", peer=forbidden, foreign=forbidden, naked="reset"))
    denies.delete()
    mode.becomes(Mtls(scope=namespace(), mode=Mode.PERMISSIVE))
    matrix.becomes(table(caller="=v1", peer=forbidden, foreign=forbidden, naked="forbidden"))
    going.more()
    going.ends()
