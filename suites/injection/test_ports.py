"""Ports that a workload keeps out of its proxy: nothing guards them, and nothing vouches for their callers."""

from __future__ import annotations

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.mesh import Meshes, Mode, Mtls, workload
from fixtures.workloads import CALLER, INTRUDER, PEER, SERVER, in_mesh

WORKLOADS = (
    in_mesh(CALLER, unrouted=(8081, 9090)),
    in_mesh(SERVER, unguarded=(9090,)),
    in_mesh(PEER),
    in_mesh(INTRUDER, meshed=False),
)
"""The server's raw port bypasses its proxy; the caller's own proxy is bypassed to there and to the admin port."""


def test_around_the_proxy(mesh: Meshes, matrix: MatrixAsker, caller: Actor, peer: Actor) -> None:
    """Strict mutual TLS holds only where both proxies stand between: a port kept out of either is plaintext.

    The server's excluded port answers everybody. A caller that leaves its proxy out is reset like any naked one, and
    the server does not know who calls where it takes both.
    """
    mode = mesh(Mtls(scope=workload("server"), mode=Mode.STRICT))
    matrix.becomes("""
                server:8080/http@dns  server:8081/http@dns  server:9090@dns
    caller      .                     reset                 .
    peer        .                     .                     -
    intruder    reset                 reset                 .
    """)
    mode.becomes(Mtls(scope=workload("server"), mode=Mode.PERMISSIVE))
    matrix.becomes("""
                server:8080/http@dns  server:8081/http@dns
    caller      .                     .
    peer        .                     .
    """)
    assert caller.call("server:8080/http@dns").evidence.identity == mesh.identity("caller")
    assert not caller.call("server:8081/http@dns").evidence.identity
    assert peer.call("server:8081/http@dns").evidence.identity == mesh.identity("peer")
