"""Two clusters agree when nothing differs but what the specification leaves open; every disagreement is a line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import eastwest
from flows.model import Expected, Kind, answered, denied
from reports import results, words
from reports.agree import Agreement, agreement
from reports.compare import compare
from reports.results import RunRecord
from tests.reports import samples

OPEN = {"name": "Established connections", "value": "go on", "detail": ""}


def _run(intruder: Kind, expected: Expected | None = None, **changes: Any) -> RunRecord:
    cells = [
        samples.cell("caller", "server", answered(), Kind.ANSWERED),
        samples.cell("intruder", "server", expected, intruder),
    ]
    test = samples.record(1, "A rule holds", matrices=[samples.matrix("m", cells).record()])
    return samples.run([replace(test, **changes)])


def _agreement(first: RunRecord, second: RunRecord) -> Agreement:
    explaining = words.explaining(first) | words.explaining(second)
    return agreement(compare(first, second), "lab", "kind", explaining)


def test_nothing_that_differs_is_agreement() -> None:
    found = _agreement(_run(Kind.DROPPED, denied()), _run(Kind.DROPPED, denied()))
    assert found.agrees
    assert found.text() == "lab and kind agree: 2 flows alike, 0 flows and 0 tests differ"


def test_a_flow_that_only_one_opens_is_a_disagreement() -> None:
    found = _agreement(_run(Kind.DROPPED, denied()), _run(Kind.ANSWERED, denied()))
    assert not found.agrees
    assert found.text().splitlines()[0] == ("open on the second only: intruder → server:8080/tcp: dropped ↔ answered")
    assert "DISAGREE" in found.text()


def test_another_denial_is_a_disagreement() -> None:
    found = _agreement(_run(Kind.DROPPED, denied()), _run(Kind.REFUSED, denied()))
    assert [how for how, _ in found.flows] == ["denied in another way"]


def test_what_nothing_was_expected_of_may_differ_where_a_behaviour_says_so() -> None:
    told = [OPEN]
    other = [{**OPEN, "value": "are cut"}]
    assert not _agreement(_run(Kind.DROPPED), _run(Kind.ANSWERED)).agrees
    found = _agreement(_run(Kind.DROPPED, behaviours=told), _run(Kind.ANSWERED, behaviours=other))
    assert found.agrees
    assert found.text().splitlines()[:2] == [
        "left open: Established connections: go on ↔ are cut",
        "    docs/explanation/implementation-defined.md#behaviours",
    ]


def test_a_behaviour_excuses_no_expectation() -> None:
    first, second = (_run(kind, denied(), behaviours=[OPEN]) for kind in (Kind.DROPPED, Kind.ANSWERED))
    assert not _agreement(first, second).agrees


def test_a_test_that_fails_on_one_is_a_disagreement_and_one_that_is_skipped_is_not() -> None:
    sound = _run(Kind.DROPPED, denied())
    assert not _agreement(sound, _run(Kind.DROPPED, denied(), outcome="failed")).agrees
    skipped = _agreement(sound, _run(Kind.DROPPED, denied(), outcome="skipped"))
    assert skipped.agrees
    assert "asked on one only: passed ↔ skipped" in skipped.text()


def test_runs_without_a_flow_in_common_prove_nothing() -> None:
    found = _agreement(_run(Kind.DROPPED, denied()), samples.run([]))
    assert not found.agrees
    assert "cannot be compared" in found.text()


def test_the_agreement_is_json() -> None:
    record = json.loads(json.dumps(_agreement(_run(Kind.DROPPED, denied()), _run(Kind.ANSWERED, denied())).record()))
    assert (record["schema"], record["agrees"]) == ("eastwest.dev/agreement/v1", False)
    assert record["flows"][0]["flow"] == "intruder → server:8080/tcp"


@pytest.mark.parametrize(("second", "code"), [(Kind.DROPPED, 0), (Kind.ANSWERED, 1)], ids=["agree", "disagree"])
def test_the_command_compares_runs_that_were_made(
    second: Kind, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = []
    for name, kind in (("first", Kind.DROPPED), ("second", second)):
        results.write(_run(kind, denied()), tmp_path / name)
        sides.append(str(tmp_path / name / results.RESULTS))
    with pytest.raises(SystemExit) as ended:
        eastwest.main(["agree", *sides])
    assert ended.value.code == code
    assert ("DISAGREE" in capsys.readouterr().out) == bool(code)


def test_the_command_refuses_a_slip_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        eastwest.main(["agree", "lab", "kind-calicoo"])
    assert ended.value.code == 4
    assert "did you mean 'kind-calico'" in capsys.readouterr().err
