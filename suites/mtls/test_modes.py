"""What servers take: plaintext, mutual TLS or both; at namespace, workload and port level, and which of them wins."""

from __future__ import annotations

from fixtures.asking import MatrixAsker
from fixtures.mesh import Meshes, Mode, Mtls, namespace, workload

TABLE = """
            server:8080/http@dns  server:9090@dns  peer:8080/http@dns
caller      .                     .                .
scraper     .                     .                .
intruder    {http}                {tcp}            {peer}
"""


def naked(*, http: str = ".", tcp: str = ".", peer: str = ".") -> str:
    """The table in which everybody with a proxy gets through, and the intruder as said."""
    return TABLE.format(http=http, tcp=tcp, peer=peer)


def test_permissive_takes_both(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Permissive answers callers with a proxy and callers without one."""
    mesh(Mtls(mode=Mode.PERMISSIVE))
    matrix.becomes(naked())


def test_strict_namespace_refuses_plaintext(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Strict for a namespace resets plaintext on HTTP and on raw TCP, at every workload there."""
    mesh(Mtls(scope=namespace(), mode=Mode.STRICT))
    matrix.becomes(naked(http="reset", tcp="reset", peer="reset"))


def test_strict_workload_is_its_own(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Strict for one workload leaves its neighbours as they were."""
    mesh(Mtls(scope=workload("server"), mode=Mode.STRICT))
    matrix.becomes(naked(http="reset", tcp="reset"))


def test_workload_before_namespace(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A workload's own mode wins over its namespace's."""
    mesh(Mtls(scope=namespace(), mode=Mode.STRICT))
    mesh(Mtls(scope=workload("server"), mode=Mode.PERMISSIVE))
    matrix.becomes(naked(peer="reset"))


def test_unset_inherits(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A workload that says nothing about its mode has its namespace's."""
    mesh(Mtls(scope=namespace(), mode=Mode.STRICT))
    mesh(Mtls(scope=workload("server"), mode=None))
    matrix.becomes(naked(http="reset", tcp="reset", peer="reset"))


def test_port_before_workload(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A port's own mode wins over its workload's."""
    mesh(Mtls(scope=workload("server"), mode=Mode.STRICT, ports=((9090, Mode.PERMISSIVE),)))
    matrix.becomes(naked(http="reset"))


def test_strict_port_of_a_permissive_workload(mesh: Meshes, matrix: MatrixAsker) -> None:
    """One port can be strict while the rest of the workload takes both."""
    mesh(Mtls(scope=workload("server"), mode=Mode.PERMISSIVE, ports=((8080, Mode.STRICT),)))
    matrix.becomes(naked(http="reset"))


def test_disable_takes_plaintext(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Disabled, a workload is reached in plaintext by everybody: callers' proxies know it and send none."""
    mesh(Mtls(scope=namespace(), mode=Mode.STRICT))
    mesh(Mtls(scope=workload("server"), mode=Mode.DISABLE))
    matrix.becomes(naked(peer="reset"))


def test_back_to_permissive(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Strict and back again, without redeploying anything."""
    mode = mesh(Mtls(scope=namespace(), mode=Mode.STRICT))
    matrix.becomes(naked(http="reset", tcp="reset", peer="reset"))
    mode.becomes(Mtls(scope=namespace(), mode=Mode.PERMISSIVE))
    matrix.becomes(naked())
    mode.delete()
    matrix.becomes(naked())
