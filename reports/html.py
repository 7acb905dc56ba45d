"""One HTML file that opens anywhere and calls nothing outside, made from a run's records alone.

What belongs here: the page's data. What does not: its markup (`report.html.j2`, `matrix.html.j2`), its looks
(`report.css`) and its filter (`report.js`), which are all put inside the one file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from reports import words
from reports.redact import scrub
from reports.results import RunRecord, write_text
from reports.summary import latencies

REPORT = "report.html"
HERE = Path(__file__).parent
EVIDENCE_ROWS = 400
"""Flows that hold and are listed with their evidence, per matrix; `results.json` has them all."""

ABREAST = 9
"""Columns up to which three tables stand side by side on a desktop."""

LYING = 4
"""Columns whose headers lie: three tables of as many fit side by side on a desktop."""

_BINS = 12
_COLUMN = re.compile(r"(.+?)(:\d+/[a-z]+)( .+)?")
_FACTS = (
    ("dialled", "resolved"),
    ("phase reached", "phase"),
    ("errno", "errno"),
    ("ICMP", "icmp"),
    ("HTTP status", "http_status"),
    ("response flags", "flags"),
    ("answered by", "answered_by"),
    ("version", "version"),
    ("caller's own address", "local"),
    ("source the server saw", "peer_seen"),
    ("identity the server saw", "identity"),
    ("own TLS", "tls_version"),
    ("cipher", "tls_cipher"),
    ("nonce", "nonce"),
    ("server's journal", "journal"),
    ("detail", "detail"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One of the three tables of a matrix.

    Attributes:
        columns: Each destination's column in the parts that a narrow header breaks at.
        upright: Whether there are too many columns for headers that lie.
        rows: Source, and its cells in the order of the columns: mark, meaning, class, the flow as a sentence.
    """

    name: str
    columns: Sequence[Sequence[str]]
    upright: bool
    rows: Sequence[tuple[str, Sequence[tuple[str, str, str, str]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of the latency distribution: from, to (seconds), count, and its height in percent."""

    low: float
    high: float
    count: int
    height: float


def render(run: RunRecord) -> str:
    """The whole report as one HTML document, every value escaped, every secret hidden."""
    run = run.scrubbed()
    summary = run.summary
    # By object, since a test that was run again has the same node id.
    numbers = {id(test): f"t{index}" for index, test in enumerate(run.tests)}
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            run=run,
            summary=summary,
            wrong=run.outcomes("failed") + run.outcomes("broken"),
            passed=words.areas(run.outcomes("passed")),
            skipped=run.outcomes("skipped"),
            anchor=lambda test: numbers[id(test)],
            bars=bars(latencies(run)),
            symbol=words.STANDING_SYMBOLS[summary.standing],
        )
    )


def write(run: RunRecord, path: Path) -> Path:
    """Write the report, as a whole or not at all; returns its path.

    Raises:
        UsageError: The folder cannot be made or written.
    """
    return write_text(path, render(run))


def matrix_page(matrix: Mapping[str, Any]) -> str:
    """One matrix as a small HTML document of its own, for Allure."""
    return _environment().get_template("matrix.html.j2").render(matrix=scrub(dict(matrix)))


def tables(matrix: Mapping[str, Any]) -> list[Table]:
    """Expected, observed and difference of every row and column; where they cannot stand abreast, difference first."""
    order = ("expected", "observed", "difference")
    cells: dict[tuple[str, str], Mapping[str, Any]] = {}
    for cell in matrix["cells"]:
        crossing = (cell["row"], cell["column"])
        # Several flows may share a crossing (HTTP paths): the one in trouble is the one to see.
        if crossing not in cells or words.troubles(cell):
            cells[crossing] = cell
    return [
        Table(
            name=name,
            columns=[_parts(column) for column in matrix["columns"]],
            upright=len(matrix["columns"]) > LYING,
            rows=[
                (row, [_mark(name, cells.get((row, column))) for column in matrix["columns"]]) for row in matrix["rows"]
            ],
        )
        for name in (order if len(matrix["columns"]) <= ABREAST else order[::-1])
    ]


def _parts(column: str) -> list[str]:
    found = _COLUMN.fullmatch(column)
    return [part for part in found.groups() if part] if found else [column]


def _mark(table: str, cell: Mapping[str, Any] | None) -> tuple[str, str, str, str]:
    if cell is None:
        return "", "not asked", "none", ""
    if table == "difference":
        mark = words.difference(cell)
        meaning = words.DIFFERENCES[mark]
        kind = {".": "holds", "!": "differs", "?": "unsure", "#": "none"}[mark]
    else:
        mark = str(cell[f"{table}_mark"])
        meaning = words.MARKS.get(mark, mark)
        kind = {".": "allowed", "X": "denied", "?": "unsure", "#": "none"}.get(mark, "none")
        if table == "observed" and cell["finding"] == "differs":
            kind += " wrong"
    return mark, meaning, kind, words.told(cell)


def evidence(cell: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What proves a cell's verdict, as name and value, without what was not seen."""
    seen = cell["evidence"]
    facts = [(name, str(seen.get(key) or "")) for name, key in _FACTS]
    if seen:
        late = f", event loop late by at most {words.seconds(seen.get('lag', 0.0))}"
        facts.append(("took", words.seconds(seen.get("elapsed", 0.0)) + late))
    facts.append(("positive control", str(cell.get("control") or "")))
    return [(name, value) for name, value in facts if value]


def bars(values: Sequence[float]) -> list[Bar]:
    """The distribution of latencies in bins of a round width, from 0 to the largest."""
    if not values:
        return []
    width = _round_up(max(values) / _BINS) or 0.001
    bins = math.floor(max(values) / width) + 1
    counts = [0] * bins
    for value in values:
        counts[math.floor(value / width)] += 1
    most = max(counts)
    return [
        Bar(low=index * width, high=(index + 1) * width, count=count, height=100 * count / most)
        for index, count in enumerate(counts)
    ]


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50… at the value's own scale."""
    if value <= 0:
        return 0.0
    scale = 10.0 ** math.floor(math.log10(value))
    return next(step * scale for step in (1, 2, 5, 10) if step * scale >= value * 0.999999)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(seconds=words.seconds, moment=_moment, durations=words.durations)
    environment.globals.update(words=words, tables=tables, evidence=evidence, listed=_listed)
    return environment


def _listed(matrix: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The cells whose evidence is shown: all in trouble, then those that hold up to a limit."""
    wrong = [cell for cell in matrix["cells"] if words.troubles(cell)]
    rest = [cell for cell in matrix["cells"] if not words.troubles(cell)]
    return [*wrong, *rest[:EVIDENCE_ROWS]]


def _moment(value: float) -> str:
    return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
