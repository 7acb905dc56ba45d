"""Flows that go on while a test changes things, so that "not one allowed call failed" can be held.

What belongs here: starting, ending and adding up repeated flows of many agents. What does not: one agent's rounds
(`questions`), when a change is in force (`converge`).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from flows.errors import FIRST_LINE, HarnessError, InconclusiveError, VerdictError
from flows.measure import SLACK, by_source
from flows.model import Expected, Flow, Kind, Verdict, answered
from flows.questions import Connections, Round

INTERVAL = 0.05
"""Seconds between two calls of a flow: the resolution at which an interruption is seen."""
SHOWN = 5
"""Failures that a report shows one by one."""
RESENT = 0.9
"""Seconds to a connection from which on its first SYN was lost: the kernel sends it again after 1 s."""
IDLE = 0.5
"""Seconds by which a caller itself may be late for its second attempt to prove that the first was lost."""


class Repetition(Protocol):
    """Rounds of one agent that are under way; `flows.questions.Repeat` is one."""

    def wait(self, known: int, deadline: float) -> list[Round]:
        """The finished rounds, once there are more than `known`."""
        ...

    def stop(self) -> None:
        """Send no further round."""
        ...

    def ended(self, deadline: float) -> list[Round]:
        """All rounds, once the last one is told."""
        ...


class Repeater(Protocol):
    """What can repeat flows from one workload; `flows.stream.Agent` is one."""

    def repeat(
        self, flows: Sequence[Flow], timeout: float, interval: float, connections: Connections = "fresh"
    ) -> Repetition:
        """Ask all flows every `interval` seconds until stopped."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTraffic:
    """What became of one flow's calls.

    Attributes:
        failures: Calls that ended otherwise than expected, in the order of sending; `undecided` those that say nothing.
        lost: Calls that ended as expected, but whose first packet got no answer at all.
        longest_gap: The longest time, in seconds, between two calls that ended as expected (from the first call of all
            flows, to the last); `gap_at` says when it began, in seconds from the start.
    """

    flow: Flow
    calls: int
    failures: tuple[Verdict, ...]
    undecided: tuple[Verdict, ...]
    lost: tuple[Verdict, ...]
    longest_gap: float
    gap_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficReport:
    """Every call of a stretch of traffic.

    Attributes:
        verdicts: In the order of sending.
        started: When the first call was sent, on the harness's monotonic clock; `seconds` later the last one was.
    """

    flows: tuple[FlowTraffic, ...]
    verdicts: tuple[Verdict, ...]
    expected: Expected
    started: float
    seconds: float
    connections: Connections = "fresh"

    @property
    def calls(self) -> int:
        """Calls of all flows."""
        return len(self.verdicts)

    @property
    def failures(self) -> tuple[Verdict, ...]:
        """Calls that ended otherwise than expected, in the order of sending."""
        return tuple(each for each in self.verdicts if _failed(each, self.expected))

    @property
    def longest_gap(self) -> float:
        """The longest gap of any flow, in seconds."""
        return max((each.longest_gap for each in self.flows), default=0.0)

    def between(self, begin: float, end: float) -> tuple[Verdict, ...]:
        """The calls sent between two moments of the harness's monotonic clock."""
        return tuple(each for each in self.verdicts if begin <= each.evidence.sent_at <= end)

    def at(self, verdict: Verdict) -> float:
        """When a call was sent, in seconds from the start."""
        return verdict.evidence.sent_at - self.started

    def verify(self) -> None:
        """Return when every call of every flow ended as expected.

        Raises:
            VerdictError: One did not; the first line names flow, count, and what the first failure was and when.
            InconclusiveError: None failed, but something could not be told, or a flow was never called.
        """
        failed = [each for each in self.flows if each.failures]
        if failed:
            first = min((each.failures[0] for each in failed), key=self.at)
            worst = next(each for each in failed if each.flow == first.flow)
            line = f"{worst.flow}: expected {self.expected.word}, {len(worst.failures)} of {worst.calls} calls failed"
            line += f" ({first.kind} first, {self.at(first):.2f} s in)"
            raise VerdictError(f"{line[:FIRST_LINE]}\n{self.words()}")
        unsure = [each for each in self.flows if each.undecided or not each.calls]
        if unsure or not self.flows:
            named = str(unsure[0].flow) if unsure else "traffic"
            count = len(unsure[0].undecided) if unsure else 0
            told = f"{count} of {unsure[0].calls} calls could not be told" if count else "no call was sent"
            raise InconclusiveError(f"{named}: {told}"[:FIRST_LINE], detail=self.words())

    def verify_lossless(self) -> None:
        """Return when no call lost its first packet, too; for flows without a proxy, which would answer by itself.

        Raises:
            VerdictError: One did: for a moment an allowed flow was dropped, and only a second try made up for it.
            VerdictError, InconclusiveError: As `verify`.
        """
        self.verify()
        for each in self.flows:
            if each.lost:
                line = f"{each.flow}: expected no interruption, {len(each.lost)} of {each.calls} calls lost a packet"
                raise VerdictError(f"{line[:FIRST_LINE]}\n{self.words()}")

    def words(self) -> str:
        """One line a flow, and the first failures with their time and evidence."""
        lines = [f"{self.calls} calls in {self.seconds:.1f} s over {self.connections} connections"]
        for each in self.flows:
            told = f"{each.calls} calls, {len(each.failures)} failed"
            told += f", {len(each.undecided)} undecided" if each.undecided else ""
            told += f", {len(each.lost)} lost a packet (first at {self.at(each.lost[0]):.2f} s)" if each.lost else ""
            lines.append(f"  {each.flow}: {told}; longest gap {each.longest_gap:.2f} s at {each.gap_at:.2f} s")
        for verdict in self.failures[:SHOWN]:
            seen = verdict.evidence
            facts = (f"HTTP {seen.http_status}" if seen.http_status else "", seen.flags, seen.errno, seen.detail)
            why = ", ".join(filter(None, (seen.phase, *facts)))
            lines.append(f"  {self.at(verdict):7.3f} s  {verdict.flow}: {verdict.kind} ({why}) nonce {seen.nonce}")
        if len(self.failures) > SHOWN:
            lines.append(f"  … and {len(self.failures) - SHOWN} more")
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "calls": self.calls,
            "seconds": self.seconds,
            "connections": self.connections,
            "failed": len(self.failures),
            "longest_gap": self.longest_gap,
            "flows": [
                {
                    "flow": each.flow.record(),
                    "calls": each.calls,
                    "failed": len(each.failures),
                    "undecided": len(each.undecided),
                    "lost": len(each.lost),
                    "longest_gap": each.longest_gap,
                    "gap_at": each.gap_at,
                }
                for each in self.flows
            ],
            "text": self.words(),
        }


class Traffic:
    """Flows at an interval, over many agents, until stopped; use as a context or with `start` and `stop`.

    Args:
        agents: Source workload's name → its agent.
        timeout: Seconds of silence that count.
        expected: What every call must end as.
    """

    def __init__(
        self,
        agents: Mapping[str, Repeater],
        flows: Iterable[Flow],
        *,
        timeout: float,
        interval: float = INTERVAL,
        connections: Connections = "fresh",
        expected: Expected | None = None,
    ) -> None:
        self._flows = tuple(flows)
        missing = sorted({flow.source for flow in self._flows} - set(agents))
        if missing:
            raise HarnessError(f"no agent in workload {missing[0]!r}; known workloads: {', '.join(sorted(agents))}")
        self._agents, self._timeout, self._interval = agents, timeout, interval
        self._connections: Connections = connections
        self._expected = expected or answered()
        self._repeats: dict[str, Repetition] = {}

    @property
    def destinations(self) -> list[str]:
        """Whom it calls, each once."""
        return list(dict.fromkeys(flow.destination for flow in self._flows))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for repeat in self._repeats.values():
            repeat.stop()

    def start(self) -> Self:
        """Begin, and return once every flow has been called and has ended for the first time.

        Raises:
            HarnessError: An agent is lost, or its first round did not end in time.
        """
        for source, row in by_source(self._flows).items():
            self._repeats[source] = self._agents[source].repeat(row, self._timeout, self._interval, self._connections)
        self.more(1)
        return self

    def more(self, rounds: int) -> None:
        """Return once every flow has ended in this many more rounds: to see traffic before and after a change.

        Raises:
            HarnessError: An agent is lost, or the rounds did not end in time.
        """
        deadline = time.monotonic() + rounds * self._interval + 4 * self._timeout + SLACK
        for repeat in self._repeats.values():
            known = len(repeat.wait(-1, deadline))
            for further in range(rounds):
                repeat.wait(known + further, deadline)

    def stop(self) -> TrafficReport:
        """End the traffic; those calls that are under way are waited for and counted.

        Raises:
            HarnessError: An agent was lost or restarted, so that calls are missing.
        """
        for repeat in self._repeats.values():
            repeat.stop()
        deadline = time.monotonic() + 4 * self._timeout + SLACK
        rounds = [each for repeat in self._repeats.values() for each in repeat.ended(deadline)]
        verdicts = [_dated(verdict, each) for each in rounds for verdict in each.verdicts]
        return report(self._flows, verdicts, self._expected, self._connections)


def report(
    flows: Iterable[Flow], verdicts: Iterable[Verdict], expected: Expected, connections: Connections = "fresh"
) -> TrafficReport:
    """The verdicts of many calls, added up."""
    ordered = sorted(verdicts, key=lambda each: each.evidence.sent_at)
    started = ordered[0].evidence.sent_at if ordered else 0.0
    ended = ordered[-1].evidence.sent_at if ordered else 0.0
    calls: dict[Flow, list[Verdict]] = {flow: [] for flow in flows}
    for verdict in ordered:
        calls[verdict.flow].append(verdict)
    return TrafficReport(
        flows=tuple(_flow(flow, row, expected, started, ended) for flow, row in calls.items()),
        verdicts=tuple(ordered),
        expected=expected,
        started=started,
        seconds=ended - started,
        connections=connections,
    )


def _dated(verdict: Verdict, of: Round) -> Verdict:
    """A call of which no record came was sent when its round was."""
    return verdict if verdict.evidence.sent_at else verdict.with_evidence(sent_at=of.sent_at)


def _failed(verdict: Verdict, expected: Expected) -> bool:
    return verdict.kind is not Kind.PROBE_ERROR and not expected.matches(verdict)


def _lost(verdict: Verdict) -> bool:
    seen = verdict.evidence
    return (seen.attempts > 1 or seen.connect_elapsed >= RESENT) and seen.lag < IDLE


def _flow(flow: Flow, row: Sequence[Verdict], expected: Expected, started: float, ended: float) -> FlowTraffic:
    well = [each.evidence.sent_at for each in row if expected.matches(each)]
    moments = [started, *well, ended]
    gaps = [(later - earlier, earlier - started) for earlier, later in itertools.pairwise(moments)]
    longest, gap_at = max(gaps, key=lambda each: each[0])
    return FlowTraffic(
        flow=flow,
        calls=len(row),
        failures=tuple(each for each in row if _failed(each, expected)),
        undecided=tuple(each for each in row if each.kind is Kind.PROBE_ERROR and not expected.matches(each)),
        lost=tuple(each for each in row if expected.allows and expected.matches(each) and _lost(each)),
        longest_gap=longest,
        gap_at=gap_at,
    )
