"""PID 1 of a lab: its mounts, its fabric, and the processes that make it a cluster; when it ends, all of them end.

What belongs here: forking, reaping, the last words of what died. What does not: state records and the owner (the
supervisor's), what the processes do. Nothing here starts a thread or an event loop before the last fork.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import importlib
import logging
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from clusters.lab import addresses, fabric, pki, system
from clusters.lab.settings import Lines, Message, Settings, say

if TYPE_CHECKING:
    from clusters.lab.client import Client

Body = Coroutine[Any, Any, None]
"""What a process of the lab runs in its event loop."""
_CLIENT: Final = "clusters.lab.client"
_API: Final = "clusters.lab.api.server"
_CONTROLLERS: Final = "clusters.lab.controllers"
_KUBELET: Final = "clusters.lab.node.kubelet"
_HERALD: Final = "clusters.lab.herald"
_LOG_LIMIT: Final = 1 << 20
"""Bytes that a process's log may grow to before its older half goes."""
_LOG_ROUND: Final = 5.0
"""Seconds between looks at the logs' sizes."""
TAIL: Final = 4000
"""Characters of a dead process's log that travel to the owner."""


class LabFailureError(Exception):
    """The lab cannot go on: one line, and the last words of what failed."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


@dataclass(slots=True)
class Init:
    """PID 1.

    Attributes:
        lifeline: Read end of a pipe that brings the authority and ends when the supervisor does.
        report: Write end of the pipe to the supervisor.
        timings: (step, seconds since the owner asked).
    """

    settings: Settings
    listener: socket.socket
    lifeline: Lines
    report: int
    timings: list[tuple[str, float]]
    core: dict[int, str] = field(default_factory=dict)
    logs: Path = Path("/run")

    def run(self) -> NoReturn:
        """Build the lab and mind it until the supervisor is gone or a core process dies."""
        code = 1
        try:
            system.die_with_parent()
            self._build()
            self._mind()
            code = 0
        except (LabFailureError, system.KernelError, OSError) as error:
            detail = error.detail if isinstance(error, LabFailureError) else ""
            self._say({"error": f"the lab on this machine failed: {_first_line(error)}", "detail": detail})
        except ImportError as error:
            self._say({"error": f"the lab's own code is incomplete: {error}; install eastwest again"})
        finally:
            os._exit(code)

    def _say(self, message: Message) -> None:
        say(self.report, {**message, "timings": self.timings})

    def _mark(self, step: str) -> None:
        self.timings.append((step, time.monotonic() - self.settings.started))

    def _build(self) -> None:
        options = self.settings.options
        gc.disable()  # nothing that an import makes is garbage
        system.make_mounts_private()
        system.mount("proc", "/proc", "proc")
        system.mount("tmpfs", "/run", "tmpfs", "mode=755")
        self.logs = Path(options.state) / "logs"
        self.logs.mkdir(parents=True)
        self._mark("mounts")
        namespaces = fabric.build(options.nodes, options.plan)
        self._mark("fabric")
        sockets = [self.listener, *(_listen(address) for address in options.plan.control_plane)]
        importlib.import_module(_CLIENT)
        self._mark("client")
        authority = self._authority()
        self._mark("authority")
        # The API server imports its own modules while we import everybody else's.
        self._fork("api", lambda: importlib.import_module(_API).serve(sockets, authority, options, ready=_noted))
        for each in sockets:
            each.close()
        herald, controllers = importlib.import_module(_HERALD), importlib.import_module(_CONTROLLERS)
        kubelet = importlib.import_module(_KUBELET)
        gc.freeze()
        self._mark("preload")
        trust = authority.ca_pem
        self._fork(
            "controllers", lambda: self._as_client(lambda to: controllers.run(to, options, ca_pem=trust), authority)
        )
        for index, namespace in enumerate(namespaces):
            self._fork(f"node-{index}", self._node(kubelet.run, index, authority), netns=namespace)
            os.close(namespace)
        timeout = self.settings.ready_timeout
        self._fork(
            "herald",
            lambda: self._as_client(lambda client: herald.run(client, options, self._ready, timeout), authority),
        )
        gc.enable()

    def _authority(self) -> pki.Authority:
        """What the supervisor made meanwhile.

        Raises:
            LabFailureError: The supervisor ended instead.
        """
        messages: list[Message] = []
        while not messages:
            messages = self.lifeline.read()
            if self.lifeline.ended:
                raise LabFailureError("the supervisor ended")
        return authority_from_message(messages[0])

    def _node(self, run: Callable[..., Body], index: int, authority: pki.Authority) -> Callable[[], Body]:
        return lambda: self._as_client(lambda client: run(client, index, self.settings.options), authority)

    def _ready(self, facts: dict[str, str]) -> None:
        self._mark("ready")
        self._say({"ready": facts})

    async def _as_client(self, body: Callable[[Client], Body], authority: pki.Authority) -> None:
        from clusters.lab.client import Client

        host = self.settings.options.plan.control_plane[0]
        url = f"https://{f'[{host}]' if ':' in host else host}:{addresses.API_PORT}"
        async with Client(url, authority.node_token, pki.client_tls(authority.ca_pem)) as client:
            await body(client)

    def _fork(self, name: str, body: Callable[[], Body], *, netns: int | None = None) -> None:
        pid = os.fork()
        if pid:
            self.core[pid] = name
            return
        code = 1
        try:
            _become(name, self.logs / f"{name}.log")
            os.close(self.lifeline.fd)
            if netns is not None:
                fabric.become_node(netns)
            asyncio.run(body())
            code = 0
        except SystemExit as end:
            sys.stderr.write(f"{end}\n")
        finally:
            if sys.exc_info()[0]:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(code)

    def _mind(self) -> None:
        """Reap until the supervisor ends.

        Raises:
            LabFailureError: A core process ended.
        """
        wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._reap()
        poll = select.poll()
        poll.register(self.lifeline.fd, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(_LOG_ROUND * 1000)}
            if self.lifeline.fd in ready:
                return
            if wake in ready:
                os.read(wake, 4096)
            self._reap()
            if not ready:
                self._trim()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self.core.pop(pid, "")
            if name and not (name == "herald" and status == 0):
                code = os.waitstatus_to_exitcode(status)
                how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
                words = self._tail(name)
                last = words.strip().rpartition("\n")[2]
                message = last if name == "herald" and last else f"its process {name} ended ({how}): {last}"
                raise LabFailureError(message.rstrip(": "), words)

    def _tail(self, name: str) -> str:
        try:
            return (self.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-TAIL:]
        except FileNotFoundError:
            return ""

    def _trim(self) -> None:
        """Keep each log's newer half once it is too long, so that a chatty lab does not eat the machine's memory."""
        for path in self.logs.glob("*.log"):
            if path.stat().st_size > _LOG_LIMIT:
                with path.open("r+b") as log:
                    log.seek(-_LOG_LIMIT // 2, os.SEEK_END)
                    newer = log.read()
                    log.seek(0)
                    log.write(newer)
                    log.truncate()


def authority_to_message(authority: pki.Authority) -> Message:
    """One message that `authority_from_message` reads back."""
    return {**asdict(authority), "signing_secret": authority.signing_secret.hex()}


def authority_from_message(message: Message) -> pki.Authority:
    """The authority that `authority_to_message` wrote."""
    return pki.Authority(**{**message, "signing_secret": bytes.fromhex(message["signing_secret"])})


def _listen(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, addresses.API_PORT))
    listener.listen(512)
    return listener


def _become(name: str, log: Path) -> None:
    """Make a forked child a process of its own: name, log, no input, signals as the kernel gives them."""
    signal.set_wakeup_fd(-1)
    for each in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
    Path("/proc/self/comm").write_text(f"ew-{name}", encoding="ascii")
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    faulthandler.enable()
    gc.enable()
    level = logging.DEBUG if os.environ.get("EASTWEST_DEBUG") else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(name)s %(levelname)s %(message)s")


def _noted() -> None:
    """The sockets listen already and the herald asks through them, so that the API serves now is news to nobody."""


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
