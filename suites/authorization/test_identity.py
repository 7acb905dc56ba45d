"""Who may call: identities, namespaces and accounts; 403 for everybody else, in the proxy's own words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.mesh import Access, Action, Meshes, Mode, Mtls, Rule, Source, namespace, workload
from fixtures.workloads import MESH_WORLD, Spec

OPEN = """
            server:8080/http@dns  server:9090@dns  peer:8080/http@dns
caller      .                     .                .
peer        .                     .                .
scraper     .                     .                .
"""
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


@pytest.fixture(scope="module")
def world_specs() -> Sequence[Spec]:
    """Workloads with proxies, and an intruder without one."""
    return MESH_WORLD


def allow(*sources: Source, name: str = "allow") -> Access:
    """Only these sources may call the server."""
    return Access(name=name, scope=workload("server"), rules=(Rule(sources=sources),))


def test_identity(mesh: Meshes, matrix: MatrixAsker) -> None:
    """An allowed identity is answered; every other is forbidden, and cut off on raw TCP."""
    mesh(allow(Source(identities=("caller",))))
    matrix.becomes(CALLER_ONLY)


def test_not_identity(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Everybody but one identity."""
    mesh(allow(Source(not_identities=("scraper",))))
    matrix.becomes(HOME_ONLY)


def test_namespace(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A whole namespace is allowed by its name."""
    mesh(allow(Source(roles=("home",))))
    matrix.becomes(HOME_ONLY)


def test_account(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A ServiceAccount of the server's namespace is allowed by its short name."""
    mesh(allow(Source(accounts=("caller",))))
    matrix.becomes(CALLER_ONLY)


def test_allow_nothing(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A policy without rules grants nothing: the workload is closed."""
    mesh(Access(name="allow-nothing", scope=workload("server"), rules=None))
    matrix.becomes(
        CALLER_ONLY.replace("caller      .                     . ", "caller      forbidden             reset|closed ")
    )


def test_deny_before_allow(mesh: Meshes, matrix: MatrixAsker) -> None:
    """What a DENY matches is denied, whatever an ALLOW grants."""
    mesh(allow(Source(roles=("home",))))
    mesh(
        Access(
            name="deny-peer",
            scope=workload("server"),
            action=Action.DENY,
            rules=(Rule(sources=(Source(identities=("peer",)),)),),
        )
    )
    matrix.becomes(CALLER_ONLY)


def test_roll_back(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Taking the policy away opens the workload again, without redeploying."""
    closed = mesh(allow(Source(identities=("caller",))))
    matrix.becomes(CALLER_ONLY)
    closed.delete()
    matrix.becomes(OPEN)


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


def test_the_proxy_names_the_policy(mesh: Meshes, matrix: MatrixAsker, scraper: Actor) -> None:
    """Which policy decided stands in the server proxy's own log."""
    mesh(
        Access(
            name="deny-scraper",
            scope=workload("server"),
            action=Action.DENY,
            rules=(Rule(sources=(Source(identities=("scraper",)),)),),
        )
    )
    matrix.becomes("""
                server:8080/http@dns
    caller      .
    scraper     forbidden
    """)
    scraper.call("server:8080/http@dns")
    assert any("deny-scraper" in entry.details for entry in mesh.log("server", "rbac_access_denied"))
