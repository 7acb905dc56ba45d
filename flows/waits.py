"""One wait: a predicate over a typed value, with a deadline that always comes and a last word that helps.

What belongs here: waiting for something that can only be read. What does not: what can be watched (use a watch).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from flows.errors import HarnessError

T = TypeVar("T")


def wait_for(
    read: Callable[[], T],
    until: Callable[[T], bool],
    *,
    what: str,
    timeout: float,
    interval: float = 0.1,
    successes: int = 1,
    abort: Callable[[T], str] | None = None,
    difference: Callable[[T], str] | None = None,
    command: str = "",
) -> T:
    """The last of `successes` values in a row that fulfil `until`; errors of `read` propagate at once.

    Args:
        what: What is waited for, as the message says it: `pod demo/server ready`.
        timeout: Seconds; interval: seconds between two readings.
        abort: Says why waiting on is useless, or nothing.
        difference: Says what is still missing in a value, for the message.
        command: The kubectl command by which a person would look.

    Raises:
        HarnessError: Time was up, or `abort` gave a reason; with attempts, elapsed time and the last value.
    """
    begun = time.monotonic()
    pause = threading.Event()
    attempts = held = 0
    while True:
        value = read()
        attempts += 1
        held = held + 1 if until(value) else 0
        elapsed = time.monotonic() - begun
        if held >= successes:
            return value
        reason = abort(value) if abort is not None and not held else ""
        if not reason and elapsed < timeout:
            pause.wait(min(interval, timeout - elapsed))
            continue
        first = f"gave up waiting for {what}: {reason}" if reason else f"{what}: not within {timeout:g} s"
        lines = [
            f"attempts: {attempts} in {elapsed:.1f} s",
            f"fulfilled in a row: {held} of {successes}" if successes > 1 else "",
            f"still missing: {difference(value)}" if difference is not None else "",
            f"last value: {value!r}",
            f"look yourself: {command}" if command else "",
        ]
        raise HarnessError(first, detail="\n".join(line for line in lines if line))
