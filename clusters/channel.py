"""One exec stream: bytes to and from a command in a container, over one websocket.

What belongs here: the websocket, its framing and keepalive, and the API's stream protocol (v4 and v5 of
`channel.k8s.io`). What does not: what the bytes mean (`flows.stream`), other requests (`api`).
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from clusters.api import CONNECT_TIMEOUT, Connection, unreachable
from clusters.failures import failure
from flows.stream import ChannelClosed

_STDIN: Final = 0
_STDOUT: Final = 1
_STDERR: Final = 2
_STATUS: Final = 3

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")

PING_EVERY: Final = 15.0
"""Seconds of quiet after which a ping is sent: load balancers cut a stream that is idle for a minute."""
DEAD_AFTER: Final = 60.0
"""Seconds without a single byte, pings notwithstanding, after which the stream counts as lost."""
SEND_TIMEOUT: Final = 15.0
"""Seconds that the other side may refuse to take bytes."""
STDERR_KEPT: Final = 4000
"""Bytes of standard error that are kept, from its end."""


@dataclass(slots=True)
class _Frames:
    """Turns the server's bytes into websocket messages: (opcode, payload), fragments joined."""

    buffer: bytearray = field(default_factory=bytearray)
    partial: bytearray = field(default_factory=bytearray)
    opcode: int = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages that are complete with these bytes."""
        self.buffer += data
        messages = []
        while (frame := self._frame()) is not None:
            final, opcode, payload = frame
            if opcode >= _CLOSE:
                messages.append((opcode, payload))
                continue
            self.opcode = opcode or self.opcode
            self.partial += payload
            if final:
                messages.append((self.opcode, bytes(self.partial)))
                self.partial.clear()
        return messages

    def _frame(self) -> tuple[bool, int, bytes] | None:
        if len(self.buffer) < 2:
            return None
        first, length, start = self.buffer[0], self.buffer[1] & 0x7F, 2
        for marker, form in ((126, "!H"), (127, "!Q")):
            if length == marker:
                start = 2 + struct.calcsize(form)
                if len(self.buffer) < start:
                    return None
                length = struct.unpack(form, self.buffer[2:start])[0]
                break
        if len(self.buffer) < start + length:
            return None
        payload = bytes(self.buffer[start : start + length])
        del self.buffer[: start + length]
        return bool(first & 0x80), first & 0x0F, payload


class ExecChannel:
    """A command's standard input and output; one reader and one writer may use it at the same time.

    Args:
        path: The exec URL's path and query.
        place: What a person calls the pod, for messages.

    Raises:
        KubeError: The server refused the stream, or did not answer.
    """

    def __init__(self, connection: Connection, path: str, place: str) -> None:
        self._place = place
        self._sock, self._protocol = _connect(connection, path, place)
        self._frames = _Frames()
        self._io = threading.Lock()  # one thread at a time in the TLS library
        self._reading = threading.Lock()
        self._writing = threading.Lock()  # frames never interleave
        self._control: deque[bytes] = deque()
        self._ready = bytearray()
        self._stderr = bytearray()
        self._status = ""
        self._ended = ""
        self._closed = False
        self._heard = self._spoke = time.monotonic()

    def send(self, data: bytes) -> None:
        """Write to the command's standard input.

        Raises:
            ChannelClosed: The stream has ended; the message says why.
        """
        self._write(_frame(_BINARY, bytes([_STDIN]) + data))

    def receive(self, timeout: float) -> bytes:
        """What the command wrote to its standard output; empty when it wrote nothing for `timeout` seconds.

        Raises:
            ChannelClosed: The stream has ended and everything was read; the message has the command's last words.
        """
        with self._reading:
            deadline = time.monotonic() + timeout
            while True:
                self._pump()
                if self._ready:
                    data = bytes(self._ready)
                    self._ready.clear()
                    return data
                if self._ended or self._closed:
                    raise ChannelClosed(self._epitaph())
                self._keep_alive()
                left = deadline - time.monotonic()
                if left <= 0:
                    return b""
                self._poll(select.POLLIN, min(left, PING_EVERY))

    def close(self) -> None:
        """End the stream; the command sees the end of its standard input. A second call does nothing."""
        if self._closed:
            return
        with contextlib.suppress(ChannelClosed):
            if not self._ended:
                self._write(_frame(_CLOSE, struct.pack("!H", 1000)))
        self._closed = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes the reader
        with self._reading, self._io:
            self._sock.close()

    def _pump(self) -> None:
        """Take in everything that has arrived, without waiting."""
        while not (self._ended or self._closed):
            try:
                with self._io:
                    data = self._sock.recv(1 << 16)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self._end(f"the connection broke ({error.strerror or error})")
                return
            if not data:
                self._end("the API server closed the connection")
                return
            self._heard = time.monotonic()
            for opcode, payload in self._frames.feed(data):
                self._take(opcode, payload)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == _CLOSE:
            self._end(payload[2:].decode(errors="replace"))
        elif opcode == _PING:
            self._control.append(_frame(_PONG, payload))
            self._flush_control()
        elif opcode in {_TEXT, _BINARY} and payload:
            stream, content = payload[0], payload[1:]
            if stream == _STDOUT:
                self._ready += content
            elif stream == _STDERR:
                self._stderr += content
                del self._stderr[:-STDERR_KEPT]
            elif stream == _STATUS:
                self._status = _status_words(content)

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if now - self._heard > DEAD_AFTER:
            self._end(f"nothing heard for {DEAD_AFTER:.0f} s, pings notwithstanding")
            raise ChannelClosed(self._epitaph())
        if now - max(self._heard, self._spoke) > PING_EVERY:
            self._spoke = now
            self._control.append(_frame(_PING, b""))
            self._flush_control()

    def _flush_control(self) -> None:
        """Send what the protocol owes, unless a writer is at work: it will, and waiting for it could block both."""
        if self._writing.acquire(blocking=False):
            try:
                with contextlib.suppress(ChannelClosed):
                    self._push(b"")
            finally:
                self._writing.release()

    def _write(self, frame: bytes) -> None:
        with self._writing:
            self._push(frame)

    def _push(self, frame: bytes) -> None:
        """Send the frame after the control frames that are due; the caller holds `_writing`."""
        while self._control:
            frame = self._control.popleft() + frame
        rest = memoryview(frame)
        deadline = time.monotonic() + SEND_TIMEOUT
        while rest:
            if self._ended or self._closed:
                raise ChannelClosed(self._epitaph())
            try:
                with self._io:
                    rest = rest[self._sock.send(rest) :]
                self._spoke = time.monotonic()
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                left = deadline - time.monotonic()
                if left <= 0:
                    # Half a frame may be out: nothing sensible can follow it.
                    self._end(f"the API server took no bytes for {SEND_TIMEOUT:.0f} s")
                else:
                    self._poll(select.POLLOUT, left)
            except OSError as error:
                self._end(f"the connection broke ({error.strerror or error})")

    def _poll(self, events: int, seconds: float) -> None:
        poller = select.poll()
        with self._io:
            if self._sock.fileno() < 0:
                return
            poller.register(self._sock, events)
        poller.poll(max(seconds * 1000, 0))

    def _end(self, why: str) -> None:
        self._ended = self._ended or why or "closed"

    def _epitaph(self) -> str:
        why = self._status or ("closed by us" if self._closed else self._ended)
        said = self._stderr.decode(errors="replace").strip()
        return f"exec in {self._place}: {why}" + (f"; it wrote to stderr: {said}" if said else "")


def _status_words(content: bytes) -> str:
    """The final Status in words: `command ended with exit code 1`."""
    try:
        status = json.loads(content)
        if status.get("status") == "Success":
            return "command ended with exit code 0"
        for cause in (status.get("details") or {}).get("causes") or []:
            if cause.get("reason") == "ExitCode":
                return f"command ended with exit code {cause.get('message')}"
        return str(status.get("message") or content.decode())
    except (ValueError, AttributeError):
        return content.decode(errors="replace")


def _frame(opcode: int, payload: bytes) -> bytes:
    """A final frame of a client: masked, as the protocol demands."""
    from websocket import ABNF

    return bytes(ABNF.create_frame(payload, opcode).format())


def _connect(connection: Connection, path: str, place: str) -> tuple[socket.socket, str]:
    """The socket after the websocket's handshake, non-blocking, and the stream protocol that was agreed."""
    from websocket import WebSocket, WebSocketBadStatusException, WebSocketException

    what = f"exec in {place}"
    url = urlsplit(connection.host)
    secure = url.scheme == "https"
    tls = connection.tls() if secure else None
    name = connection.server_name or url.hostname or ""
    web = WebSocket(sslopt={"context": tls, "server_hostname": name}, skip_utf8_validation=True)
    options: dict[str, object] = {}
    try:
        if connection.proxy:
            proxy = urlsplit(connection.proxy)
            options["http_proxy_host"], options["http_proxy_port"] = proxy.hostname, proxy.port or 80
            options["proxy_type"] = proxy.scheme if proxy.scheme.startswith("socks") else "http"
            if proxy.username:
                options["http_proxy_auth"] = (proxy.username, proxy.password or "")
        else:
            plain = socket.create_connection((url.hostname, url.port or (443 if secure else 80)), CONNECT_TIMEOUT)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            options["socket"] = tls.wrap_socket(plain, server_hostname=name) if tls else plain
        handshake: Callable[..., None] = web.connect
        handshake(
            f"{'wss' if secure else 'ws'}://{url.netloc}{url.path}{path}",
            header=[f"{key}: {value}" for key, value in connection.headers().items()],
            subprotocols=list(_PROTOCOLS),
            suppress_origin=True,
            timeout=CONNECT_TIMEOUT,
            **options,
        )
    except WebSocketBadStatusException as error:
        raise failure(int(error.status_code), error.resp_body or b"", what, connection.secrets()) from error
    except (WebSocketException, OSError) as error:
        raise unreachable(connection.host, what, error) from error
    sock = web.sock
    if sock is None:
        raise unreachable(connection.host, what, ConnectionError("the handshake left no connection"))
    sock.setblocking(False)
    return sock, str(web.subprotocol or _PROTOCOLS[-1])
