"""Overlapping rounds until the expected matrix holds through one window; enforcement latency on the way.

What belongs here: when a policy counts as in force. What does not: what the verdicts are then worth (`judge`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from flows.matrix import Cell
from flows.measure import SLACK, Asker, Round, send
from flows.model import Expected, Flow, Kind, Verdict

TICK = 0.1
"""Seconds between two rounds; longer when a round is large, so that the probes do not become the load."""
FIRST = 0.02
"""Seconds between the first round and the second, longer for a large one. Each further pause is as long as all before
it together, up to `TICK`: most engines are done by then, and what comes soon is seen soon."""
CALM = 0.25
"""Seconds between two rounds, at most, once the expected matrix shows and has only to last."""
PROBES_PER_SECOND = 600
"""How many probes a second the rounds may add up to (two cores carry about twice that)."""
CUT = {Kind.RESET, Kind.CLOSED}
"""How a request ends that is under way when a mesh's rules change."""
MOST_UNDER_WAY = 40
"""Rounds under way at once; beyond it a new one waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converged:
    """How the cluster came to the expected matrix, or where it stood when time was up.

    Attributes:
        held: Whether the expected matrix held through one window.
        verdicts: The last round's; when `held`, the last round of the window.
        latency: Seconds from `applied_at` to the first probe sent in the lasting new state; None when not held.
        since: When the first probe of the window was sent, on the monotonic clock.
        matched: When the first round was sent from which on a flow lastingly showed what is expected of it.
        nonces: Every nonce of the window's rounds, by flow, but those that the change itself may have cut off.
    """

    held: bool
    verdicts: Mapping[Flow, Verdict]
    latency: float | None
    rounds: int
    seconds: float
    since: float
    nonces: Mapping[Flow, frozenset[str]] = field(default_factory=dict)
    matched: Mapping[Flow, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Seen:
    """A finished round, and whether it shows the expected matrix (None: it could not tell)."""

    sent_at: float
    verdicts: dict[Flow, Verdict]
    shows: bool | None


def converge(
    agents: Mapping[str, Asker],
    cells: Sequence[Cell],
    *,
    deny_timeout: float,
    timeout: float,
    window: float,
    applied_at: float | None = None,
) -> Converged:
    """Ask again and again, overlapping, until every expectation holds through one window of rounds.

    A round in which something could not be told neither counts nor ends the window; one that differs ends it.

    Args:
        window: Seconds between the first and the last round that must all show the expected matrix; 0 takes one round.
        applied_at: When the API server acknowledged the change, on the monotonic clock.
    """
    started = time.monotonic()
    last_launch = started + timeout
    flows = [cell.flow for cell in cells]
    tick = max(TICK, len(flows) / PROBES_PER_SECOND)
    pause = threading.Event()
    under_way: list[Round] = []
    seen: list[_Seen] = []
    launches: list[float] = []
    while True:
        now = time.monotonic()
        since = _since(seen)
        due = _due(launches, since, window, tick, told=bool(seen) and not under_way) if launches else started
        if launches and due <= now and since is None:  # a drop takes its time, what contradicts it does not
            due = _due(launches, _promising(cells, under_way, now - tick), window, tick)
        if now >= due and now < last_launch and len(under_way) < MOST_UNDER_WAY:
            under_way.append(send(agents, flows, deny_timeout))
            launches.append(under_way[-1].sent_at)
        while under_way and under_way[0].done():
            finished = under_way.pop(0)
            verdicts = finished.verdicts(now)
            seen.append(_Seen(finished.sent_at, verdicts, shows(cells, verdicts)))
        held = _held(seen, window)
        if held is not None:
            return _converged(cells, seen, held, applied_at, started)
        overdue = bool(under_way) and now > under_way[0].sent_at + 4 * deny_timeout + SLACK
        if (now >= last_launch and not under_way) or overdue:
            return _given_up(cells, seen, under_way, started)
        pause.wait(min(max(due - now, 0.002), 0.02))


def _due(launches: Sequence[float], since: float | None, window: float, tick: float, *, told: bool = False) -> float:
    """When the next round is to be sent: soon, until the expected matrix shows; then as often as a window needs it.

    The round at the window's end is the last, unless it cannot tell.

    Args:
        since: When the first round was sent from which on the expected matrix shows, if it does.
        told: Whether every round that was sent has come to its end.
    """
    latest = launches[-1]
    if since is None:
        return latest + (min(max(FIRST * tick / TICK, latest - launches[0]), tick) if window else tick)
    calm, end = max(tick, min(window / 2, CALM)), since + window
    if latest < end:
        return min(latest + calm, max(end, latest + tick))
    return latest + calm if told else math.inf


def _promising(cells: Sequence[Cell], under_way: Sequence[Round], before: float) -> float | None:
    """Since when rounds show nothing but what is expected, as far as they are known; of those sent before then."""
    since = None
    for each in reversed([each for each in under_way if each.sent_at <= before]):
        known = each.early()
        for cell in cells:
            verdict, expected = known.get(cell.flow), cell.expected
            if expected is not None and not (expected.matches(verdict) if verdict is not None else not expected.allows):
                return since
        since = each.sent_at
    return since


def shows(cells: Sequence[Cell], verdicts: Mapping[Flow, Verdict]) -> bool | None:
    """Whether the verdicts are all as expected; None when nothing differs but something could not be told."""
    unknown = False
    for cell in cells:
        verdict = verdicts.get(cell.flow)
        if cell.expected is None:
            continue
        if verdict is None or verdict.kind is Kind.PROBE_ERROR:
            unknown = True
        elif not cell.expected.matches(verdict):
            return False
    return None if unknown else True


def _since(seen: Sequence[_Seen]) -> float | None:
    """When the first round of the lasting state was sent, if the expected matrix shows."""
    since: float | None = None
    for each in reversed(seen):
        if each.shows is False:
            break
        if each.shows:
            since = each.sent_at
    return since


def _held(seen: Sequence[_Seen], window: float) -> int | None:
    """Index of the first round of the lasting state when it has lasted through a window, else None."""
    since = _since(seen)
    if since is None or not seen[-1].shows or seen[-1].sent_at - since < window:
        return None
    return next(place for place, each in enumerate(seen) if each.sent_at == since)


def _converged(
    cells: Sequence[Cell], seen: Sequence[_Seen], first: int, applied_at: float | None, started: float
) -> Converged:
    window = seen[first:]
    latency = None if applied_at is None else max(0.0, window[0].sent_at - applied_at)
    return Converged(
        held=True,
        verdicts=window[-1].verdicts,
        latency=latency,
        rounds=len(seen),
        seconds=time.monotonic() - started,
        since=window[0].sent_at,
        nonces=_nonces(window),
        matched={cell.flow: moment for cell in cells if (moment := _matched(cell, seen)) is not None},
    )


def _matched(cell: Cell, seen: Sequence[_Seen]) -> float | None:
    """When the round began from which on every round showed what is expected of a flow; None where none did."""
    moment: float | None = None
    for each in reversed(seen):
        verdict = each.verdicts.get(cell.flow)
        if verdict is None or verdict.kind is Kind.PROBE_ERROR or cell.expected is None:
            continue
        if not cell.expected.matches(verdict):
            break
        moment = each.sent_at
    return moment


def _given_up(cells: Sequence[Cell], seen: Sequence[_Seen], under_way: Sequence[Round], started: float) -> Converged:
    """The last round that showed something else: a state that comes and goes must not look like the expected one."""
    if under_way:  # a round that never ended says only that we cannot tell, whatever the rounds before it showed
        told = under_way[0].verdicts(time.monotonic())
        expected = {cell.flow: cell.expected for cell in cells}
        telling = _Seen(under_way[0].sent_at, {flow: _untold(told[flow], expected[flow]) for flow in told}, None)
    else:
        telling = next((each for each in reversed(seen) if each.shows is False), seen[-1])
    return Converged(
        held=False,
        verdicts=telling.verdicts,
        latency=None,
        rounds=len(seen),
        seconds=time.monotonic() - started,
        since=telling.sent_at,
        nonces=_nonces([telling]),
    )


def _untold(verdict: Verdict, expected: Expected | None) -> Verdict:
    """A verdict of a round that never ended: what differs in it may be of the moment before the change was in force."""
    if expected is None or expected.matches(verdict) or verdict.kind is Kind.PROBE_ERROR:
        return verdict
    why = f"{verdict.kind} in a round that never ended: nothing was asked again since the change"
    return replace(verdict, kind=Kind.PROBE_ERROR).with_evidence(detail=why)


def _nonces(rounds: Sequence[_Seen]) -> dict[Flow, frozenset[str]]:
    """Every nonce of the rounds, without those that were under way when the change came; the last round always counts.

    A mesh ends open connections when its rules change: a request that was delivered just before ends as one that was
    cut off, in the first round that looks as expected. It says nothing about the state after the change.
    """
    found: dict[Flow, set[str]] = {}
    settled = {flow: _settled(rounds[0], verdict) for flow, verdict in rounds[0].verdicts.items()}
    for each in rounds:
        for flow, verdict in each.verdicts.items():
            if each is rounds[-1] or each.sent_at >= settled.get(flow, 0.0):
                found.setdefault(flow, set()).add(verdict.nonce)
    return {flow: frozenset(nonces) for flow, nonces in found.items()}


def _settled(first: _Seen, verdict: Verdict) -> float:
    """When the first round's probe of a flow had ended, where the change itself may have ended it; else its start."""
    return first.sent_at + (verdict.evidence.elapsed if verdict.kind in CUT else 0.0)
