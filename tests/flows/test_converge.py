"""When a state counts as reached: it holds through a window, and one that comes and goes never does."""

from __future__ import annotations

import math

import pytest

from flows.converge import CALM, FIRST, TICK, Converged, _due, _Seen, converge, shows
from flows.errors import HarnessError
from flows.measure import measure
from flows.model import Expected, Kind, answered, denied
from tests.flows.samples import Agent, cell, flow

CELLS = [cell("caller", answered(), None), cell("intruder", denied(), None)]
WINDOW = 0.3


def run(intruder: Agent, *, timeout: float = 5.0, window: float = WINDOW, applied_at: float | None = None) -> Converged:
    agents = {"caller": Agent(lambda _flow, _round: Kind.ANSWERED), "intruder": intruder}
    return converge(agents, CELLS, deny_timeout=0.1, timeout=timeout, window=window, applied_at=applied_at)


def after(rounds: int) -> Agent:
    return Agent(lambda _flow, number: Kind.DROPPED if number >= rounds else Kind.ANSWERED)


def test_expected_state_from_the_start_holds_through_one_window() -> None:
    outcome = run(after(0))
    assert outcome.held
    assert outcome.rounds >= 3
    assert outcome.nonces[flow("intruder")] >= {"intruder-0", "intruder-1"}


def test_latency_runs_to_the_first_probe_of_the_lasting_state() -> None:
    late = run(after(4), applied_at=0.0)
    assert late.held
    assert late.latency == pytest.approx(late.since)
    assert "intruder-3" not in late.nonces[flow("intruder")]


@pytest.mark.parametrize(
    ("kind", "counts"), [pytest.param(Kind.CLOSED, False, id="cut-off"), pytest.param(Kind.DROPPED, True, id="dropped")]
)
def test_what_the_change_itself_cut_off_does_not_count(kind: Kind, *, counts: bool) -> None:
    intruder = Agent(lambda _flow, number: kind if number >= 4 else Kind.ANSWERED, elapsed=0.01)
    expected = Expected(word=str(kind), kinds=frozenset({kind}))
    cells = [cell("caller", answered(), None), cell("intruder", expected, None)]
    agents = {"caller": Agent(lambda _flow, _round: Kind.ANSWERED), "intruder": intruder}
    nonces = converge(agents, cells, deny_timeout=0.1, timeout=5.0, window=WINDOW).nonces[flow("intruder")]
    assert ("intruder-4" in nonces) == counts
    assert "intruder-6" in nonces


def test_state_that_comes_and_goes_is_not_reached() -> None:
    outcome = run(Agent(lambda _flow, number: Kind.ANSWERED if number % 3 == 2 else Kind.DROPPED), timeout=1.5)
    assert not outcome.held
    assert outcome.verdicts[flow("intruder")].kind is Kind.ANSWERED, "the telling round is the one that differed"
    assert outcome.latency is None


def test_wrong_state_is_reported_as_it_is() -> None:
    outcome = run(after(10_000), timeout=0.5)
    assert not outcome.held
    assert outcome.verdicts[flow("intruder")].kind is Kind.ANSWERED


def test_rounds_that_cannot_tell_never_hold() -> None:
    outcome = run(Agent(lambda _flow, _round: Kind.PROBE_ERROR), timeout=0.5)
    assert not outcome.held


def test_no_window_takes_one_round() -> None:
    agent = after(0)
    assert run(agent, window=0.0).held
    assert agent.rounds <= 2


def test_agent_that_never_finishes_ends_at_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.converge.SLACK", 0.1)
    stuck = Agent(lambda _flow, _round: Kind.DROPPED, finished=False)
    assert not run(stuck, timeout=0.2).held


def test_source_without_agent_is_named() -> None:
    with pytest.raises(HarnessError, match="no agent in workload 'intruder'"):
        measure({"caller": Agent(lambda _flow, _round: Kind.ANSWERED)}, [flow("intruder")], 0.1)


def test_measure_keeps_flows_and_verdicts_together() -> None:
    kinds = {"caller": Kind.ANSWERED, "intruder": Kind.DROPPED}
    agents = {name: Agent(lambda each, _round: kinds[each.source]) for name in kinds}
    found = measure(agents, [flow("intruder"), flow("caller")], 0.1)
    assert {each.source: verdict.kind for each, verdict in found.items()} == kinds


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(Kind.DROPPED, True), (Kind.ANSWERED, False), (Kind.PROBE_ERROR, None), (None, None)],
    ids=["as-expected", "differs", "probe-error", "no-record"],
)
def test_shows(kind: Kind | None, expected: bool | None) -> None:
    asked = cell("intruder", denied(), kind)
    verdicts = {asked.flow: asked.verdict} if asked.verdict is not None else {}
    assert shows([asked], verdicts) is expected


AT = 100.0
"""When the expected matrix showed first."""


def finished(after: float, shown: bool | None = True) -> _Seen:
    return _Seen(AT + after, {}, shown)


@pytest.mark.parametrize(
    ("launches", "seen", "window", "due"),
    [
        pytest.param([0.0], [], 0.6, FIRST, id="the-second-soon"),
        pytest.param([0.0], [], 0.0, TICK, id="without-a-window-there-is-no-haste"),
        pytest.param([0.0, 0.1], [finished(0.0, False)], 0.6, 0.1 + TICK, id="until-it-shows"),
        pytest.param([0.0, 0.1], [finished(0.0)], 0.6, 0.3, id="calmly-once-it-shows"),
        pytest.param([0.0, 0.1], [finished(0.0)], 9.0, 0.1 + CALM, id="calmly-in-a-long-window"),
        pytest.param([0.0, 0.45], [finished(0.0)], 0.6, 0.6, id="at-the-windows-end"),
        pytest.param([0.0, 0.6], [finished(0.0)], 0.6, math.inf, id="none-after-the-last"),
        pytest.param([0.0, 0.6], [finished(0.0), finished(0.6, None)], 0.6, 0.8, id="unless-it-cannot-tell"),
        pytest.param([0.0, 0.6], [finished(0.0), finished(0.6, False)], 0.6, 0.7, id="anew-when-it-differs"),
    ],
)
def test_when_the_next_round_is_sent(launches: list[float], seen: list[_Seen], window: float, due: float) -> None:
    assert _due([AT + each for each in launches], seen, window, TICK) == pytest.approx(AT + due)
