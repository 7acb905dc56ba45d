"""A new pod's first moments: nothing leaks before its policies are in force, in either direction."""

from __future__ import annotations

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.early import Beginnings
from fixtures.policy import Policies
from suites.network.manifests import labelled, network_policy, pods

WEIGHT = 3

OUTWARD = """
            server:8080  server:8080/udp  scraper:8080  peer:8080  peer:8080/udp
caller      X            X                X             .          .
"""
INWARD = """
            caller:8080  caller:8080/udp
peer        .            .
intruder    X            X
scraper     X            X
"""


@pytest.mark.checks("leak-at-start")
def test_new_pod_does_not_reach(policy: Policies, matrix: MatrixAsker, early: Beginnings, caller: Actor) -> None:
    """From the first packet that it can send a new pod reaches only what its policies allow."""
    policy(
        network_policy(
            "caller-out", selects=labelled(app="caller"), types=["Egress"], egress=[{"to": [pods(app="peer")]}]
        )
    )
    matrix.becomes(OUTWARD)
    early.reaches(caller, OUTWARD)


@pytest.mark.checks("leak-at-start")
def test_new_pod_is_not_reached(policy: Policies, matrix: MatrixAsker, early: Beginnings, caller: Actor) -> None:
    """A new pod is reached only by whom its policies allow, however early the others call it."""
    policy(
        network_policy(
            "caller-in", selects=labelled(app="caller"), types=["Ingress"], ingress=[{"from": [pods(app="peer")]}]
        )
    )
    matrix.becomes(INWARD)
    early.is_reached(caller, INWARD)
