"""A process that joins a running container: all its namespaces, its root, user, environment and working directory.

What belongs here: the fork between this process and the `execve` inside. What does not: streams (`execution`).
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import struct
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from clusters.lab import system
from clusters.lab.node.processes import PipeReader, Process

_ALL_BUT_USER: Final = (
    system.CLONE_NEWNS | system.CLONE_NEWPID | system.CLONE_NEWUTS | system.CLONE_NEWIPC | system.CLONE_NEWNET
)
_TIOCSPTLCK: Final = 0x40045431
_TIOCGPTN: Final = 0x80045430
"""Not in `termios` before Python 3.13; the same on every architecture the lab knows."""
_JOIN_DEADLINE: Final = 20.0
"""Seconds from the fork to the `execve`; it needs milliseconds."""


class JoinError(Exception):
    """The command could not be started in the container.

    Attributes:
        code: The exit code that shells and container engines give: 126 or 127.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running container, as a joining process needs it.

    Attributes:
        pid: The container's first process, in this process's PID namespace.
        uid, gid: What the container's processes are in their own user namespace.
        directory: The working directory inside.
        own_users: Whether it has a user namespace of its own.
    """

    pid: int
    uid: int
    gid: int
    environment: Mapping[str, str]
    directory: str
    own_users: bool = True


def open_terminal(target: Target) -> tuple[int, str]:
    """The master side of a new pty of the container itself, and its slave's path inside."""
    master = os.open(f"/proc/{target.pid}/root/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, struct.pack("i", 0)))[0]
    return master, f"/dev/pts/{number}"


async def join(target: Target, command: Sequence[str], stdio: Sequence[int], terminal: str = "") -> Process:
    """Run a command inside the container as a child of this process.

    Args:
        stdio: File descriptors for 0, 1 and 2; ignored with a terminal.
        terminal: Path inside the container of a pty's slave, which becomes the controlling terminal.

    Raises:
        JoinError: The container is gone, or the command is not there or not executable.
    """
    report, back = os.pipe2(os.O_CLOEXEC)
    try:
        pidfd = os.pidfd_open(target.pid)
        root = os.open(f"/proc/{target.pid}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        os.close(report)
        os.close(back)
        raise JoinError(f"the container is gone ({error.strerror})", 126) from None
    middle = os.fork()
    if middle == 0:
        _join_and_split(target, command, stdio, terminal, pidfd, root, back)
    for each in (back, pidfd, root):
        os.close(each)
    reader = PipeReader(report)
    words = b""
    try:
        async with asyncio.timeout(_JOIN_DEADLINE):
            while chunk := await reader.read():
                words += chunk
    except TimeoutError:
        raise JoinError(f"no start within {_JOIN_DEADLINE:.0f} s", 126) from None
    finally:
        reader.close()
        await Process(middle).wait()
    messages = [json.loads(line) for line in words.decode().splitlines()]
    pid = next((int(each["pid"]) for each in messages if "pid" in each), 0)
    failure = next((each for each in messages if "error" in each), None)
    if failure is not None:
        if pid:
            await Process(pid).wait()
        raise JoinError(str(failure["error"]), int(failure["code"]))
    if not pid:
        raise JoinError("the joining process ended before its command began", 126)
    return Process(pid)


def _join_and_split(
    target: Target,
    command: Sequence[str],
    stdio: Sequence[int],
    terminal: str,
    pidfd: int,
    root: int,
    back: int,
) -> NoReturn:
    """In the forked child: join, fork once more (a PID namespace is entered by children only), run the command."""
    code = 126
    try:
        system.setns(pidfd, _ALL_BUT_USER)
        os.fchdir(root)
        os.chroot(".")
        if target.own_users:
            system.setns(pidfd, system.CLONE_NEWUSER)
        pid = system.fork_sibling()
        if pid:
            os.write(back, json.dumps({"pid": pid}).encode() + b"\n")
            os._exit(0)
        os.setsid()
        if terminal:
            slave = os.open(terminal, os.O_RDWR)
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            stdio = (slave, slave, slave)
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in stdio]
        for number, fd in enumerate(moved):
            os.dup2(fd, number)
        os.setresgid(target.gid, target.gid, target.gid)
        os.setresuid(target.uid, target.uid, target.uid)
        system.drop_privileges()
        system.die_with_parent()
        os.umask(0o022)
        os.chdir(target.directory)
        code = 127
        os.execvpe(command[0], list(command), dict(target.environment))
    except (OSError, system.KernelError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        if code == 127 and isinstance(error, PermissionError):
            code = 126
        text = f'exec failed: unable to start container process: exec: "{command[0]}": {why}'
        os.write(back, json.dumps({"error": text, "code": code}).encode() + b"\n")
    finally:
        os._exit(code)
