"""What one Envoy is told: pieces with versions, served to its long polls, and which of them it has taken.

What belongs here: the pieces, the REST server on the container's own socket. What does not: where pieces come from
(`pilot`), what is in them (`compile`). Standard library only, and little of it: every proxy starts with this.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

Piece = tuple[str, str]
"""(type, name): `("listeners", "")`, `("clusters", "")`, `("routes", "8080")`, `("secrets", "default")`."""
_HEAD_END: Final = b"\r\n\r\n"
_MOST: Final = 1 << 20
"""Bytes that a question may have; Envoy's have some hundred."""


class RejectedError(Exception):
    """Envoy did not take a piece; the message has its own words."""


class LapsedError(Exception):
    """A question of an Envoy that is gone."""


class Pieces:
    """What is offered to Envoy, and what it said of it. Safe to use from several threads."""

    def __init__(self) -> None:
        self._held: dict[Piece, tuple[str, str]] = {}
        self._taken: dict[Piece, str] = {}
        self._refused: dict[Piece, str] = {}
        self._offered: dict[tuple[str, str], str] = {}
        self._asked: dict[tuple[str, str], str] = {}
        self._generation = 0
        self._changed = threading.Condition()

    def begin(self) -> None:
        """A new Envoy asks from now on: what a former one took or refused counts no longer, its questions lapse."""
        with self._changed:
            self._generation += 1
            self._taken.clear()
            self._refused.clear()
            self._offered.clear()
            self._asked.clear()
            self._changed.notify_all()

    def offer(self, texts: Mapping[Piece, str], version: str) -> set[Piece]:
        """Offer these (each the JSON text of a list of resources); returns those that are new."""
        with self._changed:
            fresh = {piece for piece, text in texts.items() if self._held.get(piece, ("", ""))[1] != text}
            for piece in fresh:
                self._held[piece] = version, texts[piece]
            self._changed.notify_all()
        return fresh

    def withdraw(self, pieces: Iterable[Piece]) -> None:
        """Offer these no longer; Envoy keeps what it has until its listeners let go of it."""
        with self._changed:
            for piece in pieces:
                self._held.pop(piece, None)

    def await_taken(self, pieces: set[Piece], deadline: float) -> None:
        """Return once Envoy has taken the newest of each of these.

        Raises:
            RejectedError: It refused one.
            TimeoutError: It did not say so in time; names what it did not ask for.
        """
        with self._changed:
            while True:
                refused = [piece for piece in pieces if self._refused.get(piece) == self._version(piece)]
                if refused:
                    raise RejectedError(" ".join(filter(None, refused[0])))
                missing = [piece for piece in pieces if self._taken.get(piece) != self._version(piece)]
                if not missing:
                    return
                if not self._changed.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    named = ", ".join(" ".join(filter(None, each)) for each in missing[:3])
                    raise TimeoutError(f"Envoy did not take {named}")

    def _version(self, piece: Piece) -> str:
        return self._held.get(piece, ("", ""))[0]

    def answer(self, kind: str, names: list[str], has: str) -> tuple[str, str]:
        """The version and text for a question, as soon as they are others than what Envoy has and was offered.

        Args:
            has: The version that Envoy has taken; empty on a fresh subscription, and when it refused the first one.

        Raises:
            LapsedError: The Envoy that asked is gone.
        """
        wanted = [(kind, name) for name in names] or [(kind, "")]
        place = kind, ",".join(names)
        with self._changed:
            generation = self._generation
            offered = self._offered.get(place, "")
            if not has and self._asked.get(place):
                offered = ""  # What has taken something never says that it has nothing: this is another subscription.
            self._asked[place] = has
            for piece in wanted:
                if has:
                    self._taken[piece] = has
                    if self._refused.get(piece) == has:
                        del self._refused[piece]
                if offered and has != offered:
                    self._refused[piece] = offered
            self._changed.notify_all()
            while True:
                if generation != self._generation:
                    raise LapsedError
                if offered and not has and self._asked[place] == offered:
                    offered = ""  # No refusal: a subscription beside this one was told, and has taken it by now.
                there = [self._held[piece] for piece in wanted if piece in self._held]
                version = max((each[0] for each in there), key=_number, default="")
                if len(there) == len(wanted) and version not in {has, offered}:
                    bodies = [text.strip()[1:-1] for _, text in there]
                    self._offered[place] = version
                    return version, f"[{','.join(each for each in bodies if each)}]"
                self._changed.wait()


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0


def serve(pieces: Pieces, path: str) -> None:
    """Listen on a socket of this path and answer for as long as the process lives; returns at once."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    Path(path).unlink(missing_ok=True)  # of a former agent of this container
    listener.bind(path)
    listener.listen(128)
    in_background(_accept, listener, pieces)


def in_background(work: Callable[..., None], *arguments: object) -> None:
    """Run it in a thread that ends with the process."""
    threading.Thread(target=work, args=arguments, daemon=True).start()


def _accept(listener: socket.socket, pieces: Pieces) -> None:
    while True:
        connection, _ = listener.accept()
        in_background(_converse, connection, pieces)


def _converse(connection: socket.socket, pieces: Pieces) -> None:
    """Answer one connection's questions, one after another, until Envoy ends it."""
    with connection:
        buffer = b""
        while True:
            while _HEAD_END not in buffer:
                chunk = connection.recv(65536)
                if not chunk or len(buffer) > _MOST:
                    return
                buffer += chunk
            head, _, buffer = buffer.partition(_HEAD_END)
            length = content_length(head)
            while len(buffer) < length:
                chunk = connection.recv(65536)
                if not chunk:
                    return
                buffer += chunk
            question, buffer = json.loads(buffer[:length]), buffer[length:]
            kind = head.split(b" ", 2)[1].decode().rpartition(":")[2]
            names = [str(name) for name in question.get("resource_names") or []]
            try:
                version, text = pieces.answer(kind, names, str(question.get("version_info") or ""))
                body = f'{{"version_info":"{version}","resources":{text}}}'.encode()
                connection.sendall(response("200 OK", body, "application/json"))
            except (OSError, LapsedError):
                return


def content_length(head: bytes) -> int:
    """Of a request's head; 0 when it says none."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def response(status: str, body: bytes, kind: str = "text/plain") -> bytes:
    """An HTTP/1.1 response."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body
