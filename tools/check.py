"""`make test`: every check of the harness itself, each run even where an earlier one failed, and one clear end.

What belongs here: which tools run, in which order, and what their results are worth. What does not: the tools'
settings (pyproject.toml) and which skips are expected (`tally`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools import tally

CHECKOUT: Final = Path(__file__).resolve().parent.parent
BIN: Final = Path(sys.executable).parent
REPORT: Final = CHECKOUT / "build" / "tests.xml"
LINT_DEADLINE, TEST_DEADLINE = 180, 660  # seconds
TIMED_OUT: Final = 124


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One tool's run; a name for people, a command, and what a person does about a failure."""

    name: str
    command: tuple[str, ...]
    remedy: str
    deadline: int = LINT_DEADLINE
    quiet: bool = True


LINT: Final = (
    Check(name="ruff check", command=("ruff", "check", "--quiet", "."), remedy="make format, then mend the rest"),
    Check(name="ruff format", command=("ruff", "format", "--check", "--quiet", "."), remedy="make format"),
    Check(name="mypy", command=("mypy",), remedy="the lines above name file and type"),
    Check(name="import layers", command=("lint-imports",), remedy="docs/explanation/architecture.md has the layers"),
)


def tests(arguments: Sequence[str]) -> Check:
    """The harness's own tests, over both cores."""
    options = ("-n", "2", "--dist", "worksteal", f"--junitxml={REPORT}", "-q")
    command = ("python", "-m", "pytest", *(arguments or ("tests",)), *options)
    return Check(name="tests", command=command, remedy="the summary above", deadline=TEST_DEADLINE, quiet=False)


def perform(check: Check) -> int:
    """Run one check; its exit code. What a quiet one printed is shown only where it failed."""
    began = time.monotonic()
    command = [str(BIN / check.command[0]), *check.command[1:]]
    pipe = subprocess.PIPE if check.quiet else None
    try:
        done = subprocess.run(
            command,
            cwd=CHECKOUT,
            stdout=pipe,
            stderr=subprocess.STDOUT if pipe else None,
            timeout=check.deadline,
            check=False,
        )
        code, output = done.returncode, done.stdout or b""
    except subprocess.TimeoutExpired as error:
        code, output = TIMED_OUT, (error.stdout or b"") + f"no end within {check.deadline} s\n".encode()
    if code:
        sys.stdout.write(output.decode(errors="replace"))
    sys.stdout.write(f"{'ok    ' if code == 0 else 'FAILED'}  {check.name} ({time.monotonic() - began:.1f} s)\n")
    sys.stdout.flush()
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks; 0 when all hold and no skip is unexplained, else the first failure's exit code."""
    parser = argparse.ArgumentParser(prog="make test", description="Proves that the harness itself works.")
    parser.add_argument("--lint", action="store_true", help="leave out the tests")
    options, rest = parser.parse_known_args(arguments)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.unlink(missing_ok=True)
    checks = LINT if options.lint else (*LINT, tests(rest))
    failed = [(check, code) for check in checks if (code := perform(check))]
    lines = [f"{check.name}: exit code {code}; {check.remedy}" for check, code in failed]
    count = tally.read(REPORT) if REPORT.exists() else tally.Tally()
    lines += tally.unexplained(count.skips)
    for line in lines:
        sys.stdout.write(f"FAILED  {line}\n")
    if not options.lint:
        sys.stdout.write(f"tests: {count}\n")
    if failed:
        return failed[0][1]
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
