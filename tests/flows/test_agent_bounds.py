"""What the agent keeps is bounded, and what is lost by that is counted, never silent."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any, cast

import pytest

from flows import agent


class Listener:
    """Stands for the stream of a session and keeps what is written to it."""

    def __init__(self) -> None:
        self.transport = self
        self.messages: list[dict[str, Any]] = []

    def write(self, line: bytes) -> None:
        self.messages.append(json.loads(line))

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.messages.append({"op": "aborted"})


def take(served: agent.Agent, line: bytes, listener: Listener) -> None:
    """The one door through which a session's lines come."""
    served._take(line, cast("asyncio.StreamWriter", listener))


def hello(served: agent.Agent, harness: str, instance: str, last_seq: int) -> list[dict[str, Any]]:
    listener = Listener()
    asked = {"op": "hello", "protocol": 2, "harness": harness, "instance": instance, "last_seq": last_seq}
    take(served, json.dumps(asked).encode(), listener)
    return listener.messages


def test_records_beyond_the_bound_are_counted_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "OUTBOX_BYTES", 250)

    async def run() -> list[dict[str, Any]]:
        served = agent.Agent(agent.Identity())
        hello(served, "h", "", 0)
        served._writer = None
        for number in range(10):
            served.tell("record", n=number)
        return hello(served, "h", served.identity.instance, 0)

    greeting, *records = asyncio.run(run())
    assert greeting["lost"] == 10 - len(records) > 0
    assert [each["seq"] for each in records] == list(range(11 - len(records), 11))


def test_acknowledged_records_are_not_sent_again() -> None:
    async def run() -> list[dict[str, Any]]:
        served = agent.Agent(agent.Identity())
        hello(served, "h", "", 0)
        for number in range(5):
            served.tell("record", n=number)
        take(served, b'{"op":"ack","seq":3}', Listener())
        return hello(served, "h", served.identity.instance, 0)

    assert [each["seq"] for each in asyncio.run(run())[1:]] == [4, 5]


def test_journal_entries_beyond_the_bound_are_counted_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "JOURNAL_PART", 2)

    async def run() -> list[dict[str, Any]]:
        served, listener = agent.Agent(agent.Identity()), Listener()
        take(served, b'{"op":"hello","protocol":2,"harness":"h","instance":"","last_seq":0}', listener)
        served.journal.entries = deque(maxlen=3)
        for number in range(8):
            served.journal.add("accepted", "tcp", 80, "10.0.0.1:1", number)
        await served._journal("j1", 2)
        return listener.messages[1:]

    parts = asyncio.run(run())
    assert [[entry["n"] for entry in part["entries"]] for part in parts] == [[5, 6], [7]]
    assert [(part["lost"], part["next"], part["more"]) for part in parts] == [(3, 8, True), (3, 8, False)]


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"op":"dance"}', b'{"op":"batch","id":"b"}'])
def test_what_the_harness_says_wrong_is_answered_and_harms_nothing(line: bytes) -> None:
    async def run() -> list[dict[str, Any]]:
        served, listener = agent.Agent(agent.Identity()), Listener()
        take(served, b'{"op":"hello","protocol":2,"harness":"h","instance":"","last_seq":0}', listener)
        take(served, line, listener)
        return listener.messages[1:]

    (complaint,) = asyncio.run(run())
    assert complaint["op"] == "error"
