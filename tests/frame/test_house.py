"""The house rules that no linter knows: sizes, folders, forbidden words, and who may import whom."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.frame import tracked

LONGEST = {"flows/agent.py": 1300}
"""One file that must be one file, because it is what arrives in a pod."""
IN_ITS_OWN_MACHINE = {Path("tools/fresh-machine")}
"""Its paths are those of the Debian that it makes."""
REGISTRIES = ("pypi" + r"\.org", "pythonhosted" + r"\.org", "npm" + r"js\.", "crates" + r"\.io", "golang" + r"\.org")
MIRRORS = ("deb" + r"\.debian", "archive" + r"\.ubuntu", "ports" + r"\.ubuntu", "pkg" + r"\.dev", "maven" + r"\.org")
PLACES = (r"(?<![\w}:])/ro" + r"ot/", r"(?<![\w}:])/ho" + r"me/", "/wo" + r"rk/", "/tmp" + r"/ew\b", "/opt/" + "wheels")
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


def test_a_file_can_be_read_in_one_sitting() -> None:
    long = []
    for path in tracked.files(".py", "/bootstrap", "/lock", "/fresh-machine", ".ci/run"):
        lines = len(tracked.text(path).splitlines())
        if lines > (60 if path.name == "conftest.py" else LONGEST.get(str(path), 400)):
            long.append(f"{path}: {lines} lines")
    assert long == []


def lines_with(pattern: re.Pattern[str], paths: Iterable[Path]) -> list[str]:
    """Where a pattern stands, as `file:line: text`."""
    return [
        f"{path}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(tracked.text(path).splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_registry_or_a_place_on_a_machine() -> None:
    """A package registry's host, or a path that only one machine has, is nobody else's."""
    assert lines_with(FORBIDDEN, set(tracked.files()) - IN_ITS_OWN_MACHINE) == []


def test_no_check_is_waved_through() -> None:
    """Mend what the checker found, or change its settings in pyproject.toml with a reason."""
    assert lines_with(WAVED_THROUGH, tracked.files(".py")) == []


def folders() -> list[Path]:
    """Every folder with tracked files, the root left out."""
    parents = {parent for path in tracked.files() for parent in path.parents}
    return sorted(parents - {Path()})


def introduction(folder: Path) -> str:
    """What a newcomer reads first in a folder: its README, or the docstring of its package."""
    readme = tracked.text(folder / "README.md")
    source = tracked.text(folder / "__init__.py")
    return readme or (ast.get_docstring(ast.parse(source)) or "")


def explained(folder: Path) -> bool:
    """Whether the folder has an introduction, or the one above it names it (`folder/`)."""
    above = introduction(folder.parent) if folder.parent != Path() else tracked.text(Path("README.md"))
    return bool(introduction(folder) or re.search(rf"(?<![\w/]){re.escape(folder.name)}/", above))


def test_a_newcomer_finds_a_beginning_in_every_folder() -> None:
    """A README, a package's docstring, or a line about it in the introduction of the folder above."""
    assert [str(folder) for folder in folders() if not explained(folder)] == []


def test_a_module_says_what_it_holds() -> None:
    modules = [path for path in tracked.files(".py") if path.name != "__init__.py" and path.parts[0] != "tests"]
    assert [str(path) for path in modules if not ast.get_docstring(ast.parse(tracked.text(path)))] == []


def test_the_agent_needs_nothing_but_python() -> None:
    """It runs in any image that has python3, so it may import the standard library only."""
    found = set().union(*(imports(Path("flows", f"{name}.py")) for name in ("agent", "early", "relay")))
    assert found <= {*sys.stdlib_module_names, "__future__"}


def test_what_the_bootstrap_reads_needs_nothing_but_python() -> None:
    files = ("tools/bootstrap.py", "clusters/lab/requirements.py", "clusters/lab/trial.py", "clusters/lab/system.py")
    ours = {"clusters"}
    for name in files:
        assert imports(Path(name)) <= {*sys.stdlib_module_names, "__future__", *ours}


def test_a_suite_uses_only_what_a_user_has() -> None:
    """What a suite can say, a user's own test can say: fixtures, flows, eastwest and pytest."""
    allowed = {"suites", "fixtures", "flows", "eastwest", "pytest", *sys.stdlib_module_names}
    suites = [path for path in tracked.files(".py") if path.parts[0] == "suites"]
    assert suites
    assert {str(path): imports(path) - allowed for path in suites if imports(path) - allowed} == {}
