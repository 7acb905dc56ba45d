"""By which way: pod address, Service address, name and headless name; same node and other node."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from flows.model import answered
from suites.network.manifests import labelled, network_policy, pods
from suites.network.reported import happened, host, source_of

SERVER = labelled(app="server")


@pytest.mark.checks("pod-ip", "cluster-ip", "dns")
def test_deny_holds_on_every_path(policy: Policies, matrix: MatrixAsker) -> None:
    """A closed pod is closed by address, by Service, by name and by headless name."""
    policy(network_policy("deny-server", selects=SERVER, types=["Ingress"]))
    matrix.becomes("""
                server:8080  server:8080@service-ip  server:8080@dns  server:8080@headless  peer:8080@dns
    caller      X            X                       X                X                     .
    intruder    X            X                       X                X                     .
    """)


@pytest.mark.checks("pod-ip", "cluster-ip", "dns")
def test_allow_holds_on_every_path(policy: Policies, matrix: MatrixAsker) -> None:
    """Who is let in gets in by every path, who is not by none."""
    rules = [{"from": [pods(app="caller")]}]
    policy(network_policy("server-in", selects=SERVER, types=["Ingress"], ingress=rules))
    matrix.becomes("""
                server:8080  server:8080@service-ip  server:8080@dns  server:8080@headless
    caller      .            .                       .                .
    scraper     X            X                       X                X
    """)


@pytest.mark.checks("tcp-udp", "cluster-ip")
def test_datagrams_on_every_path(policy: Policies, matrix: MatrixAsker) -> None:
    """UDP is closed and opened on every path like TCP."""
    rules = [{"from": [pods(app="caller")]}]
    policy(network_policy("server-in", selects=SERVER, types=["Ingress"], ingress=rules))
    matrix.becomes("""
                server:8080/udp  server:8080/udp@service-ip  server:8080/udp@dns  server:8080/http@service-ip
    caller      .                .                           .                    .
    intruder    X                X                           X                    X
    """)


@pytest.mark.checks("cluster-ip")
def test_egress_deny_by_service(policy: Policies, matrix: MatrixAsker) -> None:
    """Egress that allows only the server's pods closes every other Service too."""
    rules = [{"to": [pods(app="server")]}]
    policy(network_policy("caller-out", selects=labelled(app="caller"), types=["Egress"], egress=rules))
    matrix.becomes("""
                server:8080@service-ip  peer:8080@service-ip  scraper:8080@service-ip
    caller      .                       X                     X
    intruder    .                       .                     .
    """)


@pytest.mark.checks("placement", "capabilities")
@pytest.mark.usefixtures("two_nodes")
def test_same_node_and_other_node(
    policy: Policies, matrix: MatrixAsker, caller: Actor, server: Actor, peer: Actor, intruder: Actor
) -> None:
    """A deny holds for a caller on the server's own node and for one on another node."""
    assert peer.workload.node == server.workload.node
    assert intruder.workload.node == caller.workload.node
    policy(network_policy("deny", selects=labelled(role="server"), types=["Ingress"]))
    policy(network_policy("deny-caller", selects=labelled(app="caller"), types=["Ingress"]))
    matrix.becomes("""
                server:8080  caller:8080  peer:8080
    peer        X            X            .
    caller      X            .            .
    intruder    X            X            .
    """)


@pytest.mark.checks("source-address", "pod-ip", "cluster-ip", "dns")
@pytest.mark.parametrize("path", ["pod-ip", "service-ip", "dns", "headless"])
@pytest.mark.parametrize("port", ["8080", "8080/udp"], ids=["tcp", "udp"])
def test_server_sees_the_callers_address(caller: Actor, port: str, path: str) -> None:
    """By pod address, Service, name and headless name the server sees the calling pod's own address."""
    verdict = caller.call(f"server:{port}@{path}")
    assert verdict == answered()
    assert host(verdict.evidence.peer_seen) in caller.addresses, verdict.evidence


@pytest.mark.checks("hairpin", "source-address")
def test_itself_when_closed(
    policy: Policies, matrix: MatrixAsker, server: Actor, behaviour: Callable[[str, str], None]
) -> None:
    """A closed pod reaches itself by its own address; whether by its own Service, and as whom, is the cluster's."""
    behaviour("source-by-own-service", source_of(server.call("server:8080@service-ip"), pod=server))
    policy(network_policy("closed", selects=SERVER, types=["Ingress", "Egress"]))
    shown = matrix.becomes("""
                server:8080  server:8080/udp  server:9090  server:8080@service-ip  peer:8080
    server      .            .                .            #                       X
    caller      X            X                X            X                       .
    """)
    behaviour("own-service-of-a-closed-pod", happened(shown, "server", "server:8080@service-ip"))


@pytest.mark.checks("hairpin")
def test_own_service(matrix: MatrixAsker) -> None:
    """A pod reaches itself through its own Service."""
    matrix.becomes("""
                server:8080@service-ip  server:8080/udp@service-ip  peer:8080@service-ip
    server      .                       .                           .
    peer        .                       .                           .
    """)
