"""The truth table: its marks, its first line, its width, and when it raises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flows.errors import FIRST_LINE, InconclusiveError, VerdictError
from flows.matrix import Cell, Finding, Matrix
from flows.model import Kind, answered, denied
from tests.flows.samples import DENIED, NEIGHBOUR, cell, flow


def found(cell: Cell, finding: Finding, reason: str = "") -> Cell:
    return replace(cell, finding=finding, reason=reason)


HOLDS = found(NEIGHBOUR, Finding.HOLDS)
LEAK = found(cell("intruder", denied(), Kind.ANSWERED), Finding.DIFFERS)


def test_holding_matrix_is_silent() -> None:
    Matrix(title="t", cells=(HOLDS, found(DENIED, Finding.HOLDS))).verify()


def test_difference_raises_with_one_readable_line() -> None:
    with pytest.raises(VerdictError) as raised:
        Matrix(title="t", cells=(HOLDS, LEAK), repeat_with="eastwest verify x").verify()
    text = str(raised.value)
    assert text.splitlines()[0] == "intruder → server:8080/tcp: expected dropped, got answered"
    assert "again: eastwest verify x" in text
    assert "answered by: server" in text


def test_an_opened_flow_leads_before_a_closed_one() -> None:
    closed = found(cell("caller", answered(), Kind.DROPPED), Finding.DIFFERS)
    with pytest.raises(VerdictError, match=r"^intruder → server"):
        Matrix(title="t", cells=(closed, LEAK)).verify()


def test_undecided_is_an_error_and_no_pass() -> None:
    undecided = found(DENIED, Finding.UNDECIDED, "no positive control")
    with pytest.raises(InconclusiveError, match="no positive control"):
        Matrix(title="t", cells=(HOLDS, undecided)).verify()


def test_difference_comes_before_undecided() -> None:
    with pytest.raises(VerdictError):
        Matrix(title="t", cells=(found(DENIED, Finding.UNDECIDED), LEAK)).verify()


@pytest.mark.parametrize("cells", [(), (cell("caller", None, Kind.ANSWERED),)], ids=["empty", "nothing-expected"])
def test_nothing_expected_proves_nothing(cells: tuple[Cell, ...]) -> None:
    with pytest.raises(InconclusiveError, match="nothing is proved"):
        Matrix(title="t", cells=cells).verify()


def test_unjudged_is_an_error() -> None:
    with pytest.raises(InconclusiveError):
        Matrix(title="t", cells=(NEIGHBOUR,)).verify()


def test_first_line_is_at_most_a_hundred_characters() -> None:
    long = replace(flow("a-workload-with-a-name-that-goes-on"), destination="another-workload-with-a-very-long-name")
    line = Cell(flow=long, expected=denied(), verdict=LEAK.verdict, reason="because " * 20).first_line()
    assert len(line) <= FIRST_LINE


def test_leak_without_an_answer_is_not_called_dropped() -> None:
    leak = found(DENIED, Finding.DIFFERS, "the request arrived; only its answer was lost")
    assert leak.first_line().startswith("intruder → server:8080/tcp: expected dropped, got delivered without an answer")


def test_marks_stand_side_by_side() -> None:
    text = Matrix(title="t", cells=(HOLDS, LEAK)).render()
    row = next(line for line in text.splitlines() if line.startswith("intruder"))
    assert row.split() == ["intruder", "X", "│", ".", "│", "!"]


@pytest.mark.parametrize("columns", [1, 5, 40])
def test_width_stays_within_80(columns: int) -> None:
    cells = tuple(
        Cell(flow=replace(flow(row), port=8000 + number), expected=denied())
        for row in ("caller", "a-rather-long-workload-name")
        for number in range(columns)
    )
    text = Matrix(title="t", cells=cells).render(80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert all(f":{8000 + number}/tcp" in text for number in range(columns))


def test_record_is_plain_and_complete() -> None:
    record = Matrix(title="t", cells=(HOLDS, LEAK)).record()
    assert [each["difference_mark"] if "difference_mark" in each else each["finding"] for each in record["cells"]] == [
        "holds",
        "differs",
    ]
    assert record["cells"][1]["evidence"]["nonce"] == "n1"
    assert record["cells"][1]["row"] == "intruder"
