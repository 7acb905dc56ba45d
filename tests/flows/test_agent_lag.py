"""How late the agent's event loop is: looked at closely while something is asked, and else with few wake-ups."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flows.agent import RELAXED, TICK, Lag


class Handle:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """An event loop whose time a test makes pass; what is due is called at once, or late where the loop was held up."""

    def __init__(self) -> None:
        self.now = 100.0
        self.handles: list[Handle] = []
        self.woken = 0

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Handle:
        self.handles.append(Handle(at, call))
        return self.handles[-1]

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [each for each in self.handles if not each.cancelled and each.at <= end]:
            first = min(due, key=lambda each: each.at)
            self.handles.remove(first)
            self.now = max(self.now, first.at)
            self.woken += 1
            first.call()
        self.now = end

    def held_up(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop()
    monkeypatch.setattr("asyncio.get_running_loop", lambda: made)
    return made


def test_an_agent_that_is_not_asked_sleeps(loop: Loop) -> None:
    Lag()
    loop.run(2.6)
    assert loop.woken == 10


@pytest.mark.parametrize("since_idle", [0.0, 0.3 * RELAXED, 0.99 * RELAXED])
def test_a_hold_up_while_something_is_asked_is_seen(loop: Loop, since_idle: float) -> None:
    lag = Lag()
    loop.run(since_idle)
    with lag:
        begun = loop.time()
        loop.run(3.5 * TICK)
        loop.held_up(0.2)
        loop.run(2 * TICK)
        assert 0.2 - TICK <= lag.since(begun) <= 0.2
    assert lag.since(loop.time()) == 0


def test_a_hold_up_that_goes_on_is_seen(loop: Loop) -> None:
    lag = Lag()
    with lag:
        begun = loop.time()
        loop.held_up(0.5)
        assert lag.since(begun) == pytest.approx(0.5 - TICK)


def test_several_may_ask(loop: Loop) -> None:
    lag = Lag()
    with lag:
        with lag:
            loop.run(TICK)
        before = loop.woken
        loop.run(5.5 * TICK)
        assert loop.woken == before + 5
    loop.run(TICK)
    before = loop.woken
    loop.run(0.9 * RELAXED)
    assert loop.woken == before
