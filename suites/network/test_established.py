"""Connections that are open when a policy closes what opened them: reported, since the specification is silent."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.asking import MatrixAsker
from fixtures.going import Traffics
from fixtures.policy import Policies
from suites.network.manifests import labelled, network_policy, pods

CLOSED = """
            server:8080  server:8080/udp
caller      X            X
peer        .            .
"""


@pytest.mark.checks("established")
@pytest.mark.parametrize(
    ("name", "target"),
    [
        pytest.param("established-tcp", "server:8080", id="tcp"),
        pytest.param("established-udp", "server:8080/udp", id="udp"),
    ],
)
def test_established_when_closed(
    policy: Policies,
    matrix: MatrixAsker,
    traffic: Traffics,
    behaviour: Callable[[str, str], None],
    name: str,
    target: str,
) -> None:
    """A policy denies new connections; what becomes of one that is open is reported as the cluster's own way."""
    held = traffic.held("caller", target)
    rules = [{"from": [pods(app="peer")]}]
    policy(network_policy("server-in", selects=labelled(app="server"), types=["Ingress"], ingress=rules))
    matrix.becomes(CLOSED)
    behaviour(name, held.fate())
