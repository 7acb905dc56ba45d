"""Counts what pytest ran, from its JUnit files, and knows which skips a machine may have.

What belongs here: reading JUnit and judging skips, for `make test` and the last line of CI. What does not: running.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusters.lab import requirements


def _no_namespaces() -> bool:
    return bool(requirements.missing() or requirements.restrictions(privileged=os.geteuid() == 0))


def _lacks(*commands: str) -> Callable[[], bool]:
    return lambda: all(shutil.which(each, path=requirements.search_path()) is None for each in commands)


ABSENT: Final[dict[str, Callable[[], bool]]] = {
    "docker": lambda: not Path("/var/run/docker.sock").exists(),
    "kind": _lacks("kind"),
    "kubectl": _lacks("kubectl"),
    "chromium": _lacks("chromium", "chromium-browser", "google-chrome"),
    "root": lambda: os.geteuid() != 0,
    "an ordinary user": lambda: os.geteuid() == 0,
    "user namespaces": _no_namespaces,
    "a cluster": lambda: not os.environ.get("EASTWEST_TEST_KUBECONFIG"),
    "a mesh to break": lambda: not os.environ.get("EASTWEST_TEST_ISTIO"),
}
"""What a test may need (`pytest.skip("needs kubectl: …")`) and how to see that this machine does not have it."""

_NEEDS: Final = re.compile(r"^needs (?P<what>[^:]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many tests ended how; `skips` are (test, reason)."""

    passed: int = 0
    failed: int = 0
    skips: tuple[tuple[str, str], ...] = ()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            passed=self.passed + other.passed, failed=self.failed + other.failed, skips=self.skips + other.skips
        )

    def __str__(self) -> str:
        text = f"{self.passed} passed, {self.failed} failed"
        return f"{text}, {len(self.skips)} skipped" if self.skips else text


def read(junit: Path) -> Tally:
    """What a JUnit file that pytest wrote says."""
    passed, failed, skips = 0, 0, []
    for case in ET.fromstring(junit.read_text(encoding="utf-8")).iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif skipped is not None:
            skips.append((f"{case.get('classname')}.{case.get('name')}", skipped.get("message", "")))
        else:
            passed += 1
    return Tally(passed=passed, failed=failed, skips=tuple(skips))


def unexplained(skips: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each skip that this machine does not explain: it has what the test says it needs, or nobody knows."""
    lines: list[str] = []
    for test, reason in skips:
        match = _NEEDS.match(reason)
        absent = ABSENT.get(match["what"].strip()) if match else None
        if absent is None:
            known = ", ".join(ABSENT)
            lines.append(f"{test}: skipped ({reason}); a reason must begin with `needs …`, one of: {known}")
        elif not absent():
            lines.append(f"{test}: skipped ({reason}), but this machine has it")
    return lines


def main(files: list[str]) -> int:
    """Print the closing line over several JUnit files; 1 where one is not there, something failed or nothing ran."""
    total = Tally()
    for name in files:
        try:
            total += read(Path(name))
        except (OSError, ET.ParseError) as error:
            sys.stderr.write(f"tally: {name}: {error}; the run that writes it did not end\n")
            return 1
    sys.stdout.write(f"eastwest: {total}\n")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
