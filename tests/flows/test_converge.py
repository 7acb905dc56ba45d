"""When a state counts as reached: it holds through a window, and one that comes and goes never does."""

from __future__ import annotations

import itertools
import math

import pytest

from flows.converge import CALM, FIRST, TICK, Converged, _due, _promising, converge, shows
from flows.errors import HarnessError
from flows.measure import measure, send
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


def test_each_flow_has_the_moment_of_its_own_lasting_state() -> None:
    agents = {"caller": after(2), "intruder": after(4)}
    cells = [cell("caller", denied(), None), cell("intruder", denied(), None)]
    outcome = converge(agents, cells, deny_timeout=0.1, timeout=5.0, window=WINDOW)
    assert outcome.matched[flow("caller")] < outcome.matched[flow("intruder")] == outcome.since


def test_what_came_and_went_is_no_lasting_state() -> None:
    comes_and_goes = Agent(lambda _flow, number: Kind.DROPPED if number in {1, 2} or number > 3 else Kind.ANSWERED)
    outcome = converge(
        {"caller": after(0), "intruder": comes_and_goes},
        [cell("caller", denied(), None), cell("intruder", denied(), None)],
        deny_timeout=0.1,
        timeout=5.0,
        window=WINDOW,
    )
    assert outcome.matched[flow("intruder")] == outcome.since > outcome.matched[flow("caller")]


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


def test_what_differs_in_a_round_that_never_ended_may_be_of_before_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.converge.SLACK", 0.1)
    stuck = Agent(lambda _flow, _round: Kind.ANSWERED, finished=False)
    agents = {"caller": stuck, "intruder": Agent(lambda _flow, _round: Kind.ANSWERED)}
    outcome = converge(agents, CELLS, deny_timeout=0.1, timeout=0.2, window=WINDOW)
    assert outcome.verdicts[flow("caller")].kind is Kind.ANSWERED
    assert outcome.verdicts[flow("intruder")].kind is Kind.PROBE_ERROR
    assert outcome.verdicts[flow("intruder")].evidence.detail.startswith("answered in a round that never ended")


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


@pytest.mark.parametrize(
    ("launches", "since", "told", "window", "due"),
    [
        pytest.param([0.0], None, False, 0.6, FIRST, id="the-second-soon"),
        pytest.param([0.0], None, False, 0.0, TICK, id="without-a-window-there-is-no-haste"),
        pytest.param([0.0, 0.03, 0.06], None, False, 0.6, 0.12, id="as-late-again-as-it-is"),
        pytest.param([0.0, 0.5], None, True, 0.6, 0.5 + TICK, id="until-it-shows"),
        pytest.param([0.0, 0.1], 0.0, False, 0.36, 0.28, id="calmly-once-it-shows"),
        pytest.param([0.0, 0.1], 0.0, False, 9.0, 0.1 + CALM, id="calmly-in-a-long-window"),
        pytest.param([0.0, 0.45], 0.0, True, 0.6, 0.6, id="at-the-windows-end"),
        pytest.param([0.0, 0.6], 0.0, False, 0.6, math.inf, id="none-after-the-last"),
        pytest.param([0.0, 0.6], 0.0, True, 0.6, 0.6 + CALM, id="unless-it-cannot-tell"),
    ],
)
def test_when_the_next_round_is_sent(
    launches: list[float], since: float | None, window: float, due: float, *, told: bool
) -> None:
    shown = None if since is None else AT + since
    assert _due([AT + each for each in launches], shown, window, TICK, told=told) == pytest.approx(AT + due)


@pytest.mark.parametrize(
    ("kinds", "since"),
    [
        pytest.param([Kind.ANSWERED, Kind.DROPPED, Kind.DROPPED], 1.0, id="from-the-second-on"),
        pytest.param([Kind.DROPPED, Kind.DROPPED, Kind.ANSWERED], None, id="the-latest-differs"),
        pytest.param([Kind.DROPPED, Kind.DROPPED, Kind.DROPPED, Kind.ANSWERED], 0.0, id="one-too-young-to-tell"),
        pytest.param([], None, id="none"),
    ],
)
def test_rounds_that_lack_only_denials_are_promising(kinds: list[Kind], since: float | None) -> None:
    agents = {
        "caller": Agent(lambda _flow, _round: Kind.ANSWERED),
        "intruder": Agent(lambda _flow, number: kinds[number], finished=False),
    }
    clock = itertools.count(AT)
    sent = [send(agents, [cell.flow for cell in CELLS], 0.1, clock.__next__) for _ in kinds]
    shown = None if since is None else AT + since
    assert _promising(CELLS, sent, AT + 2.5) == shown


def test_an_answer_that_is_not_there_yet_promises_nothing() -> None:
    agents = {name: Agent(lambda _flow, _round: Kind.DROPPED, finished=False) for name in ("caller", "intruder")}
    assert _promising(CELLS, [send(agents, [cell.flow for cell in CELLS], 0.1, lambda: AT)], AT) is None
