"""Child processes by file descriptor: started in another network namespace, awaited, read to the last byte.

What belongs here: pidfds, pipes, one start. What does not: what a container is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

from clusters.lab import system

CHUNK: Final = 1 << 16
"""Bytes read from a pipe at once; a pipe's own size."""


class Process:
    """A child of this process that is awaited through a pidfd.

    Attributes:
        pid: Its number, valid until `wait` has returned.
        ended: Set when it has been reaped.
        code: Its exit code, or minus the number of the signal that ended it.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended = asyncio.Event()
        self.code = 0
        self._fd = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._fd, self._reap)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        _, status = os.waitpid(self.pid, 0)
        os.close(self._fd)
        self._fd = -1
        self.code = os.waitstatus_to_exitcode(status)
        self.ended.set()

    async def wait(self) -> int:
        """The exit code, or minus the signal's number."""
        await self.ended.wait()
        return self.code

    def send(self, sig: signal.Signals, *, group: bool = False) -> None:
        """Send a signal; one that comes too late is nothing."""
        if self._fd < 0:
            return
        try:
            if group:
                os.killpg(self.pid, sig)
            else:
                signal.pidfd_send_signal(self._fd, sig)
        except ProcessLookupError:
            return


def start(
    command: Sequence[str],
    *,
    netns: int,
    environment: Mapping[str, str],
    stdout: int,
    stderr: int,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start a command inside a network namespace, with no standard input.

    Must be called in the main thread: the child's parent-death signal is bound to it. The thread changes its own
    namespace for the moment of the start, so the child is made with `vfork` and copies nothing of this process.

    Raises:
        OSError: The command cannot be run.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        system.setns(netns, system.CLONE_NEWNET)
        try:
            child = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=tuple(pass_fds),
                start_new_session=True,
                umask=0o022,
            )
        finally:
            system.setns(home, system.CLONE_NEWNET)
    finally:
        os.close(home)
    child.returncode = 0  # `Process` reaps it; Popen must neither wait nor warn
    return Process(child.pid)


class PipeReader:
    """Reads a pipe (or a pty's master) until its end, or until nothing is left of what an ended process wrote.

    Args:
        ended: When set, an empty pipe counts as ended: a grandchild that still holds it keeps nobody waiting.
    """

    def __init__(self, fd: int, ended: asyncio.Event | None = None) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._ended = ended

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        while True:
            final = self._ended is not None and self._ended.is_set()
            try:
                data = os.read(self._fd, CHUNK)
                await asyncio.sleep(0)  # a writer that never rests must not keep everybody else waiting
                return data
            except BlockingIOError:
                if final:
                    return b""
            except OSError:  # a pty whose last holder is gone answers EIO
                return b""
            await self._readable()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._fd, ready.set)
        try:
            waits = [asyncio.ensure_future(ready.wait())]
            if self._ended is not None:
                waits.append(asyncio.ensure_future(self._ended.wait()))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()
        finally:
            loop.remove_reader(self._fd)

    def close(self) -> None:
        """Close the file descriptor."""
        os.close(self._fd)


async def write_all(fd: int, data: bytes) -> bool:
    """Write everything to a non-blocking pipe, waiting while it is full; False when nobody reads it any more."""
    loop = asyncio.get_running_loop()
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            ready = asyncio.Event()
            loop.add_writer(fd, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_writer(fd)
        except OSError:  # EPIPE, or EIO of a pty: the reader is gone
            return False
    return True
