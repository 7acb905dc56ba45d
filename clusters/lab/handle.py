"""The owner's end of a lab: start a supervisor, wait for its word, detach it or end it, from any thread.

What belongs here: the child process and its pipes. What does not: what is printed (`commands`) or promised to a run
(`provider`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import clusters
from clusters.lab import record, requirements
from clusters.lab.options import LabOptions
from clusters.lab.settings import Lines, Message, Ready, Settings, say
from flows.errors import HarnessError, PreparationError

MARK: Final = "EASTWEST_LAB_ID"
"""Environment variable of every process of a lab, so that a leftover can be told from anything else."""
_END_DEADLINE: Final = 8.0
_SLACK: Final = 10.0
"""Seconds on top of the lab's own deadline before we stop believing in the supervisor."""


def source() -> str:
    """The folder that holds our packages: a checkout, or site-packages."""
    return str(Path(clusters.__file__).resolve().parent.parent)


def check_machine() -> None:
    """Raise `PreparationError` in one line when a command that the lab needs is missing."""
    lacking = requirements.missing()
    if lacking:
        names = ", ".join(f"{each.command} ({each.why})" for each in lacking)
        verb = "is" if len(lacking) == 1 else "are"
        fix = requirements.remedy([each.package for each in lacking])
        raise PreparationError(f"{names} {verb} missing on this machine; run `{fix}`")


class Lab:
    """A lab that this process owns until it detaches or ends it."""

    def __init__(self, process: subprocess.Popen[bytes], lines: Lines, errors: int, lab_id: str) -> None:
        self.id = lab_id
        self._process, self._lines, self._errors = process, lines, errors
        self._closed = False
        self.ready = Ready(kubeconfig={}, record="", pid=process.pid, port=0, facts={})

    @staticmethod
    def start(
        options: LabOptions, *, port: int = 0, kubeconfig: str = "", timeout: float = 30.0, started: float = 0.0
    ) -> Lab:
        """A lab that is ready.

        Args:
            options: The lab's settings; `source` is filled in here.
            port: The API server's port on 127.0.0.1; 0 for any.
            kubeconfig: For the record: where the caller will write the kubeconfig.
            timeout: Seconds until it must be ready.
            started: Monotonic clock from which timings count; now when 0.

        Raises:
            PreparationError: It did not become ready; nothing of it is left.
        """
        check_machine()
        record.check_folder()
        lab_id = f"lab-{secrets.token_hex(3)}"
        settings = Settings(
            id=lab_id,
            options=replace(options, source=source()),
            port=port,
            kubeconfig=kubeconfig,
            ready_timeout=timeout,
            started=started or time.monotonic(),
        )
        errors = os.memfd_create("eastwest-supervisor-stderr", os.MFD_CLOEXEC)
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "clusters.lab.supervisor"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd="/",
                env=_environment(lab_id),
                start_new_session=True,
            )
        except OSError as error:
            os.close(errors)
            raise PreparationError(f"lab: the supervisor cannot be started: {error}; is Python in place?") from None
        if process.stdin is None or process.stdout is None:  # both were asked for
            raise PreparationError("lab: the supervisor has no pipes; this is a fault of eastwest")
        lab = Lab(process, Lines(process.stdout.fileno()), errors, lab_id)
        try:
            lab._order(settings)
            message = lab._wait(timeout + _SLACK)
            if "ready" not in message:
                raise lab._failure(message)
            lab.ready = Ready(**message["ready"])
        except BaseException:
            lab.end()
            raise
        return lab

    def fileno(self) -> int:
        """Readable when the lab has something to say, which means that it is ending."""
        return self._lines.fileno()

    def detach(self) -> None:
        """Let the lab outlive this process.

        Raises:
            PreparationError: The lab is gone, or its record cannot be written.
        """
        self._order({"op": "detach"})
        message = self._wait(_END_DEADLINE)
        if "detached" not in message:
            raise self._failure(message)
        self._close()

    def wait(self, timeout: float | None = None) -> None:
        """Return once somebody has ended the lab, or after `timeout` seconds.

        Raises:
            PreparationError: It ended by itself; with its last words.
        """
        message = self._wait(timeout)
        if message and "ended" not in message:
            raise self._failure(message)

    def end(self) -> list[str]:
        """End the lab and wait for it; a line for each thing that is left, normally none."""
        if self._closed:
            return []
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin:
                self._process.stdin.close()
        left: list[str] = []
        try:
            self._process.wait(_END_DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_END_DEADLINE)
            left.append(f"lab {self.id}: its supervisor did not end by itself and was killed")
        self._close()
        return left

    def _close(self) -> None:
        self._closed = True
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        os.close(self._errors)
        # A detached supervisor is not waited for: init adopts it when we exit.
        self._process.returncode = self._process.returncode or 0

    def _order(self, message: Settings | Message) -> None:
        data: Message = message if isinstance(message, dict) else message.to_message()
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                say(self._process.stdin.fileno(), data)

    def _wait(self, timeout: float | None) -> Message:
        """The next message; `{"error": …}` at the end of the stream; an empty one when the time is over."""
        until = None if timeout is None else time.monotonic() + timeout
        poll = select.poll()
        poll.register(self._lines.fileno(), select.POLLIN)
        while True:
            left = None if until is None else max(0.0, until - time.monotonic()) * 1000
            if not poll.poll(left):
                return {}
            messages = self._lines.read()
            if messages:
                return messages[0]
            if self._lines.ended:
                return {"error": "the lab's supervisor ended without a word", "detail": self._stderr()}

    def _stderr(self) -> str:
        size = os.fstat(self._errors).st_size
        return os.pread(self._errors, 8000, max(0, size - 8000)).decode(errors="replace")

    def _failure(self, message: Message) -> HarnessError:
        text = message.get("error", "the lab's supervisor did not answer in time")
        return PreparationError(str(text), detail=str(message.get("detail", "") or self._stderr()))


def _environment(lab_id: str) -> dict[str, str]:
    """Our environment, marked; a checkout that is not installed is put on the path."""
    environment: dict[str, Any] = {**os.environ, MARK: lab_id, "PATH": requirements.search_path()}
    place = source()
    if Path(place).name not in {"site-packages", "dist-packages"}:
        earlier = os.environ.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = os.pathsep.join(each for each in (place, earlier) if each)
    return environment
