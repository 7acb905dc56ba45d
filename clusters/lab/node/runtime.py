"""One run of a container under bubblewrap: its own root, processes, users and host name, in its pod's network.

What belongs here: bubblewrap's arguments, start, signals, exit. What does not: restarts and probes (`containers`),
volumes' content.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from clusters.lab import system
from clusters.lab.node.images import Image
from clusters.lab.node.joining import Target
from clusters.lab.node.logs import Log
from clusters.lab.node.processes import PipeReader, Process, start

BWRAP: Final = shutil.which("bwrap") or "/usr/bin/bwrap"
START_ERROR: Final = 128
"""Exit code that Kubernetes shows for a container whose command could not be run."""
_START_DEADLINE: Final = 30.0
"""Seconds for bubblewrap to reach the command; it needs 20 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder or file of this machine inside a container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that one run of a container needs.

    Attributes:
        folder: This container's own folder (overlay, small files).
        mounts: In order; parents before children.
        raw: Whether it may read and write packets as they are (NET_RAW).
    """

    identifier: str
    image: Image
    command: Sequence[str]
    environment: Mapping[str, str]
    uid: int
    gid: int
    directory: str
    hostname: str
    folder: Path
    read_only_root: bool = False
    mounts: Sequence[Mount] = ()
    raw: bool = False

    @property
    def held(self) -> tuple[str, ...]:
        """Capabilities over the network alone; whoever has one is in the lab's own user namespace, as its root."""
        marking = ("CAP_NET_ADMIN",) if self.image.marks else ()  # the one that SO_MARK needs
        return (*marking, "CAP_NET_RAW") if self.raw else marking


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a run ended.

    Attributes:
        code: As Kubernetes shows it: 128 + signal for a killed one.
        problem: Why the command never ran; empty when it did.
    """

    code: int
    problem: str = ""
    finished: float = field(default_factory=time.time)


class StartError(Exception):
    """The container cannot be started; the message is for the pod's status."""


def root_arguments(plan: Plan) -> list[str]:
    """Arguments of bubblewrap that make the root. May mount an overlay below `plan.folder`."""
    image = plan.image
    if not image.folder:
        arguments = list(image.mounts)
        for index, (path, content) in enumerate(image.files.items()):
            place = plan.folder / f"file-{index}"
            place.write_text(content, encoding="utf-8")
            place.chmod(0o755 if content.startswith("#!") else 0o644)
            arguments += ["--ro-bind", str(place), path]
        return arguments
    if not os.access(image.folder, os.R_OK | os.X_OK):
        raise StartError(f'image "{image.name}": {image.folder} is not readable for the lab\'s user; mend its mode')
    overlay = _overlay(plan)
    if overlay:
        return ["--bind", overlay, "/"]
    arguments = []
    for entry in sorted(Path(image.folder).iterdir()):
        if entry.is_symlink():
            arguments += ["--symlink", str(entry.readlink()), f"/{entry.name}"]
        elif entry.name not in {"proc", "dev"}:
            arguments += ["--ro-bind", str(entry), f"/{entry.name}"]
    return arguments


def _overlay(plan: Plan) -> str:
    """A writable root over the image's folder; empty where this kernel does not allow one to us."""
    lower = plan.image.folder
    if set(lower) & set(",:\\"):  # an overlay's options cannot say these
        return ""
    folders = {name: plan.folder / name for name in ("upper", "work", "root")}
    for each in folders.values():
        each.mkdir(exist_ok=True)
    options = f"lowerdir={lower},upperdir={folders['upper']},workdir={folders['work']},userxattr"
    try:
        system.mount("overlay", str(folders["root"]), "overlay", options)
    except OSError:
        return ""
    return str(folders["root"])


def arguments(plan: Plan) -> list[str]:
    """All of bubblewrap's arguments before the command."""
    result = [] if plan.held else ["--unshare-user", "--uid", str(plan.uid), "--gid", str(plan.gid)]
    result += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", plan.hostname]
    result += ["--die-with-parent", "--as-pid-1", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    for each in plan.held:
        result += ["--cap-add", each]
    result += [*root_arguments(plan), "--proc", "/proc", "--dev", "/dev"]
    for mount in plan.mounts:
        result += ["--ro-bind" if mount.read_only else "--bind", mount.source, mount.target]
    if plan.directory != "/":
        result += ["--dir", plan.directory]
    if plan.read_only_root:
        result += ["--remount-ro", "/"]
    result += ["--chdir", plan.directory]
    for name, value in plan.environment.items():
        result += ["--setenv", name, value]
    return result


def _identity(path: str) -> tuple[int, int]:
    found = Path(path).stat()
    return found.st_dev, found.st_ino


class Container:
    """A container that was started; every process in it dies with its first one.

    Attributes:
        target: For processes that join it.
        started: When (`time.time`) its command began.
        exit: How it ended, once `ended` is set.
    """

    def __init__(self, plan: Plan, process: Process, log: Log) -> None:
        self.plan, self.log = plan, log
        self.started = time.time()
        self.ended = asyncio.Event()
        self.exit = Exit(code=0)
        self.pid = 0
        self._pidfd = -1
        self._process = process
        self._running = asyncio.Event()
        self._errors = b""
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def target(self) -> Target:
        """How to join it."""
        plan = self.plan
        return Target(
            pid=self.pid,
            uid=plan.uid,
            gid=plan.gid,
            environment=plan.environment,
            directory=plan.directory,
            own_users=not plan.held,
        )

    @classmethod
    async def start(cls, plan: Plan, netns: int, log: Log) -> Container:
        """Start it; returns when its command runs, or has already ended.

        Raises:
            StartError: It could not be prepared or its command is not there.
        """
        out, out_end = os.pipe2(os.O_CLOEXEC)
        err, err_end = os.pipe2(os.O_CLOEXEC)
        status, status_end = os.pipe2(os.O_CLOEXEC)
        listed = os.memfd_create("bwrap-arguments", os.MFD_CLOEXEC)
        try:
            os.write(listed, b"\0".join(each.encode() for each in arguments(plan)) + b"\0")
            os.lseek(listed, 0, os.SEEK_SET)
            command = [BWRAP, "--args", str(listed), "--json-status-fd", str(status_end), "--", *plan.command]
            process = start(
                command,
                netns=netns,
                environment={"PATH": plan.environment.get("PATH", "")},
                stdout=out_end,
                stderr=err_end,
                pass_fds=(listed, status_end),
            )
        except OSError as error:
            for fd in (out, err, status):
                os.close(fd)
            raise StartError(f"bubblewrap ({BWRAP}): {error.strerror}; `eastwest doctor` names the package") from None
        finally:
            for fd in (out_end, err_end, status_end, listed):
                os.close(fd)
        container = cls(plan, process, log)
        pumps = [
            asyncio.create_task(container._pump(PipeReader(out), "stdout")),
            asyncio.create_task(container._pump(PipeReader(err), "stderr")),
        ]
        container._tasks = [asyncio.create_task(container._mind(PipeReader(status), pumps))]
        try:
            async with asyncio.timeout(_START_DEADLINE):
                await container._running.wait()
        except TimeoutError:
            container.kill()
            raise StartError(f"bubblewrap did not reach the command within {_START_DEADLINE:.0f} s") from None
        container.started = time.time()
        if container.ended.is_set() and container.exit.problem:
            raise StartError(container.exit.problem)
        return container

    async def _pump(self, reader: PipeReader, stream: str) -> None:
        try:
            while chunk := await reader.read():
                if stream == "stderr" and not self._running.is_set():
                    self._errors = (self._errors + chunk)[-4096:]
                self.log.write(stream, chunk)
        finally:
            reader.close()

    async def _mind(self, status: PipeReader, pumps: list[asyncio.Task[None]]) -> None:
        """Follow bubblewrap's status: the first process, its command's start, its exit code."""
        told = b""
        waiting: asyncio.Task[None] | None = None
        finished = False
        try:
            while chunk := await status.read():
                told += chunk
                *lines, told = told.split(b"\n")
                for line in lines:
                    message = json.loads(line)
                    finished = finished or "exit-code" in message
                    if "child-pid" in message:
                        self.pid = int(message["child-pid"])
                        with contextlib.suppress(ProcessLookupError):
                            self._pidfd = os.pidfd_open(self.pid)
                        waiting = asyncio.create_task(self._watch_for_command())
        finally:
            status.close()
            if waiting is not None:
                waiting.cancel()
        code = await self._process.wait()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        for pump in pumps:
            await pump
        code = code if code >= 0 else 128 - code
        problem = ""
        if not finished and not self._running.is_set():
            words = self._errors.decode(errors="replace").strip().rpartition("\n")[2]
            problem = words.removeprefix("bwrap: ") or f"bubblewrap ended with exit code {code}"
            code = START_ERROR
        self.exit = Exit(code=code, problem=problem)
        self.log.close()
        self._clean()
        self.ended.set()
        self._running.set()

    async def _watch_for_command(self) -> None:
        """Set `_running` once the first process is no longer bubblewrap itself: its root is then complete.

        The kernel tells nobody about an `execve`, so this looks; it takes some 10 ms and ends with the process.
        """
        own = _identity(BWRAP)
        pause = 0.002
        while True:
            try:
                now = _identity(f"/proc/{self.pid}/exe")
            except OSError:
                return
            if now != own:
                self._running.set()
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def _clean(self) -> None:
        root = self.plan.folder / "root"
        if self.plan.image.folder and root.is_dir():
            try:
                system.unmount(str(root))
            except OSError:  # no overlay was made here
                return

    def signal(self, sig: signal.Signals) -> None:
        """Send a signal to its first process; as in any container, one that it does not handle does nothing."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, sig)

    def kill(self) -> None:
        """End it now."""
        if self._pidfd >= 0:
            self.signal(signal.SIGKILL)
        else:
            self._process.send(signal.SIGKILL)

    async def wait(self) -> Exit:
        """How it ended, after its last output is in the log."""
        await self.ended.wait()
        return self.exit
