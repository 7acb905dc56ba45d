"""The counts of a run: tests by outcome, flows by what was seen, enforcement latency, and the verdict on the whole.

What belongs here: arithmetic over the records. What does not: words and layout beyond the one-line verdict.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from reports.results import RunRecord

Standing = Literal["holds", "failed", "undecided", "unproved"]
Change = Literal["enforce", "release"]
"""What a change did to a flow: closed it, or opened it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """How many tests ended how."""

    __test__ = False

    total: int = 0
    passed: int = 0
    failed: int = 0
    broken: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flows:
    """How many flows were asked, over all matrices of all tests.

    Attributes:
        asked: Every cell; `allowed`, `denied` and `unseen` (no observation) add up to it.
        differing: Cells whose finding is `differs`.
        undecided: Cells that had an expectation and could not be decided.
    """

    asked: int = 0
    allowed: int = 0
    denied: int = 0
    unseen: int = 0
    differing: int = 0
    undecided: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Enforcement latency in seconds over all policies that were measured; zeros when `count` is 0."""

    count: int = 0
    minimum: float = 0.0
    median: float = 0.0
    p95: float = 0.0
    maximum: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How long changes took flow by flow, in seconds; nearest rank: values that were really seen; zeros without any."""

    count: int = 0
    minimum: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    maximum: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The counts of a run and what they say together.

    Attributes:
        standing: `holds` (something ran, all of it holds), `failed`, `undecided` (could not tell) or `unproved`
            (nothing ran to an end, or a required test was skipped).
        headline: The same for a person, one line.
        enforcement: Over all flows that a change closed; `release` over those that one opened.
    """

    standing: Standing
    headline: str
    tests: Tests = field(default_factory=Tests)
    flows: Flows = field(default_factory=Flows)
    latency: Latency = field(default_factory=Latency)
    enforcement: Distribution = field(default_factory=Distribution)
    release: Distribution = field(default_factory=Distribution)


def summarise(run: RunRecord) -> Summary:
    """Count a run."""
    counted = {name: len(run.outcomes(name)) for name in ("passed", "failed", "broken", "skipped")}
    tests = Tests(total=len(run.tests), **counted)
    standing, headline = _verdict(run, tests)
    cells = [cell for test in run.tests for matrix in test.matrices for cell in matrix["cells"]]
    return Summary(
        standing=standing,
        headline=headline,
        tests=tests,
        flows=count_flows(cells),
        latency=measure_latency(latencies(run)),
        enforcement=distribution(flow_latencies(cells, "enforce")),
        release=distribution(flow_latencies(cells, "release")),
    )


def count_flows(cells: Iterable[dict[str, Any]]) -> Flows:
    """Count cells as `flows.matrix.Cell.record()` gives them."""
    marks: list[str] = []
    differing = undecided = 0
    for cell in cells:
        marks.append(cell["observed_mark"])
        differing += cell["finding"] == "differs"
        undecided += cell["expected_mark"] != "#" and cell["finding"] in {"undecided", "unasked"}
    allowed, denied = marks.count("."), marks.count("X")
    return Flows(
        asked=len(marks),
        allowed=allowed,
        denied=denied,
        unseen=len(marks) - allowed - denied,
        differing=differing,
        undecided=undecided,
    )


def latencies(run: RunRecord) -> list[float]:
    """The enforcement latencies of all policies that have one, in seconds, in the order they were measured."""
    found = (policy.get("enforcement_latency") for test in run.tests for policy in test.policies)
    return [float(value) for value in found if isinstance(value, int | float)]


def measure_latency(values: Sequence[float]) -> Latency:
    """Smallest, median, 95th percentile (nearest rank: a value that was really seen) and largest."""
    if not values:
        return Latency()
    ordered = sorted(values)
    return Latency(
        count=len(ordered),
        minimum=ordered[0],
        median=statistics.median(ordered),
        p95=_ranked(ordered, 95),
        maximum=ordered[-1],
    )


def flow_latencies(cells: Iterable[dict[str, Any]], change: Change) -> list[float]:
    """Seconds until each flow showed that a change had closed (`enforce`) or opened (`release`) it."""
    found = (cell.get("latency") for cell in cells if cell.get("change") == change)
    return [float(value) for value in found if isinstance(value, int | float)]


def distribution(values: Sequence[float]) -> Distribution:
    """Smallest, 50th, 90th and 99th percentile (nearest rank) and largest."""
    if not values:
        return Distribution()
    ordered = sorted(values)
    return Distribution(
        count=len(ordered),
        minimum=ordered[0],
        p50=_ranked(ordered, 50),
        p90=_ranked(ordered, 90),
        p99=_ranked(ordered, 99),
        maximum=ordered[-1],
    )


def _ranked(ordered: Sequence[float], percent: int) -> float:
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


_STOPPED = {2: "the run was interrupted", 3: "the run ended in an internal error", 4: "the command could not be used"}


def _verdict(run: RunRecord, tests: Tests) -> tuple[Standing, str]:
    ran = tests.total - tests.skipped
    rules = "rule" if ran == 1 else "rules"
    if tests.failed:
        also = f"; {tests.broken} more could not be told" if tests.broken else ""
        return "failed", f"{tests.failed} of {ran} {rules} failed{also}"
    if tests.broken:
        return "undecided", f"Could not tell: {tests.broken} of {ran} {rules} undecided"
    if run.problems:
        return "undecided", f"Could not tell: {run.problems[0]}"
    if run.exit_code in _STOPPED:
        after = f" after {tests.passed} of its rules held" if tests.passed else ""
        return "undecided", f"Could not tell: {_STOPPED[run.exit_code]}{after}"
    if not tests.passed:
        return (
            "unproved",
            "Nothing was proved: every test was skipped" if tests.total else "Nothing was proved: no test ran",
        )
    if run.exit_code == 11:
        return "unproved", f"Not proved: a required test was skipped ({tests.passed} {rules} hold)"
    if run.exit_code in {1, 10}:
        return "undecided", f"Could not tell: the run ended with exit code {run.exit_code}"
    return "holds", "The rule that was tried holds" if ran == 1 else f"All {ran} rules hold"
