"""A comparison names what opened, what closed and what changed between two runs, whatever the namespaces are."""

from __future__ import annotations

import json
from dataclasses import replace

from flows.model import Kind, answered, denied
from reports.compare import compare
from reports.results import RunRecord
from tests.reports import samples


def _run(intruder: Kind, caller: Kind = Kind.ANSWERED, *, run: str = "a", title: str = "m") -> RunRecord:
    cells = [
        samples.cell("caller", "server", answered(), caller),
        samples.cell("intruder", "server", denied(), intruder),
    ]
    test = samples.record(1, "A rule holds", matrices=[samples.matrix(title, cells).record()])
    return samples.run([test], run=run)


def test_an_opened_flow_is_named() -> None:
    found = compare(_run(Kind.DROPPED), _run(Kind.ANSWERED, run="b"))
    assert [(each.flow, each.before, each.after) for each in found.opened] == [
        ("intruder → server:8080/tcp", "dropped", "answered")
    ]
    assert (found.closed, found.changed, found.untold, found.same) == ([], [], [], 1)
    assert "opened: 1 flow" in found.text()


def test_a_closed_flow_is_named() -> None:
    found = compare(_run(Kind.DROPPED), _run(Kind.DROPPED, Kind.REFUSED))
    assert [(each.flow, each.after) for each in found.closed] == [("caller → server:8080/tcp", "refused")]
    assert found.opened == []


def test_another_denial_is_a_change() -> None:
    found = compare(_run(Kind.DROPPED), _run(Kind.REFUSED))
    assert [(each.before, each.after) for each in found.changed] == [("dropped", "refused")]


def test_a_flow_that_could_not_be_told_is_neither_opened_nor_closed() -> None:
    found = compare(_run(Kind.DROPPED), _run(Kind.PROBE_ERROR))
    assert (found.opened, found.closed) == ([], [])
    assert [each.after for each in found.untold] == ["probe-error"]


def test_the_same_run_in_another_namespace_is_the_same() -> None:
    found = compare(_run(Kind.DROPPED, title="m in ew-1"), _run(Kind.DROPPED, title="m in ew-2"))
    assert (found.same, found.unpaired) == (2, 0)


def test_flows_that_differ_in_their_request_are_paired_apart() -> None:
    cell = samples.cell("caller", "server", answered())
    cells = [cell, replace(cell, flow=replace(cell.flow, url_path="/admin"))]
    test = samples.record(1, "A rule holds", matrices=[samples.matrix("m", cells).record()])
    swapped = samples.record(1, "A rule holds", matrices=[samples.matrix("m", cells[::-1]).record()])
    assert compare(samples.run([test]), samples.run([swapped])).same == 2


def test_tests_with_another_outcome_are_named() -> None:
    before = samples.run([samples.record(3, samples.RULES[3]), samples.record(5, "Only before")])
    after = samples.run([replace(samples.leak(), id=before.tests[0].id), samples.record(6, "Only after")])
    found = {(each.before, each.after): each for each in compare(before, after).tests}
    assert set(found) == {("passed", "failed"), ("absent", "passed"), ("passed", "absent")}
    assert "got answered" in found["passed", "failed"].first_line


def test_what_is_different_about_the_cluster_is_said() -> None:
    after = replace(samples.green(1), cluster=replace(samples.cluster(), kubernetes="v1.35.0", mutant="no-egress"))
    found = compare(samples.green(1), after)
    assert ("kubernetes", "v1.34.0-eastwest", "v1.35.0") in found.cluster
    assert "mutant: – → no-egress" in found.text()


def test_behaviours_are_compared_and_never_a_change_of_flows() -> None:
    def run(value: str) -> RunRecord:
        goes = [{"name": "established-tcp", "value": value, "detail": ""}]
        return samples.run([replace(samples.record(1, "A rule holds"), behaviours=goes)])

    found = compare(run("goes on"), run("ends (dropped)"))
    assert found.behaviours == [("established-tcp", "goes on", "ends (dropped)")]
    assert "established-tcp: goes on → ends (dropped)" in found.text()
    assert not [*found.opened, *found.closed, *found.changed]
    assert compare(run("goes on"), run("goes on")).behaviours == []


def test_the_comparison_is_json() -> None:
    record = json.loads(json.dumps(compare(samples.green(), samples.troubled()).record()))
    assert record["schema"] == "eastwest.dev/comparison/v1"
    assert record["opened"][0]["flow"] == "intruder → server:8080/tcp"
