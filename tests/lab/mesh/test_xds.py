"""What an Envoy is told and what it took: the questions it asks are the only word it gives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from clusters.lab.mesh.xds import LapsedError, Pieces, RejectedError

ROUTES = ("routes", "8080")
Answer = tuple[str, str]


def in_time() -> float:
    """A deadline that a sound machine never meets."""
    return time.monotonic() + 10


class Asking(threading.Thread):
    """A long poll under way."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        super().__init__(daemon=True)
        self._ask = ask
        self.answer: Answer | None = None
        self.lapsed = False
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._ask()
        except LapsedError:
            self.lapsed = True


def asked(pieces: Pieces, has: str = "", names: tuple[str, ...] = ("8080",)) -> Asking:
    return Asking(lambda: pieces.answer("routes", list(names), has))


def test_a_question_is_held_until_there_is_something() -> None:
    pieces = Pieces()
    waiting = asked(pieces)
    pieces.offer({ROUTES: '[{"name":"8080"}]'}, "1")
    waiting.join(10)
    assert waiting.answer == ("1", '[{"name":"8080"}]')


def test_taken_when_the_next_question_says_so() -> None:
    pieces = Pieces()
    pieces.offer({ROUTES: "[1]"}, "1")
    asked(pieces).join(10)
    with pytest.raises(TimeoutError, match="did not take routes 8080"):
        pieces.await_taken({ROUTES}, time.monotonic())
    asked(pieces, "1")
    pieces.await_taken({ROUTES}, in_time())


def test_refused_when_the_next_question_has_the_former_version() -> None:
    pieces = Pieces()
    pieces.offer({ROUTES: "[1]"}, "1")
    asked(pieces).join(10)
    polling = asked(pieces, "1")
    pieces.offer({ROUTES: "[2]"}, "2")
    polling.join(10)
    again = asked(pieces, "1")
    with pytest.raises(RejectedError, match="routes 8080"):
        pieces.await_taken({ROUTES}, in_time())
    pieces.offer({ROUTES: "[3]"}, "3")
    again.join(10)
    assert again.answer == ("3", "[3]")


def test_refused_when_a_first_version_is_asked_for_again() -> None:
    """An Envoy that refuses a first version has none to ask with; told again, it would ask and log without end."""
    pieces = Pieces()
    pieces.offer({ROUTES: "[1]"}, "1")
    asked(pieces).join(10)
    again = asked(pieces)
    with pytest.raises(RejectedError, match="routes 8080"):
        pieces.await_taken({ROUTES}, in_time())
    assert again.is_alive()
    pieces.offer({ROUTES: "[2]"}, "2")
    again.join(10)
    assert again.answer == ("2", "[2]")
    third = asked(pieces)
    with pytest.raises(RejectedError, match="routes 8080"):
        pieces.await_taken({ROUTES}, in_time())
    assert third.is_alive()


def test_a_fresh_subscription_of_what_was_taken_is_answered() -> None:
    """A listener that is removed and comes back lets the same Envoy ask for its routes as if for the first time."""
    pieces = Pieces()
    pieces.offer({ROUTES: "[1]"}, "1")
    for _ in range(2):
        fresh = asked(pieces)
        fresh.join(10)
        assert fresh.answer == ("1", "[1]")
        asked(pieces, "1")
        pieces.await_taken({ROUTES}, in_time())


def test_a_second_subscription_beside_the_first_is_told_once_that_has_taken_it() -> None:
    """Two that ask afresh at once look like a refusal until one of them says what it has."""
    pieces = Pieces()
    pieces.offer({ROUTES: "[1]"}, "1")
    asked(pieces).join(10)
    second = asked(pieces)
    with pytest.raises(RejectedError):
        pieces.await_taken({ROUTES}, in_time())
    asked(pieces, "1")
    second.join(10)
    assert second.answer == ("1", "[1]")
    pieces.await_taken({ROUTES}, in_time())


def test_a_new_envoy_is_told_everything_and_has_refused_nothing() -> None:
    """An Envoy that died took its answers along: a fresh one that has no version yet must not wait for a change."""
    pieces = Pieces()
    pieces.offer({ROUTES: "[1]"}, "1")
    asked(pieces).join(10)
    parked = asked(pieces, "1")
    pieces.begin()
    parked.join(10)
    assert parked.lapsed
    fresh = asked(pieces)
    fresh.join(10)
    assert fresh.answer == ("1", "[1]")
    with pytest.raises(TimeoutError):
        pieces.await_taken({ROUTES}, time.monotonic())


def test_an_unchanged_piece_is_not_new() -> None:
    pieces = Pieces()
    assert pieces.offer({ROUTES: "[1]"}, "1") == {ROUTES}
    assert pieces.offer({ROUTES: "[1]"}, "2") == set()


def test_two_secrets_in_one_answer() -> None:
    pieces = Pieces()
    pieces.offer({("routes", "a"): "[1]", ("routes", "b"): "[2]"}, "4")
    both = asked(pieces, names=("a", "b"))
    both.join(10)
    assert both.answer == ("4", "[1,2]")
