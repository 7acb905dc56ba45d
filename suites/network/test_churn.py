"""While other policies come, change and go: denied flows stay denied at every moment, allowed ones lose nothing."""

from __future__ import annotations

import pytest

from fixtures.asking import MatrixAsker
from fixtures.going import Traffics
from fixtures.policy import Policies
from suites.network.manifests import labelled, network_policy, pods, spaces, tcp

WEIGHT = 3

ROUNDS = 5
"""Each creates, changes and deletes a policy of the server's own namespace, and one of another: 30 changes in all."""
STANDS = """
            server:8080  server:8080/udp  server:8080@service-ip  scraper:9090
caller      .            .                .                       .
peer        X            X                X                       -
intruder    X            X                X                       -
"""


def churn(policy: Policies, number: int) -> None:
    """Queue six changes that are none of the server's business."""
    mine = policy(network_policy(f"churn-{number}", selects=labelled(app="peer"), types=["Ingress"]))
    rules = [{"from": [pods(app=f"nobody-{number}")], "ports": [tcp(9000 + number)]}]
    mine.replace(podSelector=labelled(app="peer"), policyTypes=["Ingress"], ingress=rules)
    theirs = network_policy(f"churn-{number}", selects=labelled(app="caller"), types=["Ingress"])
    other = policy(theirs, into="foreign")
    other.replace(
        podSelector=labelled(app="caller"), policyTypes=["Ingress"], ingress=[{"from": [spaces(team="payments")]}]
    )
    mine.delete()
    other.delete()


@pytest.mark.checks("churn")
def test_other_policies_change(policy: Policies, matrix: MatrixAsker, traffic: Traffics) -> None:
    """While other policies change thirty times, and the same one is applied again, nothing leaks or is lost."""
    stands = policy(
        network_policy(
            "server-in", selects=labelled(app="server"), types=["Ingress"], ingress=[{"from": [pods(app="caller")]}]
        )
    )
    matrix.becomes(STANDS)
    going = traffic(STANDS)
    for number in range(ROUNDS):
        churn(policy, number)
        stands.replace(**stands.object["spec"])
    matrix.becomes(STANDS)
    going.more()
    going.ends(lossless=True)
