"""Whether two clusters agree: the same suites on both, and where their verdicts differ, cell by cell.

What belongs here: having both asked, what of a comparison is a disagreement, and what the specification leaves open.
What does not: running suites (`eastwest verify`), pairing flows (`compare`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from clusters import profile
from flows.errors import PreparationError
from reports import results, words
from reports.compare import Comparison, FlowChange, TestChange, compare

SCHEMA: Final = "eastwest.dev/agreement/v1"
EXPLAINED: Final = "docs/explanation/implementation-defined.md#behaviours"
"""Where each behaviour that the specification leaves open stands with the specification's words."""
_TELLING: Final = {0, 1, 11}
"""Exit codes of runs that say something: all holds, something does not, nothing was proved."""
_DECIDED: Final = {"passed", "failed", "broken"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Two runs of the same suites on different clusters.

    Attributes:
        flows: Flows with another verdict: those that were expected to show one, and those of which nothing was expected
            but whose test names no behaviour that the specification leaves open.
        tests: Tests that came to another end on each, where both asked.
        one_sided: Tests that one of the clusters could not be asked, with the reason.
        behaviours: What the clusters do differently where the specification leaves it open: name, each value.
    """

    first: str
    second: str
    flows: tuple[tuple[str, FlowChange], ...]
    tests: tuple[TestChange, ...]
    one_sided: tuple[TestChange, ...]
    behaviours: tuple[tuple[str, str, str], ...]
    same: int

    @property
    def agrees(self) -> bool:
        """Whether nothing differs but what is explained, and anything was asked on both."""
        return not self.flows and not self.tests and bool(self.same)

    def record(self) -> dict[str, Any]:
        """The agreement as JSON."""
        return {
            "schema": SCHEMA,
            "agrees": self.agrees,
            "first": self.first,
            "second": self.second,
            "flows": [
                {"how": how, "test": each.test, "flow": each.flow, "first": each.before, "second": each.after}
                for how, each in self.flows
            ],
            "tests": [{"test": each.test, "first": each.before, "second": each.after} for each in self.tests],
            "asked_on_one": [
                {"test": each.test, "first": each.before, "second": each.after} for each in self.one_sided
            ],
            "behaviours": [
                {"name": name, "first": first, "second": second, "explained": EXPLAINED}
                for name, first, second in self.behaviours
            ],
            "same": self.same,
        }

    def text(self) -> str:
        """The differences, one a line and nothing else, but for the last line's sum."""
        lines = []
        for how, each in self.flows:
            lines += [f"{how}: {each.flow}: {each.before} ↔ {each.after}", f"    in {each.test}"]
        lines += [f"outcome: {each.before} ↔ {each.after}  {each.test}" for each in self.tests]
        for name, first, second in self.behaviours:
            lines += [f"left open: {name}: {first} ↔ {second}", f"    {EXPLAINED}"]
        lines += [f"asked on one only: {each.before} ↔ {each.after}  {each.test}" for each in self.one_sided]
        verdict = (
            "agree" if self.agrees else "DISAGREE" if self.same else "cannot be compared: no flow was asked on both"
        )
        differing = f"{words.plural(len(self.flows), 'flow')} and {words.plural(len(self.tests), 'test')} differ"
        lines.append(f"{self.first} and {self.second} {verdict}: {words.plural(self.same, 'flow')} alike, {differing}")
        return "\n".join(lines)


def agreement(comparison: Comparison, first: str, second: str, explaining: Collection[str] = ()) -> Agreement:
    """What a comparison says about two clusters.

    Args:
        first: What the first run's cluster is called, e.g. its profile; `second` likewise.
        explaining: Tests that name a behaviour: what they expect nothing of may differ.
    """
    seen = (
        ("open on the second only", comparison.opened),
        ("open on the first only", comparison.closed),
        ("denied in another way", comparison.changed),
        ("told by one only", comparison.untold),
    )
    both = [each for each in comparison.tests if {each.before, each.after} <= _DECIDED]
    return Agreement(
        first=first,
        second=second,
        flows=tuple(
            (how, each) for how, changes in seen for each in changes if each.expected or each.test not in explaining
        ),
        tests=tuple(both),
        one_sided=tuple(each for each in comparison.tests if each not in both),
        behaviours=tuple((name, old, new) for name, old, new in comparison.behaviours if old and new),
        same=comparison.same,
    )


def ask(sides: tuple[str, str], asked: Sequence[str], out: Path, access: Mapping[str, str]) -> Agreement:
    """The agreement of two clusters, each a profile on which the suites are run now, or an earlier run's results.

    Args:
        asked: Further words for `eastwest verify`.
        out: Folder; each run has one of its own in it.
        access: Option → value, for a profile whose cluster is there already; empty values are left out.

    Raises:
        UsageError: There is no such profile, or the file is not a run's results; nothing has run.
        PreparationError: A run ended without results that say anything.
    """
    profiles = {side: profile.load(side) for side in sides if not side.endswith(".json")}
    for side in set(sides) - set(profiles):
        results.read(Path(side))
    records = []
    for side in sides:
        path = Path(side)
        if side in profiles:
            there = profiles[side].provider == "existing"
            words_of_access = [word for pair in access.items() if there and pair[1] for word in pair]
            path = _run(side, [*asked, *words_of_access], out / Path(side).stem)
        records.append(results.read(path))
    explaining = {test for record in records for test in words.explaining(record)}
    return agreement(compare(*records), *sides, explaining)


def _run(side: str, asked: Sequence[str], out: Path) -> Path:
    """The results of a run on a profile; what it says meanwhile goes to standard error."""
    command = [sys.executable, "-m", "eastwest", "verify", *asked, "--profile", side, "--out", str(out)]
    done = subprocess.run(command, stdout=sys.stderr, check=False)
    if done.returncode not in _TELLING or not (out / results.RESULTS).is_file():
        raise PreparationError(
            f"agree: the run on {side} ended with exit code {done.returncode}; see what it said above"
        )
    return out / results.RESULTS
