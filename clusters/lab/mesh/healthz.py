"""What a proxy's agent answers on 15020: its own health, the application's probes, the proxy's figures.

What belongs here: that HTTP server, and asking the application in the kubelet's place. What does not: the proxy's life
(`pilot`). Standard library only.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any, Final

from clusters.lab.mesh.bootstrap import ADMIN, MARK, PROBES
from clusters.lab.mesh.xds import in_background, response

SO_MARK: Final = 36
_HEAD_END: Final = b"\r\n\r\n"
_OWN_SOURCE: Final = "127.0.0.6"
"""Where what a proxy hands to its own application comes from; the redirection leaves it alone."""
_PATIENCE: Final = 5.0


def serve(ready: Callable[[], str], probers: str, address: str) -> None:
    """Answer on 15020 for as long as the process lives; returns at once.

    Args:
        ready: Why the proxy is not ready; empty when it is.
        probers: `ISTIO_KUBE_APP_PROBERS`: path → what to ask the application, JSON.
        address: The pod's own address, at which the application is asked.
    """
    asked: dict[str, dict[str, Any]] = json.loads(probers) if probers else {}
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", PROBES))
    listener.listen(64)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            in_background(_answer, connection, ready, asked, address)

    in_background(accept)


def _answer(
    connection: socket.socket, ready: Callable[[], str], asked: dict[str, dict[str, Any]], address: str
) -> None:
    with connection:
        connection.settimeout(_PATIENCE)
        try:
            head = b""
            while _HEAD_END not in head:
                chunk = connection.recv(4096)
                if not chunk:
                    return
                head += chunk
            lines = head.partition(_HEAD_END)[0].decode("latin-1").split("\r\n")
            path = lines[0].split(" ")[1].partition("?")[0]
            status, body, kind = _said(path, lines[1:], ready, asked, address)
            connection.sendall(response(status, body, kind).replace(b"\r\n", b"\r\nconnection: close\r\n", 1))
        except (OSError, IndexError):
            return


def _said(
    path: str, headers: list[str], ready: Callable[[], str], asked: dict[str, dict[str, Any]], address: str
) -> tuple[str, bytes, str]:
    if path == "/healthz/ready":
        reason = ready()
        return ("503 Service Unavailable" if reason else "200 OK"), reason.encode(), "text/plain"
    if path == "/stats/prometheus":
        return "200 OK", admin("GET", path)[1], "text/plain"
    if path in asked:
        code = _application(asked[path], headers, address)
        return f"{code} Said", b"", "text/plain"
    return "404 Not Found", b"", "text/plain"


def _application(probe: dict[str, Any], headers: list[str], address: str) -> int:
    """The application's own status, 200 for an open TCP port, 500 when it did not answer."""
    question = probe.get("httpGet") or probe.get("tcpSocket") or {}
    target = (address, int(question["port"]))
    timeout = float(probe.get("timeoutSeconds") or 1)
    try:
        with _dial(target, timeout) as connection:
            if "tcpSocket" in probe:
                return 200
            user = next((line for line in headers if line.lower().startswith("user-agent:")), "user-agent: kube-probe")
            given = [f"{each['name']}: {each['value']}" for each in question.get("httpHeaders") or []]
            named = any(each.lower().startswith("host:") for each in given)
            lines = [
                f"GET {question.get('path') or '/'} HTTP/1.1",
                *([] if named else [f"host: {address}:{target[1]}"]),
                user,
                *given,
                "connection: close",
            ]
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            return _status(connection)
    except (OSError, ValueError, IndexError):
        return 500


def _status(connection: socket.socket) -> int:
    """Of the first line of an answer."""
    head = b""
    while b"\r\n" not in head:
        chunk = connection.recv(4096)
        if not chunk:
            break
        head += chunk
    return int(head.split(b" ", 2)[1])


def _dial(target: tuple[str, int], timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.setsockopt(socket.SOL_SOCKET, SO_MARK, MARK)
        if ":" not in target[0]:
            connection.bind((_OWN_SOURCE, 0))
        connection.connect(target)
    except OSError:
        connection.close()
        raise
    return connection


def admin(method: str, path: str, timeout: float = _PATIENCE) -> tuple[int, bytes]:
    """Ask Envoy's admin; its status and its whole answer.

    Raises:
        OSError: It does not listen, or did not answer in time.
    """
    with socket.create_connection(("127.0.0.1", ADMIN), timeout) as connection:
        target = path if path.startswith("/") else f"/{path}"
        lines = [f"{method} {target} HTTP/1.1", f"host: localhost:{ADMIN}", "content-length: 0", "connection: close"]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        parts = []
        while chunk := connection.recv(1 << 16):
            parts.append(chunk)
    head, _, body = b"".join(parts).partition(_HEAD_END)
    if b"transfer-encoding: chunked" in head.lower():
        body = _joined(body)
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        raise OSError("Envoy's admin gave no answer")
    return int(words[1]), body


def _joined(body: bytes) -> bytes:
    """A chunked body's content."""
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0] or b"0", 16)
        if not length:
            break
        parts.append(body[:length])
        body = body[length + 2 :]
    return b"".join(parts)
