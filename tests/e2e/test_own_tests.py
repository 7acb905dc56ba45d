"""A user's tests in a user's repository: their own `tests` and `fixtures` folders do not clash with ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TEST = '''
"""What must hold for the shop."""

from fixtures_of_mine import DENY


def test_shop_is_closed(policy, matrix):
    """Nobody of another namespace reaches the server."""
    policy(DENY)
    matrix.becomes("""
                server:8080  server:8080/udp
        caller      .            .
        intruder    X            X
    """)


def test_a_wrong_expectation_is_found(policy, matrix):
    """The policy closes the caller too (it does not)."""
    policy(DENY)
    matrix.becomes("""
                server:8080  server:8080/udp
        caller      X            .
        intruder    X            X
    """)


def test_a_call_before_the_policy_is_in_force_is_refused(policy, caller):
    """A call that would prove nothing is an error."""
    policy(DENY)
    caller.call("server:8080")
'''
CONFTEST = """
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "fixtures"))


import pytest


@pytest.fixture
def shop():
    return "an own fixture beside eastwest's"
"""
MANIFEST = """
DENY = '''
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shop}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress: [{from: [{podSelector: {}}]}]
'''
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], str]:
    """Exit code, results and output of `eastwest verify tests` in a user's repository."""
    repository = tmp_path_factory.mktemp("shop")
    (repository / "tests").mkdir()
    (repository / "fixtures").mkdir()
    (repository / "tests" / "test_shop.py").write_text(TEST, encoding="utf-8")
    (repository / "tests" / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (repository / "fixtures" / "fixtures_of_mine.py").write_text(MANIFEST, encoding="utf-8")
    command = [str(Path(sys.executable).with_name("eastwest")), "verify", "tests", "--workers", "0"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=180, check=False)
    written = repository / "reports" / "out" / "results.json"
    data: dict[str, Any] = json.loads(written.read_text(encoding="utf-8")) if written.is_file() else {}
    return done.returncode, data, done.stdout + done.stderr


def outcome(data: dict[str, Any], name: str) -> tuple[str, str]:
    """Outcome and first line of one test."""
    return next((each["outcome"], each["first_line"]) for each in data["tests"] if each["name"] == name)


def test_own_policy_is_proved(ended: tuple[int, dict[str, Any], str]) -> None:
    _, data, output = ended
    assert outcome(data, "test_shop_is_closed") == ("passed", ""), output


def test_wrong_expectation_fails_with_the_flow_in_the_first_line(ended: tuple[int, dict[str, Any], str]) -> None:
    code, data, output = ended
    assert code == 1, output
    assert outcome(data, "test_a_wrong_expectation_is_found") == (
        "failed",
        "caller → server:8080/tcp: expected dropped, got answered (admitted by shop)",
    )
    assert "expected │ observed │ difference" in output


def test_call_too_early_is_an_error(ended: tuple[int, dict[str, Any], str]) -> None:
    _, data, _ = ended
    kind, line = outcome(data, "test_a_call_before_the_policy_is_in_force_is_refused")
    assert kind == "broken"
    assert "is not in force yet" in line


def test_reports_are_written(ended: tuple[int, dict[str, Any], str]) -> None:
    _, data, output = ended
    assert data["schema"] == "eastwest.dev/results/v1"
    assert data["cluster"]["provider"] == "lab"
    assert "report.html" in output
