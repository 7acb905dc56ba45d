"""What is asked of one agent and has not been answered in full: batches, repetitions, readings of the journal.

What belongs here: from records to verdicts in the order of the flows, and asking again where silence proves nothing.
What does not: the stream that carries them (`stream`). All but the waiting methods are called under `Desk.changed`.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol

from flows import wire
from flows.classify import ask_again, classify
from flows.errors import HarnessError
from flows.model import Evidence, Flow, Kind, Verdict, new_nonce

Connections = Literal["fresh", "keep-alive"]
"""Whether each HTTP request has a connection of its own, or is sent on one that an earlier one left open."""
TRIES = 3
"""How often a flow is asked at most, when its silence may have been the agent's own."""


class Desk(Protocol):
    """The agent, as its questions see it."""

    name: str
    changed: threading.Condition

    def to_harness_clock(self, agent_seconds: float) -> float:
        """A time of the agent's clock on the harness's."""
        ...

    def post(self, question: Question, request: bytes) -> None:
        """Send the request; the question takes what comes back under its name."""
        ...

    def forget(self, question: Question) -> None:
        """Nobody waits for this any more."""
        ...


class Question(Protocol):
    """Something asked that awaits its messages."""

    name: str

    def request(self) -> bytes:
        """What to send again when the stream was lost; the agent answers no name twice."""
        ...

    def take(self, message: wire.Message) -> bytes:
        """Note a message that names this question; a further request, where one is due."""
        ...

    def done(self) -> bool:
        """Whether nothing more will come."""
        ...

    def fail(self, reason: str) -> None:
        """Nothing more will come, for this reason."""
        ...


_numbers = itertools.count(1)


def new_name(letter: str) -> str:
    """A name that no other question has, of this process or of another."""
    return f"{letter}{next(_numbers)}-{secrets.token_hex(3)}"


def probes(flows: Sequence[Flow], nonces: Sequence[str], timeout: float, which: Sequence[int]) -> list[wire.Probe]:
    """The flows of these places, as the agent is asked them."""
    return [
        wire.Probe(
            id=place,
            protocol=str(flows[place].protocol),
            host=flows[place].host,
            port=flows[place].dialled or flows[place].port,
            nonce=nonces[place],
            timeout=timeout,
            method=flows[place].method,
            url_path=flows[place].url_path,
            headers=flows[place].headers,
            pod=flows[place].pod,
            source=flows[place].source,
            tls=flows[place].tls,
            ip_family=flows[place].ip_family,
        )
        for place in which
    ]


def unanswered(flow: Flow, nonce: str, reason: str) -> Verdict:
    """The verdict of a flow of which no record came; never a denial."""
    return Verdict(kind=Kind.PROBE_ERROR, flow=flow, evidence=Evidence(nonce=nonce, detail=reason))


class Asked:
    """A batch under way. Flows whose silence may have been the agent's own are asked again, under the same nonce."""

    def __init__(self, desk: Desk, flows: Sequence[Flow], timeout: float) -> None:
        self.name = new_name("b")
        self._desk, self._flows, self._timeout = desk, tuple(flows), timeout
        self._nonces = [new_nonce() for _ in flows]
        self._verdicts: dict[int, Verdict] = {}
        self._records: dict[int, wire.Record] = {}
        self._which = list(range(len(self._flows)))
        self._attempts = [0] * len(self._flows)
        self._tries = 1
        self._done = not flows

    def result(self, deadline: float) -> list[Verdict]:
        """The verdicts, in the order of the flows; what is missing at `deadline` (monotonic clock) is a probe-error."""
        with self._desk.changed:
            self._desk.changed.wait_for(lambda: self._done, max(0.0, deadline - time.monotonic()))
            if not self._done:
                self.fail("no answer from the agent within the deadline")
                self._desk.forget(self)
            return [self._verdicts[place] for place in range(len(self._flows))]

    def done(self) -> bool:
        """Whether every verdict is there."""
        return self._done

    def early(self) -> dict[Flow, Verdict]:
        """What the records so far say; none of it is final."""
        with self._desk.changed:
            known = {self._flows[place]: verdict for place, verdict in self._verdicts.items()}
            records = [(place, record) for place, record in self._records.items() if place not in self._verdicts]
        judge = partial(judged, self._desk)
        return known | {
            self._flows[place]: judge(self._flows[place], record, self._nonces[place]) for place, record in records
        }

    def request(self) -> bytes:
        """The batch of those places that are still open."""
        return wire.batch(self.name, probes(self._flows, self._nonces, self._timeout, self._which))

    def take(self, message: wire.Message) -> bytes:
        """Note a record, or conclude the batch and ask again what proved nothing."""
        if isinstance(message, wire.Record):
            self._records[message.probe] = message
        if not isinstance(message, wire.End):
            return b""
        again = []
        for place in self._which:
            record = self._records.get(place)
            if record is None:
                reason = f"the agent sent {message.count} records for {len(self._which)} flows; this one has none"
                self._verdicts[place] = unanswered(self._flows[place], self._nonces[place], reason)
                continue
            verdict = judged(self._desk, self._flows[place], record, self._nonces[place])
            self._attempts[place] += record.attempts
            self._verdicts[place] = verdict.with_evidence(attempts=self._attempts[place])
            if ask_again(verdict, record):
                again.append(place)
        if not again or self._tries >= TRIES:
            self._done = True
            return b""
        self._tries += 1
        self._which, self._records, self.name = again, {}, new_name("b")
        return self.request()

    def fail(self, reason: str) -> None:
        """Every flow without a verdict is a probe-error."""
        for place, flow in enumerate(self._flows):
            self._verdicts.setdefault(place, unanswered(flow, self._nonces[place], reason))
        self._done = True


def judged(desk: Desk, flow: Flow, record: wire.Record, nonce: str) -> Verdict:
    """The verdict of a record, its time on the harness's clock; only the nonce that we gave counts."""
    return classify(flow, replace(record, nonce=nonce, sent_at=desk.to_harness_clock(record.sent_at)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One finished round of a repetition.

    Attributes:
        number: From 1.
        sent_at: When it was begun, on the harness's monotonic clock.
        verdicts: In the order of the flows.
    """

    number: int
    sent_at: float
    verdicts: tuple[Verdict, ...]


class Repeat:
    """The same flows again and again, in rounds that overlap, until stopped."""

    def __init__(
        self, desk: Desk, flows: Sequence[Flow], timeout: float, interval: float, connections: Connections = "fresh"
    ) -> None:
        self.name = new_name("r")
        self._desk, self._flows, self._timeout, self._interval = desk, tuple(flows), timeout, interval
        self._connections = connections
        self._nonces = [new_nonce() for _ in flows]
        self._records: dict[int, dict[int, wire.Record]] = {}
        self._rounds: dict[int, Round] = {}
        self._stopping = self._stopped = False
        self._failed = ""

    def rounds(self) -> list[Round]:
        """The rounds that are finished, in the order in which they were sent.

        Raises:
            HarnessError: The agent was lost.
        """
        with self._desk.changed:
            if self._failed:
                raise HarnessError(f"{self._desk.name}: the repeated flows ended", detail=self._failed)
            return [self._rounds[number] for number in sorted(self._rounds)]

    def wait(self, known: int, deadline: float) -> list[Round]:
        """The finished rounds, once there are more than `known`.

        Raises:
            HarnessError: There were no more at `deadline` (monotonic clock), or the agent was lost.
        """
        with self._desk.changed:
            self._desk.changed.wait_for(
                lambda: len(self._rounds) > known or self.done(), max(0.0, deadline - time.monotonic())
            )
            if len(self._rounds) <= known and not self._failed:
                raise HarnessError(f"{self._desk.name}: no round after the first {known} within the deadline")
            return self.rounds()

    def stop(self) -> None:
        """Send no further round; those under way are finished and counted."""
        with self._desk.changed:
            if self._stopping or self.done():
                return
            self._stopping = True
        self._desk.post(self, wire.stop(self.name))

    def ended(self, deadline: float) -> list[Round]:
        """All rounds, once the last one is told after `stop`.

        Raises:
            HarnessError: It was not at `deadline` (monotonic clock), or the agent was lost.
        """
        with self._desk.changed:
            self._desk.changed.wait_for(self.done, max(0.0, deadline - time.monotonic()))
            if not self.done():
                raise HarnessError(f"{self._desk.name}: the repeated flows did not end within the deadline")
            return self.rounds()

    def done(self) -> bool:
        """Whether the last round is told."""
        return self._stopped or bool(self._failed)

    def request(self) -> bytes:
        """The repetition, and its end where that was asked for."""
        asked = probes(self._flows, self._nonces, self._timeout, range(len(self._flows)))
        begin = wire.repeat(self.name, asked, self._interval, self._connections)
        return begin + (wire.stop(self.name) if self._stopping else b"")

    def take(self, message: wire.Message) -> bytes:
        """Note a record, or conclude a round."""
        if isinstance(message, wire.Record):
            self._records.setdefault(message.round, {})[message.probe] = message
        elif isinstance(message, wire.End):
            records = self._records.pop(message.round, {})
            verdicts = tuple(
                self._verdict(place, message.round, records.get(place)) for place in range(len(self._flows))
            )
            sent_at = self._desk.to_harness_clock(message.sent_at)
            self._rounds[message.round] = Round(number=message.round, sent_at=sent_at, verdicts=verdicts)
        elif isinstance(message, wire.Stopped):
            self._stopped = True
        return b""

    def fail(self, reason: str) -> None:
        """No further round will come."""
        self._failed = self._failed or reason

    def _verdict(self, place: int, number: int, record: wire.Record | None) -> Verdict:
        flow, nonce = self._flows[place], f"{self._nonces[place]}-{number}"
        if record is None:
            return unanswered(flow, nonce, "the agent ended the round without a record of this flow")
        return judged(self._desk, flow, record, nonce)


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """What a server noted; times on the agent's clock.

    Attributes:
        next: Where the next reading begins.
        control: A control flow arrived at every listener; without it the journal proves nothing.
        lost: Entries that were asked for and are gone.
    """

    entries: tuple[wire.Entry, ...]
    next: int
    control: bool
    lost: int


class Reading:
    """A reading of the journal under way."""

    def __init__(self, desk: Desk, since: int) -> None:
        self.name = new_name("j")
        self._desk, self._since = desk, since
        self._entries: list[wire.Entry] = []
        self._journal: Journal | None = None
        self._failed = ""

    def result(self, deadline: float) -> Journal:
        """The journal.

        Raises:
            HarnessError: It was not there at `deadline`, or the agent was lost.
        """
        with self._desk.changed:
            self._desk.changed.wait_for(self.done, max(0.0, deadline - time.monotonic()))
            if self._journal is None:
                self._desk.forget(self)
                reason = self._failed or "no answer within the deadline"
                raise HarnessError(f"{self._desk.name}: its journal could not be read", detail=reason)
            return self._journal

    def done(self) -> bool:
        """Whether the journal is there, or never will be."""
        return self._journal is not None or bool(self._failed)

    def request(self) -> bytes:
        """The reading."""
        return wire.journal(self.name, self._since)

    def take(self, message: wire.Message) -> bytes:
        """Note one part."""
        if isinstance(message, wire.JournalPart):
            self._entries += message.entries
            if not message.more:
                self._journal = Journal(
                    entries=tuple(self._entries), next=message.next, control=message.control, lost=message.lost
                )
        return b""

    def fail(self, reason: str) -> None:
        """It will not come."""
        self._failed = reason
