"""Runs the tools of real clusters (kind, kubectl, docker): a list, a deadline, their own words kept, no orphans.

What belongs here: processes. What does not: which command does what (`kind`, `addons`).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from flows.errors import PreparationError, UsageError

GRACE: Final = 5.0
"""Seconds that a stopped tool is given to clean up after itself before it is killed."""
KEPT: Final = 8000
"""Characters of a tool's output that an error shows, from its end."""


class CommandError(PreparationError):
    """A tool failed or took too long.

    Attributes:
        output: What it wrote, standard error first.
        returncode: Its exit code; None when the deadline ended it.
    """

    def __init__(self, message: str, *, output: str, returncode: int | None) -> None:
        super().__init__(message, detail=output[-KEPT:])
        self.output, self.returncode = output, returncode


class Deadline:
    """A point in time that several steps share.

    Args:
        seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left, never less than 0.1, so that a late step still ends with its own words."""
        return max(self._at - time.monotonic(), 0.1)


class Cancel:
    """Lets one thread end what another one runs: Ctrl-C reaches the main thread only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._process: subprocess.Popen[str] | None = None
        self._idle = threading.Event()
        self._idle.set()

    def cancel(self) -> None:
        """Stop the command that runs now, and make every later `check` and `watching` raise."""
        with self._lock:
            self._cancelled = True
            process = self._process
        if process is not None:
            for sig in (signal.SIGTERM, signal.SIGKILL):
                _signal_group(process, sig)
                if self._idle.wait(GRACE):
                    return

    def check(self) -> None:
        """Go on.

        Raises:
            PreparationError: `cancel` was called.
        """
        if self._cancelled:
            raise PreparationError("interrupted while the cluster was being prepared")

    @contextlib.contextmanager
    def watching(self, process: subprocess.Popen[str]) -> Iterator[None]:
        """Make this the command that `cancel` stops."""
        with self._lock:
            self._process = process
            self._idle.clear()
        try:
            self.check()
            yield
            self.check()
        finally:
            with self._lock:
                self._process = None
                self._idle.set()


def run(
    command: Sequence[str],
    *,
    what: str,
    timeout: float,
    cancel: Cancel | None = None,
    stdin: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """What the command wrote to its standard output.

    It runs in a process group of its own. When the deadline passes, or an exception (Ctrl-C, SIGTERM) is raised here
    while it runs, the whole group is stopped before anything else happens.

    Args:
        what: What it is for, for the error: `create the kind cluster`.
        cancel: Through which another thread may stop it.
        env: Variables to add to our own environment.

    Raises:
        CommandError: It failed, or took longer than `timeout` seconds; the detail is its own output.
    """
    process: subprocess.Popen[str] | None = None
    try:
        with shielded():  # a signal before `process` is known would leave it behind
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                cwd=cwd,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        with cancel.watching(process) if cancel else contextlib.nullcontext():
            out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        out, err = _stop(process)
        raise CommandError(
            f"cannot {what}: {Path(command[0]).name} took longer than {timeout:.0f} s",
            output=_words(command, err, out),
            returncode=None,
        ) from error
    except BaseException as error:
        _stop(process)
        if process is None and isinstance(error, OSError):
            raise CommandError(
                f"cannot {what}: {command[0]} does not start ({error.strerror})", output="", returncode=None
            ) from error
        raise
    if process.returncode != 0:
        last = next((line.strip() for line in reversed(err.splitlines()) if line.strip()), "no message")
        raise CommandError(
            f"cannot {what}: {last}"[:200], output=_words(command, err, out), returncode=process.returncode
        )
    return out


def _words(command: Sequence[str], err: str, out: str) -> str:
    return "\n".join(part for part in (f"$ {shlex.join(command)}", err.strip(), out.strip()) if part)


def _signal_group(process: subprocess.Popen[str], sig: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, sig)


def _stop(process: subprocess.Popen[str] | None) -> tuple[str, str]:
    """Stop the process's whole group, if there is one, first politely; its last words."""
    if process is None:
        return "", ""
    with shielded():
        for sig in (signal.SIGTERM, signal.SIGKILL):
            _signal_group(process, sig)
            try:
                return process.communicate(timeout=GRACE)
            except subprocess.TimeoutExpired:
                continue
        return "", "(it could not be killed)"


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM while something is being cleaned up; they are raised again afterwards.

    Only the main thread is ever interrupted by signals, so elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:  # a function, so that children do not inherit it
        del frame
        held.append(number)

    before = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


def find(name: str, given: str, option: str, remedy: str) -> str:
    """The absolute path of a tool: the one that was given, else the one of PATH.

    Raises:
        UsageError: What was given is no executable.
        PreparationError: PATH has none; says how to get it.
    """
    if given:
        path = shutil.which(str(Path(given).expanduser()))
        if path is None:
            raise UsageError(f"{option} {given}: not an executable file; give the path of {name}")
        return str(Path(path).absolute())
    path = shutil.which(name)
    if path is None:
        raise PreparationError(f"{name} is not on PATH; {remedy}")
    return str(Path(path).absolute())
