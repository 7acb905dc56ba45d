"""What a person reads while a run goes on and when it ends, at 80 columns; and the same for a CI job's summary page.

What belongs here: plain lines of text, at most as wide as asked. What does not: writing them anywhere but the job
summary; colour (the caller's terminal writer colours by outcome, or not at all).
"""

from __future__ import annotations

import os
import re
import shlex
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from flows.errors import UsageError
from reports import words
from reports.redact import redact
from reports.results import Outcome, RunRecord, TestRecord

FIRST = 20
"""Failures that the closing summary names; the report has them all."""

_SELECTABLE = re.compile(r"[\w:+.\[\]\\/-]+")
"""What pytest's `-k` reads as one name."""
COLOURS: Mapping[Outcome, str] = {"passed": "green", "failed": "red", "broken": "yellow", "skipped": "cyan"}
"""The markup name of pytest's terminal writer for each outcome."""


def coloured(isatty: bool, environment: Mapping[str, str]) -> bool:
    """Whether to use colour: a terminal that nobody asked to stay plain (`NO_COLOR`, `TERM=dumb`)."""
    return isatty and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def progress(test: TestRecord, done: int, total: int, width: int = 80) -> str:
    """One finished test as one line of exactly one row: symbol, count, sentence, outcome, seconds."""
    digits = len(str(total))
    left = f"{words.SYMBOLS[test.outcome]} {done:>{digits}}/{total} "
    right = f" {test.outcome:<7} {test.duration:5.1f} s"
    room = max(8, width - columns(left) - columns(right))
    case = words.case(test)
    tail = cut(_plain(f" [{case}]"), room // 2) if case else ""
    text = cut(_plain(test.sentence), room - columns(tail)) + tail
    return f"{left}{text}{' ' * (room - columns(text))}{right}"


def summary(run: RunRecord, width: int = 80, reports: Mapping[str, Path] | None = None) -> str:
    """The closing words of a run; no line is wider than `width`, but a command that cannot be broken.

    Args:
        run: The run.
        width: Columns of the terminal.
        reports: What was written where: `{"report": Path("reports/out/report.html")}`.
    """
    counted = run.summary
    lines = [cut(f"{words.STANDING_SYMBOLS[counted.standing]} {_plain(counted.headline)}", width), ""]
    for test in (run.outcomes("failed") + run.outcomes("broken"))[:FIRST]:
        lines += _failure(test, width)
    hidden = counted.tests.failed + counted.tests.broken - FIRST
    if hidden > 0:
        lines += [f"  and {hidden} more in the report", ""]
    for name, texts in (("problem", run.problems), ("left behind", run.left_behind), ("kept", run.kept)):
        for text in texts:
            lines += _field(name, text, width)
    tests = [f"{getattr(counted.tests, name)} {name}" for name in ("passed", "failed", "broken", "skipped")]
    lines += _field("tests", ", ".join(text for text in tests if not text.startswith("0 ")) or "none", width)
    if counted.flows.asked:
        lines += _field("flows", _flows(run), width)
    if counted.latency.count:
        lines += _field("latency", _latency(run), width)
    for name, seen in words.distributions(run):
        lines += _field(name, words.distribution(seen), width)
    for name, value in words.behaviours(run).items():
        lines += _field("behaviour", f"{name}: {value}", width)
    if run.timings:
        lines += _field("took", words.durations(run.timings), width)
    for name, path in (reports or {}).items():
        lines += _field(name, str(path), width)
    return "\n".join(lines)


def markdown(run: RunRecord) -> str:
    """The run as GitHub-flavoured Markdown for a job's summary page; no value of the run is read as markup."""
    run = run.scrubbed()
    counted = run.summary
    icon = {"holds": "✅", "failed": "❌", "undecided": "⚠️", "unproved": "⚠️"}[counted.standing]
    parts = [f"## {icon} {_escaped(counted.headline)}", ""]
    facts = " · ".join(f"{name} **{_escaped(value)}**" for name, value in words.fingerprint(run))
    parts += [facts, ""] if facts else []
    for test in (run.outcomes("failed") + run.outcomes("broken"))[:FIRST]:
        parts += _section(test)
    for name, texts in (("problem", run.problems), ("left behind", run.left_behind), ("kept", run.kept)):
        parts += [f"- **{name}**: {_escaped(text)}" for text in texts]
    parts += ["", "| area | passed | failed | could not tell | skipped |", "| --- | ---: | ---: | ---: | ---: |"]
    for area, tests in words.areas(run.tests).items():
        counts = [sum(test.outcome == name for test in tests) for name in ("passed", "failed", "broken", "skipped")]
        parts.append(f"| {_escaped(area)} | {' | '.join(map(str, counts))} |")
    parts += ["", f"{_flows(run)}  "]
    if counted.latency.count:
        parts.append(f"Enforcement latency: {_latency(run)}  ")
    parts += [f"Flows {name}: {words.distribution(seen)}  " for name, seen in words.distributions(run)]
    parts += [f"- {_escaped(name)}: **{_escaped(value)}**" for name, value in words.behaviours(run).items()]
    return "\n".join(parts) + "\n"


def job_summary(run: RunRecord, environment: Mapping[str, str] | None = None) -> Path | None:
    """Append `markdown` to the file that GitHub Actions names in `GITHUB_STEP_SUMMARY`; None elsewhere.

    Raises:
        UsageError: The file cannot be written.
    """
    name = (os.environ if environment is None else environment).get("GITHUB_STEP_SUMMARY", "")
    if not name:
        return None
    path = Path(name)
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(markdown(run))
    except OSError as error:
        raise UsageError(
            f"reports: GITHUB_STEP_SUMMARY={path} cannot be written ({error.strerror}); unset it or mend the path"
        ) from None
    return path


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(_width(character) for character in text)


def cut(text: str, width: int) -> str:
    """The text, or as much as fits with an ellipsis."""
    if columns(text) <= width:
        return text
    kept, used = "", 0
    for character in text:
        used += _width(character)
        if used > width - 1:
            break
        kept += character
    return f"{kept.rstrip()}…"


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _plain(text: str) -> str:
    """Text on one line that cannot steer a terminal, secrets hidden."""
    return "".join(c for c in " ".join(redact(text).split()) if unicodedata.category(c)[0] != "C")


def _failure(test: TestRecord, width: int) -> Iterable[str]:
    yield cut(f"{words.SYMBOLS[test.outcome]} {_plain(test.sentence)}", width)
    first = _plain(words.first_line(test))
    yield from _wrapped(first, "    ", "    ", width)
    cause = _plain(words.why(test))
    if cause and cause not in first:
        yield from _wrapped(f"why: {cause}", "    ", "         ", width)
    yield from _again(test, width)
    yield ""


def _again(test: TestRecord, width: int) -> Iterable[str]:
    """The command that repeats a test; a long one continues on the next lines, as a shell reads it.

    A name that `-k` cannot read is told whole, on one line: within quotes a line does not go on in the next.
    """
    command = _plain(words.again(test))
    if not _SELECTABLE.fullmatch(test.name):
        yield f"    again: {command}"
        return
    if columns(command) + 11 > width:
        file = shlex.quote(_plain(test.id.partition("::")[0]))
        command = f"eastwest verify {file} -k {shlex.quote(_plain(test.name))}"
    lines = _wrapped(command, "    again: ", " " * 11, width - 2)
    yield from [f"{line} \\" for line in lines[:-1]]
    yield lines[-1]


def _field(name: str, text: str, width: int) -> list[str]:
    return _wrapped(_plain(text), f"{name:<12}", " " * 12, width)


def _wrapped(text: str, first: str, rest: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False) or [first]


def _flows(run: RunRecord) -> str:
    flows = run.summary.flows
    parts = [f"{words.plural(flows.asked, 'flow')} asked: {flows.allowed} answered", f"{flows.denied} denied"]
    # Where every rule holds, a flow that differs is one that its test wanted so: the words of a failure are tested too.
    told = flows.differing and run.summary.standing != "holds"
    parts += [f"{flows.differing} not as expected"] if told else []
    parts += [f"{flows.undecided} undecided"] if flows.undecided else []
    return ", ".join(parts)


def _latency(run: RunRecord) -> str:
    seen = run.summary.latency
    figures = {"min": seen.minimum, "median": seen.median, "p95": seen.p95, "max": seen.maximum}
    return f"{words.durations(figures)} ({'1 policy' if seen.count == 1 else f'{seen.count} policies'})"


def _section(test: TestRecord) -> list[str]:
    lines = [f"### {words.SYMBOLS[test.outcome]} {_escaped(test.sentence)}", "", _fenced(words.first_line(test)), ""]
    cause = words.why(test)
    lines += [f"**Why:** {_escaped(cause)}", ""] if cause else []
    for matrix in [each for each in test.matrices if any(words.troubles(cell) for cell in each["cells"])][:1]:
        summary_line = f"<details><summary>{_escaped(str(matrix['title']))}</summary>"
        lines += [summary_line, "", _fenced(str(matrix["text"])[:8000]), "", "</details>", ""]
    return [*lines, _fenced(words.again(test)), ""]


def _fenced(text: str) -> str:
    """A block that its own content cannot end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def _escaped(text: str) -> str:
    """Text as Markdown shows it, on one line."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{character}" if character in "\\`*_[]|#~!@" else character for character in flat)
