"""The agent beside each Envoy: its identity, its configuration, its life; `pilot-agent` in the container istio-proxy.

What belongs here: the session with istiod, starting and ending Envoy, the command line. What does not: serving pieces
to Envoy (`xds`), probes (`healthz`). Standard library only: it starts with every meshed pod. The protocol with istiod
is in docs/explanation/architecture.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Final

from clusters.lab.mesh import healthz, xds
from clusters.lab.mesh.bootstrap import FOLDER, IDENTITY, LIFETIME, ROOTS, SOCKET, STATUS, bootstrap, seconds
from clusters.lab.mesh.line import SILENCE, Line, Message, dial

CREDENTIALS: Final = "/var/run/secrets/tokens"
"""Where the projected token `istio-token` is."""
ROOT_CERTIFICATE: Final = "/var/run/secrets/istio/root-cert.pem"
PROTOCOL: Final = 1
TAKEN: Final = 10.0
"""Seconds in which Envoy must say that it has taken a piece."""
DRAIN: Final = 0.3
"""Seconds between asking Envoy to drain and ending it; Istio's five are more than a test's pod lives."""
RETRY: Final = (0.2, 5.0)
BACK_OFF: Final = (0.2, 5.0)
_TYPES: Final = {"cds": "clusters", "lds": "listeners", "rds": "routes"}
_SDS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
_VERSION: Final = "1.40.0"
_UNEXPECTED: Final = (AttributeError, LookupError, TypeError, ValueError)
"""What a message that is not as the protocol has it ends with."""


def say(line: str) -> None:
    """To the container's log."""
    sys.stderr.write(f"pilot-agent: {line}\n")
    sys.stderr.flush()


class Envoy:
    """The proxy's process: started again with growing pauses when it dies by itself."""

    def __init__(self, configuration: str, pieces: xds.Pieces) -> None:
        self._pieces = pieces
        self._command = [
            shutil.which("envoy") or "envoy",
            *("-c", configuration, "--concurrency", "1", "--disable-hot-restart", "--skip-deprecated-logs"),
            *("--drain-time-s", "45", "--drain-strategy", "immediate", "--log-level", "warning"),
            *("--component-log-level", "misc:error", "--file-flush-interval-msec", "1000"),
        ]
        self._pid = 0
        self._ending = threading.Event()
        self.ended = threading.Event()
        self.last_words = ""

    def start(self) -> None:
        """Start it; returns at once."""
        xds.in_background(self._live)

    def _live(self) -> None:
        pause = BACK_OFF[0]
        while not self._ending.is_set():
            self._pieces.begin()
            reader, writer = os.pipe()
            self._pid = os.posix_spawn(
                self._command[0], self._command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 2)]
            )
            os.close(writer)
            began = time.monotonic()
            with os.fdopen(reader, "r", encoding="utf-8", errors="replace") as words:
                for line in words:
                    self.last_words = line.strip() or self.last_words
                    sys.stderr.write(line)
                    sys.stderr.flush()
            _, status = os.waitpid(self._pid, 0)
            self._pid = 0
            if self._ending.is_set():
                break
            say(f"Envoy ended with {os.waitstatus_to_exitcode(status)} and is started again")
            pause = BACK_OFF[0] if time.monotonic() - began > BACK_OFF[1] else min(pause * 2, BACK_OFF[1])
            self._ending.wait(pause)
        self.ended.set()

    @property
    def down(self) -> str:
        """That it does not run; empty when it does."""
        return "" if self._pid else "Envoy does not run"

    def end(self) -> None:
        """Let it drain, then end it; returns when it is gone."""
        self._ending.set()
        with contextlib.suppress(OSError):
            healthz.admin("POST", "/drain_listeners?graceful&skip_exit", timeout=1)
        self.ended.wait(DRAIN)
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
        if not self.ended.wait(1) and self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self.ended.wait(1)


class Session:
    """The line to istiod, made again whenever it is lost; what comes over it is offered to Envoy."""

    def __init__(self, pieces: xds.Pieces, envoy: Envoy, environment: dict[str, str]) -> None:
        self._pieces, self._envoy, self._environment = pieces, envoy, environment
        self._pushes: queue.Queue[tuple[Line, Message]] = queue.Queue()
        self._stamp = 0
        self.reason = "istiod has not been reached"
        """Why the proxy is not ready; empty once the first push is in force, whatever becomes of istiod then."""

    def start(self) -> None:
        """Begin; returns at once."""
        xds.in_background(self._keep)
        xds.in_background(self._apply)

    def _keep(self) -> None:
        pause = RETRY[0]
        while True:
            began = time.monotonic()
            try:
                self._converse()
                lost = "istiod ended the session"
            except OSError as error:
                lost = str(error) or type(error).__name__
            except _UNEXPECTED as error:
                lost = f"an unexpected message: {error!r}"
            if self.reason:
                self.reason = f"istiod: {lost}"
            say(f"istiod: {lost}; trying again")
            pause = RETRY[0] if time.monotonic() - began > SILENCE else min(pause * 2, RETRY[1])
            time.sleep(pause)

    def _converse(self) -> None:
        host, _, port = self._environment.get("CA_ADDR", "istiod.istio-system.svc:15012").rpartition(":")
        token = Path(CREDENTIALS, "istio-token").read_text(encoding="ascii").strip()
        context = ssl.create_default_context(cafile=ROOT_CERTIFICATE)
        with dial(host, int(port)) as plain, Line(context.wrap_socket(plain, server_hostname=host)) as line:
            line.say(
                {
                    "op": "hello",
                    "protocol": PROTOCOL,
                    "token": token,
                    "namespace": self._environment.get("POD_NAMESPACE", ""),
                    "pod": self._environment.get("POD_NAME", ""),
                    "address": self._environment.get("INSTANCE_IP", ""),
                    "version": _VERSION,
                    "life": seconds(self._environment.get(LIFETIME, "")),
                }
            )
            for message in line.messages():
                self._hear(line, message)

    def _hear(self, line: Line, message: Message) -> None:
        if message["op"] == "secret":
            self._offer(_secrets(message))
        elif message["op"] == "push":
            self._pushes.put((line, message))
        elif message["op"] == "refused":
            raise OSError(str(message.get("reason", "refused")))

    def _offer(self, texts: dict[xds.Piece, str]) -> set[xds.Piece]:
        """Each offer has a number of its own: a piece that another istiod sends again unchanged keeps its version."""
        self._stamp += 1
        return self._pieces.offer(texts, str(self._stamp))

    def _apply(self) -> None:
        while True:
            line, push = self._pushes.get()
            try:
                line.say(self._answer(push))
            except _UNEXPECTED as error:
                line.fail(OSError(f"an unexpected push: {error!r}"))

    def _answer(self, push: Message) -> Message:
        version = push["version"]
        try:
            self._carry_out(push)
        except (xds.RejectedError, TimeoutError) as error:
            self.reason = self.reason and f"Envoy did not take its configuration: {error}"
            return {"op": "nack", "version": version, "error": f"{error}: {self._envoy.last_words}"}
        self.reason = ""
        return {"op": "ack", "version": version}

    def _carry_out(self, push: Message) -> None:
        """Clusters before what refers to them, and everything taken before this returns."""
        texts = {_piece(name): str(text) for name, text in push["files"].items()}
        deadline = time.monotonic() + TAKEN
        clusters = {piece: text for piece, text in texts.items() if piece[0] == "clusters"}
        rest = {piece: text for piece, text in texts.items() if piece not in clusters}
        if clusters:
            self._pieces.await_taken(self._offer(clusters), deadline)
        fresh = self._offer(rest)
        self._pieces.withdraw(_piece(name) for name in push.get("removed") or [])
        self._pieces.await_taken(fresh, deadline)


def _piece(name: str) -> xds.Piece:
    kind, _, rest = name.partition("/")
    return _TYPES[kind], rest


def _secrets(message: Message) -> dict[xds.Piece, str]:
    own = {
        "@type": _SDS,
        "name": IDENTITY,
        "tls_certificate": {
            "certificate_chain": {"inline_string": message["certificate"]},
            "private_key": {"inline_string": message["key"]},
        },
    }
    trusted = {
        "@type": _SDS,
        "name": ROOTS,
        "validation_context": {"trusted_ca": {"inline_string": message["roots"]}},
    }
    return {("secrets", IDENTITY): json.dumps([own]), ("secrets", ROOTS): json.dumps([trusted])}


def proxy() -> int:
    """Be the container's main process until SIGTERM."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    environment = dict(os.environ)
    configuration = f"{FOLDER}/envoy.json"
    metadata = {
        "NAMESPACE": environment.get("POD_NAMESPACE", ""),
        "NAME": environment.get("POD_NAME", ""),
        "WORKLOAD_NAME": environment.get("ISTIO_META_WORKLOAD_NAME", ""),
        "SERVICE_ACCOUNT": environment.get("SERVICE_ACCOUNT", ""),
        "NODE_NAME": environment.get("ISTIO_META_NODE_NAME", ""),
        "CLUSTER_ID": environment.get("ISTIO_META_CLUSTER_ID", ""),
        "MESH_ID": environment.get("ISTIO_META_MESH_ID", ""),
    }
    started = bootstrap(
        namespace=metadata["NAMESPACE"],
        pod=metadata["NAME"],
        address=environment.get("INSTANCE_IP", ""),
        metadata={key: value for key, value in metadata.items() if value},
    )
    Path(configuration).write_text(json.dumps(started), encoding="utf-8")
    pieces = xds.Pieces()
    envoy = Envoy(configuration, pieces)
    xds.serve(pieces, SOCKET)
    envoy.start()
    session = Session(pieces, envoy, environment)
    session.start()
    probers = environment.get("ISTIO_KUBE_APP_PROBERS", "")
    healthz.serve(lambda: session.reason or envoy.down, probers, environment.get("INSTANCE_IP", ""))
    over.wait()
    envoy.end()
    return 0


def request(arguments: list[str]) -> int:
    """`pilot-agent request METHOD PATH`: Envoy's admin, as Istio's agent asks it."""
    words = [each for each in arguments if not each.startswith("-")]
    if len(words) != 2:
        say("request: give METHOD and PATH, e.g. request GET stats")
        return 2
    try:
        status, body = healthz.admin(words[0], words[1])
    except OSError as error:
        say(f"request: Envoy's admin does not answer: {error}")
        return 1
    sys.stdout.buffer.write(body)
    sys.stdout.flush()
    return 0 if status < 400 else 1


def wait(seconds: float = 60.0) -> int:
    """`pilot-agent wait`: return once the proxy is ready."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", STATUS), 1) as asked:
            asked.sendall(b"GET /healthz/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            if b" 200 " in asked.recv(64):
                return 0
        time.sleep(0.05)
    say(f"wait: the proxy is not ready after {seconds:.0f} s")
    return 1


def main() -> int:
    """The command line, as far as pods, kubelets and people use it."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["proxy"]:
        return proxy()
    if arguments[:1] == ["request"]:
        return request(arguments[1:])
    if arguments[:1] == ["wait"]:
        return wait()
    say(f"unknown command {' '.join(arguments) or '(none)'}; there are proxy, request and wait")
    return 2


if __name__ == "__main__":
    sys.exit(main())
