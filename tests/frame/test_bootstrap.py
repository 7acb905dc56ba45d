"""The bootstrap makes `.venv` as the lock says, once, and says in one line what it cannot do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from clusters.lab import requirements
from tools import bootstrap

RUN, TEST = ["run"], ["run", "test"]


class Commands:
    """Stands for pip, uv and venv: remembers what was run, and makes the files they would make."""

    def __init__(self, checkout: Path) -> None:
        self.lines: list[str] = []
        self.broken = ""
        self._folder = checkout / ".venv"

    def run(self, command: Sequence[str | Path], **_: object) -> None:
        line = " ".join(str(each) for each in command)
        self.lines.append(line)
        if self.broken and self.broken in line:
            raise bootstrap.NotReadyError("broken on purpose")
        if " -m venv " in line:
            version = ".".join(str(each) for each in sys.version_info[:2])
            (self._folder / "lib" / f"python{version}").mkdir(parents=True)
            (self._folder / "bin").mkdir()
            for name in ("python", "pip"):
                (self._folder / "bin" / name).touch()

    def installed(self) -> list[str]:
        """The locks that were installed, in order, by whatever tool."""
        return [line.rpartition(" ")[2] for line in self.lines if line.endswith(".lock") and "uv pip" in line]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the bootstrap reads."""
    for name in (*bootstrap.LOCKS.values(), "pyproject.toml"):
        shutil.copy(bootstrap.CHECKOUT / name, tmp_path / name)
    monkeypatch.setattr(bootstrap, "CHECKOUT", tmp_path)
    return tmp_path


@pytest.fixture
def commands(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """The commands that the bootstrap would run."""
    fake = Commands(checkout)
    monkeypatch.setattr(bootstrap, "run", fake.run)
    monkeypatch.setattr(bootstrap.Environment, "_uv_settings", lambda _self: {})
    return fake


def make(parts: Sequence[str]) -> None:
    """One bootstrap, as `main` has it."""
    environment = bootstrap.Environment()
    if not environment.ready(parts):
        environment.make(parts)
    assert bootstrap.Environment().ready(parts)


def test_the_second_run_does_nothing(commands: Commands) -> None:
    make(RUN)
    before = list(commands.lines)
    make(RUN)
    assert commands.lines == before
    assert commands.installed() == ["requirements.lock"]


def test_the_tests_tools_are_added_to_what_is_there(commands: Commands) -> None:
    make(RUN)
    make(TEST)
    assert commands.installed() == ["requirements.lock", "requirements-dev.lock"]


@pytest.mark.usefixtures("commands")
def test_a_changed_lock_makes_it_anew(checkout: Path) -> None:
    """Made anew and not laid over: what the lock no longer names is gone."""
    make(TEST)
    (checkout / ".venv" / "leftover").touch()
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    make(RUN)
    assert not (checkout / ".venv" / "leftover").exists()


def test_a_changed_project_is_installed_again_but_not_its_packages(commands: Commands, checkout: Path) -> None:
    make(RUN)
    with (checkout / "pyproject.toml").open("a") as project:
        project.write("# changed\n")
    make(RUN)
    assert commands.installed() == ["requirements.lock"]
    assert sum("--editable" in line for line in commands.lines) == 2


def test_an_interrupted_one_is_made_anew(commands: Commands, checkout: Path) -> None:

    commands.broken = "pip install"
    with pytest.raises(bootstrap.NotReadyError):
        make(RUN)
    (checkout / ".venv" / "half").touch()
    commands.broken = ""
    make(RUN)
    assert not (checkout / ".venv" / "half").exists()


def test_what_worked_survives_a_failed_addition(commands: Commands) -> None:
    """Without network `make verify` goes on working after `make test` could not get its tools."""
    make(RUN)
    commands.broken = "requirements-dev.lock"
    with pytest.raises(bootstrap.NotReadyError):
        make(TEST)
    assert bootstrap.Environment().ready(RUN)


def test_where_uv_cannot_pip_does(commands: Commands) -> None:
    commands.broken = "/uv pip"
    make(RUN)
    assert any(line.endswith("requirements.lock") and "-m pip" in line for line in commands.lines)


@pytest.mark.usefixtures("commands")
def test_another_python_makes_it_anew(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(RUN)
    (checkout / ".venv" / "leftover").touch()
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    assert not bootstrap.Environment().ready(RUN)


@pytest.mark.usefixtures("commands")
def test_a_moved_checkout_is_not_ready(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts of a virtual environment name its folder."""
    make(RUN)
    moved = checkout.with_name("moved")
    checkout.rename(moved)
    monkeypatch.setattr(bootstrap, "CHECKOUT", moved)
    assert not bootstrap.Environment().ready(RUN)


@pytest.mark.usefixtures("commands")
def test_a_folder_of_somebody_else_is_one_clear_line(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert bootstrap.main(["--no-lab"]) == 10
    (line,) = capsys.readouterr().err.splitlines()
    assert str(checkout) in line
    assert "clone" in line


def test_an_ordinary_user_is_told_the_command(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(requirements, "find", lambda command: "" if command == "nft" else f"/usr/bin/{command}")
    assert bootstrap.main(["run"]) == 10
    assert capsys.readouterr().err == (
        "bootstrap: nftables missing; run: sudo apt-get install --no-install-recommends nftables\n"
    )
    assert commands.lines == []


def test_root_installs_what_is_missing(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "bwrap" else f"/usr/bin/{name}")
    assert bootstrap.main(["run"]) == 0
    assert commands.lines[0].startswith("apt-get update")
    assert commands.lines[1].startswith("apt-get install")
    assert commands.lines[1].endswith("bubblewrap")


@pytest.mark.usefixtures("commands")
def test_the_lab_is_not_asked_for_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find", lambda _command: "")
    assert bootstrap.main(["--no-lab"]) == 0


def test_a_command_that_fails_says_its_own_words() -> None:
    script = "import sys; sys.exit('no such index')"
    with pytest.raises(bootstrap.NotReadyError, match="no such index"):
        bootstrap.run([sys.executable, "-c", script], deadline=30, remedy="set one")


def test_a_command_that_hangs_is_ended() -> None:
    script = "import signal; signal.pause()"
    with pytest.raises(bootstrap.NotReadyError, match="did not end within 1 s"):
        bootstrap.run([sys.executable, "-c", script], deadline=1, remedy="try again")


@pytest.mark.usefixtures("commands")
def test_others_wait_for_the_first(checkout: Path) -> None:
    """Both get in only after the first has let go."""
    script = (
        "import sys, pathlib, time; from tools import bootstrap; bootstrap.CHECKOUT = pathlib.Path(sys.argv[1])\n"
        "with bootstrap.alone(): print(time.monotonic(), flush=True)\n"
    )
    command = [sys.executable, "-u", "-c", script, str(checkout)]
    others: list[subprocess.Popen[str]] = []
    with bootstrap.alone():
        for _ in range(2):
            other = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
            assert other.stdout is not None
            assert other.stdout.readline().startswith("bootstrap: waiting")
            others.append(other)
        released = time.monotonic()
    assert all(float(other.communicate(timeout=30)[0]) >= released for other in others)
