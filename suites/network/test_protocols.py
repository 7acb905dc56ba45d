"""Beyond TCP and UDP: SCTP, where the kernel has it, and what becomes of ICMP, which the specification leaves open."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.capabilities import missing
from fixtures.policy import Policies
from fixtures.world import World
from flows.model import Kind
from suites.network.manifests import labelled, network_policy, sctp, tcp
from suites.network.reported import happened
from suites.network.workloads import SCTP_PORT, WITH_PROTOCOLS

WORKLOADS = WITH_PROTOCOLS
SERVER = labelled(app="server")


@pytest.fixture
def sctp_there(world: World, caller: Actor) -> None:
    """Both ends' kernels have SCTP."""
    verdict = caller.call(f"server:{SCTP_PORT}/sctp")
    if verdict.kind is not Kind.ANSWERED:
        missing("sctp", world.required, f"use nodes whose kernel has SCTP; here: {verdict.evidence.detail or verdict}")


@pytest.fixture
def pinging(world: World, caller: Actor, server: Actor) -> None:
    """Both the caller and the server may send echo requests."""
    for verdict in (caller.call("server/icmp"), server.call("caller/icmp")):
        if verdict.kind is Kind.PROBE_ERROR:
            missing("icmp", world.required, f"{verdict.evidence.detail}; net.ipv4.ping_group_range must name the group")


@pytest.mark.checks("sctp", "default-deny-ingress")
@pytest.mark.usefixtures("sctp_there")
def test_sctp_closed(policy: Policies, matrix: MatrixAsker) -> None:
    """A default deny closes SCTP like TCP and UDP."""
    policy(network_policy("deny-server", selects=SERVER, types=["Ingress"]))
    matrix.becomes(f"""
              server:{SCTP_PORT}/sctp  server:8080  peer:{SCTP_PORT}/sctp
    caller    X                        X            .
    intruder  X                        X            .
    """)


@pytest.mark.checks("sctp", "protocol-confusion")
@pytest.mark.usefixtures("sctp_there")
@pytest.mark.parametrize(
    ("port", "signalling", "http"),
    [
        pytest.param(sctp(SCTP_PORT), ".", "X", id="sctp-number"),
        pytest.param(sctp("signalling"), ".", "X", id="sctp-name"),
        pytest.param({"protocol": "SCTP"}, ".", "X", id="every-sctp-port"),
        pytest.param(tcp(SCTP_PORT), "X", "X", id="same-number-of-tcp"),
        pytest.param({"protocol": "TCP"}, "X", ".", id="every-tcp-port"),
    ],
)
def test_sctp_port(policy: Policies, matrix: MatrixAsker, port: dict[str, object], signalling: str, http: str) -> None:
    """A rule for SCTP opens its SCTP port and nothing else; one for TCP opens no SCTP."""
    policy(network_policy("server-in", selects=SERVER, types=["Ingress"], ingress=[{"ports": [port]}]))
    matrix.becomes(f"""
              server:{SCTP_PORT}/sctp  server:8080  server:8080/udp  peer:8080
    caller    {signalling}             {http}       X                .
    intruder  {signalling}             {http}       X                .
    """)


@pytest.mark.checks("icmp")
@pytest.mark.usefixtures("pinging")
def test_icmp(policy: Policies, matrix: MatrixAsker, behaviour: Callable[[str, str], None]) -> None:
    """The specification says nothing of ICMP: what becomes of it at a closed pod, in and out, is reported."""
    policy(network_policy("deny-server", selects=SERVER, types=["Ingress", "Egress"]))
    shown = matrix.becomes("""
              server:8080  peer:8080  server/icmp  caller/icmp
    caller    X            .          #            -
    server    .            X          -            #
    """)
    behaviour("icmp-into-a-closed-pod", happened(shown, "caller", "server/icmp"))
    behaviour("icmp-out-of-a-closed-pod", happened(shown, "server", "caller/icmp"))
