"""What the whole mesh takes and denies: mesh-wide writes, so nothing else of the run goes on meanwhile."""

from __future__ import annotations

import pytest

from fixtures.asking import MatrixAsker
from fixtures.mesh import Access, Action, Meshes, Mode, Mtls, Rule, Source, namespace, whole_mesh, workload
from suites.mtls.test_modes import naked

pytestmark = pytest.mark.cluster_wide


def test_strict_mesh(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Strict for the whole mesh holds in every namespace that says nothing else."""
    mesh(Mtls(scope=whole_mesh(), mode=Mode.STRICT))
    matrix.becomes(naked(http="reset", tcp="reset", peer="reset"))


def test_namespace_before_mesh(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A namespace's own mode wins over the mesh's."""
    mesh(Mtls(scope=whole_mesh(), mode=Mode.STRICT))
    mesh(Mtls(scope=namespace(), mode=Mode.PERMISSIVE))
    matrix.becomes(naked())


def test_deny_of_the_mesh(mesh: Meshes, matrix: MatrixAsker) -> None:
    """What the whole mesh denies, no workload's own rule allows."""
    scraper, caller = Source(identities=("scraper",)), Source(identities=("caller",))
    mesh(Access(name="deny-scraper", scope=whole_mesh(), action=Action.DENY, rules=(Rule(sources=(scraper,)),)))
    mesh(Access(name="allow", scope=workload("server"), rules=(Rule(sources=(scraper, caller)),)))
    matrix.becomes("""
                server:8080/http@dns  server:9090@dns  peer:8080/http@dns
    caller      .                     .                .
    peer        forbidden             reset|closed     .
    scraper     forbidden             reset|closed     forbidden
    """)
