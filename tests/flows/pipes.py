"""Real agents as subprocesses over pipes, network namespaces of our own, and servers that misbehave on purpose."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import flows.agent
from flows.stream import Agent, ChannelClosed

SOURCE = Path(flows.agent.__file__)
DEADLINE = 20.0


def soon() -> float:
    """A deadline that a working machine never reaches, on the monotonic clock."""
    return time.monotonic() + DEADLINE


class PipeChannel:
    """A channel to `relay.py` over two pipes."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self.process.stdin
        assert self.process.stdout
        assert self.process.stderr
        self._in, self._out, self._err = self.process.stdin, self.process.stdout, self.process.stderr

    def send(self, data: bytes) -> None:
        try:
            self._in.write(data)
            self._in.flush()
        except (OSError, ValueError):
            raise ChannelClosed(self._last_words()) from None

    def receive(self, timeout: float) -> bytes:
        try:
            if not select.select([self._out], [], [], timeout)[0]:
                return b""
            data = os.read(self._out.fileno(), 1 << 16)
        except (OSError, ValueError):
            data = b""
        if not data:
            raise ChannelClosed(self._last_words())
        return data

    def close(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)
        for pipe in (self._in, self._out, self._err):
            with contextlib.suppress(OSError):
                pipe.close()

    def _last_words(self) -> str:
        self.process.kill()
        self.process.wait(DEADLINE)
        said = "" if self._err.closed else self._err.read().decode().strip()
        return f"session ended; stderr: {said}"


class Served:
    """An agent that serves in a subprocess; `prefix` enters a namespace first."""

    def __init__(self, workload: str = "server", ports: str = "", prefix: Sequence[str] = (), pod: str = "") -> None:
        self.workload, self.prefix = workload, tuple(prefix)
        self.pod = pod or f"{workload}-{secrets.token_hex(4)}"
        names = {"POD": self.pod, "WORKLOAD": workload, "VERSION": "v1", "PORTS": ports}
        self.environment = {**os.environ, **{f"EASTWEST_{name}": value for name, value in names.items()}}
        self.channels: list[PipeChannel] = []
        self._agents: list[Agent] = []
        self.process = self._serve()

    def _serve(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self.command("serve"), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout
        assert process.stderr
        line = process.stdout.readline()
        assert line, process.stderr.read().decode()
        assert json.loads(line)["pod"] == self.pod
        return process

    def command(self, verb: str) -> list[str]:
        words = [str(SOURCE), "serve"] if verb == "serve" else [str(SOURCE.with_name("relay.py"))]
        return [*self.prefix, sys.executable, *words]

    def open_channel(self) -> PipeChannel:
        self.channels.append(PipeChannel(self.command("session"), self.environment))
        return self.channels[-1]

    def agent(self, on_reconnect: Callable[[str], None] | None = None) -> Agent:
        agent = Agent(self.workload, self.open_channel, on_reconnect=on_reconnect)
        self._agents.append(agent)
        agent.connect(soon())
        return agent

    def restart(self) -> None:
        self.end()
        self.process = self._serve()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=DEADLINE)

    def close(self) -> None:
        for agent in self._agents:
            agent.close()
        for channel in self.channels:
            channel.close()
        self.end()


class Namespace:
    """A network namespace of our own with loopback up; everything in it dies with the process that holds it."""

    def __init__(self) -> None:
        hold = "ip link set lo up && echo ready && exec cat"
        self._holder = subprocess.Popen(
            ["unshare", "-Urn", "sh", "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._holder.stdout
        assert self._holder.stderr
        if self._holder.stdout.readline() != b"ready\n":
            said = self._holder.stderr.read().decode().strip()
            self.close()
            pytest.skip(f"needs user namespaces: {said}")
        self.prefix = ["nsenter", "-t", str(self._holder.pid), "-U", "-n", "--preserve-credentials"]

    def run(self, *command: str, stdin: str = "") -> None:
        done = subprocess.run(
            [*self.prefix, *command], input=stdin, text=True, capture_output=True, timeout=DEADLINE, check=False
        )
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        self._holder.kill()
        self._holder.communicate(timeout=DEADLINE)


Behaviour = Callable[[socket.socket], None]


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def closes(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.close()


def says(text: str) -> Behaviour:
    """Answer anything with this and close."""

    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(text.encode())
        connection.close()

    return answer


def stays_silent(connection: socket.socket) -> None:
    del connection


@contextlib.contextmanager
def misbehaving(behaviour: Behaviour, met: threading.Event | None = None) -> Iterator[int]:
    """The port of a server on loopback that treats every connection so; `met` is set with the first one."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                held.append(connection)
                if met is not None:
                    met.set()
                with contextlib.suppress(OSError):
                    behaviour(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE)
        for connection in held:
            connection.close()


class Scripted:
    """A channel whose far side is a function: it is given each message sent, and yields those that come back."""

    def __init__(self, answer: Callable[[dict[str, Any]], Iterator[dict[str, Any] | bytes]]) -> None:
        self._answer = answer
        self._lines: queue.Queue[bytes] = queue.Queue()

    def send(self, data: bytes) -> None:
        for line in data.splitlines():
            for message in self._answer(json.loads(line)):
                self._lines.put(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")

    def receive(self, timeout: float) -> bytes:
        try:
            return self._lines.get(timeout=timeout)
        except queue.Empty:
            return b""

    def close(self) -> None:
        self._lines.put(b"")
