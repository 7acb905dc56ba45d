"""Several rules at once: which of them decides, whose workloads they are for, and how they come and go."""

from __future__ import annotations

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.mesh import (
    Access,
    Action,
    Condition,
    Meshes,
    Operation,
    Rule,
    Scope,
    Source,
    namespace,
    workload,
)

OPEN = """
            server:8080/http@dns  server:9090@dns  peer:8080/http@dns
caller      .                     .                .
peer        .                     .                .
scraper     .                     .                .
"""
CLOSED = """
            server:8080/http@dns  server:9090@dns  peer:8080/http@dns
caller      forbidden             reset|closed     .
peer        forbidden             reset|closed     .
scraper     forbidden             reset|closed     .
"""
NOT_SCRAPER = """
            server:8080/http@dns  server:9090@dns  peer:8080/http@dns
caller      .                     .                .
peer        .                     .                .
scraper     forbidden             reset|closed     .
"""
CALLER_ONLY = """
            server:8080/http@dns  server:9090@dns  peer:8080/http@dns
caller      .                     .                .
peer        forbidden             reset|closed     .
scraper     forbidden             reset|closed     .
"""
VIP = {"vip": {"x-vip": "yes"}}


def access(
    name: str, *identities: str, action: Action = Action.ALLOW, scope: Scope | None = None, provider: str = ""
) -> Access:
    """A rule for callers of these identities; for everybody when none is named."""
    sources = (Source(identities=identities),) if identities else ()
    return Access(
        name=name,
        scope=scope or workload("server"),
        action=action,
        rules=(Rule(sources=sources),),
        provider=provider,
    )


def test_allow_closes_everything_else(mesh: Meshes, matrix: MatrixAsker) -> None:
    """The first thing that is allowed closes everything that is not, on every port and path."""
    mesh(
        Access(
            name="one-path",
            scope=workload("server"),
            rules=(Rule(sources=(Source(identities=("caller",)),), operations=(Operation(paths=("/one",)),)),),
        )
    )
    matrix.requests("""
        caller   GET  server:8080/one  .
        caller   GET  server:8080/     forbidden
        caller   GET  server:8081/     forbidden
        peer     GET  server:8080/one  forbidden
        scraper  GET  server:8080/one  forbidden
        caller   GET  peer:8080/       .
    """)


def test_allows_add_up(mesh: Meshes, matrix: MatrixAsker) -> None:
    """What any of several rules allows is allowed: of one workload, and of its whole namespace."""
    mesh(access("allow-caller", "caller"))
    mesh(access("allow-peer", "peer", scope=namespace()))
    matrix.becomes("""
                server:8080/http@dns  server:9090@dns  peer:8080/http@dns
    caller      .                     .                forbidden
    peer        .                     .                .
    scraper     forbidden             reset|closed     forbidden
    """)


def test_deny_before_allow(mesh: Meshes, matrix: MatrixAsker) -> None:
    """What is denied is denied, whatever is allowed beside it and whichever came first."""
    mesh(access("deny-scraper", "scraper", action=Action.DENY))
    mesh(access("allow-everybody"))
    mesh(access("allow-scraper", "scraper"))
    matrix.becomes(NOT_SCRAPER)


def test_deny_of_the_namespace_before_allow_of_the_workload(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A workload's own permission does not win over its namespace's denial."""
    mesh(access("allow-scraper", "scraper", "caller"))
    mesh(access("deny-scraper", "scraper", action=Action.DENY, scope=namespace()))
    matrix.becomes("""
                server:8080/http@dns  server:9090@dns  peer:8080/http@dns
    caller      .                     .                .
    peer        forbidden             reset|closed     .
    scraper     forbidden             reset|closed     forbidden
    """)


def test_other_namespaces_rules(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A rule of another namespace is not for this one's workloads."""
    mesh(access("deny-everybody", action=Action.DENY, scope=namespace("foreign")))
    matrix.becomes("""
                server:8080/http@dns  peer:8080/http@dns  scraper:8080/http@dns
    caller      .                     .                   forbidden
    peer        .                     .                   forbidden
    """)


def test_custom_without_its_authorizer(mesh: Meshes, matrix: MatrixAsker) -> None:
    """What is left to an authorizer that nobody knows is denied, before anything could allow it; nothing else is."""
    mesh(access("allow-everybody"))
    mesh(
        Access(
            name="ask-nobody",
            scope=workload("server"),
            action=Action.CUSTOM,
            provider="eastwest-nobody",
            rules=(Rule(operations=(Operation(paths=("/asked", "/asked/*")),)),),
        )
    )
    matrix.requests("""
        caller   GET  server:8080/asked    forbidden
        scraper  GET  server:8080/asked/x  forbidden
        caller   GET  server:8080/         .
        scraper  GET  server:8080/         .
    """)
    assert mesh.logged("server", "GET /asked/x", "ask-nobody")


def test_audit_decides_nothing(mesh: Meshes, matrix: MatrixAsker) -> None:
    """What is only watched is neither allowed by that nor denied."""
    mesh(access("watch", "caller", "scraper", action=Action.AUDIT))
    mesh(access("allow-caller", "caller"))
    matrix.becomes(CALLER_ONLY)


def test_parts_of_a_rule_add_up(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Source, operation and condition of one rule must all hold; of several rules one is enough."""
    strict = Rule(
        sources=(Source(identities=("caller",)),),
        operations=(Operation(methods=("GET",), paths=("/api",)),),
        conditions=(Condition(key="header:x-vip", values=("yes",)),),
    )
    loose = Rule(sources=(Source(identities=("peer",)),))
    mesh(Access(name="both", scope=workload("server"), rules=(strict, loose)))
    matrix.requests(
        """
        caller   GET   server:8080/api +vip  .
        caller   GET   server:8080/api       forbidden
        caller   GET   server:8080/ +vip     forbidden
        caller   POST  server:8080/api +vip  forbidden
        scraper  GET   server:8080/api +vip  forbidden
        peer     POST  server:8080/          .
        """,
        VIP,
    )


def test_exceptions_within_a_rule(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A source or an operation may except what it names: everybody of the house but one, everything but one path."""
    mesh(
        Access(
            name="with-exceptions",
            scope=workload("server"),
            rules=(
                Rule(
                    sources=(Source(roles=("home",), not_identities=("peer",)),),
                    operations=(Operation(paths=("/api*",), not_paths=("/api/secret",)),),
                ),
            ),
        )
    )
    matrix.requests("""
        caller   GET  server:8080/api         .
        caller   GET  server:8080/api/secret  forbidden
        caller   GET  server:8080/            forbidden
        peer     GET  server:8080/api         forbidden
        scraper  GET  server:8080/api         forbidden
    """)


def test_allow_nothing_and_back(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A rule that grants nothing closes the workload; changed it opens for one, taken away for all: no redeploying."""
    rule = mesh(Access(name="rule", scope=workload("server"), rules=None))
    matrix.becomes(CLOSED)
    rule.becomes(access("rule", "caller"))
    matrix.becomes(CALLER_ONLY)
    rule.delete()
    matrix.becomes(OPEN)


def test_the_proxy_names_the_rule(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Which rule denied stands in the server's proxy's own log, of raw TCP too; what no rule allowed has no name."""
    mesh(access("deny-by-rule", "scraper", action=Action.DENY))
    mesh(access("allow-caller", "caller"))
    matrix.requests("""
        caller   GET  server:8080/by-rule  .
        scraper  GET  server:8080/by-rule  forbidden
        peer     GET  server:8080/by-none  forbidden
    """)
    assert mesh.logged("server", "GET /by-rule", "deny-by-rule")
    unnamed = mesh.logged("server", "GET /by-none", " 403 ")
    assert unnamed
    assert not any("deny-by-rule" in entry.text or "allow-caller" in entry.text for entry in unnamed)


def test_the_proxy_names_the_rule_of_raw_tcp(mesh: Meshes, matrix: MatrixAsker, scraper: Actor) -> None:
    """Which rule ended a raw TCP connection stands in the server's proxy's own log.

    The rule's name is in no other test: the log still has what other tests of this world left in it.
    """
    mesh(access("deny-raw-tcp-of-scraper", "scraper", action=Action.DENY))
    matrix.becomes(NOT_SCRAPER)
    assert mesh.logged("server", "deny-raw-tcp-of-scraper", f"{scraper.address}:", ":9090 ")
