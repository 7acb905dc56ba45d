"""What a policy forgets, named as the cause: names, the Kubernetes API, the mesh's control plane.

The ports of probes are not among it: policies let a node in to its own pods, and a proxy changes nothing about that.
"""

from __future__ import annotations

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from flows.errors import PreparationError, VerdictError
from suites.layers.house import HOUSE
from suites.network.manifests import DNS, labelled, network_policy, pods, tcp

WEIGHT = 4

WORKLOADS = HOUSE
TO_SERVER = {"to": [pods(app="server")]}
CLIENTS = labelled(role="client")
PEERS = labelled(app="peer")
FAILS_WITHIN = 5.0
"""Seconds after which what cannot come is given up; only the words of its end matter."""
PROBED_WITHIN = 5.0
"""Seconds in which a pod that is probed every second is surely probed."""


def test_names(policy: Policies, matrix: MatrixAsker, caller: Actor, stray: Actor) -> None:
    """Egress to the server alone: its name does not resolve, and the policy is blamed, with a proxy or without one."""
    policy(network_policy("to-server", selects=CLIENTS, types=["Egress"], egress=[TO_SERVER]))
    matrix.becomes("""
                server:8080/http  server:8080/http@dns
    caller      .                 dns-error
    stray       .                 dns-error
    """)
    assert caller.blames("server:8080/http@dns") == "to-server forgets DNS"
    assert stray.blames("server:8080/http@dns") == "to-server forgets DNS"


def test_kubernetes_api(policy: Policies, matrix: MatrixAsker, caller: Actor, stray: Actor) -> None:
    """Egress to the server and to DNS: the Kubernetes API is closed, and the policy is blamed."""
    policy(network_policy("to-server", selects=CLIENTS, types=["Egress"], egress=[TO_SERVER, DNS]))
    matrix.becomes("""
                server:8080/http@dns  kubernetes:443@service-ip
    caller      .                     X
    stray       .                     X
    peer        .                     .
    """)
    assert caller.blames("kubernetes:443@service-ip") == "to-server forgets the Kubernetes API"
    assert stray.blames("kubernetes:443@service-ip") == "to-server forgets the Kubernetes API"


def test_control_plane(policy: Policies, matrix: MatrixAsker, peer: Actor) -> None:
    """A pod whose policy lets it out to its server and to DNS, but not to the mesh's control plane.

    The one that runs goes on, for the stream that its proxy has is let be. A new one never becomes ready, and the
    policy is named in the first line. The one that waited is ready once the policy is gone.
    """
    forgets = policy(network_policy("to-server", selects=PEERS, types=["Egress"], egress=[TO_SERVER, DNS]))
    matrix.becomes("""
                server:9090@dns  caller:9090@dns
    peer        .                X
    stray       .                .
    """)
    peer.restart(patience=FAILS_WITHIN)
    with pytest.raises(PreparationError, match="peer is not ready: to-server forgets the control plane"):
        matrix.becomes("""
                    server:9090@dns
        stray       .
        """)
    forgets.delete()
    peer.restart()
    matrix.becomes("""
                server:9090@dns  caller:9090@dns
    peer        .                .
    stray       .                .
    """)


@pytest.mark.checks("explain", "mesh-and-policy")
def test_first_line(policy: Policies, matrix: MatrixAsker) -> None:
    """A matrix that expects an answer has the forgetful policy in its first line."""
    policy(network_policy("to-server", selects=CLIENTS, types=["Egress"], egress=[TO_SERVER]))
    matrix.becomes("""
                server:8080/http@dns  server:9090  peer:9090
    caller      #                     .            X
    """)
    with pytest.raises(VerdictError, match=r"^caller → server:8080/http by dns: .* \(to-server forgets DNS\)"):
        matrix.becomes(
            """
                    server:8080/http@dns
        caller      .
        """,
            within=FAILS_WITHIN,
        )


def test_other_ports(policy: Policies, matrix: MatrixAsker, server: Actor) -> None:
    """Ingress for one port closes the other: silence, which the caller's own proxy makes of a drop.

    Each call of raw TCP is a connection of its own. A policy lets those be that are there already, so a request on one
    that the caller's proxy keeps would still get through. A node's probes, for which there is no rule, get in.
    """
    ingress = [{"ports": [tcp(9090)]}]
    policy(network_policy("one-port", selects=labelled(app="server"), types=["Ingress"], ingress=ingress))
    matrix.becomes("""
                server:9090@dns  server:9091@dns        server:9091
    caller      .                silent|unavailable     silent|unavailable
    stray       .                dropped                dropped
    """)
    assert server.probed(PROBED_WITHIN), "server: expected to be probed by its node, but nothing gets in"
