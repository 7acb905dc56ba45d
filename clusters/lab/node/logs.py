"""A container's log: every line with its stamp and stream, bounded in size, readable while it grows.

What belongs here: the file format (as CRI runtimes write it) and the queries of `kubectl logs`. What does not: HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

LIMIT: Final = 1 << 20
"""Bytes of one log file; the one before it is kept too, so a container's log is at most twice this."""
_LINE_LIMIT: Final = 16 * 1024
"""Longer lines are stored in parts, as CRI runtimes do; readers get them whole."""


def stamp(nanoseconds: int) -> str:
    """RFC 3339 with nanoseconds, as `kubectl logs --timestamps` prints it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What `kubectl logs` asks.

    Attributes:
        tail: Lines from the end, or None for all; limit: bytes, or None; since: nanoseconds since the epoch, 0 for all.
    """

    follow: bool = False
    tail: int | None = None
    limit: int | None = None
    since: int = 0
    timestamps: bool = False


class Log:
    """The log of one run of one container.

    Args:
        path: The file; the one before it, after rotation, has the suffix `.1`.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._older = path, path.with_name(path.name + ".1")
        self._file = path.open("ab")
        self._size = self._file.tell()
        self._generation = 0
        self._rest: dict[str, bytes] = {}
        self._grown = asyncio.Event()
        self._closed = False

    def write(self, stream: str, data: bytes) -> None:
        """Add what a container wrote to `stdout` or `stderr`; an unfinished line waits for its end."""
        *lines, rest = (self._rest.get(stream, b"") + data).split(b"\n")
        stamped = stamp(time.time_ns()).encode() + b" " + stream.encode()
        out = [piece for line in lines for piece in _pieces(stamped, line, end=b"F")]
        while len(rest) >= _LINE_LIMIT:
            out.append(stamped + b" P " + rest[:_LINE_LIMIT] + b"\n")
            rest = rest[_LINE_LIMIT:]
        self._rest[stream] = rest
        self._put(b"".join(out))

    def close(self) -> None:
        """Write unfinished lines and let followers end."""
        if self._closed:
            return
        for stream, rest in self._rest.items():
            if rest:
                self._put(b"%s %s P %s\n" % (stamp(time.time_ns()).encode(), stream.encode(), rest))
        self._closed = True
        self._file.close()
        self._tell()

    def remove(self) -> None:
        """Close and delete the files."""
        self.close()
        for path in (self._path, self._older):
            path.unlink(missing_ok=True)

    def _put(self, data: bytes) -> None:
        if not data or self._closed:
            return
        if self._size and self._size + len(data) > LIMIT:
            self._file.close()
            self._path.replace(self._older)
            self._file = self._path.open("ab")
            self._size = 0
            self._generation += 1
        self._file.write(data)
        self._file.flush()
        self._size += len(data)
        self._tell()

    def _tell(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    async def read(self, query: Query) -> AsyncIterator[bytes]:
        """The lines that the query asks for; when it follows, until the container ends."""
        left = query.limit
        async for whole in self._lines(query):
            line = whole if left is None else whole[:left]
            if left is not None:
                left -= len(line)
            if line:
                yield line
            if left == 0:
                return

    async def _lines(self, query: Query) -> AsyncIterator[bytes]:
        form = _Formatter(query)
        generation, current = self._generation, self._path.open("rb")
        try:
            stored = current.read()
            if self._older.exists():
                stored = self._older.read_bytes() + stored
            parts = [part for part in stored.split(b"\n") if part]
            for part in parts if query.tail is None else _last(parts, query.tail):
                yield form.line(part)
            while query.follow:
                grown, closed, newest = self._grown, self._closed, self._generation
                more = current.read()
                for part in more.split(b"\n"):
                    if part:
                        yield form.line(part)
                if more:
                    continue
                if generation != newest:
                    current.close()
                    generation, current = newest, self._path.open("rb")
                elif closed:
                    return
                else:
                    await grown.wait()
        finally:
            current.close()


class _Formatter:
    """Turns stored lines into what a reader sees; knows whether it stands in the middle of a long line."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._since = stamp(query.since).encode() if query.since else b""
        self._inside = False

    def line(self, stored: bytes) -> bytes:
        when, _, rest = stored.partition(b" ")
        _, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        if self._since and when < self._since:
            return b""
        head = when + b" " if self._query.timestamps and not self._inside else b""
        self._inside = tag == b"P"
        return head + text + (b"" if self._inside else b"\n")


def _pieces(stamped: bytes, line: bytes, *, end: bytes) -> list[bytes]:
    pieces = [line[i : i + _LINE_LIMIT] for i in range(0, len(line), _LINE_LIMIT)] or [b""]
    tags = [b"P"] * (len(pieces) - 1) + [end]
    return [b"%s %s %s\n" % (stamped, tag, piece) for tag, piece in zip(tags, pieces, strict=True)]


def _last(parts: list[bytes], lines: int) -> list[bytes]:
    """The stored parts of the last `lines` whole lines."""
    if lines <= 0:
        return []
    start, seen = len(parts), 0
    while start > 0:
        whole = parts[start - 1].split(b" ", 3)[2:3] == [b"F"]
        if whole or start == len(parts):
            if seen == lines:
                break
            seen += 1
        start -= 1
    return parts[start:]
