"""One TLS connection that takes what any thread says and hears what comes, in the one thread that owns it.

What belongs here: dialling, messages as lines of JSON, silence. What does not: what the messages mean (`pilot`).
Standard library only. OpenSSL allows no two threads in one connection, not even one that reads and one that writes.
"""

from __future__ import annotations

import contextlib
import json
import queue
import select
import socket
import ssl
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

from clusters.lab.mesh import healthz
from clusters.lab.mesh.bootstrap import MARK

Message = dict[str, Any]
PING: Final = 5.0
SILENCE: Final = 15.0
"""Seconds after which a connection on which nothing came is given up."""


class Line:
    """Messages over a connection; only `say` and `fail` are for other threads than the one that iterates.

    Args:
        connection: Owned from now on: it is closed together with the line.
    """

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self._waiting: queue.SimpleQueue[Message | Exception] = queue.SimpleQueue()
        self._woken, self._wake = socket.socketpair()
        for each in (self._woken, self._wake):
            each.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for each in (self._connection, self._woken, self._wake):
            each.close()

    def say(self, message: Message) -> None:
        """Send it soon; nobody is told of it when the line has ended."""
        self._put(message)

    def fail(self, error: Exception) -> None:
        """Let the thread that owns the line end with this error."""
        self._put(error)

    def _put(self, item: Message | Exception) -> None:
        self._waiting.put(item)
        with contextlib.suppress(OSError):  # The line has ended, or there is more than enough to wake up for.
            self._wake.send(b".")

    def messages(self) -> Iterator[Message]:
        """What comes, until the other side ends the connection; meanwhile what was said is sent.

        Raises:
            OSError: The connection broke, or nothing came for `SILENCE` seconds.
            ValueError: What came is no message.
            Exception: What `fail` was given.
        """
        heard = pinged = time.monotonic()
        buffer = b""
        while True:
            self._send_waiting()
            now = time.monotonic()
            if now - heard > SILENCE:
                raise TimeoutError(f"nothing heard for {SILENCE:.0f} s")
            if now - pinged >= PING:
                self._send({"op": "ping"})
                pinged = now
            if not self._connection.pending():
                self._wait(pinged + PING - now)
            chunk = self._read()
            if chunk is None:
                continue
            if not chunk:
                return
            heard = time.monotonic()
            *lines, buffer = (buffer + chunk).split(b"\n") if b"\n" in chunk else (buffer + chunk,)
            for each in lines:
                message = json.loads(each)
                if not isinstance(message, dict):
                    raise ValueError(f"no message: {each[:80]!r}")
                yield message

    def _send_waiting(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                continue
        while not self._waiting.empty():
            item = self._waiting.get()
            if isinstance(item, Exception):
                raise item
            self._send(item)

    def _send(self, message: Message) -> None:
        self._connection.settimeout(PING)
        self._connection.sendall(json.dumps(message).encode() + b"\n")

    def _wait(self, seconds: float) -> None:
        """Return as soon as something has come, or is to be sent, or the time is over."""
        waiting = select.poll()
        for each in (self._connection, self._woken):
            waiting.register(each, select.POLLIN)
        waiting.poll(max(seconds, 0) * 1000)

    def _read(self) -> bytes | None:
        """What has come; None when that is not yet anything whole, empty at the end."""
        self._connection.settimeout(0)
        try:
            return self._connection.recv(1 << 16)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None


def dial(host: str, port: int) -> socket.socket:
    """A connection that the pod's redirection leaves alone."""
    last: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(PING)
            connection.setsockopt(socket.SOL_SOCKET, healthz.SO_MARK, MARK)
            connection.connect(address)
        except OSError as error:
            connection.close()
            last = OSError(f"{host}:{port}: {error.strerror or error}")
            continue
        return connection
    raise last
