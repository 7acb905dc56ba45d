"""What a default deny breaks unless it is excepted: names, and the Kubernetes API."""

from __future__ import annotations

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from fixtures.world import World
from flows.model import Kind, exactly
from suites.network.manifests import DNS, blocks, everywhere, labelled, network_policy, pods, tcp

WEIGHT = 2.5

CALLER = labelled(app="caller")
UNREADY_AFTER = 7.5
"""Seconds after which a pod whose probes fail is surely not ready: three failures of two seconds, and a margin."""


@pytest.mark.checks("kubelet-probes")
def test_kubelet_still_probes(policy: Policies, matrix: MatrixAsker, server: Actor) -> None:
    """Under a default deny both ways the node still reaches its pods: they stay ready."""
    policy(network_policy("deny-both", types=["Ingress", "Egress"]))
    matrix.becomes("""
                server:8080  peer:8080  scraper:8080
    caller      X            X          X
    intruder    X            X          .
    server      .            X          X
    peer        X            .          X
    """)
    assert server.stays_ready(UNREADY_AFTER), "server: expected to stay ready, but the kubelet's probes do not get in"


@pytest.mark.checks("dns")
def test_dns_exception_present(policy: Policies, matrix: MatrixAsker) -> None:
    """With the DNS exception, a pod under default deny calls its server by name."""
    rules = [DNS, {"to": [pods(app="server")]}]
    policy(network_policy("caller-out", selects=CALLER, types=["Egress"], egress=rules))
    matrix.becomes("""
                server:8080@dns  server:8080@headless  server:8080  peer:8080
    caller      .                .                     .            X
    peer        .                .                     .            -
    """)


@pytest.mark.checks("dns", "explain")
def test_dns_exception_forgotten(policy: Policies, matrix: MatrixAsker, caller: Actor) -> None:
    """Without the DNS exception the address is reachable and the name is not; the evidence says DNS."""
    policy(network_policy("caller-out", selects=CALLER, types=["Egress"], egress=[{"to": [pods(app="server")]}]))
    matrix.becomes("""
                server:8080  peer:8080
    caller      .            X
    peer        .            -
    """)
    verdict = caller.call("server:8080@dns")
    assert verdict == exactly(Kind.DNS_ERROR)
    assert verdict.evidence.detail.startswith("DNS:"), verdict.evidence


@pytest.mark.checks("dns", "policy-life")
def test_dns_back_after_exception(policy: Policies, matrix: MatrixAsker) -> None:
    """Adding the forgotten exception brings names back without touching anything else."""
    rules = [{"to": [pods(app="server")]}]
    forgotten = policy(network_policy("caller-out", selects=CALLER, types=["Egress"], egress=rules))
    matrix.becomes("""
                server:8080  peer:8080  server:8080@dns
    caller      .            X          #
    peer        .            -          .
    """)
    forgotten.replace(podSelector=CALLER, policyTypes=["Egress"], egress=[*rules, DNS])
    matrix.becomes("""
                server:8080  peer:8080  server:8080@dns
    caller      .            X          .
    peer        .            -          .
    """)


@pytest.mark.checks("block-node")
def test_kubernetes_api_closed(policy: Policies, matrix: MatrixAsker) -> None:
    """A default deny of egress also cuts a pod off from the Kubernetes API."""
    policy(network_policy("caller-out", selects=CALLER, types=["Egress"]))
    matrix.becomes("""
                kubernetes:443@service-ip  server:8080
    caller      X                          X
    peer        .                          .
    """)


@pytest.mark.checks("block-node", "block-egress")
def test_kubernetes_api_still_reached(policy: Policies, matrix: MatrixAsker, world: World) -> None:
    """A pod that may call only the API server's endpoints reaches the Kubernetes API, and nothing else."""
    rules = [{"to": blocks([address]), "ports": [tcp(port)]} for address, port in world.api_endpoints()]
    policy(network_policy("api-only", selects=CALLER, types=["Egress"], egress=rules))
    matrix.becomes("""
                kubernetes:443@service-ip  server:8080  scraper:8080
    caller      .                          X            X
    peer        .                          .            .
    """)


@pytest.mark.checks("block-node", "block-except")
def test_kubernetes_api_excepted(policy: Policies, matrix: MatrixAsker, world: World) -> None:
    """A pod that may call everywhere but the API server's endpoints reaches the rest, and not the Kubernetes API."""
    endpoints = [address for address, _ in world.api_endpoints()]
    policy(
        network_policy(
            "no-api", selects=CALLER, types=["Egress"], egress=[{"to": [*everywhere(endpoints), pods(app="server")]}]
        )
    )
    matrix.becomes("""
                kubernetes:443@service-ip  server:8080  server:8080/udp
    caller      X                          .            .
    peer        .                          .            .
    """)
