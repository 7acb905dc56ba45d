"""What changed between two runs: flows that opened or closed, denials that look different, tests, latency, the cluster.

What belongs here: pairing the flows of two runs and saying how they differ. What does not: predicting from manifests
(`policies`), measuring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reports import words
from reports.results import RunRecord, TestRecord
from reports.summary import Latency

SCHEMA = "eastwest.dev/comparison/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowChange:
    """One flow that both runs asked, with what each of them saw.

    Attributes:
        expected: Whether either of them expected anything of it.
    """

    test: str
    flow: str
    before: str
    after: str
    expected: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TestChange:
    """One test with its outcome in each run; `absent` where a run does not have it."""

    __test__ = False

    test: str
    before: str
    after: str
    first_line: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        opened: Denied before, answered after; `closed` the other way round.
        changed: Denied in both, but another verdict: `dropped` became `refused`.
        untold: Seen by one run only, since the other could not tell.
        tests: Tests whose outcome changed, or that only one run has.
        same: How many flows are as they were; `unpaired` were asked by one run only.
        latency: Enforcement latency of each run.
        cluster: Fingerprint fields that differ: name, before, after.
        behaviours: What the clusters do differently where the specification leaves it open: name, before, after.
    """

    before: str
    after: str
    opened: Sequence[FlowChange]
    closed: Sequence[FlowChange]
    changed: Sequence[FlowChange]
    untold: Sequence[FlowChange]
    tests: Sequence[TestChange]
    same: int
    unpaired: int
    latency: tuple[Latency, Latency]
    cluster: Sequence[tuple[str, str, str]]
    behaviours: Sequence[tuple[str, str, str]] = ()

    def record(self) -> dict[str, Any]:
        """The comparison as JSON."""
        return {"schema": SCHEMA, **asdict(self)}

    def text(self) -> str:
        """The comparison for a person, what an attacker would like first."""
        lines = [f"{self.before} → {self.after}"]
        lines += [f"  {name}: {old or '–'} → {new or '–'}" for name, old, new in self.cluster]
        if self.behaviours:
            lines += ["", f"{words.plural(len(self.behaviours), 'behaviour')} that the specification leaves open"]
            lines += [f"  {name}: {old or 'not seen'} → {new or 'not seen'}" for name, old, new in self.behaviours]
        titles = (
            ("opened", self.opened, "denied before, answered now"),
            ("closed", self.closed, "answered before, denied now"),
            ("denied in another way", self.changed, "denied in both"),
            ("could not tell", self.untold, "one of the runs has no verdict"),
        )
        for name, changes, meaning in titles:
            if changes:
                lines += ["", f"{name}: {words.plural(len(changes), 'flow')} ({meaning})"]
                lines += [f"  {each.flow}: {each.before} → {each.after}\n    in {each.test}" for each in changes]
        if self.tests:
            lines += ["", f"{words.plural(len(self.tests), 'test')} with another outcome"]
            for test in self.tests:
                lines.append(f"  {test.before} → {test.after}  {test.test}")
                lines += [f"    {test.first_line}"] if test.first_line else []
        lines += ["", f"{words.plural(self.same, 'flow')} as before, {self.unpaired} asked by one run only"]
        old, new = self.latency
        if old.count and new.count:
            lines.append(
                f"enforcement latency, median: {words.seconds(old.median)} → {words.seconds(new.median)}; "
                f"slowest: {words.seconds(old.maximum)} → {words.seconds(new.maximum)}"
            )
        return "\n".join(lines)


def compare(a: RunRecord, b: RunRecord) -> Comparison:
    """How run `b` differs from run `a`; flows are paired by test, matrix and question, not by namespace or pod."""
    a, b = a.scrubbed(), b.scrubbed()
    before, after = _flows(a), _flows(b)
    kinds: dict[str, list[FlowChange]] = {"opened": [], "closed": [], "changed": [], "untold": [], "same": []}
    for key in before.keys() & after.keys():
        old, new = before[key], after[key]
        kinds[_kind(old, new)].append(
            FlowChange(
                test=key[0],
                flow=f"{new['row']} → {new['column']}",
                before=words.got(old),
                after=words.got(new),
                expected=any(each["expected_mark"] != "#" for each in (old, new)),
            )
        )
    order = {key[0]: index for index, key in enumerate(after)}
    for changes in kinds.values():
        changes.sort(key=lambda change: (order[change.test], change.flow))
    return Comparison(
        before=a.run,
        after=b.run,
        opened=kinds["opened"],
        closed=kinds["closed"],
        changed=kinds["changed"],
        untold=kinds["untold"],
        tests=_tests(a, b),
        same=len(kinds["same"]),
        unpaired=len(before.keys() ^ after.keys()),
        latency=(a.summary.latency, b.summary.latency),
        cluster=_different(dict(words.fingerprint(a)), dict(words.fingerprint(b))),
        behaviours=_different(words.behaviours(a), words.behaviours(b)),
    )


_Key = tuple[str, int, str, str, int]


def _flows(run: RunRecord) -> dict[_Key, dict[str, Any]]:
    """Every flow under its question: test, matrix of the test, flow's key, HTTP request, repetition."""
    found: dict[_Key, dict[str, Any]] = {}
    for test in run.tests:
        for number, matrix in enumerate(test.matrices):
            for cell in matrix["cells"]:
                flow = cell["flow"]
                question = f"{cell['row']} → {cell['column']}"
                request = f"{flow.get('method', '')} {flow.get('url_path', '')} {flow.get('headers', '')}"
                again = 0
                while (test.id, number, question, request, again) in found:
                    again += 1
                found[test.id, number, question, request, again] = cell
    return found


def _kind(old: dict[str, Any], new: dict[str, Any]) -> str:
    marks = (old["observed_mark"], new["observed_mark"])
    if marks == ("X", "."):
        return "opened"
    if marks == (".", "X"):
        return "closed"
    if marks[0] != marks[1]:
        return "untold"
    return "same" if words.got(old) == words.got(new) else "changed"


def _tests(a: RunRecord, b: RunRecord) -> list[TestChange]:
    before: dict[str, TestRecord] = {test.id: test for test in a.tests}
    after: dict[str, TestRecord] = {test.id: test for test in b.tests}
    changes: list[TestChange] = []
    for name in dict.fromkeys([*after, *before]):
        old, new = before.get(name), after.get(name)
        outcomes = (old.outcome if old else "absent", new.outcome if new else "absent")
        if outcomes[0] != outcomes[1]:
            telling = words.first_line(new) if new and new.outcome in {"failed", "broken"} else ""
            changes.append(TestChange(test=name, before=outcomes[0], after=outcomes[1], first_line=telling))
    return changes


def _different(before: Mapping[str, str], after: Mapping[str, str]) -> list[tuple[str, str, str]]:
    names = dict.fromkeys([*before, *after])
    rows = [(name, before.get(name, ""), after.get(name, "")) for name in names]
    return [row for row in rows if row[1] != row[2]]
