"""The house rules that no linter knows: sizes, folders, forbidden words, and who may import whom."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.frame import tracked

LONGEST = {"flows/agent.py": 500}
"""One file that must be one file, because it is what arrives in a pod."""
LOCKS = tuple(path for path in tracked.files(".lock"))
IN_ITS_OWN_MACHINE = {Path("tools/fresh-machine")}
"""Its paths are those of the Debian that it makes."""
REGISTRIES = ("pypi" + r"\.org", "pythonhosted" + r"\.org", "npm" + r"js\.", "crates" + r"\.io", "golang" + r"\.org")
MIRRORS = ("deb" + r"\.debian", "archive" + r"\.ubuntu", "ports" + r"\.ubuntu", "pkg" + r"\.dev", "maven" + r"\.org")
PLACES = (r"(?<![\w}])/ro" + r"ot/", r"(?<![\w}])/ho" + r"me/", "/wo" + r"rk/", "/tmp" + r"/ew\b", "/opt/" + "wheels")
FORBIDDEN = re.compile("|".join((*REGISTRIES, *MIRRORS, *PLACES)))
WAVED_THROUGH = re.compile("# " + "noqa|# type: " + r"ignore|# pragma: " + "no cover|sleep\\(\\d+\\)  # wait")


def imports(path: Path) -> set[str]:
    """Top-level names of all modules that a file imports, at any depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(tracked.text(path))):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module or "")
    return {name.partition(".")[0] for name in found}


@pytest.mark.parametrize("path", tracked.files(".py", "/bootstrap", "/lock", "/fresh-machine", ".ci/run"), ids=str)
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    limit = 60 if path.name == "conftest.py" else LONGEST.get(str(path), 400)
    assert len(tracked.text(path).splitlines()) <= limit


@pytest.mark.parametrize("path", tracked.files(), ids=str)
def test_no_file_names_a_registry_or_a_place_on_a_machine(path: Path) -> None:
    if path in IN_ITS_OWN_MACHINE:
        return
    found = [line.strip() for line in tracked.text(path).splitlines() if FORBIDDEN.search(line)]
    assert found == [], f"{path}: names a package registry's host or a machine's own path"


@pytest.mark.parametrize("path", tracked.files(".py"), ids=str)
def test_no_check_is_waved_through(path: Path) -> None:
    found = [line.strip() for line in tracked.text(path).splitlines() if WAVED_THROUGH.search(line)]
    assert found == [], f"{path}: mend what the checker found, or change its settings in pyproject.toml with a reason"


def folders() -> list[Path]:
    """Every folder with tracked files, the root left out."""
    parents = {parent for path in tracked.files() for parent in path.parents}
    return sorted(parents - {Path()})


def introduction(folder: Path) -> str:
    """What a newcomer reads first in a folder: its README, or the docstring of its package."""
    readme = tracked.text(folder / "README.md")
    source = tracked.text(folder / "__init__.py")
    return readme or (ast.get_docstring(ast.parse(source)) or "")


@pytest.mark.parametrize("folder", folders(), ids=str)
def test_a_newcomer_finds_a_beginning_in_every_folder(folder: Path) -> None:
    """A README, a docstring, or a line about it in the introduction of the folder above."""
    above = introduction(folder.parent) if folder.parent != Path() else tracked.text(Path("README.md"))
    named = re.search(rf"(?<![\w/]){re.escape(folder.name)}/", above)
    assert introduction(folder) or named, f"{folder}: needs a README.md, or `{folder.name}/` in the one above"


@pytest.mark.parametrize("path", [each for each in tracked.files(".py") if each.name != "__init__.py"], ids=str)
def test_a_module_says_what_it_holds(path: Path) -> None:
    assert ast.get_docstring(ast.parse(tracked.text(path))), f"{path}: no docstring"


def test_the_agent_needs_nothing_but_python() -> None:
    """It runs in any image that has python3, so it may import the standard library only."""
    assert imports(Path("flows/agent.py")) <= {*sys.stdlib_module_names, "__future__"}


def test_what_the_bootstrap_reads_needs_nothing_but_python() -> None:
    files = ("tools/bootstrap.py", "clusters/lab/requirements.py", "clusters/lab/trial.py", "clusters/lab/system.py")
    ours = {"clusters"}
    for name in files:
        assert imports(Path(name)) <= {*sys.stdlib_module_names, "__future__", *ours}


@pytest.mark.parametrize("path", [each for each in tracked.files(".py") if each.parts[0] == "suites"], ids=str)
def test_a_suite_uses_only_what_a_user_has(path: Path) -> None:
    """What a suite can say, a user's own test can say: fixtures, flows, eastwest and pytest."""
    allowed = {"suites", "fixtures", "flows", "eastwest", "pytest", *sys.stdlib_module_names}
    assert imports(path) <= allowed
