"""Many flows asked at once: one batch per source, all of them under way together.

What belongs here: spreading flows over agents and gathering verdicts. What does not: what a verdict is worth (`judge`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from flows.errors import HarnessError
from flows.model import Flow, Verdict

MOST_UNDER_WAY = 2_000
"""Flows that are asked at the same time; two cores carry twice as many a second."""
POLL = 0.005
"""Seconds between looks at what has ended."""
SLACK = 10.0
"""Seconds beyond the flows' own deadlines until a batch that is still incomplete is given up."""


class Question(Protocol):
    """A batch that is under way."""

    def result(self, deadline: float) -> list[Verdict]:
        """The verdicts, in the order of the flows; waits until `deadline` on the monotonic clock."""
        ...

    def done(self) -> bool:
        """Whether every verdict is there."""
        ...

    def early(self) -> dict[Flow, Verdict]:
        """What is known so far; none of it is final."""
        ...


class Asker(Protocol):
    """What can ask flows from one workload; `flows.stream.Agent` is one."""

    def ask(self, flows: Sequence[Flow], timeout: float) -> Question:
        """Send the flows as one batch and return at once."""
        ...


@dataclass(frozen=True, slots=True)
class Round:
    """One question of many flows, under way or finished.

    Attributes:
        sent_at: When it was sent, on the harness's monotonic clock.
    """

    sent_at: float
    parts: tuple[tuple[tuple[Flow, ...], Question], ...]

    @property
    def size(self) -> int:
        """How many flows it asks."""
        return sum(len(flows) for flows, _ in self.parts)

    def done(self) -> bool:
        """Whether every part is answered."""
        return all(question.done() for _, question in self.parts)

    def early(self) -> dict[Flow, Verdict]:
        """What is known so far; none of it is final."""
        return {flow: verdict for _, question in self.parts for flow, verdict in question.early().items()}

    def verdicts(self, deadline: float) -> dict[Flow, Verdict]:
        """All verdicts of the round; waits for those still missing."""
        found: dict[Flow, Verdict] = {}
        for flows, question in self.parts:
            found.update(zip(flows, question.result(deadline), strict=True))
        return found


def by_source(flows: Iterable[Flow]) -> dict[str, list[Flow]]:
    """The rows of a matrix: each source's flows, in their order."""
    rows: dict[str, list[Flow]] = {}
    for flow in flows:
        rows.setdefault(flow.source, []).append(flow)
    return rows


def send(
    agents: Mapping[str, Asker], flows: Iterable[Flow], timeout: float, now: Callable[[], float] = time.monotonic
) -> Round:
    """Send every flow to its source's agent and return without waiting.

    Raises:
        HarnessError: A flow's source has no agent.
    """
    rows = _rows(agents, flows)
    sent_at = now()
    return Round(sent_at, tuple((tuple(row), agents[source].ask(row, timeout)) for source, row in rows.items()))


def measure(agents: Mapping[str, Asker], flows: Iterable[Flow], timeout: float) -> dict[Flow, Verdict]:
    """Ask every flow once; costs about one `timeout` however many there are, and what the machine needs for them.

    All at the same time up to `MOST_UNDER_WAY`; of more, whole rows wait until others have ended: on a machine that can
    do no more everything would be late, and silence would say nothing.
    """
    rows = deque(_rows(agents, flows).values())
    found: dict[Flow, Verdict] = {}
    under_way: list[Round] = []
    pause = threading.Event()
    deadline = 0.0
    while rows or under_way:
        while rows and (not under_way or sum(each.size for each in under_way) + len(rows[0]) <= MOST_UNDER_WAY):
            under_way.append(send(agents, rows.popleft(), timeout))
            deadline = time.monotonic() + 4 * timeout + SLACK
        more = bool(rows) and time.monotonic() < deadline  # else whatever is left is waited for, one after the other
        ended = [each for each in under_way if not more or each.done()]
        for each in ended:
            found |= each.verdicts(deadline)
            under_way.remove(each)
        if under_way:
            pause.wait(POLL)
    return found


def _rows(agents: Mapping[str, Asker], flows: Iterable[Flow]) -> dict[str, list[Flow]]:
    """The flows by their source.

    Raises:
        HarnessError: A flow's source has no agent.
    """
    rows = by_source(flows)
    missing = sorted(set(rows) - set(agents))
    if missing:
        raise HarnessError(f"no agent in workload {missing[0]!r}; known workloads: {', '.join(sorted(agents))}")
    return rows
