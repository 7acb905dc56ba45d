"""The nodes themselves, and pods in their network: who they are to a policy, and what is open to them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.changes import Changes
from fixtures.policy import Policies
from fixtures.recorder import Recorder
from fixtures.world import World
from suites.network.manifests import blocks, labelled, network_policy, pods
from suites.network.reported import happened, seen_sources
from suites.network.workloads import WITH_HOSTS

WEIGHT = 2.5
WORKLOADS = WITH_HOSTS
pytestmark = pytest.mark.usefixtures("two_nodes")

SERVER = labelled(app="server")
Behaviour = Callable[[str, str], None]


@pytest.fixture
def near(world: World, changes: Changes, recorder: Recorder) -> Actor:
    """A pod in the network of the server's node."""
    return Actor(world, changes, recorder, "near")


@pytest.fixture
def far(world: World, changes: Changes, recorder: Recorder) -> Actor:
    """A pod in the network of the other node."""
    return Actor(world, changes, recorder, "far")


@pytest.mark.checks("host-network", "kubelet-probes")
def test_own_node_gets_in(policy: Policies, matrix: MatrixAsker, behaviour: Behaviour) -> None:
    """Under a default deny the server's own node gets in; whether other nodes do is the cluster's."""
    policy(network_policy("deny-ingress", types=["Ingress"]))
    shown = matrix.becomes("""
              server:8080  server:9090  server:8080/udp  scraper:8080
    near      .            .            .                .
    far       #            #            #                .
    caller    X            X            X                .
    """)
    behaviour("other-node-under-default-deny", happened(shown, "far", "server:8080", "server:9090"))


@pytest.mark.checks("host-network", "match-labels")
def test_labels_of_a_pod_in_the_nodes_network(policy: Policies, matrix: MatrixAsker, behaviour: Behaviour) -> None:
    """A rule for the labels of a pod in a node's network opens nothing to others of that node; to itself it may."""
    rules = [{"from": [pods(app="caller")]}]
    policy(network_policy("server-in", selects=SERVER, types=["Ingress"], ingress=rules))
    shown = matrix.becomes("""
              server:8080  server:8080/udp  scraper:8080
    caller    .            .                .
    far       #            #                .
    stranger  X            X                .
    peer      X            X                .
    """)
    behaviour("host-network-pod-admitted-by-label", happened(shown, "far", "server:8080"))


@pytest.mark.checks("host-network", "block-node", "block-ingress")
def test_node_admitted_by_address(policy: Policies, matrix: MatrixAsker, far: Actor, server: Actor) -> None:
    """An ipBlock of the address that a node has to the server lets in what is in the node's network, and no pod."""
    rules = [{"from": blocks(seen_sources(far, server, 8080))}]
    policy(network_policy("server-in", selects=SERVER, types=["Ingress"], ingress=rules))
    matrix.becomes("""
              server:8080  server:8080/udp  scraper:8080
    far       .            .                .
    stranger  .            .                .
    caller    X            X                .
    peer      X            X                .
    """)


@pytest.mark.checks("host-network")
def test_pod_in_the_nodes_network_as_subject(policy: Policies, matrix: MatrixAsker, behaviour: Behaviour) -> None:
    """Whether a policy closes a pod in its node's network is the cluster's; its other subjects it closes as ever."""
    policy(network_policy("deny-callers", selects=labelled(app="caller"), types=["Ingress", "Egress"]))
    shown = matrix.becomes("""
              caller:8080  far:28080  server:8080
    server    X            #          .
    far       -            -          #
    caller    .            -          X
    """)
    behaviour("host-network-pod-as-subject", happened(shown, "server", "far:28080"))
    behaviour("host-network-pod-as-muted-subject", happened(shown, "far", "server:8080"))


@pytest.mark.checks("host-network", "block-node", "block-egress")
def test_egress_to_a_node(policy: Policies, matrix: MatrixAsker, near: Actor, behaviour: Behaviour) -> None:
    """An ipBlock of another node's address lets a pod call that node; whether its own needs one is the cluster's."""
    rules = [{"to": blocks(near.addresses)}]
    policy(network_policy("caller-out", selects=labelled(app="caller"), types=["Egress"], egress=rules))
    shown = matrix.becomes("""
              near:28080  near:28080/udp  server:8080  far:28080
    caller    .           .               X            #
    peer      .           .               .            .
    """)
    behaviour("own-node-under-closed-egress", happened(shown, "caller", "far:28080"))
