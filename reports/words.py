"""What every report says in words: why a test failed, how to repeat it, durations, marks and their meaning.

What belongs here: sentences made from records. What does not: layout for one medium.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from flows.errors import HarnessError
from reports import summary
from reports.results import RunRecord, TestRecord
from reports.summary import Change, Distribution

SYMBOLS = {"passed": "✓", "failed": "✗", "broken": "?", "skipped": "–"}
STANDING_SYMBOLS = {"holds": "✓", "failed": "✗", "undecided": "?", "unproved": "–"}
MARKS = {".": "allowed", "X": "denied", "?": "could not tell", "#": "no expectation"}
DIFFERENCES = {".": "holds", "!": "differs", "?": "could not tell", "#": "no expectation"}
_WORSE = ("differs", "undecided", "unasked", "holds")


def why(test: TestRecord) -> str:
    """The shortest cause that is known: the failure's own `why:` line, else the worst flow's reason, else nothing."""
    for line in test.message.splitlines():
        if line.startswith("why: "):
            return line.removeprefix("why: ").strip()
    for cell in worst_cells(test):
        reason = str(cell.get("reason") or cell["evidence"].get("detail", ""))
        if reason:
            return reason
    return ""


def first_line(test: TestRecord) -> str:
    """The failure in one line, whatever the record holds."""
    lines = [line for line in (test.first_line, *test.message.splitlines()) if line.strip()]
    return lines[0].strip() if lines else f"{test.outcome} without a message"


def again(test: TestRecord) -> str:
    """The command that repeats this one test."""
    return f"eastwest verify {shlex.quote(test.id)}"


def worst_cells(test: TestRecord) -> list[dict[str, Any]]:
    """The cells that do not hold, over all matrices: those that differ first, an opened flow before a closed one."""
    cells = [cell for matrix in test.matrices for cell in matrix["cells"] if troubles(cell)]
    return sorted(cells, key=lambda cell: (_WORSE.index(cell["finding"]), cell["expected_mark"] != "X"))


def troubles(cell: Mapping[str, Any]) -> bool:
    """Whether a cell had an expectation and does not hold."""
    return bool(cell["expected_mark"] != "#" and cell["finding"] != "holds")


def difference(cell: Mapping[str, Any]) -> str:
    """The mark of a cell in the difference table."""
    if cell["expected_mark"] == "#":
        return "#"
    return {"holds": ".", "differs": "!"}.get(cell["finding"], "?")


def told(cell: Mapping[str, Any]) -> str:
    """One cell as a sentence: `caller → server:8080/tcp: expected answered, got dropped`."""
    return f"{cell['row']} → {cell['column']}: expected {cell.get('expected') or 'nothing'}, got {got(cell)}"


def got(cell: Mapping[str, Any]) -> str:
    """The verdict's word, or that there is none."""
    return str(cell.get("observed") or "no answer from the agent")


def fingerprint(run: RunRecord) -> list[tuple[str, str]]:
    """The cluster as name and value, the most telling first, without what is not known."""
    cluster = run.cluster
    known = [
        ("profile", cluster.profile),
        ("mutant", cluster.mutant),
        ("kubernetes", cluster.kubernetes),
        ("cni", cluster.cni),
        ("nodes", cluster.nodes),
        ("kernel", cluster.kernel),
        ("context", cluster.context),
        *cluster.facts.items(),
    ]
    return [(name, value) for name, value in known if value]


def areas(tests: list[TestRecord]) -> dict[str, list[TestRecord]]:
    """Tests by area, areas and tests in the order they ran."""
    grouped: dict[str, list[TestRecord]] = {}
    for test in tests:
        grouped.setdefault(test.area or "other", []).append(test)
    return grouped


def one_line(error: HarnessError) -> str:
    """A problem as `RunRecord.problems` wants it: the message without the tool's own words."""
    return " ".join(error.message.split())


def durations(timings: Mapping[str, float]) -> str:
    """Timings in one line, in the order they were taken: `cluster 1.4 s · canary 0.3 s`."""
    return " · ".join(f"{name} {seconds(value)}" for name, value in timings.items())


def seconds(value: float | None) -> str:
    """A duration as a person reads it: `84 ms`, `3.2 s`, `2 min 05 s`; a dash where there is none."""
    if value is None:
        return "–"
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 99.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def distributions(run: RunRecord) -> list[tuple[str, Distribution]]:
    """How long flows took to close and to open, by a word for each; only what was measured."""
    counted = run.summary
    return [(name, each) for name, each in (("closed", counted.enforcement), ("opened", counted.release)) if each.count]


def distribution(seen: Distribution) -> str:
    """In one line: `min 0 ms · p50 20 ms · p90 41 ms · p99 80 ms · max 80 ms (12 flows)`."""
    figures = {"min": seen.minimum, "p50": seen.p50, "p90": seen.p90, "p99": seen.p99, "max": seen.maximum}
    return f"{durations(figures)} ({plural(seen.count, 'flow')})"


def latencies_of(test: TestRecord) -> str:
    """How long each flow of a test took to close or to open, and their distribution; empty where none was measured."""
    cells = [cell for matrix in test.matrices for cell in matrix["cells"] if cell.get("latency") is not None]
    changes: tuple[tuple[Change, str], ...] = (("enforce", "closed"), ("release", "opened"))
    lines = []
    for change, name in changes:
        mine = [cell for cell in cells if cell.get("change") == change]
        if mine:
            lines.append(f"{name}: {distribution(summary.distribution(summary.flow_latencies(mine, change)))}")
            lines += [f"  {cell['row']} → {cell['column']}: {seconds(cell['latency'])}" for cell in mine]
    return "\n".join(lines)


def behaviours(run: RunRecord) -> dict[str, str]:
    """What the cluster does where the specification leaves it open: name → value, several values joined."""
    found: dict[str, dict[str, None]] = {}
    for test in run.tests:
        for each in test.behaviours:
            found.setdefault(str(each["name"]), {})[str(each["value"])] = None
    return {name: " and ".join(values) for name, values in sorted(found.items())}


def explaining(run: RunRecord) -> set[str]:
    """The tests that name a behaviour which the specification leaves open."""
    return {test.id for test in run.tests if test.behaviours}


def case(test: TestRecord) -> str:
    """The id inside the brackets of a parametrised test, or an empty text."""
    found = re.search(r"\[(.*)\]$", test.id)
    return found[1] if found else ""


def plural(count: int, word: str) -> str:
    """A count with its word: `1 flow`, `3 flows`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
