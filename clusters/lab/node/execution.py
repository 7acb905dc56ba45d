"""A command run inside a container with its streams, as exec probes, hooks and `kubectl exec` need it.

What belongs here: pipes or a terminal around `joining.join`. What does not: websockets (`server`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Final

from clusters.lab.node.joining import JoinError, Target, join, open_terminal
from clusters.lab.node.processes import PipeReader, Process, write_all


class Execution:
    """A command that runs in a container.

    Attributes:
        stdout, stderr: What it writes; stderr is None with a terminal.
    """

    def __init__(self, process: Process, stdin: int, stdout: PipeReader, stderr: PipeReader | None) -> None:
        self.process, self.stdout, self.stderr = process, stdout, stderr
        self._stdin = stdin
        self._terminal = stderr is None

    @classmethod
    async def start(
        cls, target: Target, command: Sequence[str], *, stdin: bool = False, tty: bool = False
    ) -> Execution:
        """Start it.

        Raises:
            JoinError: The container is gone, or the command is not there.
        """
        starting = asyncio.create_task(
            cls._on_terminal(target, command) if tty else cls._on_pipes(target, command, stdin)
        )
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:  # nobody wants it any more, but it may have begun
            _ = keep(_abandon(starting))
            raise

    @classmethod
    async def _on_pipes(cls, target: Target, command: Sequence[str], stdin: bool) -> Execution:
        own_in, its_in = -1, os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        if stdin:
            os.close(its_in)
            its_in, own_in = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(own_in, False)
        out, its_out = os.pipe2(os.O_CLOEXEC)
        err, its_err = os.pipe2(os.O_CLOEXEC)
        started = False
        try:
            process = await join(target, command, (its_in, its_out, its_err))
            started = True
        finally:
            for fd in (its_in, its_out, its_err) if started else (its_in, its_out, its_err, out, err, own_in):
                if fd >= 0:
                    os.close(fd)
        return cls(process, own_in, PipeReader(out, process.ended), PipeReader(err, process.ended))

    @classmethod
    async def _on_terminal(cls, target: Target, command: Sequence[str]) -> Execution:
        master, slave = open_terminal(target)
        with_term = replace(target, environment={"TERM": "xterm", **target.environment})
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            process = await join(with_term, command, (null, null, null), terminal=slave)
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(null)
        return cls(process, master, PipeReader(master, process.ended), None)

    @property
    def code(self) -> int:
        """The exit code of a command that has ended, 128 + signal when it was killed."""
        code = self.process.code
        return code if code >= 0 else 128 - code

    async def write(self, data: bytes) -> bool:
        """Give it standard input; False when it reads no more."""
        return self._stdin >= 0 and await write_all(self._stdin, data)

    async def end_input(self) -> None:
        """Let it see the end of its standard input."""
        if self._stdin < 0:
            return
        if self._terminal:
            await write_all(self._stdin, b"\x04")
        else:
            os.close(self._stdin)
            self._stdin = -1

    def resize(self, width: int, height: int) -> None:
        """Tell its terminal how big it is."""
        if self._terminal and self._stdin >= 0:
            fcntl.ioctl(self._stdin, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def kill(self) -> None:
        """End it and what it started in its own process group."""
        self.process.send(signal.SIGKILL, group=True)

    async def close(self) -> int:
        """Kill it if it still runs, wait for its end and close the streams; its exit code, 128 + signal when killed."""
        if not self.process.ended.is_set():
            self.kill()
        await self.process.wait()
        self.stdout.close()
        if self.stderr is not None:
            self.stderr.close()
            if self._stdin >= 0:
                os.close(self._stdin)
        self._stdin = -1
        return self.code


_KEPT: Final[set[asyncio.Task[None]]] = set()


def keep(work: Coroutine[object, object, None]) -> asyncio.Future[None]:
    """Run something to its end even when whoever waits for it is cancelled; nobody has to wait."""
    task = asyncio.create_task(work)
    _KEPT.add(task)
    task.add_done_callback(_KEPT.discard)
    return asyncio.shield(task)


async def _abandon(starting: asyncio.Task[Execution]) -> None:
    with contextlib.suppress(JoinError, OSError):
        await (await starting).close()


async def run_command(target: Target, command: Sequence[str], deadline: float) -> tuple[int, str]:
    """Run a command to its end; its exit code and the first 1024 characters of what it wrote.

    Raises:
        TimeoutError: It took longer than `deadline` seconds; it was killed.
        JoinError: It could not be started.
    """
    execution = await Execution.start(target, command)
    words = b""

    async def collect(reader: PipeReader) -> None:
        nonlocal words
        while chunk := await reader.read():
            words += chunk[: max(0, 1024 - len(words))]

    try:
        async with asyncio.timeout(deadline):
            readers = [reader for reader in (execution.stdout, execution.stderr) if reader is not None]
            await asyncio.gather(*(collect(reader) for reader in readers))
            await execution.process.wait()
    finally:
        code = await execution.close()
    return code, words.decode(errors="replace")
