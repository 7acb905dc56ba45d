"""On which port: numbers, names, ranges and protocols, and nothing beside them."""

from __future__ import annotations

import pytest

from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.network.manifests import Object, expression, labelled, network_policy, pods, sctp, spaces, tcp, udp

SERVER = labelled(app="server")


def opens(*ports: Object) -> Object:
    """A policy that opens these ports of the server to everybody."""
    return network_policy("server-ports", selects=SERVER, types=["Ingress"], ingress=[{"ports": list(ports)}])


@pytest.mark.checks("port-number", "port-name-ingress", "end-port", "protocol-only", "tcp-udp", "protocol-confusion")
@pytest.mark.parametrize(
    ("port", "http", "metrics", "datagram"),
    [
        pytest.param(tcp(8080), ".", "X", "X", id="tcp-number"),
        pytest.param(udp(8080), "X", "X", ".", id="udp-number"),
        pytest.param(tcp("metrics"), "X", ".", "X", id="tcp-name"),
        pytest.param(udp("datagram"), "X", "X", ".", id="udp-name"),
        pytest.param(tcp(8080, endPort=9089), ".", "X", "X", id="range-ends-before"),
        pytest.param(tcp(8081, endPort=9090), "X", ".", "X", id="range-ends-on-it"),
        pytest.param({"protocol": "TCP"}, ".", ".", "X", id="every-tcp-port"),
        pytest.param({"protocol": "UDP"}, "X", "X", ".", id="every-udp-port"),
        pytest.param({"port": 8080}, ".", "X", "X", id="protocol-left-out-is-tcp"),
        pytest.param(sctp(8080), "X", "X", "X", id="sctp-number"),
        pytest.param({"protocol": "SCTP"}, "X", "X", "X", id="every-sctp-port"),
    ],
)
def test_ingress_port(
    policy: Policies, matrix: MatrixAsker, port: Object, http: str, metrics: str, datagram: str
) -> None:
    """An ingress rule opens the port and protocol that it names, to everybody, and no other."""
    policy(opens(port))
    matrix.becomes(f"""
                server:8080  server:9090  server:8080/udp  peer:9091
    caller      {http}       {metrics}    {datagram}       .
    intruder    {http}       {metrics}    {datagram}       .
    """)


@pytest.mark.checks("port-number", "port-name-egress", "end-port", "tcp-udp", "protocol-confusion")
@pytest.mark.parametrize(
    ("port", "http", "metrics", "datagram"),
    [
        pytest.param(tcp(8080), ".", "X", "X", id="tcp-number"),
        pytest.param(udp(8080), "X", "X", ".", id="udp-number"),
        pytest.param(tcp("metrics"), "X", ".", "X", id="tcp-name"),
        pytest.param(tcp(8080, endPort=9089), ".", "X", "X", id="range-ends-before"),
        pytest.param(tcp(8081, endPort=9090), "X", ".", "X", id="range-ends-on-it"),
        pytest.param({"protocol": "TCP"}, ".", ".", "X", id="every-tcp-port"),
        pytest.param({"protocol": "UDP"}, "X", "X", ".", id="every-udp-port"),
        pytest.param({"protocol": "SCTP"}, "X", "X", "X", id="every-sctp-port"),
    ],
)
def test_egress_port(
    policy: Policies, matrix: MatrixAsker, port: Object, http: str, metrics: str, datagram: str
) -> None:
    """An egress rule lets a pod call the port and protocol that it names, of everybody, and no other."""
    policy(network_policy("ports", selects=labelled(app="caller"), types=["Egress"], egress=[{"ports": [port]}]))
    matrix.becomes(f"""
                server:8080  server:9090  server:8080/udp  scraper:9090  caller:8080
    caller      {http}       {metrics}    {datagram}       {metrics}     .
    peer        .            .            .                .             .
    """)


@pytest.mark.checks("port-number", "union")
def test_two_ports_of_one_rule(policy: Policies, matrix: MatrixAsker) -> None:
    """The ports of one rule add up."""
    policy(opens(tcp(8080), udp(8080)))
    matrix.becomes("""
                server:8080  server:9090  server:8080/udp
    caller      .            X            .
    intruder    .            X            .
    """)


@pytest.mark.checks("union")
def test_peers_and_ports_of_one_rule(policy: Policies, matrix: MatrixAsker) -> None:
    """Within one rule a flow must match a peer and a port; across rules either rule will do."""
    rules = [
        {"from": [pods(app="caller")], "ports": [tcp(8080)]},
        {"from": [spaces(team="observability")], "ports": [tcp(9090)]},
    ]
    policy(network_policy("server-in", selects=SERVER, types=["Ingress"], ingress=rules))
    matrix.becomes("""
                server:8080  server:9090  server:8080/udp
    caller      .            X            X
    intruder    X            .            X
    peer        X            X            X
    """)


@pytest.mark.checks("end-port", "union")
def test_ranges_that_overlap(policy: Policies, matrix: MatrixAsker) -> None:
    """Ranges of one rule that overlap, and one of another rule beside them, open what any of them has."""
    rules = [{"ports": [tcp(8000, endPort=8080), tcp(8050, endPort=8100)]}, {"ports": [tcp(9090, endPort=9090)]}]
    policy(network_policy("server-in", selects=SERVER, types=["Ingress"], ingress=rules))
    policy(network_policy("caller-out", selects=labelled(app="caller"), types=["Egress"], egress=rules))
    matrix.becomes("""
                server:8080  server:9090  server:8080/udp  peer:9091
    caller      .            .            X                X
    intruder    .            .            X                .
    """)


@pytest.mark.checks("union", "port-number")
def test_egress_peers_and_ports_of_one_rule(policy: Policies, matrix: MatrixAsker) -> None:
    """Of several peers and several ports of one egress rule a call must match one of each."""
    rules = [{"to": [pods(app="server"), spaces(team="observability")], "ports": [tcp(8080), udp(8080)]}]
    policy(network_policy("caller-out", selects=labelled(app="caller"), types=["Egress"], egress=rules))
    matrix.becomes("""
                server:8080  server:8080/udp  server:9090  scraper:8080  scraper:9090  peer:8080
    caller      .            .                X            .             X             X
    intruder    .            .                .            .             .             .
    """)


@pytest.mark.checks("port-name-ingress", "conflict")
def test_scraper_still_reaches_metrics(policy: Policies, matrix: MatrixAsker) -> None:
    """Under a default deny, the monitoring of another namespace scrapes the metrics port and nothing else."""
    policy(network_policy("deny-ingress", types=["Ingress"]))
    scraper = {**spaces(team="observability"), **pods(app="prometheus")}
    rules = [{"from": [scraper], "ports": [tcp("metrics")]}]
    policy(network_policy("metrics-in", types=["Ingress"], ingress=rules))
    matrix.becomes("""
                server:9090  server:8080  peer:9091  peer:8080
    scraper     .            X            .          X
    intruder    X            X            X          X
    caller      X            X            X          X
    """)


@pytest.mark.checks("port-name-differs", "port-name-ingress")
def test_named_port_differs_per_pod(policy: Policies, matrix: MatrixAsker) -> None:
    """A port's name is resolved on each pod by itself: the same rule opens another number on another pod."""
    rules = [{"ports": [tcp("metrics")]}]
    policy(network_policy("metrics-in", selects=expression("role", "In", "server", "prometheus"), ingress=rules))
    matrix.becomes("""
                server:9090  server:8080  peer:9091  peer:8080
    caller      .            X            .          X
    intruder    .            X            .          X
    """)


@pytest.mark.checks("port-name-differs", "port-name-egress")
def test_named_egress_port_differs_per_pod(policy: Policies, matrix: MatrixAsker) -> None:
    """A named egress port means, for each pod that is called, the number that this pod gives the name."""
    rules = [{"ports": [tcp("metrics")]}]
    policy(network_policy("metrics-out", selects=labelled(app="caller"), types=["Egress"], egress=rules))
    matrix.becomes("""
                server:9090  server:8080  peer:9091  peer:8080
    caller      .            X            .          X
    intruder    .            .            .          .
    """)
