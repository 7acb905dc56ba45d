"""Many HTTP requests of one flow, told in one message: who answered each, in the order of sending.

What belongs here: the sample and the asking for it. What does not: what its counts say of a split (`split`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flows import wire
from flows.errors import HarnessError
from flows.model import Flow, Kind, Protocol, Verdict, new_nonce
from flows.questions import Connections, Desk, judged, new_name, probes

PARALLEL = 8
"""Requests under way at once."""
MOST = 100_000
SLACK = 10.0
"""Seconds beyond the sample's own until an agent that has not answered is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What became of the requests.

    Attributes:
        outcomes: Each different outcome once, as the verdict of the first request that ended so.
        order: For each request, in the order of sending, its place in `outcomes`.
        failures: The first few requests that no agent of ours answered, as verdicts, in the order of sending.
        opened: Connections that were opened for it.
        elapsed: Seconds from the first request to the last answer.
    """

    flow: Flow
    outcomes: tuple[Verdict, ...]
    order: tuple[int, ...]
    failures: tuple[Verdict, ...] = ()
    connections: Connections = "fresh"
    opened: int = 0
    elapsed: float = 0.0

    @property
    def count(self) -> int:
        """How many requests were sent."""
        return len(self.order)

    def sequence(self) -> tuple[str, ...]:
        """For each request, in the order of sending: the version that answered, or the verdict's word in `<>`."""
        said = [each.evidence.version if each.kind is Kind.ANSWERED else f"<{each.kind}>" for each in self.outcomes]
        return tuple(said[place] for place in self.order)

    def versions(self) -> dict[str, int]:
        """Answers of each version, the most frequent first."""
        return self._count(lambda each: each.evidence.version if each.kind is Kind.ANSWERED else None)

    def pods(self) -> dict[str, int]:
        """Answers of each pod, the most frequent first."""
        return self._count(lambda each: each.evidence.answered_by if each.kind is Kind.ANSWERED else None)

    def kinds(self) -> dict[Kind, int]:
        """Requests of each kind of verdict."""
        counted = Counter(self.order)
        found: Counter[Kind] = Counter()
        for place, outcome in enumerate(self.outcomes):
            found[outcome.kind] += counted[place]
        return dict(found.most_common())

    def runs(self, version: str) -> int:
        """Unbroken stretches of answers by this version and by others, in the order of sending; failures left out."""
        answered = [each.evidence.version == version for each in self.outcomes]
        kept = [answered[place] for place in self.order if self.outcomes[place].kind is Kind.ANSWERED]
        return sum(1 for _ in itertools.groupby(kept))

    def words(self) -> str:
        """One line: how many requests, over which connections, how long, and what failed."""
        failed = {kind: count for kind, count in self.kinds().items() if kind is not Kind.ANSWERED}
        told = "; ".join(f"{count} {kind}" for kind, count in failed.items()) or "all answered"
        rate = f"{self.count / self.elapsed:.0f}/s" if self.elapsed else "at once"
        return f"{self.count} requests, {self.connections}, {self.opened} connections, {rate}: {told}"

    def record(self) -> dict[str, Any]:
        """The sample as JSON, for reports; the order as a run-length code."""
        return {
            "flow": self.flow.record(),
            "count": self.count,
            "connections": self.connections,
            "opened": self.opened,
            "elapsed": self.elapsed,
            "versions": self.versions(),
            "kinds": {str(kind): count for kind, count in self.kinds().items()},
            "order": [[word, len(list(group))] for word, group in itertools.groupby(self.sequence())],
        }

    def _count(self, name: Callable[[Verdict], str | None]) -> dict[str, int]:
        counted = Counter(self.order)
        found: Counter[str] = Counter()
        for place, outcome in enumerate(self.outcomes):
            word = name(outcome)
            if word is not None:
                found[word] += counted[place]
        return dict(found.most_common())


class Sampling:
    """A sample under way."""

    def __init__(
        self, desk: Desk, flow: Flow, count: int, timeout: float, connections: Connections, within: float
    ) -> None:
        if flow.protocol not in {Protocol.HTTP, Protocol.TCP} or not 0 < count <= MOST:
            raise HarnessError(f"{flow}: a sample is 1 to {MOST} requests of http or tcp, not {count}")
        self.name = new_name("s")
        self._desk, self._flow, self._count, self._timeout = desk, flow, count, timeout
        self._connections: Connections = connections
        self._within, self._nonce = within, new_nonce()
        self._sample: Sample | None = None
        self._failed = ""

    def result(self) -> Sample:
        """The sample.

        Raises:
            HarnessError: It was not there in time, or the agent was lost.
        """
        with self._desk.changed:
            self._desk.changed.wait_for(self.done, self._within + 4 * self._timeout + SLACK)
            if self._sample is None:
                self._desk.forget(self)
                reason = self._failed or "no answer within the deadline"
                raise HarnessError(f"{self._desk.name}: the sample of {self._flow} is lost", detail=reason)
            return self._sample

    def done(self) -> bool:
        """Whether the sample is there, or never will be."""
        return self._sample is not None or bool(self._failed)

    def request(self) -> bytes:
        """The sample's probe and how often to ask it."""
        (probe,) = probes([self._flow], [self._nonce], self._timeout, [0])
        return wire.sample(
            self.name,
            probe,
            self._count,
            connections=self._connections,
            parallel=PARALLEL,
            within=self._within,
        )

    def take(self, message: wire.Message) -> bytes:
        """Note the sample."""
        if isinstance(message, wire.Sampled):
            self._sample = Sample(
                flow=self._flow,
                outcomes=tuple(self._verdict(each) for each in message.outcomes),
                order=tuple(place for place, length in message.runs for _ in range(length)),
                failures=tuple(self._verdict(each) for each in message.failures),
                connections=self._connections,
                opened=message.opened,
                elapsed=message.elapsed,
            )
        return b""

    def fail(self, reason: str) -> None:
        """It will not come."""
        self._failed = self._failed or reason

    def _verdict(self, record: wire.Record) -> Verdict:
        return judged(self._desk, self._flow, record, f"{self._nonce}-{record.probe}")
