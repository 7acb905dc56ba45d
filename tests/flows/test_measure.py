"""Many flows are asked once each, never more at a time than a machine carries, and none is lost on the way."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from flows.errors import HarnessError
from flows.measure import MOST_UNDER_WAY, measure
from flows.model import Flow, Kind, Verdict


class Load:
    """What is under way at all agents together, and the most there ever was."""

    def __init__(self) -> None:
        self.now = self.most = self.rows = 0

    def begin(self, flows: int) -> None:
        self.now += flows
        self.rows += 1
        self.most = max(self.most, self.now)


class Question:
    def __init__(self, load: Load, flows: Sequence[Flow], *, ends: bool) -> None:
        self._load, self._flows, self._ends, self._looks = load, flows, ends, 0
        load.begin(len(flows))

    def done(self) -> bool:
        self._looks += 1
        return self._ends and self._looks > 1

    def result(self, deadline: float) -> list[Verdict]:
        assert deadline > time.monotonic() - 60
        self._load.now -= len(self._flows)
        return [Verdict(kind=Kind.ANSWERED if self._ends else Kind.PROBE_ERROR, flow=flow) for flow in self._flows]

    def early(self) -> dict[Flow, Verdict]:
        return {}


class Asker:
    def __init__(self, load: Load, *, ends: bool = True) -> None:
        self._load, self._ends = load, ends

    def ask(self, flows: Sequence[Flow], timeout: float) -> Question:
        assert timeout == 0.5
        return Question(self._load, flows, ends=self._ends)


def _flows(rows: int, columns: int) -> list[Flow]:
    return [
        Flow(source=f"s{row}", destination=f"d{column}", host="10.0.0.2", port=80)
        for row in range(rows)
        for column in range(columns)
    ]


def test_a_large_matrix_is_asked_row_by_row_below_the_limit() -> None:
    load, flows = Load(), _flows(50, 100)
    found = measure({f"s{row}": Asker(load) for row in range(50)}, flows, 0.5)
    assert set(found) == set(flows)
    assert all(verdict == Verdict(kind=Kind.ANSWERED, flow=flow) for flow, verdict in found.items())
    assert (load.rows, load.now) == (50, 0)
    assert 1_000 < load.most <= MOST_UNDER_WAY


def test_a_row_above_the_limit_is_asked_alone() -> None:
    load, flows = Load(), _flows(2, MOST_UNDER_WAY + 1)
    assert len(measure({"s0": Asker(load), "s1": Asker(load)}, flows, 0.5)) == len(flows)
    assert load.most == MOST_UNDER_WAY + 1


def test_what_never_ends_is_told_as_such() -> None:
    load, flows = Load(), _flows(2, 3)
    found = measure({"s0": Asker(load), "s1": Asker(load, ends=False)}, flows, 0.5)
    assert [verdict.kind for verdict in found.values()] == [Kind.ANSWERED] * 3 + [Kind.PROBE_ERROR] * 3


def test_a_source_without_an_agent_is_named_before_anything_is_asked() -> None:
    load = Load()
    with pytest.raises(HarnessError, match="no agent in workload 's1'"):
        measure({"s0": Asker(load)}, _flows(2, 1), 0.5)
    assert load.rows == 0
