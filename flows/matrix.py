"""The truth table: rows are sources, columns destinations; expected, observed and difference side by side.

What belongs here: cells, their marks, the layout for terminals and the JSON record. What does not: asking (`measure`)
and deciding what an observation is worth (`judge`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from flows.errors import FIRST_LINE, InconclusiveError, VerdictError
from flows.model import Expected, Flow, Kind, Verdict
from flows.steps import Check
from flows.steps import render as render_checks

NOT_TOLD = {Kind.PROBE_ERROR}
LEAST_CAUSE = 12
"""Characters of a cause that are worth a place in a first line."""
LEGEND = ". allowed   X denied   ? could not tell   # no expectation   ! differs"


class Finding(StrEnum):
    """What a cell's observation is worth once controls and journals have been heard."""

    HOLDS = "holds"
    DIFFERS = "differs"
    UNDECIDED = "undecided"
    UNASKED = "unasked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One flow with what was expected of it and what happened.

    Attributes:
        expected: None where nothing is expected (`#`).
        finding: Decided by the judge; a fresh cell is `unasked`.
        reason: One sentence when the finding is not plain from expected and observed.
        control: How the positive control was seen, for denials.
        cause: What the layered check blames, in a few words.
        change: What the change that was just made did to the flow: `enforce` closed it, `release` opened it.
        latency: Seconds from the API server's acknowledgement of that change to the first probe of the flow that was
            sent in its lasting new state.
    """

    flow: Flow
    expected: Expected | None = None
    verdict: Verdict | None = None
    finding: Finding = Finding.UNASKED
    reason: str = ""
    control: str = ""
    cause: str = ""
    change: str = ""
    latency: float | None = None

    @property
    def expected_mark(self) -> str:
        """`.` allowed, `X` denied, `#` no expectation."""
        if self.expected is None:
            return "#"
        return "." if self.expected.allows else "X"

    @property
    def observed_mark(self) -> str:
        """`.` answered, `X` denied in any way, `?` could not tell."""
        if self.verdict is None or self.verdict.kind in NOT_TOLD:
            return "?"
        return "." if self.verdict.kind is Kind.ANSWERED else "X"

    @property
    def difference_mark(self) -> str:
        """`!` differs, `?` could not tell, `.` holds, `#` nothing was expected."""
        marks = {Finding.HOLDS: ".", Finding.DIFFERS: "!", Finding.UNDECIDED: "?", Finding.UNASKED: "?"}
        return "#" if self.expected is None else marks[self.finding]

    def first_line(self) -> str:
        """Who → whom, expected, got; at most 100 characters."""
        got = str(self.verdict.kind) if self.verdict is not None else "no answer from the agent"
        if (
            self.finding is Finding.DIFFERS
            and self.verdict is not None
            and self.expected
            and self.expected.matches(self.verdict)
        ):
            got = "delivered without an answer"
        elif self.verdict is not None and self.expected and self.expected.version and self.verdict.evidence.version:
            got = f"{got} by {self.verdict.evidence.version}"
        wanted = self.expected.word if self.expected else "nothing"
        line = f"{self.flow}: expected {wanted}, got {got}"
        hint = self.hint()
        if hint and len(line) + len(hint) + 3 <= FIRST_LINE:
            line += f" ({hint})"
        elif self.cause and len(line) + LEAST_CAUSE + 4 <= FIRST_LINE:
            line += f" ({hint[: FIRST_LINE - len(line) - 4]}…)"
        return line[:FIRST_LINE]

    def hint(self) -> str:
        """The shortest cause: what the layered check blames, else the judge's reason, else what the evidence names."""
        return self.cause or self.reason or (self.verdict.evidence.detail if self.verdict is not None else "")

    def record(self) -> dict[str, Any]:
        """The cell as it stands in `results.json`."""
        return {
            "flow": self.flow.record(),
            "expected": self.expected.word if self.expected else None,
            "expected_mark": self.expected_mark,
            "observed": str(self.verdict.kind) if self.verdict is not None else None,
            "observed_mark": self.observed_mark,
            "finding": str(self.finding),
            "reason": self.reason,
            "control": self.control,
            "change": self.change,
            "latency": self.latency,
            "evidence": asdict(self.verdict.evidence) if self.verdict is not None else {},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Cells in the order they were asked for.

    Attributes:
        title: What was measured, for a person: `default-deny-ingress in ew-1a2b-network`.
        repeat_with: The command that measures the same again.
        checks: The layered check of flows that ended otherwise than expected.
    """

    title: str
    cells: tuple[Cell, ...] = ()
    repeat_with: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())
    checks: tuple[Check, ...] = ()

    @property
    def rows(self) -> list[str]:
        """Sources, in order of first appearance."""
        return list(dict.fromkeys(cell.flow.source for cell in self.cells))

    @property
    def columns(self) -> list[str]:
        """Destinations with port, protocol and path, in order of first appearance."""
        return list(dict.fromkeys(column_of(cell.flow) for cell in self.cells))

    def cell(self, row: str, column: str) -> Cell | None:
        """The cell at a crossing, None where nothing was asked."""
        return next((cell for cell in self.cells if cell.flow.source == row and column_of(cell.flow) == column), None)

    def with_cells(self, cells: Iterable[Cell]) -> Matrix:
        """The same matrix with other cells."""
        return replace(self, cells=tuple(cells))

    def diagnosed(self, checks: Iterable[Check]) -> Matrix:
        """The same matrix with the layered check of some of its flows."""
        known = {check.key: check for check in checks}
        cells = (
            replace(cell, cause=known[cell.flow.key].cause) if cell.flow.key in known else cell for cell in self.cells
        )
        return replace(self, cells=tuple(cells), checks=tuple(known.values()))

    def found(self, finding: Finding) -> list[Cell]:
        """The cells with this finding that have an expectation."""
        return [cell for cell in self.cells if cell.expected is not None and cell.finding is finding]

    @property
    def holds(self) -> bool:
        """Whether every expectation holds; a matrix that asked nothing does not."""
        asked = [cell for cell in self.cells if cell.expected is not None]
        return bool(asked) and all(cell.finding is Finding.HOLDS for cell in asked)

    def verify(self) -> None:
        """Return when every expectation holds.

        Raises:
            VerdictError: A flow ended otherwise than expected; the first line names it.
            InconclusiveError: Nothing differs, but something could not be told, or nothing was asked.
        """
        wrong = self.found(Finding.DIFFERS)
        undecided = self.found(Finding.UNDECIDED) + self.found(Finding.UNASKED)
        if wrong:
            raise VerdictError(self._report(_telling(wrong), len(wrong)))
        if undecided:
            raise InconclusiveError(self._report(undecided[0], len(undecided)))
        if not self.holds:
            raise InconclusiveError(
                f"{self.title}: nothing was expected, so nothing is proved; give at least one expectation"
            )

    def _report(self, cell: Cell, count: int) -> str:
        more = f"{count} of {len(self.cells)} flows differ or could not be told\n" if count > 1 else ""
        check = next((each for each in self.checks if each.key == cell.flow.key), None)
        cause = check.culprit.says if check is not None and check.culprit is not None else cell.hint()
        why = f"why: {cause}\n" if cause else ""
        layers = f"\n{render_checks(self.checks)}\n" if self.checks else ""
        seen = "\n".join(f"  {line}" for line in evidence_lines(cell))
        again = f"\nagain: {self.repeat_with}" if self.repeat_with else ""
        return f"{cell.first_line()}\n{why}{more}{seen}\n{layers}\n{self.render()}{again}"

    def render(self, width: int = 80) -> str:
        """Expected, observed and difference side by side, with a legend of the columns; at most `width` wide."""
        label = max((len(row) for row in self.rows), default=0)
        per_block = max(1, (width - label - 8 + 3) // 6)
        parts = [self._block(chunk, offset, label) for offset, chunk in _chunks(self.columns, per_block)]
        return "\n".join([*parts, LEGEND, *self.notes])

    def _block(self, columns: Sequence[str], offset: int, label: int) -> str:
        numbers = [_number(offset + index) for index in range(len(columns))]
        span = 2 * len(columns) - 1
        lines = [_line(label, "", _TITLES, span), _line(label, "", [" ".join(numbers)] * 3, span)]
        for row in self.rows:
            cells = [self.cell(row, column) for column in columns]
            blocks = [" ".join(mark(cell) if cell else " " for cell in cells) for mark in _MARKS]
            lines.append(_line(label, row, blocks, span))
        legend = [f"  {number} {column}" for number, column in zip(numbers, columns, strict=True)]
        return "\n".join([*lines, *legend])

    def record(self) -> dict[str, Any]:
        """The matrix as it stands in `results.json`."""
        return {
            "title": self.title,
            "rows": self.rows,
            "columns": self.columns,
            "seconds": self.seconds,
            "notes": list(self.notes),
            "repeat_with": self.repeat_with,
            "cells": [
                {"row": cell.flow.source, "column": column_of(cell.flow), **cell.record()} for cell in self.cells
            ],
            "text": self.render(),
            **({"diagnosis": [check.record() for check in self.checks]} if self.checks else {}),
        }


def _telling(cells: Sequence[Cell]) -> Cell:
    """The cell to lead with: an opened flow before a closed one, since it lets an attacker in."""
    return next((cell for cell in cells if cell.expected is not None and not cell.expected.allows), cells[0])


def _number(index: int) -> str:
    return "123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[index % 61]


def _chunks(columns: Sequence[str], size: int) -> Iterable[tuple[int, Sequence[str]]]:
    return ((start, columns[start : start + size]) for start in range(0, len(columns), size))


_MARKS: tuple[Callable[[Cell], str], ...] = (
    lambda cell: cell.expected_mark,
    lambda cell: cell.observed_mark,
    lambda cell: cell.difference_mark,
)


_TITLES = ("expected", "observed", "difference")


def _line(label: int, name: str, blocks: Sequence[str], span: int) -> str:
    """A row's name and its three blocks, each as wide as its marks or its title."""
    wide = [f"{block:{max(span, len(title))}}" for block, title in zip(blocks, _TITLES, strict=True)]
    return f"{name:{label}}  {' │ '.join(wide)}".rstrip()


def column_of(flow: Flow) -> str:
    """A destination's column: `server:8080/tcp`, with the path where it is not the pod's own address."""
    return str(flow).partition(" → ")[2]


def evidence_lines(cell: Cell) -> list[str]:
    """What was seen, one fact a line, the most telling first."""
    if cell.verdict is None:
        return ["evidence: none; the agent gave no record for this flow"]
    seen = cell.verdict.evidence
    facts = [
        ("dialled", seen.resolved or cell.flow.host),
        ("phase reached", seen.phase),
        ("error", " ".join(part for part in (seen.errno, seen.icmp) if part)),
        ("http status", " ".join(filter(None, (str(seen.http_status or ""), seen.flags)))),
        ("proxy's words", "" if seen.answered_by else seen.body.strip()[:200]),
        ("answered by", seen.answered_by),
        ("identity as the server saw it", seen.identity),
        ("own TLS", " ".join(filter(None, (seen.tls_version, seen.tls_cipher, *seen.tls_peer)))),
        ("source as the server saw it", seen.peer_seen),
        ("took", f"{seen.elapsed * 1000:.0f} ms (event loop late by at most {seen.lag * 1000:.0f} ms)"),
        ("nonce", seen.nonce),
        ("server's journal", seen.journal),
        ("positive control", cell.control),
        ("detail", seen.detail),
    ]
    return [f"{name}: {value}" for name, value in facts if value]
