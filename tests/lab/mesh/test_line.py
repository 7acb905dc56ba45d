"""The agent's connection with istiod, over real TLS: who touches it, how soon an answer leaves, what ends it."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clusters.lab.mesh import pilot
from clusters.lab.mesh.ca import Authority
from clusters.lab.mesh.line import PING, Line
from clusters.lab.mesh.xds import Pieces

NAME = "localhost"


class Istiod:
    """The other side: takes connections one after another, and says what the test wants."""

    def __init__(self, folder: Path) -> None:
        authority = Authority.fresh()
        self.roots = folder / "roots.pem"
        self.roots.write_text(authority.roots, encoding="ascii")
        issued = authority.server([NAME])
        pem = folder / "server.pem"
        pem.write_text(issued.chain + issued.key, encoding="ascii")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self.port = int(self._listener.getsockname()[1])

    def take(self) -> Peer:
        connection, _ = self._listener.accept()
        connection.settimeout(10)
        return Peer(self._context.wrap_socket(connection, server_side=True))

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.roots))

    def close(self) -> None:
        self._listener.close()


class Peer:
    """One connection as istiod has it."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self._connection.settimeout(PING / 2)  # Sooner than anything that only a ping would carry along.
        self._lines = connection.makefile("r", encoding="utf-8")

    def say(self, **message: Any) -> None:
        self._connection.sendall(json.dumps(message).encode() + b"\n")

    def hear(self) -> Any:
        """The next message; None at the end."""
        line = self._lines.readline()
        return json.loads(line) if line else None

    def leave(self) -> None:
        self._lines.close()
        self._connection.close()


class Traced(ssl.SSLSocket):
    """Remembers who touched it."""

    touched: set[int]

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.touched = {*getattr(self, "touched", set()), threading.get_ident()}
        super().sendall(data, flags)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        self.touched = {*getattr(self, "touched", set()), threading.get_ident()}
        return super().recv(buflen, flags)


@pytest.fixture
def istiod(tmp_path: Path) -> Iterator[Istiod]:
    """An istiod that nobody has reached yet."""
    found = Istiod(tmp_path)
    yield found
    found.close()


def _connected(istiod: Istiod) -> tuple[Traced, Peer]:
    context = istiod.client()
    context.sslsocket_class = Traced
    took: list[Peer] = []
    taking = threading.Thread(target=lambda: took.append(istiod.take()), daemon=True)
    taking.start()
    plain = socket.create_connection(("127.0.0.1", istiod.port), 10)
    connection = context.wrap_socket(plain, server_hostname=NAME)
    taking.join(10)
    assert isinstance(connection, Traced)
    return connection, took[0]


def test_what_another_thread_says_leaves_at_once_and_one_thread_touches_the_connection(istiod: Istiod) -> None:
    connection, peer = _connected(istiod)
    said: list[Any] = []

    def answers() -> None:
        peer.say(op="push", version="1")
        said.append(peer.hear())
        peer.leave()

    def saying(line: Line, version: str) -> None:
        line.say({"op": "ack", "version": version})

    threading.Thread(target=answers, daemon=True).start()
    with Line(connection) as line:
        for each in line.messages():
            threading.Timer(0.1, saying, (line, each["version"])).start()
    assert said == [{"op": "ack", "version": "1"}]
    assert connection.touched == {threading.get_ident()}


def test_a_message_longer_than_any_record_comes_whole(istiod: Istiod) -> None:
    connection, peer = _connected(istiod)

    def answers() -> None:
        peer.say(op="push", text="x" * (1 << 20))
        peer.say(op="ping")
        peer.leave()

    threading.Thread(target=answers, daemon=True).start()
    with Line(connection) as line:
        first, second = line.messages()
    assert (len(first["text"]), second) == (1 << 20, {"op": "ping"})


def test_another_threads_failure_ends_the_line(istiod: Istiod) -> None:
    connection, peer = _connected(istiod)
    with Line(connection) as line:
        threading.Timer(0.1, line.fail, (OSError("no such thing"),)).start()
        with pytest.raises(OSError, match="no such thing"):
            next(line.messages())
    line.say({"op": "ping"})  # To nobody, and nothing comes of it.
    peer.leave()


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"op": "push", "version": "1"}, id="a-push-of-nothing"),
        pytest.param({"op": "push", "version": "1", "files": {"xds/1": "[]"}}, id="a-kind-that-nobody-knows"),
        pytest.param({"op": "secret"}, id="a-secret-of-nothing"),
        pytest.param({"what": "ever"}, id="no-operation"),
    ],
)
def test_an_unexpected_message_ends_the_session_which_is_made_again(
    istiod: Istiod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any], capsys: Any
) -> None:
    over, ended = threading.Event(), threading.Event()

    def dial(host: str, port: int) -> socket.socket:
        if over.is_set():
            ended.set()
            threading.Event().wait()  # As long as the tests run: there is nobody to be reached any more.
        return socket.create_connection((host, port), 10)

    (tmp_path / "istio-token").write_text("token", encoding="ascii")
    monkeypatch.setattr(pilot, "CREDENTIALS", str(tmp_path))
    monkeypatch.setattr(pilot, "ROOT_CERTIFICATE", str(istiod.roots))
    monkeypatch.setattr(pilot, "dial", dial)
    pieces = Pieces()
    session = pilot.Session(pieces, pilot.Envoy("", pieces), {"CA_ADDR": f"{NAME}:{istiod.port}"})
    session.start()
    first = istiod.take()
    assert first.hear()["op"] == "hello"
    first.say(**odd)
    assert first.hear() is None
    first.leave()
    second = istiod.take()
    assert second.hear()["op"] == "hello"
    second.say(op="push", version="2", files={}, removed=[])
    assert second.hear() == {"op": "ack", "version": "2"}
    over.set()
    second.leave()
    assert ended.wait(10)
    assert "Error" in capsys.readouterr().err
