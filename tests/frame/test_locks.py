"""The locks hold what pyproject.toml asks for, with hashes, and agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.frame import tracked
from tools import bootstrap

LOCKS = ("requirements.lock", "requirements-kind.lock", "requirements-dev.lock")
_PINNED = re.compile(r"^(?P<name>[\w.\-]+)==(?P<version>[^ \\]+)")


def pinned(lock: str) -> dict[str, str]:
    """Package → version."""
    lines = (tracked.CHECKOUT / lock).read_text(encoding="utf-8").splitlines()
    found = (_PINNED.match(line) for line in lines)
    return {canonicalize_name(match["name"]): match["version"] for match in found if match}


def project() -> dict[str, Any]:
    """The content of pyproject.toml."""
    return tomllib.loads((tracked.CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


def group(name: str) -> list[str]:
    """A dependency group with the groups it includes."""
    found: list[str] = []
    for each in project()["dependency-groups"][name]:
        found += group(each["include-group"]) if isinstance(each, dict) else [each]
    return found


def wanted(lock: str) -> list[str]:
    """What must be in a lock, as pyproject.toml writes it."""
    data = project()["project"]
    more = {"requirements.lock": [], "requirements-kind.lock": data["optional-dependencies"]["kind"]}
    dev = [*group("dev"), *data["optional-dependencies"]["kind"]]
    return [*data["dependencies"], *group("build"), *more.get(lock, dev)]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_fulfils_the_project(lock: str) -> None:
    versions = pinned(lock)
    for text in wanted(lock):
        requirement = Requirement(text)
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in {lock}; run `make lock`"
        assert Version(version) in requirement.specifier, (
            f"{requirement} is not fulfilled by {version}; run `make lock`"
        )


@pytest.mark.parametrize("lock", LOCKS[1:])
def test_the_larger_locks_hold_the_running_one_unchanged(lock: str) -> None:
    assert pinned("requirements.lock").items() <= pinned(lock).items()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_has_hashes_and_no_address(lock: str) -> None:
    text = (tracked.CHECKOUT / lock).read_text(encoding="utf-8")
    for name, version in pinned(lock).items():
        lines = bootstrap.block(text, name)
        assert f"{name}=={version}" in lines
        assert "--hash=sha256:" in lines
    assert "://" not in text


def test_the_optional_licence_stays_optional() -> None:
    """pytest-kind is GPL-3: who does not ask for kind does not get it."""
    assert "pytest-kind" not in pinned("requirements.lock")
    assert "pytest-kind" in pinned("requirements-kind.lock")


def test_no_tool_has_settings_elsewhere() -> None:
    """pyproject.toml is the only place of tool settings."""
    others = {"setup.cfg", "tox.ini", "pytest.ini", "mypy.ini", ".mypy.ini", "ruff.toml", ".ruff.toml", ".importlinter"}
    assert others.isdisjoint(path.name for path in tracked.files())
    assert Path("pyproject.toml") in tracked.files()
