"""On which port and protocol: numbers, ranges, names, protocols, and all but these."""

from __future__ import annotations

import pytest

from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.calico.manifests import Object, allow, calico_policy, deny


def ports(protocol: str | int, *numbers: int | str) -> Object:
    """What a rule says of its destination's ports."""
    return {"protocol": protocol, "destination": {"ports": list(numbers)}}


def but(protocol: str | int, *numbers: int | str) -> Object:
    """The same of all ports but these."""
    return {"protocol": protocol, "destination": {"notPorts": list(numbers)}}


RULES = [
    pytest.param(ports("TCP", 8080), ".XX", id="number"),
    pytest.param(ports("TCP", 8080, 9090), "..X", id="numbers"),
    pytest.param(ports("TCP", "8000:8080"), ".XX", id="range-ends-on-it"),
    pytest.param(ports("TCP", "8081:9090"), "X.X", id="range-begins-behind"),
    pytest.param(ports("TCP", "1:8079", "9091:65535"), "XXX", id="ranges-around"),
    pytest.param(ports("TCP", "metrics"), "X.X", id="name"),
    pytest.param(ports("TCP", "metrics", 8080), "..X", id="name-and-number"),
    pytest.param(ports("TCP", "datagram"), "XXX", id="name-of-another-protocol"),
    pytest.param(ports("UDP", "datagram"), "XX.", id="name-of-udp"),
    pytest.param(ports("UDP", 8080), "XX.", id="udp"),
    pytest.param(ports(6, 8080), ".XX", id="protocol-by-number"),
    pytest.param(but("TCP", 9090), ".XX", id="not-number"),
    pytest.param(but("TCP", "8081:9090"), ".XX", id="not-range"),
    pytest.param(but("TCP", "metrics"), ".XX", id="not-name"),
    pytest.param(but("TCP", 8080, "metrics"), "XXX", id="not-either"),
    pytest.param({"protocol": "TCP", "destination": {"ports": ["1:10000"], "notPorts": [8080]}}, "X.X", id="both"),
    pytest.param({"protocol": "TCP"}, "..X", id="tcp-alone"),
    pytest.param({"protocol": "UDP"}, "XX.", id="udp-alone"),
    pytest.param({"protocol": 17}, "XX.", id="udp-by-number"),
    pytest.param({"notProtocol": "UDP"}, "..X", id="not-udp"),
    pytest.param({"notProtocol": "TCP"}, "XX.", id="not-tcp"),
    pytest.param({"protocol": "ICMP"}, "XXX", id="icmp-is-neither"),
    pytest.param({"protocol": "TCP", "source": {"ports": ["1:1023"]}}, "XXX", id="source-ports"),
    pytest.param({"protocol": "TCP", "source": {"notPorts": ["1:1023"]}}, "..X", id="not-source-ports"),
]


@pytest.mark.checks("calico-selectors", "port-number", "port-name-ingress")
@pytest.mark.parametrize(("match", "marks"), RULES)
def test_ingress(policy: Policies, matrix: MatrixAsker, match: Object, marks: str) -> None:
    """An ingress rule opens the ports and protocols that it describes, and no others."""
    policy(calico_policy("ports", ingress=[allow(**match)]))
    http, metrics, datagram = list(marks)
    matrix.becomes(f"""
                server:8080  server:9090  server:8080/udp  peer:9091
    caller      {http}       {metrics}    {datagram}       .
    intruder    {http}       {metrics}    {datagram}       .
    """)


@pytest.mark.checks("calico-selectors", "port-name-differs")
def test_name_differs_per_pod(policy: Policies, matrix: MatrixAsker) -> None:
    """A port's name means, on each pod that is called, the number that this pod gives it."""
    policy(calico_policy("metrics", selects="app == 'caller'", egress=[allow(**ports("TCP", "metrics"))]))
    matrix.becomes("""
                server:9090  server:8080  peer:9091  peer:8080
    caller      .            X            .          X
    intruder    .            .            .          .
    """)


@pytest.mark.checks("calico-selectors")
def test_all_but_a_name(policy: Policies, matrix: MatrixAsker) -> None:
    """All ports but a named one: what the name means on each pod is closed there."""
    policy(calico_policy("not-metrics", selects="app == 'caller'", egress=[allow(**but("TCP", "metrics"))]))
    matrix.becomes("""
                server:9090  server:8080  peer:9091  peer:8080
    caller      X            .            X          .
    intruder    .            .            .          .
    """)


@pytest.mark.checks("calico-order", "tcp-udp")
def test_one_port_denied(policy: Policies, matrix: MatrixAsker) -> None:
    """A Deny of one port closes it alone, and its protocol alone."""
    policy(calico_policy("not-8080", ingress=[deny(**ports("TCP", 8080)), allow()]))
    matrix.becomes("""
                server:8080  server:9090  server:8080/udp
    caller      X            .            .
    intruder    X            .            .
    """)
