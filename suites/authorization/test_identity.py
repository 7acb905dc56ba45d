"""Who may call: identities, namespaces, accounts and addresses; and who has none of them."""

from __future__ import annotations

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.mesh import Access, Action, Meshes, Mode, Mtls, Rule, Source, namespace, workload

CALLER_ONLY = """
            server:8080/http@dns  server:9090@dns  peer:8080/http@dns
caller      .                     .                .
peer        forbidden             reset|closed     .
scraper     forbidden             reset|closed     .
"""
HOME_ONLY = """
            server:8080/http@dns  server:9090@dns  peer:8080/http@dns
caller      .                     .                .
peer        .                     .                .
scraper     forbidden             reset|closed     .
"""


def allow(*sources: Source, name: str = "allow") -> Access:
    """Only these sources may call the server."""
    return Access(name=name, scope=workload("server"), rules=(Rule(sources=sources),))


def test_identity(mesh: Meshes, matrix: MatrixAsker) -> None:
    """An allowed identity is answered; every other is forbidden, and cut off on raw TCP."""
    mesh(allow(Source(identities=("caller",))))
    matrix.becomes(CALLER_ONLY)


def test_namespace(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A whole namespace is allowed by its name."""
    mesh(allow(Source(roles=("home",))))
    matrix.becomes(HOME_ONLY)


def test_not_namespace_takes_the_naked(mesh: Meshes, matrix: MatrixAsker) -> None:
    """The hole: everybody but a namespace is everybody without an identity, too, the namespace's own intruder."""
    mesh(allow(Source(not_roles=("foreign",))))
    matrix.becomes("""
                server:8080/http@dns  server:9090@dns  peer:8080/http@dns
    caller      .                     .                .
    scraper     forbidden             reset|closed     .
    intruder    .                     .                .
    """)


def test_account(mesh: Meshes, matrix: MatrixAsker) -> None:
    """ServiceAccounts of the server's namespace are allowed by a short name, of another by both names; one is not."""
    mesh(allow(Source(accounts=("caller", "peer", "scraper"), not_accounts=("peer",))))
    matrix.becomes("""
                server:8080/http@dns  server:9090@dns  peer:8080/http@dns
    caller      .                     .                .
    peer        forbidden             reset|closed     .
    scraper     .                     .                .
    intruder    forbidden             reset|closed     .
    """)


def test_identity_pattern(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Identities are allowed by how they end or begin; a piece out of their middle is nobody's."""
    name = mesh.identity("caller")
    mesh(allow(Source(raw_identities=(f"*{name[-7:]}", f"{mesh.identity('scraper')[:-2]}*", name[1:]))))
    matrix.becomes("""
                server:8080/http@dns  server:9090@dns  peer:8080/http@dns
    caller      .                     .                .
    peer        forbidden             reset|closed     .
    scraper     .                     .                .
    """)


def test_address(mesh: Meshes, matrix: MatrixAsker, caller: Actor, intruder: Actor, peer: Actor) -> None:
    """Callers are allowed by the address of their pod, with a proxy or without one; one address is excepted."""
    blocks = (caller.address, intruder.address, peer.address)
    mesh(allow(Source(blocks=blocks, not_blocks=(peer.address,))))
    matrix.becomes("""
                server:8080/http@dns  server:9090@dns  peer:8080/http@dns
    caller      .                     .                .
    intruder    .                     .                .
    peer        forbidden             reset|closed     .
    scraper     forbidden             reset|closed     .
    """)


def test_claimed_address(mesh: Meshes, matrix: MatrixAsker) -> None:
    """The hole: the original client's address is what the caller says it is, in a header that anybody may send."""
    mesh(allow(Source(remote_blocks=("203.0.113.0/24",))))
    matrix.requests(
        """
        caller    GET  server:8080/ +client    .
        intruder  GET  server:8080/ +client    .
        caller    GET  server:8080/ +stranger  forbidden
        caller    GET  server:8080/            forbidden
        intruder  GET  server:8080/            forbidden
        """,
        {"client": {"x-forwarded-for": "203.0.113.7"}, "stranger": {"x-forwarded-for": "198.51.100.7"}},
    )


def test_naked_intruder_has_no_identity(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Permissive: a caller without a proxy is answered where nothing asks who it is, else forbidden."""
    mesh(Mtls(scope=namespace(), mode=Mode.PERMISSIVE))
    mesh(allow(Source(identities=("*",))))
    matrix.becomes("""
                server:8080/http@dns  peer:8080/http@dns
    caller      .                     .
    scraper     .                     .
    intruder    forbidden             .
    """)


def test_deny_by_namespace_is_walked_around(mesh: Meshes, matrix: MatrixAsker) -> None:
    """The hole: permissive, a DENY by namespace stops the namespace's proxies, not its naked intruder."""
    mesh(
        Access(
            name="deny-foreign",
            scope=workload("server"),
            action=Action.DENY,
            rules=(Rule(sources=(Source(roles=("foreign",)),)),),
        )
    )
    matrix.becomes("""
                server:8080/http@dns  peer:8080/http@dns
    caller      .                     .
    scraper     forbidden             .
    intruder    .                     .
    """)
