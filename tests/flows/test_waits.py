"""One wait: its successes in a row, its deadline, its last word."""

from __future__ import annotations

from itertools import count

import pytest

from flows.errors import HarnessError
from flows.waits import wait_for


def test_it_returns_the_value_that_fulfils() -> None:
    numbers = count()
    assert wait_for(lambda: next(numbers), lambda n: n >= 3, what="three", timeout=10, interval=0) == 3


def test_successes_must_come_in_a_row() -> None:
    seen = iter([True, False, True, True])
    assert wait_for(lambda: next(seen), bool, what="calm", timeout=10, interval=0, successes=2)
    assert next(seen, None) is None


def test_a_timeout_tells_the_last_value_what_is_missing_and_the_command() -> None:
    with pytest.raises(HarnessError) as caught:
        wait_for(
            lambda: {"ready": 1},
            lambda seen: seen["ready"] == 2,
            what="pods ready",
            timeout=0,
            difference=lambda seen: f"{2 - seen['ready']} pod",
            command="kubectl get pods -n demo",
        )
    assert caught.value.message == "pods ready: not within 0 s"
    for part in ("attempts: 1 in", "{'ready': 1}", "still missing: 1 pod", "kubectl get pods -n demo"):
        assert part in caught.value.detail


def test_abort_ends_it_at_once_with_its_reason() -> None:
    with pytest.raises(HarnessError, match="pod ready: it crashed"):
        wait_for(lambda: 0, bool, what="pod ready", timeout=60, abort=lambda _: "it crashed")


def test_an_error_of_the_reading_propagates() -> None:
    with pytest.raises(ZeroDivisionError):
        wait_for(lambda: 1 // 0, bool, what="x", timeout=60)
