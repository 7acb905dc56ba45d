"""By address: ipBlock with and without exceptions, seen behind Services."""

from __future__ import annotations

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.network.manifests import blocks, everywhere, labelled, network_policy, pods

SERVER = labelled(app="server")
CALLER = labelled(app="caller")


@pytest.mark.checks("block-ingress")
def test_ingress_from_one_address(policy: Policies, matrix: MatrixAsker, caller: Actor) -> None:
    """An ipBlock of one address lets only its holder in."""
    rules = [{"from": blocks(caller.addresses)}]
    policy(network_policy("from-address", selects=SERVER, types=["Ingress"], ingress=rules))
    matrix.becomes("""
                server:8080  server:8080/udp  peer:8080
    caller      .            .                .
    peer        X            X                .
    intruder    X            X                .
    """)


@pytest.mark.checks("block-ingress", "block-except")
def test_ingress_except(policy: Policies, matrix: MatrixAsker, intruder: Actor) -> None:
    """An address in `except` stays out of the range around it."""
    rules = [{"from": everywhere(intruder.addresses)}]
    policy(network_policy("except-intruder", selects=SERVER, types=["Ingress"], ingress=rules))
    matrix.becomes("""
                server:8080  server:8080/udp
    caller      .            .
    scraper     .            .
    intruder    X            X
    """)


@pytest.mark.checks("block-except")
def test_excepted_but_selected(policy: Policies, matrix: MatrixAsker, caller: Actor, intruder: Actor) -> None:
    """`except` takes away from its own block only: a selector beside it lets the excepted pod in."""
    rules = [{"from": [*everywhere(caller.addresses + intruder.addresses), pods(app="caller")]}]
    policy(network_policy("overlap", selects=SERVER, types=["Ingress"], ingress=rules))
    matrix.becomes("""
                server:8080
    caller      .
    scraper     .
    intruder    X
    """)


@pytest.mark.checks("block-except", "union")
def test_excepted_by_one_block_of_another(
    policy: Policies, matrix: MatrixAsker, caller: Actor, peer: Actor, intruder: Actor
) -> None:
    """What one block excepts another lets in, of the same rule or of another policy."""
    rules = [{"from": [*everywhere(caller.addresses + peer.addresses + intruder.addresses), *blocks(caller.addresses)]}]
    policy(network_policy("overlap", selects=SERVER, types=["Ingress"], ingress=rules))
    policy(network_policy("peer", selects=SERVER, types=["Ingress"], ingress=[{"from": blocks(peer.addresses)}]))
    matrix.becomes("""
                server:8080  server:8080/udp
    caller      .            .
    peer        .            .
    scraper     .            .
    intruder    X            X
    """)


@pytest.mark.checks("block-egress")
def test_egress_to_one_address(policy: Policies, matrix: MatrixAsker, server: Actor) -> None:
    """An egress ipBlock of one address lets a pod call its holder and nobody else."""
    rules = [{"to": blocks(server.addresses)}]
    policy(network_policy("to-address", selects=CALLER, types=["Egress"], egress=rules))
    matrix.becomes("""
                server:8080  server:8080/udp  peer:8080  scraper:8080
    caller      .            .                X          X
    peer        .            .                -          .
    """)


@pytest.mark.checks("block-egress", "block-except")
def test_egress_except(policy: Policies, matrix: MatrixAsker, scraper: Actor) -> None:
    """An address in an egress rule's `except` cannot be called, everything around it can."""
    rules = [{"to": everywhere(scraper.addresses)}]
    policy(network_policy("except-scraper", selects=CALLER, types=["Egress"], egress=rules))
    matrix.becomes("""
                server:8080  intruder:8080  scraper:8080  scraper:8080/udp
    caller      .            .              X             X
    peer        .            .              .             .
    """)


@pytest.mark.checks("block-node", "block-egress")
def test_egress_by_service_is_judged_by_pod(policy: Policies, matrix: MatrixAsker, server: Actor) -> None:
    """A call by Service IP is judged by the pod behind it: allowing the pod's address opens the Service."""
    rules = [{"to": blocks(server.addresses)}]
    policy(network_policy("to-address", selects=CALLER, types=["Egress"], egress=rules))
    matrix.becomes("""
                server:8080@service-ip  server:8080/udp@service-ip  peer:8080@service-ip
    caller      .                       .                           X
    peer        .                       .                           -
    """)
