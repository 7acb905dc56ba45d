"""Makes this checkout ready to run: the machine's packages, then `.venv` exactly as the lock says.

What belongs here: what `tools/bootstrap` does once it has a Python; standard library only. What does not: what the lab
needs of the machine (`clusters/lab/requirements.py` lists it) and whether the kernel allows it (`eastwest doctor`).

When nothing changed it does nothing, writes nothing and needs no network. It may be interrupted at any time and run
twice at once: a lock on the checkout's folder makes the second wait, and a `.venv` that was not finished is made anew.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from clusters.lab import requirements

CHECKOUT = Path(__file__).resolve().parent.parent
NOT_READY = 10
LOCKS = {"run": "requirements.lock", "kind": "requirements-kind.lock", "test": "requirements-dev.lock"}
WAIT, APT_UPDATE, APT_INSTALL, PIP, VENV = 600, 180, 300, 420, 60  # seconds

INDEX = "it needs a package index, as pip's own configuration names it"
UV_SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
PIP_ONLY = {"proxy", "trusted-host", "no-index", "client-cert", "keyring-provider", "constraint"}


class NotReadyError(Exception):
    """The checkout cannot be made ready; one line that names what is missing and the command that gives it."""


def say(text: str) -> None:
    """One line on what is being done."""
    sys.stdout.write(f"bootstrap: {text}\n")
    sys.stdout.flush()


def run(
    command: Sequence[str | Path], *, deadline: int, remedy: str, settings: Mapping[str, str] | None = None
) -> None:
    """Run a command silently to its end.

    Raises:
        NotReadyError: It failed or took too long; with its last words and the remedy.
    """
    words = [str(each) for each in command]
    process = subprocess.Popen(
        words,
        cwd=CHECKOUT,
        env={**os.environ, **(settings or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=deadline)
    except BaseException as error:
        process.terminate()  # and not SIGKILL: apt-get ends what it began
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise NotReadyError(f"`{' '.join(words[:4])} …` did not end within {deadline} s; {remedy}") from None
        raise
    if process.returncode != 0:
        last = "\n".join(output.strip().splitlines()[-12:])
        raise NotReadyError(f"`{' '.join(words[:4])} …` failed; {remedy}\n{last}")


def needed_packages(*, lab: bool, environment: bool) -> list[str]:
    """The Debian packages that this machine lacks: for the lab, and for making the virtual environment."""
    packages = [tool.package for tool in requirements.missing()] if lab else []
    if environment and importlib.util.find_spec("ensurepip") is None:
        default = sys.executable in {"/usr/bin/python3", str(Path("/usr/bin/python3").resolve())}
        packages.insert(0, "python3-venv" if default else f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")
    return packages


def install_packages(packages: list[str]) -> None:
    """Install packages with apt-get.

    Raises:
        NotReadyError: Not root, no apt-get, or apt-get failed.
    """
    names = ", ".join(packages)
    command = requirements.remedy(packages)
    if os.geteuid() != 0:
        raise NotReadyError(f"{names} missing; run: {command}")
    if shutil.which("apt-get") is None:
        raise NotReadyError(
            f"{names} missing (Debian's names) and there is no apt-get here; install them, then run again"
        )
    say(f"installing {names} with apt-get")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    run(["apt-get", "update", "-qq"], deadline=APT_UPDATE, remedy="check /etc/apt/sources.list and the network")
    options = ["-qq", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"]
    run(["apt-get", "install", *options, *packages], deadline=APT_INSTALL, remedy=f"run by hand: {command}")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold the checkout for this process; another bootstrap is waited for, at most `WAIT` seconds."""

    def too_long(_signal: int, _frame: FrameType | None) -> None:
        raise NotReadyError(f"another bootstrap holds {CHECKOUT} for more than {WAIT} s; end it, then run again")

    folder = os.open(CHECKOUT, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    before = signal.signal(signal.SIGALRM, too_long)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another bootstrap of this checkout")
            signal.alarm(WAIT)
            fcntl.flock(folder, fcntl.LOCK_EX)
            signal.alarm(0)
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        os.close(folder)


def digest(name: str) -> str:
    """A file's content in 16 characters."""
    return hashlib.sha256(CHECKOUT.joinpath(name).read_bytes()).hexdigest()[:16]


def block(lock: str, package: str) -> str:
    """One package's lines of a lock: its version and its hashes."""
    lines = lock.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{package}=="))
    after = next((n for n, line in enumerate(lines) if n > first and not line.startswith("    --hash")), len(lines))
    return "".join(lines[first:after])


class Environment:
    """The checkout's `.venv`, and the note inside it that says what it was made from."""

    def __init__(self) -> None:
        self.folder = CHECKOUT / ".venv"
        self.python = self.folder / "bin" / "python"
        self._note = self.folder / "eastwest-bootstrap.json"

    def _base(self) -> dict[str, str]:
        version = ".".join(str(each) for each in sys.version_info[:2])
        return {"checkout": str(CHECKOUT), "python": version}

    def _read(self) -> dict[str, str] | None:
        """The note; None where there is none (somebody else made the environment), empty where it was not finished."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return {}
        return {str(key): str(value) for key, value in note.items()} if isinstance(note, dict) else {}

    def _wanted(self, parts: Sequence[str]) -> dict[str, str]:
        return {
            **self._base(),
            "project": digest("pyproject.toml"),
            **{LOCKS[part]: digest(LOCKS[part]) for part in parts},
        }

    def ready(self, parts: Sequence[str]) -> bool:
        """Whether everything in `parts` is installed as the lock says."""
        return self.python.exists() and self._wanted(parts).items() <= (self._read() or {}).items()

    def make(self, parts: Sequence[str]) -> None:
        """Bring the environment to the lock's state.

        Raises:
            NotReadyError: It may not be written, or an installation failed.
        """
        self._check_writable()
        note = self._read()
        kept = self._kept(note)
        if kept is None:
            self._create(fresh=note is not None or self.folder.exists())
            kept = {}
        wanted = self._wanted(parts)
        for part in parts:
            name = LOCKS[part]
            if kept.get(name) == wanted[name]:
                continue
            say(f"installing {name} into .venv")
            self._install(name, compiled=part == "run")
        if kept.get("project") != wanted["project"]:
            here = ["--no-deps", "--no-index", "--no-build-isolation", "--editable", "."]
            run([*self._pip(), *here], deadline=PIP, remedy="remove .venv and run again")
        self._write({**kept, **wanted})

    def _kept(self, note: dict[str, str] | None) -> dict[str, str] | None:
        """What may stay of the environment: its note, or None when it must be made anew."""
        if not self.python.exists():
            return None
        if note is None:  # made by hand: the lock is laid over it, nothing of it is removed
            version = ".".join(str(each) for each in sys.version_info[:2])
            same = (self.folder / "lib" / f"python{version}").is_dir()
            return {} if same and self.folder.joinpath("bin", "pip").exists() else None
        if not self._base().items() <= note.items():
            return None
        stale = [name for name in LOCKS.values() if name in note and note[name] != digest(name)]
        return None if stale else note

    def _install(self, lock: str, *, compiled: bool) -> None:
        """Install a lock's packages: by the lock's uv in seconds, by pip where pip's settings mean nothing to uv."""
        strict = ["--require-hashes", "--only-binary=:all:", "--no-deps", "--requirement"]
        settings = self._uv_settings()
        if settings is not None:
            with tempfile.NamedTemporaryFile("w", suffix=".lock", encoding="utf-8") as one:
                one.write(block(CHECKOUT.joinpath(lock).read_text(encoding="utf-8"), "uv"))
                one.flush()
                run([*self._pip(), *strict, one.name], deadline=PIP, remedy=INDEX)
            uv: list[str | Path] = [
                self.folder / "bin" / "uv",
                "pip",
                "install",
                "--quiet",
                "--no-config",
                "--python",
                self.python,
            ]
            options = ["--link-mode=copy", *(["--compile-bytecode"] if compiled else [])]
            try:
                run([*uv, *options, *strict, lock], deadline=PIP, remedy=INDEX, settings=settings)
            except NotReadyError as error:
                say(f"uv could not, pip tries (slower): {str(error).splitlines()[-1]}")
            else:
                return
        run([*self._pip(), *strict, lock], deadline=PIP, remedy=INDEX)

    def _uv_settings(self) -> dict[str, str] | None:
        """Pip's settings as uv's environment; None where one of them has no equal there."""
        command = [str(self.python), "-m", "pip", "config", "list"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=VENV, check=False)
        except subprocess.TimeoutExpired:
            return None
        settings: dict[str, str] = {}
        for line in done.stdout.splitlines():
            name, _, value = line.partition("=")
            key = name.rpartition(".")[2]
            if key in UV_SETTINGS:
                settings[UV_SETTINGS[key]] = value.strip("'\"")
            elif key in PIP_ONLY:
                return None
        return {key: value for key, value in settings.items() if key not in os.environ}

    def _pip(self) -> list[str | Path]:
        return [self.python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]

    def _create(self, *, fresh: bool) -> None:
        if fresh:
            say("making .venv anew")
            shutil.rmtree(self.folder)
        self.folder.mkdir()
        self._write({})
        remedy = "is this Python complete (venv, ensurepip)?"
        run([sys.executable, "-m", "venv", self.folder], deadline=VENV, remedy=remedy)

    def _write(self, note: dict[str, str]) -> None:
        draft = self._note.with_suffix(".new")
        draft.write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        draft.replace(self._note)

    def _check_writable(self) -> None:
        for folder in (CHECKOUT, self.folder):
            if folder.exists() and not os.access(folder, os.W_OK):
                who = f"user {os.geteuid()} (its owner is {folder.stat().st_uid})"
                raise NotReadyError(f"{folder} is not writable for {who}; clone the repository to a folder of your own")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the checkout ready; the exit code (0 or 10)."""
    parser = argparse.ArgumentParser(prog="tools/bootstrap", description="Makes this checkout ready to run.")
    parser.add_argument("part", nargs="*", help=f"what will be run: {', '.join(LOCKS)} (default: run)")
    parser.add_argument("--no-lab", action="store_true", help="only Python's part: the lab's commands are not needed")
    options = parser.parse_args(arguments)
    parts = list(dict.fromkeys(["run", *options.part]))
    if unknown := [part for part in parts if part not in LOCKS]:
        parser.error(f"unknown part {unknown[0]!r}; use {', '.join(LOCKS)}")
    try:
        environment = Environment()
        ready = environment.ready(parts)
        packages = needed_packages(lab=not options.no_lab, environment=not ready)
        if packages:
            install_packages(packages)
        if not ready:
            with alone():
                if not environment.ready(parts):
                    environment.make(parts)
    except NotReadyError as error:
        sys.stderr.write(f"bootstrap: {error}\n")
        return NOT_READY
    except OSError as error:
        sys.stderr.write(f"bootstrap: {error.filename or CHECKOUT}: {error.strerror}; mend it, or remove .venv\n")
        return NOT_READY
    return 0


if __name__ == "__main__":
    sys.exit(main())
