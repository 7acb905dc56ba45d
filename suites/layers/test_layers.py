"""NetworkPolicy, mutual TLS and authorization at once: which layer decided, and what each alone keeps closed."""

from __future__ import annotations

import pytest

from fixtures.asking import MatrixAsker
from fixtures.mesh import Access, Applied, Meshes, Mode, Mtls, Operation, Rule, Source, workload
from fixtures.policy import Policies, Policy
from suites.layers.house import HOUSE

WEIGHT = 2
WORKLOADS = HOUSE
REQUESTS = """
    caller    GET  server:8080/       {caller}
    peer      GET  server:8080/       {peer}
    stray     GET  server:8080/open   {stray}
    scraper   GET  server:8080/open   {scraper}
    intruder  GET  server:8080/       {intruder}
"""
CLOSED = {"caller": ".", "peer": "forbidden", "stray": "reset", "scraper": "X", "intruder": "X"}
"""Each cell by its layer: authorization forbids, mutual TLS resets, NetworkPolicy drops (silence, behind a proxy)."""


class Layers:
    """All three in force, or about to be.

    The network admits the house. The mesh takes mutual TLS only. Authorization admits the caller, and everybody at
    `/open`.
    """

    def __init__(self, mesh: Meshes, policy: Policies) -> None:
        self.network: Policy = policy(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": "house-only"},
                "spec": {
                    "podSelector": {"matchLabels": {"app": "server"}},
                    "policyTypes": ["Ingress"],
                    "ingress": [{"from": [{"podSelector": {}}]}],
                },
            }
        )
        self.mtls: Applied = mesh(Mtls(scope=workload("server"), mode=Mode.STRICT))
        rules = (
            Rule(sources=(Source(identities=("caller",)),)),
            Rule(operations=(Operation(paths=("/open",)),)),
        )
        self.access: Applied = mesh(Access(name="caller-or-open", scope=workload("server"), rules=rules))


@pytest.fixture(autouse=True)
def layers(mesh: Meshes, policy: Policies) -> Layers:
    """The three layers."""
    return Layers(mesh, policy)


def requests(**opened: str) -> str:
    """The requests with all layers in force, but for those that are said to end otherwise."""
    return REQUESTS.format(**{**CLOSED, **opened})


@pytest.mark.checks("mesh-and-policy")
def test_each_cell_has_its_layer(matrix: MatrixAsker) -> None:
    """In one matrix each denial looks as the layer that made it."""
    matrix.requests(requests())


def test_without_network_policy(layers: Layers, matrix: MatrixAsker) -> None:
    """Without NetworkPolicy opens what only it closed; the naked intruder meets mutual TLS next."""
    matrix.requests(requests())
    layers.network.delete()
    matrix.requests(requests(scraper=".", intruder="reset"))


def test_without_mutual_tls(layers: Layers, matrix: MatrixAsker) -> None:
    """Taking plaintext too opens what only mutual TLS closed."""
    matrix.requests(requests())
    layers.mtls.becomes(Mtls(scope=workload("server"), mode=Mode.PERMISSIVE))
    matrix.requests(requests(stray="."))


def test_without_authorization(layers: Layers, matrix: MatrixAsker) -> None:
    """Without authorization opens what only it closed."""
    matrix.requests(requests())
    layers.access.delete()
    matrix.requests(requests(peer="."))
