"""Raw calls to a proxy on loopback: what comes back, byte for byte, and nothing normalised on the way."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.lab.mesh.envoy import DEADLINE, LOOPBACK


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`status` 0: no HTTP answer; `error` names how the connection ended then."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    error: str = ""

    @property
    def seen(self) -> dict[str, Any]:
        """What the application saw, as it says."""
        found: dict[str, Any] = json.loads(self.body)
        return found


def call(
    port: int,
    path: str = "/",
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "server.shop",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    sni: str = "outbound_.8080_._.server.shop.svc.cluster.local",
) -> Answer:
    """One HTTP/1.1 request on a connection of its own."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return parse(exchange(port, ("\r\n".join(lines) + "\r\n\r\n").encode(), tls=tls, sni=sni))


def exchange(port: int, sent: bytes, *, tls: ssl.SSLContext | None = None, sni: str = "x") -> bytes | str:
    """What comes back, to the end or a whole HTTP answer; text names an error: `reset`, `eof` or `tls: …`."""
    received = b""
    try:
        with socket.create_connection((LOOPBACK, port), DEADLINE) as plain:
            connection = tls.wrap_socket(plain, server_hostname=sni) if tls else plain
            connection.sendall(sent)
            while not _whole(received) and (part := connection.recv(65536)):
                received += part
    except ssl.SSLError as error:
        return received or f"tls: {error.reason}"
    except (ConnectionResetError, BrokenPipeError):
        return received or "reset"
    return received or "eof"


def _whole(received: bytes) -> bool:
    """Whether it is an HTTP answer with its whole body; Envoy closes only a second later."""
    head, end, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(end and length) and len(body) >= int(length[1] if length else 0)


def parse(received: bytes | str) -> Answer:
    """The answer that these bytes are."""
    if isinstance(received, str):
        return Answer(error=received)
    head, _, body = received.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1.1 "):
        return Answer(error=repr(received[:80]))
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    return Answer(status=int(first.split(" ")[1]), headers=headers, body=body.decode())
