"""Allure shows our words, tells failed from broken wherever the error is raised, hides secrets, and may be absent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports import allure
from tests.reports import samples

pytest_plugins = ["pytester"]

PLUGIN = """
import pytest
from pathlib import Path
from reports import allure, pytest_text
from reports.results import TestRecord

RECORD = TestRecord.from_json(Path({record!r}).read_text())

@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    allure.spare(config)

@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    allure.install(config)

@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_makereport(item, call):
    report = yield
    pytest_text.redact_report(report)
    if report.when == "call" or (report.when == "setup" and not report.passed):
        allure.enrich(RECORD)
    return report

@pytest.fixture
def wrong_world():
    raise flows.errors.VerdictError("leak in a fixture")

@pytest.fixture
def no_world():
    raise flows.errors.HarnessError("no cluster")

import flows.errors
"""

TESTS = """
import flows.errors, allure

def test_leak():
    header = {"Authorization": "Bearer s3cr3t-of-the-test-0"}
    print("password: s3cr3t-printed")
    allure.attach("token: s3cr3t-attached", name="by the test")
    raise flows.errors.VerdictError(f"leak {header}")

def test_undecided():
    raise flows.errors.InconclusiveError("late")

def test_leak_in_setup(wrong_world): ...
def test_broken_in_setup(no_world): ...
def test_holds(): ...
"""


def _run(pytester: pytest.Pytester, *options: str) -> str:
    record = pytester.path / "record.json"
    record.write_text(samples.leak().to_json())
    pytester.makeconftest(PLUGIN.format(record=str(record)))
    pytester.makepyfile(test_world=TESTS)
    return "\n".join(pytester.runpytest_subprocess("-p", "no:cacheprovider", "-l", *options).outlines)


def _results(folder: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in folder.glob("*-result.json")]
    return {result["fullName"].rpartition("#")[2]: result for result in found}


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one-process", "two-workers"])
def test_allure_tells_failed_from_broken(pytester: pytest.Pytester, workers: list[str]) -> None:
    folder = pytester.path / "allure"
    _run(pytester, "--alluredir", str(folder), *workers)
    results = _results(folder)
    assert {name: result["status"] for name, result in results.items()} == {
        "test_leak": "failed",
        "test_undecided": "broken",
        "test_leak_in_setup": "failed",
        "test_broken_in_setup": "broken",
        "test_holds": "passed",
    }
    for result in results.values():
        labels = {label["name"]: label["value"] for label in result["labels"]}
        assert result["name"] == samples.RULES[3]
        assert (labels["parentSuite"], labels["suite"], labels["severity"]) == ("eastwest", "network", "critical")
        attached = [attachment["name"].partition(":")[0] for attachment in result["attachments"]]
        assert {"matrix", "evidence of what does not hold", "policy", "events of the namespace"} <= set(attached)


def test_no_secret_reaches_allure_junit_or_the_terminal(pytester: pytest.Pytester) -> None:
    folder, junit = pytester.path / "allure", pytester.path / "junit.xml"
    text = _run(pytester, "--alluredir", str(folder), "--junitxml", str(junit), "-o", "junit_logging=all")
    written = [path.read_text() for path in folder.iterdir()] + [junit.read_text()]
    assert [each for each in written if "s3cr3t" in each] == []
    assert any("«redacted»" in each for each in written)
    # The closing list of pytest's own repeats the message; the source line of the test is its author's.
    assert "s3cr3t-printed\n" not in text.replace('print("password: s3cr3t-printed")', "")


def test_a_worker_that_starts_again_takes_no_results_away(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(PLUGIN.format(record=str(pytester.path / "record.json")))
    (pytester.path / "record.json").write_text(samples.leak().to_json())
    pytester.makepyfile(test_world="import os\ndef test_a(): ...\ndef test_b(): os._exit(1)\ndef test_c(): ...")
    folder = pytester.mkdir("allure")
    (folder / "of-a-former-run").touch()
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "1", "--alluredir", folder, "--clean-alluredir")
    assert {"test_a", "test_c"} <= set(_results(folder))
    assert not (folder / "of-a-former-run").exists()


def test_without_alluredir_nothing_is_written_and_nothing_breaks(pytester: pytest.Pytester) -> None:
    text = _run(pytester)
    assert "2 failed, 1 passed, 2 errors" in text
    assert not (pytester.path / "allure").exists()


def test_outside_of_a_run_enriching_does_nothing(tmp_path: Path) -> None:
    allure.enrich(samples.record(1, "A rule holds", matrices=[], policies=[]))
    assert list(tmp_path.iterdir()) == []


def test_the_environment_names_the_cluster(tmp_path: Path) -> None:
    run = replace(samples.troubled(), command="eastwest verify -k 'a=b' # ü😀")
    files = allure.environment(run, tmp_path, {})
    assert [path.name for path in files] == ["environment.properties", "categories.json"]
    lines = files[0].read_text().splitlines()
    assert "kubernetes=v1.34.0-eastwest" in lines
    assert "ip\\ family=ipv4" in lines
    assert "command=eastwest verify -k 'a=b' # \\u00fc\\ud83d\\ude00" in lines
    assert {category["matchedStatuses"][0] for category in json.loads(files[1].read_text())} == {
        "failed",
        "broken",
        "skipped",
    }


CI = {
    "github": (
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_REPOSITORY": "a/b",
            "GITHUB_RUN_ID": "7",
            "GITHUB_RUN_NUMBER": "3",
            "GITHUB_WORKFLOW": "nightly",
        },
        {
            "name": "GitHub Actions",
            "type": "github",
            "buildUrl": "https://github.example/a/b/actions/runs/7",
            "buildOrder": "3",
            "buildName": "nightly #3",
        },
    ),
    "jenkins": (
        {"JENKINS_URL": "https://ci.example", "BUILD_NUMBER": "9"},
        {"name": "Jenkins", "type": "jenkins", "buildOrder": "9"},
    ),
    "none": ({}, {}),
}


@pytest.mark.parametrize(("variables", "wanted"), CI.values(), ids=CI.keys())
def test_the_executor_is_the_ci_job(variables: dict[str, str], wanted: dict[str, str], tmp_path: Path) -> None:
    assert allure.executor(variables) == wanted
    names = [path.name for path in allure.environment(samples.green(1), tmp_path, variables)]
    assert ("executor.json" in names) is bool(wanted)
