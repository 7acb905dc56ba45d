"""Whether two clusters agree: the same suites on both, and where their verdicts differ, cell by cell.

What belongs here: what of a comparison is a disagreement, and what the specification leaves open. What does not:
running the suites (the command line), pairing flows (`compare`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from reports import words
from reports.compare import Comparison, FlowChange, TestChange

SCHEMA: Final = "eastwest.dev/agreement/v1"
EXPLAINED: Final = "docs/explanation/implementation-defined.md"
"""Where each behaviour that the specification leaves open stands with the specification's words."""
_DECIDED: Final = {"passed", "failed", "broken"}
_NOT_IN_ANCHORS: Final = re.compile(r"[^a-z0-9 -]")


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
                {"name": name, "first": first, "second": second, "explained": f"{EXPLAINED}#{anchor(name)}"}
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
            lines += [f"left open: {name}: {first} ↔ {second}", f"    {EXPLAINED}#{anchor(name)}"]
        lines += [f"asked on one only: {each.before} ↔ {each.after}  {each.test}" for each in self.one_sided]
        verdict = (
            "agree" if self.agrees else "DISAGREE" if self.same else "cannot be compared: no flow was asked on both"
        )
        differing = f"{words.plural(len(self.flows), 'flow')} and {words.plural(len(self.tests), 'test')} differ"
        lines.append(f"{self.first} and {self.second} {verdict}: {words.plural(self.same, 'flow')} alike, {differing}")
        return "\n".join(lines)


def anchor(name: str) -> str:
    """The place of a behaviour on the page that explains it."""
    return _NOT_IN_ANCHORS.sub("", name.lower()).replace(" ", "-")


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
