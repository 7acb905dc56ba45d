"""Every check is held by a test or says why not; every mark names a check that there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from suites.checks import CHECKS
from tools.checks_page import held, page, unmarked
from tools.reference import CHECKOUT

SUITE = '''"""Ports."""

import pytest

pytestmark = [pytest.mark.checks("tcp-udp")]

@pytest.mark.checks("port-number", "stack")
@pytest.mark.parametrize("n", [1, 2])
def test_one(n):
    """One."""

def test_two():
    """Two."""
'''
PLAIN = '''"""Plain."""

def test_three():
    """Three."""
'''


def test_marks_are_read_from_functions_and_modules(tmp_path: Path) -> None:
    area = tmp_path / "suites" / "network"
    area.mkdir(parents=True)
    (area / "test_ports.py").write_text(SUITE, encoding="utf-8")
    (area / "test_plain.py").write_text(PLAIN, encoding="utf-8")
    one, two = "network/test_ports.py::test_one", "network/test_ports.py::test_two"
    assert held(tmp_path) == {"tcp-udp": [one, two], "port-number": [one], "stack": [one]}
    assert unmarked(tmp_path, "network") == ["network/test_plain.py::test_three"]
    rows = page(tmp_path).splitlines()
    assert f"| `port-number` | numbered port | `{one}` |" in rows
    assert any(row.startswith("| `outside` |") and "not here: east-west only" in row for row in rows)


def test_every_check_has_a_test_or_a_reason() -> None:
    tests = held(CHECKOUT)
    known = {check.id for check in CHECKS}
    assert len(known) == len(CHECKS)
    assert not set(tests) - known, "marks that name no check"
    neither = [check.id for check in CHECKS if not check.not_here and check.id not in tests]
    both = [check.id for check in CHECKS if check.not_here and check.id in tests]
    assert not neither, "checks that no test holds and that give no reason"
    assert not both, "checks that give a reason and have a test as well"


def test_every_network_test_names_its_check() -> None:
    assert unmarked(CHECKOUT, "network") == []


def test_every_behaviour_that_suites_report_is_explained() -> None:
    named = {
        node.args[0].value
        for path in (CHECKOUT / "suites").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "behaviour"
        if isinstance(node.args[0], ast.Constant)
    }
    page = (CHECKOUT / "docs/explanation/implementation-defined.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([a-z-]+)`", page.partition("## Behaviours")[2]))
    assert named
    assert not named - told
