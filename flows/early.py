"""What a new pod sends from its very first moment, before its agent has even been loaded.

`early.py probe` forks: the child calls the targets of EASTWEST_EARLY every few milliseconds, the parent becomes the
agent. `early.py tell`, run by an exec, prints the child's ledger once its time is over. A file of its own beside
`agent.py`, with as few imports as it can, since each of them is a millisecond in which a leak would not be seen: Python
3.9, standard library only. What belongs here: sending, and the ledger. What does not: what it means (`ledger`).

EASTWEST_EARLY is `SECONDS PROTOCOL,HOST,PORT,NONCE,SOURCE…`; each call's nonce gets `-NUMBER` appended. The ledger is
one line of JSON: `began` and `now` on the pod's monotonic clock, and of each call `target` (place in the list),
`nonce`, `at`, `outcome` (`answered`, `silent`, `connected`, `closed`, or an errno's name) and `elapsed`.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PERIOD = 0.01
"""Seconds between two calls of a target."""
PATIENCE = 0.3
"""Seconds that one call waits for its answer."""
TELLING = 15.0
"""Seconds that `tell` waits for the ledger."""
SOURCES = (12_000, 8_000)
"""First and number of the ports that datagrams are sent from, of which each target has its own; none of those that the
agent's own datagrams use, which a kernel may remember as allowed."""
EACH = 250
NAME = "\0eastwest-early-" + os.environ.get("EASTWEST_POD", "")


class Call:
    """One call of one target; `outcome` is empty while nothing is known."""

    def __init__(self, place: int, target: list[str], number: int) -> None:
        protocol, host, port, nonce, source = target
        self.place, self.nonce, self.at = place, f"{nonce}-{number}", time.monotonic()
        self.outcome, self.elapsed, self.datagram = "", 0.0, protocol == "udp"
        self.question = f'{{"nonce": "{self.nonce}", "source": "{source}"}}\n'.encode()
        kind = socket.SOCK_DGRAM if self.datagram else socket.SOCK_STREAM
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
        self.sock.setblocking(False)
        if self.datagram:
            self._bind(SOURCES[0] + (place * EACH + number % EACH) % SOURCES[1])
        code = self.sock.connect_ex((host, int(port)))
        if self.datagram and not code:
            code = self._say()
        self.outcome = "" if code in {0, errno.EINPROGRESS} else errno.errorcode.get(code, str(code))

    def _bind(self, port: int) -> None:
        try:
            self.sock.bind(("", port))
        except OSError:
            return  # somebody has it; the kernel gives another one

    def _say(self) -> int:
        try:
            self.sock.send(self.question)
        except OSError as error:
            return error.errno or -1
        return 0

    def hear(self) -> bool:
        """Take what the socket has to say; whether the call is over."""
        try:
            if not self.datagram and not self.outcome:
                code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                self.outcome = errno.errorcode.get(code, str(code)) if code else "connected"
                return bool(code) or self._say() != 0
            self.outcome = "answered" if self.nonce.encode() in self.sock.recv(4096) else "closed"
        except BlockingIOError:
            return False
        except OSError as error:
            self.outcome = errno.errorcode.get(error.errno or 0, str(error))
        return True

    def end(self, now: float) -> None:
        """Nothing more will come."""
        self.outcome, self.elapsed = self.outcome or "silent", now - self.at
        self.sock.close()

    def record(self) -> dict[str, Any]:
        """The call as the ledger has it."""
        return {each: getattr(self, each) for each in ("place", "nonce", "at", "outcome", "elapsed")}


def ledger(targets: list[list[str]], seconds: float) -> dict[str, Any]:
    """Call every target again and again for so many seconds."""
    calls: list[Call] = []
    waiting: dict[int, Call] = {}
    poll = select.poll()
    began = due = now = time.monotonic()
    number = 0
    while now < began + seconds or waiting:
        if due <= now < began + seconds:
            number, due = number + 1, max(due + PERIOD, now)
            for place, target in enumerate(targets):
                call = Call(place, target, number)
                calls.append(call)
                if call.outcome:
                    call.end(time.monotonic())
                else:
                    waiting[call.sock.fileno()] = call
                    poll.register(call.sock, select.POLLIN if call.datagram else select.POLLOUT)
        for file, _ in poll.poll(max(0.0, due - now) * 1000 if now < began + seconds else PERIOD * 1000):
            if waiting[file].hear():
                poll.unregister(file)
                waiting.pop(file).end(time.monotonic())
            else:
                poll.modify(file, select.POLLIN)
        now = time.monotonic()
        for file, call in list(waiting.items()):
            if now > call.at + PATIENCE:
                poll.unregister(file)
                waiting.pop(file).end(now)
    return {"began": began, "calls": [call.record() for call in calls]}


def probe() -> None:
    """Fork: call the targets here, become the agent there."""
    seconds, *targets = os.environ["EASTWEST_EARLY"].split()
    if os.fork():
        agent = __file__.rpartition("/")[0] + "/agent.py"
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-u", agent, "serve"])
    told = ledger([each.split(",") for each in targets], float(seconds))
    import json

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(NAME)
        sock.listen(4)
        while True:
            with sock.accept()[0] as peer:
                peer.sendall(json.dumps(dict(told, now=time.monotonic())).encode() + b"\n")


def tell() -> None:
    """Print the ledger."""
    until = time.monotonic() + TELLING
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        while sock.connect_ex(NAME):
            if time.monotonic() > until:
                raise SystemExit("eastwest early: no ledger; was the pod given targets?")
            time.sleep(0.02)
        while data := sock.recv(1 << 16):
            while data:
                data = data[os.write(1, data) :]


if __name__ == "__main__":
    {"probe": probe, "tell": tell}[sys.argv[1]]()
