"""The terminal's words fit 80 columns, name what failed and why, and cannot steer the terminal."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from flows.errors import UsageError
from reports import terminal
from reports.results import RunRecord, TestRecord
from tests.reports import samples

LONG = "suites/network/" + "very_long_folder/" * 9 + "test_x.py::test_" + "y" * 120 + "[caller-to-server]"
REPORTS = {"report": Path("/srv/reports/" + "deep/" * 30 + "report.html")}


def _long() -> RunRecord:
    line = "caller → " + "server-with-a-very-long-name" * 6 + ":8080/tcp: expected answered, got dropped"
    failed = replace(samples.leak(), id=LONG, sentence="日本語 " * 40, first_line=line, message="")
    return samples.run([failed, samples.undecided()], left_behind=["namespace " + "n" * 200], kept=["x " * 90])


@pytest.mark.parametrize("width", [80, 60, 132])
@pytest.mark.parametrize("run", [samples.green(), samples.troubled(), _long()], ids=["green", "troubled", "long"])
def test_no_line_of_the_summary_is_wider_than_the_terminal(run: RunRecord, width: int) -> None:
    lines = terminal.summary(run, width, REPORTS).splitlines()
    assert [line for line in lines if terminal.columns(line) > width] == []


@pytest.mark.parametrize("width", [80, 40])
@pytest.mark.parametrize("test", [samples.leak(), _long().tests[0], samples.green(1).tests[0]])
def test_progress_is_one_line_of_the_terminals_width(test: TestRecord, width: int) -> None:
    line = terminal.progress(test, 7, 40, width)
    assert "\n" not in line
    assert terminal.columns(line) == width
    assert test.outcome in line


def test_the_summary_says_what_failed_why_and_how_to_repeat_it() -> None:
    text = terminal.summary(samples.troubled(), 80, {"report": Path("reports/out/report.html")})
    for words in (
        "✗ 2 of 30 rules failed",
        "intruder → server:8080/tcp: expected dropped, got answered",
        "why: DNS: no egress rule opens port 53 of kube-system",
        "again: eastwest verify suites/network/",
        "27 passed, 2 failed, 1 broken, 3 skipped",
        "left behind namespace ew-7f3a-network",
        "kept        lab eastwest-lab",
        "p95",
        "reports/out/report.html",
    ):
        assert words in text


def test_the_summary_tells_flows_by_direction_and_behaviours() -> None:
    text = terminal.summary(samples.timed(), 120)
    assert "closed      min 20 ms · p50 20 ms · p90 300 ms · p99 300 ms · max 300 ms (2 flows)" in text
    assert "opened      min 40 ms" in text
    assert "behaviour   established-tcp: goes on" in text
    assert "established-tcp: **goes on**" in terminal.markdown(samples.timed())


def test_a_long_command_continues_as_a_shell_reads_it() -> None:
    test = replace(samples.leak(), id=f"suites/network/test_{'a' * 40}.py::test_x[b]", name="test_x[b]")
    text = terminal.summary(samples.run([test])).partition("again: ")[2].partition("\n\n")[0]
    typed = text.replace("\\\n", "")
    assert shlex.split(typed) == ["eastwest", "verify", test.id.partition("::")[0], "-k", "test_x[b]"]


def test_a_name_with_words_is_told_whole_since_no_expression_of_pytest_has_it() -> None:
    name = "shop/frontend → shop/backend:8080/tcp allowed"
    test = replace(samples.leak(), id=f"policies/{'a' * 40}/eastwest.yaml::{name}", name=name)
    text = terminal.summary(samples.run([test])).partition("again: ")[2].partition("\n")[0]
    assert shlex.split(text) == ["eastwest", "verify", test.id]


def test_many_failures_do_not_flood_the_terminal() -> None:
    many = samples.run([replace(samples.leak(), id=f"t{number}") for number in range(50)])
    text = terminal.summary(many)
    assert text.count("why: ") == terminal.FIRST
    assert "and 30 more in the report" in text


def test_a_value_cannot_steer_the_terminal() -> None:
    test = replace(samples.leak(), sentence="a\x1b[31mred\nnext", first_line="b\x1b]0;title\x07\rc", message="")
    text = terminal.summary(samples.run([test])) + terminal.progress(test, 1, 1)
    assert {"\x1b", "\x07", "\r"} & set(text) == set()


def test_secrets_are_not_in_the_summary() -> None:
    test = replace(samples.leak(), first_line="got Authorization: Bearer s3cr3t-0", message="why: token: s3cr3t")
    assert "s3cr3t" not in terminal.summary(samples.run([test])) + terminal.markdown(samples.run([test]))


@pytest.mark.parametrize(
    ("isatty", "environment", "wanted"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False)],
    ids=["terminal", "pipe", "no-color", "dumb"],
)
def test_colour_is_for_terminals_that_want_it(isatty: bool, environment: dict[str, str], wanted: bool) -> None:
    assert terminal.coloured(isatty, environment) is wanted


def test_the_job_summary_is_appended_where_github_says(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    assert terminal.job_summary(samples.troubled(), {"GITHUB_STEP_SUMMARY": str(file)}) == file
    assert file.read_text().startswith("before\n## ❌ 2 of 30 rules failed")


def test_outside_of_github_nothing_is_written() -> None:
    assert terminal.job_summary(samples.green(1), {}) is None


def test_a_job_summary_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="GITHUB_STEP_SUMMARY"):
        terminal.job_summary(samples.green(1), {"GITHUB_STEP_SUMMARY": str(tmp_path / "no" / "file")})


def test_values_are_not_read_as_markdown() -> None:
    evil = "<img src=x> [link](https://x.example) `code` | cell @everyone"
    test = replace(samples.leak(), sentence=evil, area=evil, first_line="```\n# out", message=f"why: {evil}")
    text = terminal.markdown(samples.run([test]))
    assert "<img" not in text
    assert "[link](" not in text.replace("\\[link\\](", "")
    assert "````text\n```" in text
