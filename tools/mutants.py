"""Every broken data plane against its suite: each must be caught by the tests that its entry names.

`python -m tools.mutants [--named] [NAME…]` runs, for each mutant of the lab, first the tests named for it, then, if
none of them caught it and --named is not given, all of their suite. The names `network`, `calico` and `mesh` stand for
all mutants of that. Tests mostly wait, so there is one more lab at a time than there are processors.

A mutant is caught when a test fails with a verdict that differs, not when something could not be told. The exit code is
1 when one survives, or is caught only by tests that its entry does not name.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from clusters.lab.mutant import Mutant
from clusters.lab.mutants import MUTANTS
from clusters.lab.mutants import get as known
from clusters.lab.policy.calico_mutants import CALICO_MUTANTS
from flows.errors import UsageError
from reports import results

KINDS, NAMED = ("network", "calico", "mesh"), "--named"
DEADLINE = 420.0
"""Seconds for one run of the suite against a mutant; the slowest mutants let every convergence run into its timeout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """How a mutant fared.

    Attributes:
        by: The tests that failed with a differing verdict.
        named: Whether one of the tests named for it was among them.
        told: Whether it surely got away, where nothing caught it: every test came to an end that says something.
        why: Where nothing caught it: what the run said instead.
    """

    by: tuple[str, ...]
    named: bool
    seconds: float
    told: bool = True
    why: str = ""


def run(mutant: Mutant, keywords: Sequence[str]) -> tuple[tuple[str, ...], bool, str]:
    """The tests that caught the mutant, whether every test told something, and the closing words of the run."""
    with tempfile.TemporaryDirectory(prefix="eastwest-mutant-") as folder:
        command = [sys.executable, "-m", "eastwest", "verify", mutant.suite, "--mutant", mutant.name, "--no-canary"]
        command += ["--out", folder, "--workers", "0" if keywords else "2"]
        command += ["-k", " or ".join(f"({each})" for each in keywords)] if keywords else []
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
        except subprocess.TimeoutExpired:
            return (), False, f"no end within {DEADLINE:.0f} s"
        written = Path(folder, results.RESULTS)
        if not written.is_file():
            return (), False, (done.stderr or done.stdout).strip()[-400:]
        record = results.read(written)
    caught = tuple(test.name for test in record.outcomes("failed") if _differs(test.matrices))
    return caught, bool(record.tests) and not record.outcomes("broken", "skipped"), record.summary.headline


def _differs(matrices: list[dict[str, object]]) -> bool:
    """Whether the last matrix differs in one cell, and it or one before it holds in another; or the assertion differs.

    Where every cell of the last matrix holds it was the test's own assertion that did not. A test without any matrix
    asserts its controls itself.
    """
    found = [_findings(each) for each in matrices]
    last = found[-1] if found else set()
    return ("differs" in last and any("holds" in each for each in found)) or last <= {"holds", "unasked"}


def _findings(matrix: dict[str, object]) -> set[str]:
    cells = matrix["cells"]
    return {str(cell["finding"]) for cell in cells} if isinstance(cells, list) else set()


def hunt(mutant: Mutant, *, everywhere: bool = False) -> Catch:
    """Run the tests named for the mutant, or all of its suite."""
    started = time.monotonic()
    if everywhere or mutant.tests:
        by, told, why = run(mutant, () if everywhere else mutant.tests)
    else:
        by, told, why = (), True, "no test is named for it"
    return Catch(by=by, named=bool(by) and not everywhere, seconds=time.monotonic() - started, told=told, why=why)


def catches(wanted: Sequence[Mutant], *, everywhere: bool) -> Iterator[tuple[Mutant, Catch]]:
    """Each mutant with how it fared, as soon as that is known; those that get away are hunted everywhere last."""
    away: list[Mutant] = []
    with ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 1) as pool:
        hunts = {pool.submit(hunt, each): each for each in wanted}
        try:
            for done in as_completed(hunts):
                if done.result().by or not everywhere:
                    yield hunts[done], done.result()
                else:
                    away.append(hunts[done])
        finally:
            pool.shutdown(cancel_futures=True)
    for mutant in away:  # its workers are as many as a machine takes
        yield mutant, hunt(mutant, everywhere=True)


def _kind(mutant: Mutant) -> str:
    return "mesh" if mutant.mesh else "calico" if mutant in CALICO_MUTANTS else "network"


def _meant(name: str) -> list[Mutant]:
    if name in KINDS:
        return [each for each in MUTANTS.values() if _kind(each) == name]
    return [known(name)]


def _tell(label: str, catch: Catch) -> None:
    word = "caught" if catch.by else "SURVIVED" if catch.told else "UNTOLD"
    more = f" and {len(catch.by) - 1} more" if len(catch.by) > 1 else ""
    by = f"by {catch.by[0]}{more}" if catch.by else catch.why.strip().rpartition("\n")[2]
    sys.stdout.write(f"{label} {word:8} {catch.seconds:5.1f} s  {by}\n")
    sys.stdout.flush()


def main(names: Sequence[str]) -> int:
    """Hunt the named mutants, or all; print a line for each, and what must be mended."""
    try:
        wanted = [each for name in [name for name in names if name != NAMED] or KINDS for each in _meant(name)]
    except UsageError as error:
        sys.stderr.write(f"mutants: {error.message}\n")
        return 4
    survived: list[str] = []
    untold: list[str] = []
    misnamed: list[str] = []
    for number, (mutant, catch) in enumerate(catches(wanted, everywhere=NAMED not in names), 1):
        _tell(f"{number:>2}/{len(wanted)} {mutant.name:32}", catch)
        if not catch.by:
            (survived if catch.told else untold).append(mutant.name)
        elif not catch.named:
            misnamed.append(mutant.name)
    if survived:
        sys.stdout.write(f"survived, a hole in the suite: {', '.join(survived)}\n")
    if untold:
        sys.stdout.write(f"could not be told, run them again: {', '.join(untold)}\n")
    if misnamed:
        sys.stdout.write(f"caught, but not by the tests that its entry names: {', '.join(misnamed)}\n")
    sys.stdout.write(f"mutants: {len(wanted) - len(survived) - len(untold)} of {len(wanted)} caught\n")
    return 1 if survived or untold or misnamed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
