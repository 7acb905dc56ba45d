"""While it runs: policies changed and removed, pods and namespaces relabelled, pods restarted."""

from __future__ import annotations

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.network.manifests import labelled, network_policy, pods, spaces

WEIGHT = 2.5

SERVER = labelled(app="server")
CALLER_ONLY = """
            server:8080  server:8080/udp  server:8080@service-ip  scraper:8080
caller      .            .                .                       .
peer        X            X                X                       .
intruder    X            X                X                       .
"""
PEER_ONLY = """
            server:8080  server:8080/udp  server:8080@service-ip  scraper:8080
caller      X            X                X                       .
peer        .            .                .                       .
intruder    X            X                X                       .
"""
OPEN = """
            server:8080  server:8080/udp  server:8080@service-ip  scraper:8080
caller      .            .                .                       .
peer        .            .                .                       .
intruder    .            .                .                       .
"""


def admits_caller() -> dict[str, object]:
    """A policy that lets only the caller reach the server."""
    return network_policy("server-in", selects=SERVER, types=["Ingress"], ingress=[{"from": [pods(app="caller")]}])


@pytest.mark.checks("policy-life", "latency")
def test_policy_replaced(policy: Policies, matrix: MatrixAsker) -> None:
    """Replacing a policy's rules closes what they no longer allow and opens what they now do."""
    changed = policy(admits_caller())
    matrix.becomes(CALLER_ONLY)
    changed.replace(podSelector=SERVER, policyTypes=["Ingress"], ingress=[{"from": [pods(app="peer")]}])
    matrix.becomes(PEER_ONLY)


@pytest.mark.checks("policy-life", "latency")
def test_policy_deleted(policy: Policies, matrix: MatrixAsker) -> None:
    """Deleting the last policy of a pod opens it again."""
    gone = policy(admits_caller())
    matrix.becomes(CALLER_ONLY)
    gone.delete()
    matrix.becomes(OPEN)


@pytest.mark.checks("policy-life", "union")
def test_one_of_two_deleted(policy: Policies, matrix: MatrixAsker) -> None:
    """Deleting one of two policies takes away exactly what only it allowed."""
    policy(admits_caller())
    rules = [{"from": [pods(app="peer"), spaces(team="observability")]}]
    wide = policy(network_policy("wide", selects=SERVER, types=["Ingress"], ingress=rules))
    matrix.becomes(OPEN.replace("intruder", "scraper "))
    wide.delete()
    matrix.becomes(CALLER_ONLY.replace("intruder", "scraper "))


@pytest.mark.checks("relabel")
def test_caller_relabelled(policy: Policies, matrix: MatrixAsker, caller: Actor, peer: Actor) -> None:
    """Access follows a running pod's labels: the one that loses them is out, the one that gains them is in."""
    policy(admits_caller())
    matrix.becomes(CALLER_ONLY)
    caller.relabel(app="stranger")
    peer.relabel(app="caller")
    matrix.becomes(PEER_ONLY)


@pytest.mark.checks("relabel")
def test_server_relabelled(policy: Policies, matrix: MatrixAsker, server: Actor) -> None:
    """A pod that loses the label by which a policy selects it is open again."""
    policy(admits_caller())
    matrix.becomes(CALLER_ONLY)
    server.relabel(app="stranger")
    matrix.becomes(OPEN)


@pytest.mark.checks("relabel")
def test_namespace_relabelled(policy: Policies, matrix: MatrixAsker, intruder: Actor) -> None:
    """Access follows a namespace's labels while its pods run on."""
    rules = [{"from": [pods(app="caller"), spaces(team="observability")]}]
    policy(network_policy("server-in", selects=SERVER, types=["Ingress"], ingress=rules))
    matrix.becomes("""
                server:8080  server:8080/udp
    caller      .            .
    peer        X            X
    intruder    .            .
    """)
    intruder.relabel_namespace(team="strangers")
    matrix.becomes("""
                server:8080  server:8080/udp
    caller      .            .
    peer        X            X
    intruder    X            X
    """)


@pytest.mark.checks("pods-come-and-go")
def test_caller_restarted(policy: Policies, matrix: MatrixAsker, caller: Actor) -> None:
    """A restarted pod keeps its access, whatever address it gets."""
    policy(admits_caller())
    matrix.becomes(CALLER_ONLY)
    caller.restart()
    matrix.becomes(CALLER_ONLY)


@pytest.mark.checks("pods-come-and-go")
def test_server_restarted(policy: Policies, matrix: MatrixAsker, server: Actor) -> None:
    """A restarted pod is protected as the one before it."""
    policy(admits_caller())
    matrix.becomes(CALLER_ONLY)
    server.restart()
    matrix.becomes(CALLER_ONLY)


@pytest.mark.checks("pods-come-and-go")
def test_intruder_restarted(policy: Policies, matrix: MatrixAsker, intruder: Actor) -> None:
    """An intruder that is restarted under the policy stays out."""
    policy(admits_caller())
    matrix.becomes(CALLER_ONLY)
    intruder.restart()
    matrix.becomes(CALLER_ONLY)
