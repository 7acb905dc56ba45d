"""A run survives its file whole, the file keeps the published schema, and counts are what a person would count."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from clusters.cluster import Cluster
from clusters.profile import Profile
from flows.errors import UsageError
from flows.model import denied
from reports.results import SCHEMA_FILE, ClusterRecord, RunRecord, TestRecord, read, write
from tests.reports import samples

RUNS = {
    "green": samples.green(),
    "troubled": samples.troubled(),
    "empty": samples.run([]),
    "no-cluster": samples.run([], cluster=ClusterRecord(), problems=["kind: not found; install kind"], exit_code=10),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_a_run_is_read_as_it_was_written(run: RunRecord, tmp_path: Path) -> None:
    assert read(write(run, tmp_path)) == run.scrubbed()


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_a_written_run_keeps_the_schema(run: RunRecord, tmp_path: Path) -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(json.loads(write(run, tmp_path).read_text()))


def test_the_schema_knows_every_field() -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    assert set(schema["properties"]) == set(samples.green(1).record())
    assert set(schema["$defs"]["test"]["properties"]) == set(samples.leak().record())
    assert set(schema["$defs"]["cluster"]["properties"]) == set(samples.green(1).record()["cluster"])


def test_a_record_crosses_from_a_worker() -> None:
    assert TestRecord.from_json(samples.undecided().to_json()) == samples.run([samples.undecided()]).scrubbed().tests[0]


def test_a_secret_is_not_in_the_file(tmp_path: Path) -> None:
    assert "s3cr3t" not in write(samples.troubled(), tmp_path).read_text()


def _broken(change: dict[str, Any]) -> dict[str, Any]:
    return {**samples.troubled().record(), **change}


_TEST = samples.leak().record()
_CELL = dict(_TEST["matrices"][0]["cells"][0])
_CELL.pop("finding")

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "other-schema": (_broken({"schema": "eastwest.dev/results/v9"}), "field 'schema' is 'eastwest.dev/results/v9'"),
    "no-schema": ({"run": "x"}, "field 'schema' is None"),
    "unknown-field": (_broken({"colour": "red"}), "unknown field 'colour'"),
    "wrong-type": (_broken({"started": "today"}), "field 'started' is 'today', not int or float"),
    "bool-for-number": (_broken({"exit_code": True}), "field 'exit_code' is True, not int"),
    "outcome": (_broken({"tests": [{**_TEST, "outcome": "green"}]}), "field 'tests[0].outcome' is 'green'"),
    "missing": (_broken({"tests": [{"id": "x"}]}), "field 'tests[0].name' is missing"),
    "null": (_broken({"cluster": None}), "field 'cluster' is None, not dict"),
    "inside-cluster": (_broken({"cluster": {"profile": 3}}), "field 'cluster.profile' is 3, not str"),
    "item": (_broken({"problems": [1]}), "field 'problems[0]' is 1, not str"),
    "cell": (
        _broken({"tests": [{**_TEST, "matrices": [{**_TEST["matrices"][0], "cells": [_CELL]}]}]}),
        "field 'tests[0].matrices[0].cells[0].finding' is missing",
    ),
}


@pytest.mark.parametrize(("data", "message"), BAD.values(), ids=BAD.keys())
def test_a_wrong_file_is_refused_by_field(data: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps(data))
    with pytest.raises(UsageError) as refused:
        read(file)
    assert str(file) in refused.value.message
    assert message in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"'], ids=["empty", "cut", "list", "null", "string"])
def test_a_file_that_is_no_run_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(UsageError, match=r"results\.json"):
        read(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "nothing.json")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write(samples.green(1), tmp_path / "file" / "out")


def test_writing_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    write(samples.green(2), tmp_path)
    write(samples.green(1), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert len(read(tmp_path).tests) == 1


def test_counts_are_what_a_person_would_count() -> None:
    counted = samples.troubled().summary
    assert (counted.tests.total, counted.tests.passed, counted.tests.failed) == (33, 27, 2)
    assert (counted.tests.broken, counted.tests.skipped) == (1, 3)
    assert counted.flows.asked == 27 * 6 + 6 + 3 + 2
    assert counted.flows.allowed + counted.flows.denied + counted.flows.unseen == counted.flows.asked
    assert (counted.flows.differing, counted.flows.undecided, counted.flows.unseen) == (2, 1, 1)


def test_latency_figures_are_values_that_were_seen() -> None:
    values = [0.1 * step for step in range(1, 21)]
    tests = [
        replace(samples.record(index, "A rule holds"), policies=[samples.policy("p", value)])
        for index, value in enumerate(values)
    ]
    seen = samples.run([*tests, samples.record(99, "Not measured", policies=[samples.policy("p", None)])]).summary
    assert (seen.latency.count, seen.latency.minimum, seen.latency.maximum) == (20, values[0], values[-1])
    assert seen.latency.median == pytest.approx(1.05)
    assert seen.latency.p95 == values[18]


def test_flows_that_closed_and_opened_are_counted_apart() -> None:
    cells = [
        replace(samples.cell("caller", "server", denied(), port=1 + step), change=change, latency=step / 100)
        for change, steps in (("enforce", range(1, 101)), ("release", [7]), ("", [9]))
        for step in steps
    ]
    seen = samples.run([samples.record(1, "A rule holds", matrices=[samples.matrix("m", cells).record()])]).summary
    assert (seen.enforcement.count, seen.enforcement.minimum, seen.enforcement.maximum) == (100, 0.01, 1.0)
    assert (seen.enforcement.p50, seen.enforcement.p90, seen.enforcement.p99) == (0.5, 0.9, 0.99)
    assert (seen.release.count, seen.release.p99) == (1, 0.07)


_SKIPPED = [samples.record(1, "A rule holds", "skipped", reason="needs x")]
STANDINGS = {
    "all-hold": (samples.green(3), "holds", "All 3 rules hold"),
    "one-holds": (samples.green(1), "holds", "The rule that was tried holds"),
    "leak": (samples.run([samples.leak(), *samples.green(2).tests]), "failed", "1 of 3 rules failed"),
    "broken": (samples.run([samples.undecided()]), "undecided", "Could not tell: 1 of 1 rule undecided"),
    "problem": (RUNS["no-cluster"], "undecided", "Could not tell: kind: not found; install kind"),
    "interrupted": (samples.run(samples.green(2).tests, exit_code=2), "undecided", "Could not tell: the run was"),
    "all-skipped": (samples.run(_SKIPPED), "unproved", "Nothing was proved: every test was skipped"),
    "nothing-ran": (samples.run([]), "unproved", "Nothing was proved: no test ran"),
    "required-skipped": (samples.run([*samples.green(2).tests, *_SKIPPED], exit_code=11), "unproved", "Not proved"),
    "left-behind": (samples.run(samples.green(2).tests, exit_code=12), "holds", "All 2 rules hold"),
    "exit-code-only": (samples.run(samples.green(2).tests, exit_code=10), "undecided", "Could not tell"),
}


@pytest.mark.parametrize(("run", "standing", "headline"), STANDINGS.values(), ids=STANDINGS.keys())
def test_the_headline_says_what_the_run_proved(run: RunRecord, standing: str, headline: str) -> None:
    assert run.summary.standing == standing
    assert run.summary.headline.startswith(headline)


def test_the_fingerprint_prefers_what_the_cluster_said() -> None:
    profile = Profile(name="lab", provider="lab", kubernetes="v1", cni="lab", nodes=2)
    facts = {"kubernetes": "v1.34.0", "kernel": "6.1", "mutant": "no-egress", "dns": "own"}
    found = ClusterRecord.of(Cluster(profile=profile, kubeconfig={}, context="lab", ours=True, facts=facts))
    assert (found.kubernetes, found.cni, found.nodes) == ("v1.34.0", "lab", "2")
    assert (found.kernel, found.mutant, found.facts) == ("6.1", "no-egress", {"dns": "own"})
