"""SCTP and ICMP in the agent, where this machine's kernel may have neither: by sockets that stand for theirs."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from functools import partial
from typing import Any, cast

import pytest

from flows import agent
from flows.classify import classify
from flows.model import Flow, Kind, Protocol
from flows.wire import Record, decode

NO_SUCH_PROTOCOL = 253
"""A number that no kernel has, set aside for experiments (RFC 3692)."""


def ask(protocol: str, port: int) -> dict[str, Any]:
    return {"id": 0, "protocol": protocol, "host": "127.0.0.1", "port": port, "timeout": 0.5, "source": "caller"}


async def probed(protocol: str, port: int) -> dict[str, Any]:
    prober = agent.Prober(agent.Lag(), agent.Resolver())
    return await prober.record(ask(protocol, port), "nonce-1")


def verdict(record: dict[str, Any], protocol: str, pod: str = "") -> Kind:
    flow = Flow(source="caller", destination="server", host="127.0.0.1", port=1, protocol=Protocol(protocol), pod=pod)
    told = decode(json.dumps({"op": "record", "seq": 1, "batch": "b", "round": 0, **record}).encode())
    assert isinstance(told, Record)
    return classify(flow, told).kind


async def over_sctp(port: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One probe against one listener, and the listener's journal."""
    identity, journal = agent.Identity(), agent.Journal()
    listening = agent.open_listener(port, "sctp")
    assert listening is not None
    served = partial(agent.Served, identity, journal, port, "sctp")
    async with await asyncio.get_running_loop().create_server(served, sock=listening):
        record = await probed("sctp", port)
    return record, journal.since(0)


def test_sctp_is_served_journalled_and_probed_like_tcp(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASTWEST_POD", "server")
    monkeypatch.setitem(agent.SOCKETS, "sctp", agent.SOCKETS["tcp"])
    record, heard = asyncio.run(over_sctp(port))
    assert verdict(record, "sctp", "server") is Kind.ANSWERED
    assert [(each["event"], each["protocol"]) for each in heard] == [("accepted", "sctp"), ("nonce", "sctp")]


def test_sctp_that_nobody_hears_is_refused_like_tcp(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(agent.SOCKETS, "sctp", agent.SOCKETS["tcp"])
    assert verdict(asyncio.run(probed("sctp", port)), "sctp") is Kind.REFUSED


def test_without_sctp_it_is_not_served_and_a_probe_says_why(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(agent.SOCKETS, "sctp", (socket.SOCK_STREAM, NO_SUCH_PROTOCOL))
    assert agent.open_listener(port, "sctp") is None
    record = asyncio.run(probed("sctp", port))
    assert record["errno"] == errno.errorcode[errno.EPROTONOSUPPORT]
    assert verdict(record, "sctp") is Kind.PROBE_ERROR


class Echo(asyncio.DatagramProtocol):
    """Stands for a kernel that answers echo requests: the type is another, the rest comes back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)
        self.requests: list[bytes] = []

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.requests.append(data)
        self.transport.sendto(b"\0" + data[1:], addr)


async def pinged(port: int) -> tuple[dict[str, Any], list[bytes]]:
    """One ping, and what came of it at the other end."""
    loop = asyncio.get_running_loop()
    transport, echo = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", port))
    try:
        return await probed("icmp", port), echo.requests
    finally:
        transport.close()


def as_udp(family: int, kind: int, number: int = 0) -> socket.socket:
    del number
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    return sock


def test_an_echo_request_is_answered(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "probe_socket", as_udp)
    record, requests = asyncio.run(pinged(port))
    assert verdict(record, "icmp") is Kind.ANSWERED
    assert requests == [b"\x08\0\0\0\0\0\0\x01nonce-1"]
    assert (record["body"], record["echo"]) == ("", None)


def test_an_echo_request_that_nothing_answers_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "probe_socket", as_udp)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        record = asyncio.run(probed("icmp", deaf.getsockname()[1]))
    assert verdict(record, "icmp") is Kind.DROPPED


def test_whoever_may_not_ping_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: int) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(agent, "probe_socket", forbidden)
    record = asyncio.run(probed("icmp", 1))
    assert (record["errno"], verdict(record, "icmp")) == ("EACCES", Kind.PROBE_ERROR)
