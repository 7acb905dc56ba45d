"""The page that says, check by check, which tests hold it: read from the tests' own marks.

What belongs here: finding `pytest.mark.checks(...)` in the suites' sources, and the page. What does not: the list of
checks (`suites.checks`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from suites.checks import CHECKS
from tools.markdown import cell

MARKER: Final = "checks"
_HEAD: Final = """# Check by check

Made from the tests' own marks by `make docs`: what tools of this field check, and the tests of the suites that hold
it. Where no test does, the reason stands instead.

| check | is about | held by |
|---|---|---|"""


def _ids(decorators: list[ast.expr]) -> Iterator[str]:
    for each in decorators:
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr == MARKER:
            yield from (arg.value for arg in each.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def _module_marks(tree: ast.Module) -> list[ast.expr]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [getattr(each, "id", "") for each in node.targets] == ["pytestmark"]:
            return list(node.value.elts) if isinstance(node.value, ast.List) else [node.value]
    return []


def held(checkout: Path) -> dict[str, list[str]]:
    """The ids of checks that tests name, each with those tests: `area/test_file.py::test_name`."""
    found: dict[str, list[str]] = {}
    for path in sorted((checkout / "suites").glob("*/test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        shared = list(_ids(_module_marks(tree)))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for check in dict.fromkeys([*shared, *_ids(node.decorator_list)]):
                    name = f"{path.relative_to(checkout / 'suites')}::{node.name}"
                    found.setdefault(check, []).append(name)
    return found


def unmarked(checkout: Path, area: str) -> list[str]:
    """Tests of an area that name no check."""
    named = {test for tests in held(checkout).values() for test in tests}
    return [
        name
        for path in sorted((checkout / "suites" / area).glob("test_*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and (name := f"{path.relative_to(checkout / 'suites')}::{node.name}") not in named
    ]


def page(checkout: Path) -> str:
    """The page: one row a check."""
    tests = held(checkout)
    lines = [_HEAD]
    for check in CHECKS:
        by = "<br>".join(f"`{each}`" for each in tests.get(check.id, [])) or cell(f"not here: {check.not_here}")
        lines.append(f"| `{check.id}` | {cell(check.says)} | {by} |")
    return "\n".join(lines) + "\n"
