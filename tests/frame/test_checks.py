"""`make test` fails when any check fails, when nothing ran, and when a test was skipped that could have run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.frame import tracked
from tools import check, tally

JUNIT = """<testsuites><testsuite name="pytest">
<testcase classname="tests.a" name="one"/>
<testcase classname="tests.a" name="two"><failure message="no"/></testcase>
<testcase classname="tests.a" name="three"><error message="no"/></testcase>
<testcase classname="tests.a" name="four"><skipped message="needs chromium: for the page"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def junit(tmp_path: Path) -> Path:
    """One passed, two failed, one skipped."""
    path = tmp_path / "tests.xml"
    path.write_text(JUNIT)
    return path


def test_a_tally_counts_errors_as_failures(junit: Path) -> None:
    assert str(tally.read(junit)) == "1 passed, 2 failed, 1 skipped"


def test_tallies_add_up(junit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tally.main([str(junit), str(junit)]) == 1
    assert capsys.readouterr().out == "eastwest: 2 passed, 4 failed, 2 skipped\n"


def test_a_run_without_a_single_test_is_not_a_pass(tmp_path: Path) -> None:
    path = tmp_path / "tests.xml"
    path.write_text("<testsuites/>")
    assert tally.main([str(path)]) == 1


def test_a_report_that_was_not_written_is_not_a_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tally.main([str(tmp_path / "tests.xml")]) == 1
    assert "did not end" in capsys.readouterr().err


def test_a_skip_for_what_is_not_here_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tally.ABSENT, "chromium", lambda: True)
    assert tally.unexplained([("tests.a.four", "needs chromium: for the page")]) == []


@pytest.mark.parametrize("reason", ["needs chromium: for the page", "flaky", "needs luck"])
def test_a_skip_that_this_machine_does_not_explain_is_named(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tally.ABSENT, "chromium", lambda: False)
    (line,) = tally.unexplained([("tests.a.four", reason)])
    assert line.startswith(f"tests.a.four: skipped ({reason})")


def run_checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, codes: dict[str, int], junit: str) -> int:
    """`main` with tools that end with these exit codes; its own exit code."""
    report = tmp_path / "build" / "tests.xml"

    def perform(each: check.Check) -> int:
        if each.name == "tests":
            report.write_text(junit)
        return codes.get(each.name, 0)

    monkeypatch.setattr(check, "REPORT", report)
    monkeypatch.setattr(check, "perform", perform)
    return check.main([])


GOOD = '<testsuite><testcase classname="tests.a" name="one"/></testsuite>'
SKIPPED = '<testsuite><testcase classname="a" name="b"><skipped message="later"/></testcase></testsuite>'


def test_all_checks_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run_checks(monkeypatch, tmp_path, {}, GOOD) == 0


@pytest.mark.parametrize("name", [each.name for each in check.LINT])
def test_one_failed_check_is_named_and_fails_it_all(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_checks(monkeypatch, tmp_path, {name: 1}, GOOD) == 1
    assert f"FAILED  {name}: exit code 1" in capsys.readouterr().out


def test_no_tests_at_all_fail_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run_checks(monkeypatch, tmp_path, {"tests": 5}, "<testsuites/>") == 5


def test_an_unexplained_skip_fails_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run_checks(monkeypatch, tmp_path, {}, SKIPPED) == 1


def test_a_check_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "BIN", Path(sys.executable).parent)
    hangs = check.Check(
        name="hangs", command=("python", "-c", "import signal; signal.pause()"), remedy="none", deadline=1
    )
    assert check.perform(hangs) == check.TIMED_OUT


def test_pre_commit_checks_what_ci_checks() -> None:
    entries = re.findall(r"entry: \.venv/bin/(.+)", tracked.text(Path(".pre-commit-config.yaml")))
    assert entries[: len(check.LINT)] == [" ".join(each.command) for each in check.LINT]


def test_ci_runs_the_two_commands_of_the_readme_and_no_other() -> None:
    ci = re.findall(r"\bmake [a-z-]+", tracked.text(Path(".ci/run")).split("set -euo", 1)[1])
    fence = re.search(r"```sh\n(.*?)```", tracked.text(Path("README.md")), re.DOTALL)
    assert fence is not None
    assert ci == ["make verify", "make test"]
    assert [line.split("#")[0].strip() for line in fence[1].splitlines() if line.startswith("make ")] == ci


def test_ci_can_be_run() -> None:
    assert (tracked.CHECKOUT / ".ci" / "run").stat().st_mode & 0o111


def test_every_target_is_listed_by_help() -> None:
    makefile = tracked.text(Path("Makefile"))
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    helped = set(re.findall(r"^([a-z][a-z-]*):.*## \S", makefile, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert targets == helped == set(phony[1].split())
