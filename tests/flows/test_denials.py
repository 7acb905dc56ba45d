"""Real packets, really denied: nftables rules in a network namespace of our own, one for each way to say no."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest

from flows.model import Flow, Kind, Protocol
from flows.stream import Agent
from tests.flows.pipes import Namespace, Served, soon

Serve = Callable[..., Served]
RULES = """
table inet deny {
  chain input {
    type filter hook input priority 0;
    tcp dport 9001 drop
    udp dport 9001 drop
    tcp dport 9002 reject with tcp reset
    meta nfproto ipv4 meta l4proto { tcp, udp } th dport 9003 reject with icmp type admin-prohibited
    meta nfproto ipv6 meta l4proto { tcp, udp } th dport 9003 reject with icmpv6 type admin-prohibited
    meta l4proto { tcp, udp } th dport 9004 reject with icmpx type port-unreachable
    tcp dport 9005 tcp flags & (syn | ack) == syn numgen inc mod 2 0 drop
    udp dport 9005 numgen inc mod 2 0 drop
    tcp dport 9006 tcp flags & psh == psh drop
    tcp dport 9007 tcp flags & psh == psh reject with tcp reset
    ip daddr 127.0.0.53 drop
    ip daddr 127.0.0.54 reject
  }
  chain output {
    type filter hook output priority 0;
    meta l4proto { tcp, udp } th dport 9008 drop
  }
}
"""
OPEN = 9000
PORTS = ",".join(f"{port}/tcp,{port}/udp" for port in range(OPEN, 9009))
ADMIN_V4, ADMIN_V6 = "3/13 from 127.0.0.1", "1/1 from ::1"


@pytest.fixture(scope="module")
def denying(namespace: Namespace) -> Namespace:
    """A namespace in which each port is denied in a way of its own, and two networks cannot be reached."""
    if shutil.which("nft") is None:
        pytest.skip("nft is not installed")
    namespace.run("nft", "-f", "-", stdin=RULES)
    namespace.run("ip", "route", "add", "unreachable", "10.9.9.0/24")
    return namespace


@pytest.fixture(scope="module")
def server(denying: Namespace) -> Iterator[Served]:
    served = Served("server", PORTS, denying.prefix)
    yield served
    served.close()


@pytest.fixture(scope="module")
def caller(denying: Namespace) -> Iterator[Agent]:
    served = Served("caller", prefix=denying.prefix)
    yield served.agent()
    served.close()


def flow(port: int, protocol: str, host: str = "127.0.0.1") -> Flow:
    return Flow(source="caller", destination="server", host=host, port=port, protocol=Protocol(protocol))


DENIALS = [
    pytest.param(OPEN, "tcp", "127.0.0.1", Kind.ANSWERED, "", id="open-tcp"),
    pytest.param(9001, "tcp", "127.0.0.1", Kind.DROPPED, "", id="drop-tcp"),
    pytest.param(9001, "http", "::1", Kind.DROPPED, "", id="drop-http-ipv6"),
    pytest.param(9001, "udp", "127.0.0.1", Kind.DROPPED, "", id="drop-udp"),
    pytest.param(9002, "tcp", "127.0.0.1", Kind.REFUSED, "", id="rst-tcp"),
    pytest.param(9002, "tcp", "::1", Kind.REFUSED, "", id="rst-tcp-ipv6"),
    pytest.param(9003, "tcp", "127.0.0.1", Kind.REJECTED, ADMIN_V4, id="admin-prohibited-tcp"),
    pytest.param(9003, "udp", "127.0.0.1", Kind.REJECTED, ADMIN_V4, id="admin-prohibited-udp"),
    pytest.param(9003, "tcp", "::1", Kind.REJECTED, ADMIN_V6, id="admin-prohibited-tcp-ipv6"),
    pytest.param(9003, "udp", "::1", Kind.REJECTED, ADMIN_V6, id="admin-prohibited-udp-ipv6"),
    pytest.param(9004, "tcp", "127.0.0.1", Kind.REJECTED, "3/3 from 127.0.0.1", id="port-unreachable-tcp"),
    pytest.param(9004, "udp", "127.0.0.1", Kind.REJECTED, "3/3 from 127.0.0.1", id="port-unreachable-udp"),
    pytest.param(9004, "tcp", "::1", Kind.REJECTED, "1/4 from ::1", id="port-unreachable-tcp-ipv6"),
    pytest.param(9006, "tcp", "127.0.0.1", Kind.SILENT, "", id="accepted-then-dropped"),
    pytest.param(9007, "tcp", "127.0.0.1", Kind.RESET, "", id="accepted-then-reset"),
    pytest.param(9008, "tcp", "127.0.0.1", Kind.DROPPED, "", id="drop-on-the-callers-side-tcp"),
    pytest.param(9008, "udp", "127.0.0.1", Kind.DROPPED, "", id="drop-on-the-callers-side-udp"),
    pytest.param(OPEN, "tcp", "10.9.9.1", Kind.UNREACHABLE, "", id="no-route"),
    pytest.param(OPEN, "udp", "10.9.9.1", Kind.UNREACHABLE, "", id="no-route-udp"),
    pytest.param(OPEN, "tcp", "203.0.113.1", Kind.UNREACHABLE, "", id="no-network"),
]


@pytest.mark.parametrize(("port", "protocol", "host", "kind", "icmp"), DENIALS)
def test_each_way_to_say_no_is_told_apart(
    server: Served, caller: Agent, port: int, protocol: str, host: str, kind: Kind, icmp: str
) -> None:
    (verdict,) = caller.ask([flow(port, protocol, host)], 0.5).result(soon())
    assert verdict.kind is kind, (server.pod, verdict)
    assert verdict.evidence.icmp == icmp


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_one_lost_packet_is_no_drop(server: Served, caller: Agent, protocol: str) -> None:
    """The rule loses every other first packet: the first attempt of each probe or, in between, none."""
    verdicts = [caller.ask([flow(9005, protocol)], 0.8).result(soon())[0] for _ in range(3)]
    assert {verdict.kind for verdict in verdicts} == {Kind.ANSWERED}, (server.pod, verdicts)
    assert max(verdict.evidence.attempts for verdict in verdicts) == 2


def test_a_second_connection_and_its_address_are_reported(server: Served, caller: Agent) -> None:
    (verdict,) = caller.ask([flow(9001, "tcp")], 0.5).result(soon())
    assert verdict.evidence.attempts == 2, server.pod
    assert len(set(verdict.evidence.local.split(", "))) == 2
    assert verdict.evidence.phase == "connect"


def test_a_journal_whose_listeners_cannot_be_reached_proves_nothing(server: Served, denying: Namespace) -> None:
    """Some of the server's ports are denied even to itself: their control flows never arrive."""
    assert not server.agent().journal(0, soon()).control
    reachable = Served("open", "9100/tcp,9100/udp", denying.prefix)
    journal = reachable.agent().journal(0, soon())
    reachable.close()
    assert journal.control
