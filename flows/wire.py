"""The messages between harness and agent, typed; what does not fit the protocol is refused with the line shown.

What belongs here: encoding, strict decoding, the version. What does not: streams (`stream`), meaning (`classify`).
The protocol itself is described in docs/explanation/architecture.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, cast

from flows.errors import HarnessError
from flows.offer import TlsOffer

PROTOCOL = 2
SHOWN = 300
"""How much of a line that cannot be read an error shows, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One flow as the agent is asked it.

    Attributes:
        id: Place in the batch.
        timeout: Seconds of silence that count; once for the name, once for connection and answer.
        pod: The pod that must answer, or empty.
        ip_family: As a `Flow` has it.
    """

    id: int
    protocol: str
    host: str
    port: int
    nonce: str
    timeout: float
    method: str = "GET"
    url_path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    pod: str = ""
    source: str = ""
    tls: TlsOffer | None = None
    ip_family: int = 0

    def message(self) -> dict[str, Any]:
        """The probe as it is sent: the one place where the key of its offer is told."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.tls is not None:
            offer = {each.name: getattr(self.tls, each.name) for each in fields(self.tls)}
            plain["tls"] = {**offer, "key": self.tls.key.reveal()}
        return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The agent's answer to our hello.

    Attributes:
        instance: Random for each start of the agent; another one means that the pod was restarted.
        now: Its monotonic clock.
        lost: Records that it had to drop before they were acknowledged.
    """

    protocol: int
    instance: str
    pod: str
    workload: str
    version: str
    python: str
    now: float
    next_seq: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """The server's own answer: who it is, and the caller's address and request as it saw them.

    Attributes:
        path: Of an HTTP request, with `method` and `headers`, as the application received them; raw.
    """

    pod: str
    workload: str
    instance: str
    version: str
    nonce: str
    peer: str
    method: str = ""
    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What happened to one probe, as the agent saw it; times are seconds on the agent's clock.

    Attributes:
        phase: How far it came: `dns`, `connect`, `tls`, `send`, `response` or `done`.
        error: Empty when an answer came; else `timeout`, `reset`, `eof`, `tls`, `dns-…`, or an errno's name.
        icmp: `TYPE/CODE from SENDER`.
        local: The caller's addresses, one for each connection that was tried, comma-separated.
        late: Something came after the deadline.
        body: Of an answer that is no echo.
        tls_peer: Names of the certificate that the server showed, with `tls_version` and `tls_cipher`.
    """

    seq: int
    batch: str
    round: int
    probe: int
    nonce: str
    timeout: float
    phase: str
    error: str
    errno: str
    icmp: str
    resolved: str
    local: str
    sent_at: float
    elapsed: float
    connect_elapsed: float
    lag: float
    late: bool
    attempts: int
    http_status: int
    http_headers: tuple[tuple[str, str], ...]
    body: str
    echo: Echo | None
    detail: str
    tls_version: str
    tls_cipher: str
    tls_peer: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The terminator of a round, with how many records it had and when it began."""

    seq: int
    batch: str
    round: int
    count: int
    sent_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A repetition has ended and all its rounds are told."""

    seq: int
    id: str
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What became of a sample.

    Attributes:
        outcomes: The first record of each different outcome; `failures` the first few that no agent answered.
        runs: In the order of sending: place in `outcomes`, and how many requests in a row ended so.
        opened: Connections opened.
    """

    seq: int
    id: str
    outcomes: tuple[Record, ...]
    failures: tuple[Record, ...]
    runs: tuple[tuple[int, int], ...]
    opened: int
    elapsed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event in a server's journal.

    Attributes:
        at: On the agent's monotonic clock.
        event: `accepted`, `nonce`, `datagram`, or `ready` (a kubelet's probe).
        source: What the caller called itself; `control` for the agent's own control flows.
        connection: Ties the events of one accepted connection together; 0 for datagrams.
    """

    n: int
    at: float
    event: str
    protocol: str
    port: int
    peer: str
    nonce: str
    source: str
    connection: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalPart:
    """A part of a journal; `more` says that another one follows.

    Attributes:
        next: Where the next reading begins.
        control: Every listener's control nonce arrived.
        lost: Entries that were asked for and are gone.
    """

    seq: int
    id: str
    entries: tuple[Entry, ...]
    next: int
    control: bool
    lost: int
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """A sign of life, with how late the agent's event loop was during the last second."""

    now: float
    lag: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """The answer to a ping."""

    id: str
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """The agent could not do what it was asked (`error` on the wire)."""

    seq: int
    message: str


Numbered = Record | End | Stopped | Sampled | JournalPart | Complaint
"""What the agent keeps until it is acknowledged."""
Message = Numbered | Hello | Heartbeat | Pong

_OPS: dict[str, type[Message]] = {
    "hello": Hello,
    "record": Record,
    "end": End,
    "stopped": Stopped,
    "sample": Sampled,
    "journal": JournalPart,
    "heartbeat": Heartbeat,
    "pong": Pong,
    "error": Complaint,
}


def hello(harness: str, instance: str, last_seq: int) -> bytes:
    """The first message of a session; `instance` is empty for an agent that we do not know yet.

    Args:
        harness: Who asks; only the one that asked last may resume.
    """
    return _line(op="hello", protocol=PROTOCOL, harness=harness, instance=instance, last_seq=last_seq)


def batch(name: str, probes: Iterable[Probe]) -> bytes:
    """Ask all probes at once; asking again under the same name changes nothing."""
    return _line(op="batch", id=name, probes=[each.message() for each in probes])


def repeat(name: str, probes: Iterable[Probe], interval: float, connections: str = "fresh") -> bytes:
    """Ask all probes every `interval` seconds until stopped, over `fresh` or `keep-alive` connections."""
    asked = [each.message() for each in probes]
    return _line(op="repeat", id=name, probes=asked, interval=interval, connections=connections)


def sample(name: str, probe: Probe, count: int, *, connections: str, parallel: int, within: float) -> bytes:
    """Ask one probe `count` times, `parallel` at once; requests that have not begun `within` seconds are not sent."""
    asked = {"count": count, "connections": connections, "parallel": parallel, "within": within}
    return _line(op="sample", id=name, probe=probe.message(), **asked)


def stop(name: str) -> bytes:
    """End a repetition; the rounds under way are finished."""
    return _line(op="stop", id=name)


def journal(name: str, since: int) -> bytes:
    """Ask for the journal's entries from number `since` on, behind control flows to every listener."""
    return _line(op="journal", id=name, since=since)


def ack(seq: int) -> bytes:
    """Everything up to `seq` has arrived."""
    return _line(op="ack", seq=seq)


def ping(name: str) -> bytes:
    """Ask for the agent's clock."""
    return _line(op="ping", id=name)


def decode(line: bytes) -> Message:
    """The message in one line.

    Raises:
        HarnessError: It is none: not JSON, unknown, or a field is missing, unknown or of another type.
    """
    try:
        data = json.loads(line)
    except ValueError:
        raise _refused(line, "not JSON") from None
    kind = _OPS.get(data.pop("op", "")) if isinstance(data, dict) else None
    if kind is None:
        raise _refused(line, f"none of {', '.join(_OPS)}")
    if kind in {Hello, Heartbeat, Pong}:
        data.pop("seq", None)
    try:
        return cast("Message", _build(kind, data))
    except (TypeError, ValueError) as error:
        raise _refused(line, str(error)) from None


def _line(**message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _refused(line: bytes, why: str) -> HarnessError:
    shown = line[:SHOWN].decode("utf-8", "replace").rstrip("\n")
    return HarnessError(f"the agent sent a line that is no message ({why})"[:100], detail=f"{why}\nthe line: {shown}")


def _build(kind: type[Any], data: object) -> object:
    if not isinstance(data, dict):
        raise TypeError(f"{kind.__name__} is {data!r}")
    shapes = {each.name: str(each.type) for each in fields(kind)}
    if set(shapes) != set(data):
        missing, extra = sorted(set(shapes) - set(data)), sorted(set(data) - set(shapes))
        raise ValueError(f"{kind.__name__}: " + (f"no {missing[0]}" if missing else f"unknown field {extra[0]}"))
    return kind(**{name: _value(f"{kind.__name__}.{name}", shape, data[name]) for name, shape in shapes.items()})


def _value(where: str, shape: str, value: object) -> object:
    reader = _READERS.get(shape)
    if reader is not None:
        return reader(where, value)
    allowed: tuple[type, ...] = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}[shape]
    if not isinstance(value, allowed) or (isinstance(value, bool) and shape != "bool"):
        raise TypeError(f"{where} is {value!r}, not {shape}")
    return float(cast("float", value)) if shape == "float" else value


def _pairs(where: str, value: object) -> object:
    pairs = value if isinstance(value, list) else [value]
    found = []
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(each, str) for each in pair)):
            raise TypeError(f"{where} is not a list of pairs")
        found.append((pair[0], pair[1]))
    return tuple(found)


def _list(where: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"{where} is not a list")
    return value


def _runs(where: str, value: object) -> object:
    found = []
    for pair in _list(where, value):
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(each) is int for each in pair)):
            raise TypeError(f"{where} is not a list of pairs of numbers")
        found.append((pair[0], pair[1]))
    return tuple(found)


def _texts(where: str, value: object) -> object:
    texts = _list(where, value)
    if not all(isinstance(each, str) for each in texts):
        raise TypeError(f"{where} is not a list of texts")
    return tuple(texts)


def _echo(where: str, value: object) -> object:
    del where
    return None if value is None else _build(Echo, value)


_READERS: dict[str, Callable[[str, object], object]] = {
    "tuple[tuple[str, str], ...]": _pairs,
    "tuple[tuple[int, int], ...]": _runs,
    "tuple[str, ...]": _texts,
    "tuple[Entry, ...]": lambda where, value: tuple(_build(Entry, each) for each in _list(where, value)),
    "tuple[Record, ...]": lambda where, value: tuple(_build(Record, each) for each in _list(where, value)),
    "Echo | None": _echo,
}
