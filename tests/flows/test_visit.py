"""The agent as a visitor: over the pipes of one command, with nothing that listens, stays or is said to strangers."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from fixtures import table
from flows import visit
from flows.errors import HarnessError, UsageError
from flows.model import Flow, Kind, Protocol
from flows.stream import Agent, ChannelClosed
from tests.flows.pipes import DEADLINE, PipeChannel, Served, misbehaving, soon, stays_silent

ELSEWHERE = {key: value for key, value in os.environ.items() if not key.startswith("EASTWEST_")}


class Visits:
    """Opens visits, and remembers their processes."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds, self.channels = seconds, list[PipeChannel]()

    def channel(self) -> PipeChannel:
        """One more visit's process."""
        words = [sys.executable, *visit.command(self.seconds)[1:]]
        self.channels.append(PipeChannel(words, ELSEWHERE))
        return self.channels[-1]

    def agent(self) -> Agent:
        """A connected visitor."""
        agent = Agent("visitor", lambda: visit.opened(self.channel))
        agent.connect(soon())
        return agent


@pytest.fixture
def visits() -> Iterator[Visits]:
    """Visits that end with the test."""
    made = Visits()
    yield made
    for channel in made.channels:
        channel.close()


def flow(port: int, protocol: Protocol = Protocol.CONNECT, pod: str = "") -> Flow:
    """From the visitor to a port of loopback."""
    return Flow(source="visitor", destination="server", host="127.0.0.1", port=port, protocol=protocol, pod=pod)


def test_a_visitor_asks_agents_like_any_agent(visits: Visits) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    served = Served("server", f"{port}/tcp")
    agent = visits.agent()
    (verdict,) = agent.ask([flow(port, Protocol.TCP, pod=served.pod)], 2).result(soon())
    assert (verdict.kind, verdict.evidence.answered_by) == (Kind.ANSWERED, served.pod)
    agent.close()
    served.close()


def test_a_handshake_is_all_that_a_stranger_sees(visits: Visits) -> None:
    heard: list[bytes] = []
    done = threading.Event()

    def listens(connection: socket.socket) -> None:
        connection.settimeout(DEADLINE)
        heard.append(connection.recv(1 << 16))
        done.set()

    with misbehaving(listens) as port:
        agent = visits.agent()
        (verdict,) = agent.ask([flow(port)], 2).result(soon())
        assert (verdict.kind, verdict.evidence.phase) == (Kind.CLOSED, "done")
        assert "who accepted is not known" in verdict.evidence.detail
        assert done.wait(DEADLINE)
        agent.close()
    assert heard == [b""], "not a byte, then the end"


def test_a_server_that_never_says_anything_is_open_too(visits: Visits) -> None:
    with misbehaving(stays_silent) as port:
        agent = visits.agent()
        (verdict,) = agent.ask([flow(port)], 2).result(soon())
        assert verdict.kind is Kind.CLOSED
        agent.close()


def test_nobody_who_listens_is_refused(visits: Visits) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    agent = visits.agent()
    (verdict,) = agent.ask([flow(port)], 2).result(soon())
    assert verdict.kind is Kind.REFUSED
    agent.close()


def test_a_visitor_goes_with_its_stream(visits: Visits) -> None:
    agent = visits.agent()
    process = visits.channels[0].process
    assert process.stdin
    process.stdin.close()
    assert process.wait(DEADLINE) == 0
    agent.close()


def test_a_visitor_goes_by_itself_when_its_time_is_over() -> None:
    made = Visits(seconds=0.2)
    channel = made.channel()
    visit.opened(lambda: channel)
    assert channel.process.wait(DEADLINE) == 0, "although its standard input is still open"
    channel.close()


def test_what_follows_the_agent_on_its_stream_is_not_swallowed(visits: Visits) -> None:
    """The hello is sent at once, most likely in one piece with the agent's last bytes."""
    channel = visits.channel()
    whole = visit._source() + b'{"op":"ping","id":"p1"}\n{"op":"hello","protocol":2,"harness":"h","instance":""}\n'
    channel.send(whole)
    seen, deadline = b"", time.monotonic() + DEADLINE
    while b'"hello"' not in seen and time.monotonic() < deadline:
        seen += channel.receive(1.0)
    assert b'"hello"' in seen


def test_a_container_without_python_is_told_in_its_own_words() -> None:
    def none() -> PipeChannel:
        return PipeChannel([sys.executable, "-c", "raise SystemExit('python3 is 3.6, older than 3.9')"], ELSEWHERE)

    agent = Agent("visitor", lambda: visit.opened(none))
    with pytest.raises(HarnessError) as refused:
        agent.connect(time.monotonic() + 2)
    assert "older than 3.9" in refused.value.detail


def test_an_agent_that_does_not_arrive_whole_is_not_run() -> None:
    channel = Visits().channel()
    channel.send(b"print('half')")
    assert channel.process.stdin
    channel.process.stdin.close()
    with pytest.raises(ChannelClosed, match="did not arrive whole"):
        channel.receive(DEADLINE)


def test_a_truth_table_has_no_column_without_a_word() -> None:
    with pytest.raises(UsageError, match="'connect' is not one of"):
        table.column("server:8080/connect")
