"""A user's manifests with their expectations: one test a pair of workloads, over one matrix of real traffic."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parent / "examples" / "shop"
PAIRS = [
    "shop/frontend → shop/backend:8080/tcp allowed",
    "monitoring/prometheus → shop/backend:9090/tcp allowed",
    "shop/frontend → shop/backend:53/udp allowed",
    "shop/frontend → shop/backend:9090/tcp denied",
    "monitoring/prometheus → shop/backend:8080/tcp denied",
    "monitoring/prometheus → shop/backend:53/udp denied",
    "other/intruder → shop/backend:8080/tcp denied",
    "other/intruder → shop/backend:9090/tcp denied",
    "other/intruder → shop/backend:53/udp denied",
    "shop/backend → shop/frontend:8080/tcp denied",
    "monitoring/prometheus → shop/frontend:8080/tcp denied",
    "other/intruder → shop/frontend:8080/tcp denied",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How `eastwest verify` ended."""

    code: int
    data: dict[str, Any]
    output: str

    def tests(self, outcome: str) -> list[str]:
        """The names of the tests that ended so."""
        return [each["name"] for each in self.data["tests"] if each["outcome"] == outcome]

    def test(self, name: str) -> dict[str, Any]:
        """One test's record."""
        return next(each for each in self.data["tests"] if each["name"] == name)


def verify(folder: Path, *words: str) -> Ended:
    """Run `eastwest verify` on a copy of the example, in a folder of a user."""
    command = [str(Path(sys.executable).with_name("eastwest")), "verify", "shop", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    written = folder / "reports" / "out" / "results.json"
    data: dict[str, Any] = json.loads(written.read_text(encoding="utf-8")) if written.is_file() else {"tests": []}
    return Ended(code=done.returncode, data=data, output=done.stdout + done.stderr)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The example as it is, over two workers."""
    folder = tmp_path_factory.mktemp("right")
    shutil.copytree(EXAMPLE, folder / "shop")
    return verify(folder, "--workers", "2")


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The example with a mistyped label and a port for the wrong pod."""
    folder = tmp_path_factory.mktemp("wrong")
    shutil.copytree(EXAMPLE, folder / "shop")
    policy = folder / "shop" / "policies" / "backend.yaml"
    text = policy.read_text(encoding="utf-8")
    text = text.replace("app: prometheus", "app: promtheus").replace("{port: dns, protocol: UDP}", "{port: metrics}")
    policy.write_text(text, encoding="utf-8")
    return verify(folder, "--workers", "0")


def test_every_pair_is_a_test_with_a_readable_id(right: Ended) -> None:
    assert right.code == 0, right.output
    assert right.tests("passed") == PAIRS
    assert right.test(PAIRS[0])["id"].endswith("shop/eastwest.yaml::shop/frontend → shop/backend:8080/tcp allowed")


def test_what_is_left_aside_is_a_skip_that_says_what(right: Ended) -> None:
    assert right.tests("skipped") == ["left aside"]
    assert "1 manifest is not used, listed in the report: " in right.test("left aside")["reason"]
    [listed] = right.test("left aside")["attachments"]
    assert "policies/backend.yaml:14: Deployment backend: ignored: no policy" in listed["text"]


def test_a_denial_has_its_positive_control_and_the_policies_are_in_the_report(right: Ended) -> None:
    [matrix] = right.test(PAIRS[6])["matrices"]
    assert "answered by backend" in matrix["cells"][0]["control"]
    first = right.test(PAIRS[0])
    assert [each["name"] for each in first["policies"]] == ["NetworkPolicy/backend", "NetworkPolicy/default-deny"]
    assert {each["namespace"] for each in first["policies"]} == {"shop"}, "a cluster of ours has the file's own names"


def test_each_pair_that_differs_is_its_own_failure(wrong: Ended) -> None:
    assert wrong.code == 1, wrong.output
    assert wrong.tests("failed") == [PAIRS[1], PAIRS[2], PAIRS[3]]
    assert wrong.tests("passed") == [PAIRS[0], *PAIRS[4:]]


def test_a_failure_says_who_whom_why_and_what_the_oracle_says(wrong: Ended) -> None:
    record = wrong.test(PAIRS[3])
    assert (
        record["first_line"]
        == "shop/frontend → shop/backend:9090/tcp: expected dropped, got answered (admitted by backend)"
    )
    assert all(len(each["first_line"]) <= 100 for each in wrong.data["tests"])
    assert (
        "ingress of shop/backend: admitted by shop/backend rule 1 (shop/backend is shop/policies/backend.yaml:1"
        in (record["message"])
    )
    assert "expected by shop/eastwest.yaml:17" in record["message"]
    assert "eastwest.yaml::shop/frontend → shop/backend:9090/tcp denied'" in record["message"]


def test_a_broken_data_plane_is_found(tmp_path: Path) -> None:
    """The oracle says what the manifests mean, so the blame is the engine's."""
    shutil.copytree(EXAMPLE, tmp_path / "shop")
    ended = verify(tmp_path, "--workers", "0", "--mutant", "udp-unfiltered")
    assert ended.code == 1, ended.output
    assert ended.tests("failed") == [PAIRS[5], PAIRS[8]]
    assert "the manifests deny it: " in ended.test(PAIRS[8])["message"]
    assert "the oracle disagrees with what was seen: " in ended.test(PAIRS[8])["message"]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_mistake_ends_the_run_with_one_line(tmp_path: Path, workers: str) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "shop")
    file = tmp_path / "shop" / "eastwest.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("shop/backend:http", "shop/backnd:http"), encoding="utf-8")
    ended = verify(tmp_path, "--workers", workers)
    assert ended.code == 4
    line = "shop/eastwest.yaml:14: field 'expect[0].to' is 'shop/backnd:http': no such workload; did you mean "
    assert [each for each in ended.output.splitlines() if each.strip()] == [f"ERROR: {line}'shop/backend'?"]
