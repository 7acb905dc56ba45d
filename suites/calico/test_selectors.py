"""Calico's selector language, in a rule and of the policy itself."""

from __future__ import annotations

import pytest

from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.calico.manifests import allow, calico_policy

PORTS = (("TCP", 8080), ("TCP", 9090), ("UDP", 8080))
"""Three expressions are asked at once, each on a port of its own."""
EXPRESSIONS = [
    pytest.param({"app == 'caller'": ".X", "app != 'caller'": "X.", "vip != 'yes'": ".."}, id="equal"),
    pytest.param({'app == "caller"': ".X", "app in {'caller', 'a'}": ".X", "app not in {'caller'}": "X."}, id="in"),
    pytest.param({"vip not in {'yes'}": "..", "app in {}": "XX", "app not in {}": ".."}, id="in-nothing"),
    pytest.param({"has(role)": "..", "has(vip)": "XX", "!has(vip)": ".."}, id="has"),
    pytest.param(
        {"app contains 'alle'": ".X", "role starts with 'prom'": "X.", "role ends with 'ent'": ".X"}, id="part"
    ),
    pytest.param({"vip contains ''": "XX", "!(vip contains '')": "..", "role contains 'alle'": "XX"}, id="no-part"),
    pytest.param({"all()": "..", "!all()": "XX", "!!all()": ".."}, id="all"),
    pytest.param(
        {
            "app == 'caller' && role == 'client'": ".X",
            "app == 'caller' && role == 'prometheus'": "XX",
            "app == 'caller' || role == 'prometheus'": "..",
        },
        id="and-or",
    ),
    pytest.param(
        {
            "app == 'peer' || app == 'caller' && has(vip)": "X.",
            "(app == 'peer' || app == 'caller') && !has(vip)": "..",
            "!(app == 'caller' || has(vip))": "X.",
        },
        id="groups",
    ),
    pytest.param(
        {
            "projectcalico.org/serviceaccount == 'caller'": ".X",
            "projectcalico.org/namespace starts with 'ew-'": "..",
            "projectcalico.org/orchestrator == 'k8s'": "..",
        },
        id="labels-of-calico",
    ),
    pytest.param(
        {
            "pcns.team == 'payments' && app == 'caller'": ".X",
            "pcns.team == 'observability'": "XX",
            "pcsa.projectcalico.org/name == 'peer'": "X.",
        },
        id="inherited-labels",
    ),
]


@pytest.mark.checks("calico-selectors")
@pytest.mark.parametrize("marks", EXPRESSIONS)
def test_expression(policy: Policies, matrix: MatrixAsker, marks: dict[str, str]) -> None:
    """A rule lets in whom its selector picks in the policy's own namespace, and nobody else."""
    rules = [
        allow(protocol=protocol, source={"selector": selector}, destination={"ports": [port]})
        for selector, (protocol, port) in zip(marks, PORTS, strict=True)
    ]
    policy(calico_policy("picks", ingress=rules))
    (caller_a, peer_a), (caller_b, peer_b), (caller_c, peer_c) = map(list, marks.values())
    matrix.becomes(f"""
                server:8080  server:9090  server:8080/udp  scraper:8080
    caller      {caller_a}   {caller_b}   {caller_c}       .
    peer        {peer_a}     {peer_b}     {peer_c}         .
    intruder    X            X            X                .
    """)


@pytest.mark.checks("calico-selectors")
@pytest.mark.parametrize(
    ("selector", "server", "peer"),
    [
        pytest.param("app == 'server'", "X", ".", id="equal"),
        pytest.param("app in {'server', 'peer'}", "X", "X", id="in"),
        pytest.param("!(app starts with 'se')", ".", "X", id="not-starts-with"),
        pytest.param("all()", "X", "X", id="all"),
        pytest.param("", "X", "X", id="empty-is-all"),
        pytest.param("has(vip)", ".", ".", id="nobody"),
    ],
)
def test_subject(policy: Policies, matrix: MatrixAsker, selector: str, server: str, peer: str) -> None:
    """A policy is about the pods of its namespace that its selector picks, and no others."""
    policy(calico_policy("subjects", selects=selector, types=["Ingress"]))
    matrix.becomes(f"""
                server:8080  peer:8080  scraper:8080
    caller      {server}     {peer}     .
    intruder    {server}     {peer}     .
    """)
