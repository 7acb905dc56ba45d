"""By a node's port: closed and opened like every other way; what the server sees of the caller there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.network.manifests import EVERYONE, labelled, network_policy, pods
from suites.network.reported import happened, source_of
from suites.network.workloads import WITH_NODE_PORTS

WEIGHT = 2.5
WORKLOADS = WITH_NODE_PORTS
pytestmark = pytest.mark.usefixtures("two_nodes")

SERVERS = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["server", "peer"]}]}
BY_OTHER_NODE = ("server:8080@node-port", "server:8080@node-port-other")


@pytest.mark.checks("node-port", "default-deny-ingress", "allow-all")
def test_closed_and_opened_by_every_node(policy: Policies, matrix: MatrixAsker) -> None:
    """A closed pod is closed by every node's port, whichever node it is on; open to everybody, it is open there too."""
    closed = policy(network_policy("servers-in", selects=SERVERS, types=["Ingress"]))
    matrix.becomes("""
            server:8080@node-port server:8080@node-port-other server:8080/udp@node-port peer:8080@node-port scraper:8080
    caller    X                     X                           X                         X                   .
    intruder  X                     X                           X                         X                   .
    peer      X                     X                           X                         -                   .
    """)
    closed.replace(podSelector=SERVERS, policyTypes=["Ingress"], ingress=[EVERYONE])
    matrix.becomes("""
            server:8080@node-port server:8080@node-port-other server:8080/udp@node-port peer:8080@node-port scraper:8080
    caller    .                     .                           .                         .                   .
    intruder  .                     .                           .                         .                   .
    peer      .                     .                           .                         -                   .
    """)


@pytest.mark.checks("node-port", "source-address")
def test_caller_admitted_by_label(policy: Policies, matrix: MatrixAsker, behaviour: Callable[[str, str], None]) -> None:
    """Who is not admitted stays out by every node; whether who is admitted by label gets in is the cluster's."""
    rules = [{"from": [pods(app="caller")]}]
    policy(network_policy("servers-in", selects=SERVERS, types=["Ingress"], ingress=rules))
    shown = matrix.becomes("""
              server:8080  server:8080@node-port  server:8080@node-port-other  peer:8080@node-port  intruder:8080
    caller    .            #                      #                            #                    .
    scraper   X            X                      X                            X                    .
    """)
    behaviour("node-port-of-one-admitted-by-label", happened(shown, "caller", *BY_OTHER_NODE, "peer:8080@node-port"))


@pytest.mark.checks("node-port", "default-deny-egress")
def test_closed_egress_by_every_node(policy: Policies, matrix: MatrixAsker) -> None:
    """A pod that may call nobody calls nobody by a node's port either."""
    policy(network_policy("caller-out", selects=labelled(app="caller"), types=["Egress"]))
    matrix.becomes("""
              server:8080@node-port  server:8080@node-port-other  server:8080/udp@node-port  caller:8080
    caller    X                      X                            X                          .
    peer      .                      .                            .                          .
    """)


@pytest.mark.checks("node-port", "source-address")
def test_local_keeps_the_source(
    caller: Actor, server: Actor, peer: Actor, behaviour: Callable[[str, str], None]
) -> None:
    """With externalTrafficPolicy Local the server's node puts no address of its own in the caller's place."""
    local, cluster = caller.call("peer:8080@node-port"), caller.call("server:8080@node-port")
    assert source_of(local, caller=caller, server=peer) in {"the caller's own", "the caller's node's"}, local.evidence
    behaviour("source-by-node-port-local", source_of(local, caller=caller, server=peer))
    behaviour("source-by-node-port-cluster", source_of(cluster, caller=caller, server=server))


@pytest.mark.checks("node-port")
def test_local_where_no_backend_is(
    matrix: MatrixAsker, caller: Actor, scraper: Actor, behaviour: Callable[[str, str], None]
) -> None:
    """With Local, a node that has no backend gives its own pods one of another node, or silence; so it does others."""
    matrix.becomes("""
              peer:8080@node-port  peer:8080
    caller    .                    .
    scraper   .                    .
    """)
    behaviour("node-port-local-of-a-node-without-backend", f"own pods: {caller.call('peer:8080@node-port-other').kind}")
    behaviour("node-port-local-of-another-node", f"others: {scraper.call('peer:8080@node-port-other').kind}")
