"""The network's suite where pods have IPv6: with IPv4 beside it, every cell in both; and alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DEADLINE = 240


def verified(profile: str, out: Path, *files: str) -> dict[str, Any]:
    """What a run of these files of the suite has found."""
    paths = [f"suites/network/{name}" for name in files]
    command = [sys.executable, "-m", "eastwest", "verify", *paths, "--profile", profile, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return found


def cells(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Every cell of the run's matrices that goes to a workload of ours."""
    found = [cell for test in run["tests"] for matrix in test["matrices"] for cell in matrix["cells"]]
    return [cell for cell in found if cell["flow"]["destination"] != "kubernetes"]


@pytest.mark.parametrize(
    ("profile", "skipped", "shares"),
    [pytest.param("lab-dual", 0, {4, 6}, id="dual"), pytest.param("lab-ipv6", 5, {6}, id="ipv6")],
)
def test_suite_over_ipv6(profile: str, skipped: int, shares: set[int], tmp_path: Path) -> None:
    """Each family is asked as often as the other, every mark holds for each, and what was dialled is of that family."""
    run = verified(profile, tmp_path, "test_families.py", "test_blocks.py", "test_paths.py")
    outcomes = [test["outcome"] for test in run["tests"]]
    assert (outcomes.count("skipped"), outcomes.count("passed")) == (skipped, len(outcomes) - skipped)
    dialled = [6 if cell["evidence"]["resolved"].startswith("[") else 4 for cell in cells(run)]
    assert set(dialled) == shares
    both = [test for test in run["tests"] if "test_families" not in test["id"] and shares == {4, 6}]
    asked = [6 if "IPv6" in cell["column"] else 4 for cell in cells({"tests": both})]
    assert asked.count(4) == asked.count(6)
