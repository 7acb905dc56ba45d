"""The process above a lab: it opens the API socket, makes the namespaces, and ends everything when its owner ends.

`python -m clusters.lab.supervisor` reads its `Settings` as one line on standard input and answers one line, `ready` or
`error`, on standard output. From then on the end of standard input ends the lab, unless `{"op": "detach"}` came
before. What belongs here: the life of the whole. What does not: what happens inside (`init`), the owner (`handle`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from clusters.lab import pki, record, requirements, system
from clusters.lab.init import Init, authority_to_message
from clusters.lab.settings import Lines, Message, Settings, say
from flows.errors import HarnessError, PreparationError

_END_DEADLINE: Final = 5.0
_PRIVILEGED: Final = os.geteuid() == 0
"""Whether we are root outside; inside the lab everybody is."""
_ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_NAMESPACES: Final = system.CLONE_NEWUSER | system.CLONE_NEWNET | system.CLONE_NEWNS | system.CLONE_NEWPID


def main() -> int:
    """Run one lab from its owner's wish to its end; the process's exit code."""
    os.environ["PATH"] = requirements.search_path()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a node holds several descriptors for each pod
    orders = Lines(0)
    wish: list[Message] = []
    while not wish and not orders.ended:
        wish = orders.read()
    if not wish:
        return 0
    settings = Settings.from_message(wish[0])
    supervisor = Supervisor(settings, orders)
    try:
        supervisor.start()
        supervisor.mind()
    except HarnessError as error:
        supervisor.last_words(error)
        return 1
    finally:
        supervisor.end()
    return 0


class Supervisor:
    """One lab's upper half.

    Args:
        settings: The lab that is wanted.
        orders: The owner's lines.
    """

    def __init__(self, settings: Settings, orders: Lines) -> None:
        self._settings, self._orders = settings, orders
        self._timings: list[tuple[str, float]] = []
        self._init = self._lifeline = self._handle = -1
        self._reports = Lines(-1)
        self._record = record.Record(
            id=settings.id,
            pid=os.getpid(),
            start=record.start_ticks(os.getpid()),
            kubeconfig=settings.kubeconfig,
            created=time.time(),
            nodes=settings.options.nodes,
            mesh=settings.options.mesh,
            mutant=settings.options.mutant,
        )
        self._kubeconfig: Message = {}
        self._announced = False

    def _mark(self, step: str) -> None:
        self._timings.append((step, time.monotonic() - self._settings.started))

    def start(self) -> None:
        """Socket, authority, record, namespaces, init.

        Raises:
            PreparationError: One of them cannot be had; the message names it and the remedy.
        """
        self._mark("supervisor")
        self._wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for each in _ENDING_SIGNALS:
            signal.signal(each, lambda *_: None)
        listener = _listen(self._settings.port)
        port = listener.getsockname()[1]
        _enter()
        self._mark("namespaces")
        lifeline, self._lifeline = os.pipe2(os.O_CLOEXEC)
        report, reporter = os.pipe2(os.O_CLOEXEC)
        self._init = os.fork()
        if self._init == 0:
            signal.set_wakeup_fd(-1)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            for fd in (null, self._lifeline, report, self._wake, waker):
                os.close(fd)
            Init(self._settings, listener, Lines(lifeline), reporter, self._timings).run()
        self._handle = os.pidfd_open(self._init)
        self._reports = Lines(report)
        for fd in (lifeline, reporter):
            os.close(fd)
        listener.close()
        # Init builds the fabric and imports meanwhile: on two cores the keys and the record cost no time.
        authority = pki.make_authority()
        self._kubeconfig = pki.kubeconfig(authority, f"https://127.0.0.1:{port}")
        self._record = replace(self._record, port=port)
        record.write(self._record, self._kubeconfig)
        with contextlib.suppress(BrokenPipeError):  # init is dead already, and `mind` reads why
            say(self._lifeline, authority_to_message(authority))

    def mind(self) -> None:
        """Wait for the owner, a signal, or the lab's own end, whichever comes first.

        Raises:
            PreparationError: The lab ended by itself; with its last words.
        """
        poll = select.poll()
        for fd in (self._orders.fileno(), self._reports.fileno(), self._wake, self._handle):
            poll.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._wake in ready:
                self._tell({"ended": True})
                return
            if self._reports.fileno() in ready:
                for message in self._reports.read():
                    self._report(message)
                if self._reports.ended:
                    poll.unregister(self._reports.fileno())
            elif self._handle in ready:
                raise PreparationError("the lab's first process ended without a word (out of memory?)")
            if self._orders.fileno() in ready:
                for order in self._orders.read():
                    self._obey(order)
                if self._orders.ended:
                    if not self._record.detached:
                        return
                    poll.unregister(self._orders.fileno())

    def _report(self, message: Message) -> None:
        self._timings = [(step, seconds) for step, seconds in message.get("timings", self._timings)]
        if "error" in message:
            raise PreparationError(_explained(message["error"]), detail=message.get("detail", ""))
        self._mark("told")
        self._announced = True
        self._tell(
            {
                "ready": {
                    "kubeconfig": self._kubeconfig,
                    "record": str(self._record.path),
                    "pid": os.getpid(),
                    "port": self._record.port,
                    "facts": message["ready"],
                    "timings": self._timings,
                }
            }
        )

    def _obey(self, order: Message) -> None:
        if order.get("op") == "detach":
            fresh = replace(self._record, detached=True)
            try:
                record.write(fresh, self._kubeconfig)
            except PreparationError as error:
                self._tell({"error": error.message})
                return
            self._record = fresh
            self._tell({"detached": True})

    def _tell(self, message: Message) -> None:
        with contextlib.suppress(BrokenPipeError):
            say(1, message)

    def last_words(self, error: HarnessError) -> None:
        """Tell the owner why the lab ended; a detached lab leaves them in its record for the next command."""
        self._tell({"error": error.message, "detail": error.detail})
        if self._record.detached:
            self._record = replace(self._record, ended=f"{error.message}\n{error.detail}".strip())
            with contextlib.suppress(PreparationError):
                record.write(self._record)

    def end(self) -> None:
        """End every process of the lab, then remove its record; nothing is left."""
        if self._init > 0:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            poll = select.poll()
            poll.register(self._handle, select.POLLIN)
            if poll.poll(_END_DEADLINE * 1000):
                os.waitpid(self._init, 0)
        if not self._record.ended:
            with contextlib.suppress(OSError):
                self._record.path.unlink()


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} on 127.0.0.1 is taken by another program; give another with --port, or 0 for any"
        else:
            message = f"port {port} on 127.0.0.1: {error.strerror}; give another with --port, or 0 for any"
        raise PreparationError(message) from None
    listener.listen(512)
    return listener


def _enter() -> None:
    """Enter fresh namespaces as their root, whoever we are outside.

    Raises:
        PreparationError: This machine does not allow it; names the setting.
    """
    user, group = os.getuid(), os.getgid()
    try:
        system.unshare(_NAMESPACES)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")
    except OSError as error:
        raise PreparationError(_explained(f"user namespaces cannot be made here: {error.strerror}")) from None


def _explained(message: str) -> str:
    """The message, with the kernel setting that is to blame where there is one."""
    blamed = requirements.restrictions(privileged=_PRIVILEGED)
    if not blamed:
        return f"{message}; `eastwest doctor` tries each step" if "not permitted" in message else message
    first = blamed[0]
    return f"{message}; {first.name}={first.value}: {first.why}; run `{first.remedy}`"


if __name__ == "__main__":
    sys.exit(main())
