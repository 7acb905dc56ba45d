"""Workload, flow, verdict and evidence: the words of every question and every answer.

What belongs here: plain frozen values that cross processes as JSON. What does not: how a flow is asked (`stream`),
what an answer is worth (`judge`), how answers are laid out (`matrix`).
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, cast

from flows.offer import TlsOffer


class Protocol(StrEnum):
    """What is spoken on the port."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"
    ICMP = "icmp"
    """An echo request to the host itself: no port, and the kernel answers, not an agent."""
    HTTP = "http"
    HTTPS = "https"
    """TLS to a server that is not an agent (the Kubernetes API): proved by its certificate, not by a nonce."""
    CONNECT = "connect"
    """TCP to a stranger's server: a handshake, nothing is said. Accepted, it is `closed`: who accepted is not known."""


class Path(StrEnum):
    """How the destination is addressed."""

    POD_IP = "pod-ip"
    SERVICE_IP = "service-ip"
    DNS = "dns"
    HEADLESS = "headless"
    NODE_PORT = "node-port"
    """By the node that the destination runs on, at the number that its NodePort Service has there."""
    NODE_PORT_OTHER = "node-port-other"
    """The same by another node than the destination's own."""
    ADDRESS = "address"


class Kind(StrEnum):
    """The closed set of what can happen to a flow; DESIGN's words, never a bool."""

    ANSWERED = "answered"
    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "unauthenticated"
    NO_ROUTE = "no-route"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    TIMED_OUT = "timed-out"
    DROPPED = "dropped"
    REFUSED = "refused"
    REJECTED = "rejected"
    RESET = "reset"
    CLOSED = "closed"
    SILENT = "silent"
    MISDELIVERED = "misdelivered"
    UNREACHABLE = "unreachable"
    TLS_ERROR = "tls-error"
    DNS_ERROR = "dns-error"
    PROBE_ERROR = "probe-error"


def new_nonce() -> str:
    """A value that nobody else in the cluster has: 16 hexadecimal characters."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Something that runs in the cluster and can call or be called.

    Attributes:
        name: What tests and reports call it (`caller`, `server`, `intruder`, …).
        namespace: Its Kubernetes namespace, as the cluster knows it.
        pod: The pod's name; a restarted workload has another pod object of the same name.
        uid: The pod's uid; a restarted workload has another.
        addresses: The pod's addresses, every family it has, primary first.
        ports: Port name → number, the same names the pod's containers declare.
        node_addresses: Those of the node it runs on, primary first.
        node_ports: `PORT/PROTOCOL` (`8080/tcp`) → the number on every node; empty without a NodePort Service.
    """

    name: str
    namespace: str
    pod: str
    uid: str = ""
    addresses: tuple[str, ...] = ()
    ports: tuple[tuple[str, int], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    service_account: str = ""
    node: str = ""
    service: str = ""
    service_addresses: tuple[str, ...] = ()
    headless_service: str = ""
    node_addresses: tuple[str, ...] = ()
    node_port_service: str = ""
    node_ports: tuple[tuple[str, int], ...] = ()
    meshed: bool = False

    def port(self, name: str) -> int:
        """The number behind a port's name.

        Raises:
            KeyError: The workload has no such port.
        """
        return dict(self.ports)[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One question: may this workload reach that destination, on this port, in this protocol?

    Attributes:
        source: Name of the calling workload.
        destination: Name of the workload that should answer, or a label for an address that is not ours.
        host: The address or DNS name that the caller dials.
        pod: The pod that must answer; empty when any backend of `destination` may, or it is not ours.
        instance: The agent process that must answer: pods of other namespaces, and former pods, may bear the same name.
            Empty when any may.
        port: The destination's own; `dialled` what the caller dials where that is another number (a NodePort).
        path: How `host` was chosen, so that the same pair can be asked by several ways.
        url_path: Sent as it is, un-normalised.
        ip_family: 4 or 6: a name is asked for its address of this family only; 0 takes what the resolver prefers.
        variant: The name of a header set or of credentials (`expired-token`): flows that differ only by those have
            different keys, the same in every run.
        tls: The caller's own TLS, for tcp and http; None speaks plaintext.
    """

    source: str
    destination: str
    host: str
    port: int
    protocol: Protocol = Protocol.TCP
    path: Path = Path.POD_IP
    dialled: int = 0
    pod: str = ""
    instance: str = ""
    method: str = "GET"
    url_path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    variant: str = ""
    tls: TlsOffer | None = None
    ip_family: int = 0

    @property
    def key(self) -> str:
        """A readable id in sentence order, stable between runs: `caller-to-server-8080-tcp-pod-ip`."""
        asked = "" if self._plain else f"-{self.method}-{self.url_path}"
        named = f"-{self._named}" if self._named else ""
        six = "-ipv6" if self.family == 6 else ""
        return f"{self.source}-to-{self.destination}-{self.port}-{self.protocol}-{self.path}{six}{asked}{named}"

    def __str__(self) -> str:
        way = "" if self.path in {Path.POD_IP, Path.ADDRESS} else f" by {self.path}"
        asked = "" if self._plain else f" {self.method} {self.url_path}"
        named = f" [{self._named}]" if self._named else ""
        six = " over IPv6" if self.family == 6 else ""
        port = "" if self.protocol is Protocol.ICMP else f":{self.port}"
        return f"{self.source} → {self.destination}{port}/{self.protocol}{way}{six}{asked}{named}"

    @property
    def _plain(self) -> bool:
        return (self.method, self.url_path) == ("GET", "/")

    @property
    def _named(self) -> str:
        """The variant; headers and TLS without a name get a digest, so that they are no other flow's control."""
        if self.variant or not (self.headers or self.tls):
            return self.variant
        said = f"{self.headers!r} {self.tls!r}".encode()
        return f"unnamed-{hashlib.sha256(said).hexdigest()[:6]}"

    def record(self) -> dict[str, Any]:
        """The flow as it stands in `results.json`: no key, no certificate."""
        plain = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "tls"}
        plain["headers"] = [list(pair) for pair in self.headers]
        return {**plain, "tls": self.tls.record() if self.tls else None, "key": self.key, "text": str(self)}

    @property
    def family(self) -> int:
        """4 or 6, by the host where it is an address; 0 where it is a name that may have either."""
        try:
            return ipaddress.ip_address(self.host).version
        except ValueError:
            return self.ip_family


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What proves a verdict; every field is as the agent or the server saw it, empty where nothing was seen.

    Attributes:
        phase: How far the flow came: `dns`, `connect`, `tls`, `send`, `response` or `done`.
        errno: Symbolic name (`ECONNREFUSED`), where the kernel gave one.
        icmp: `type/code` of the ICMP error with its sender, where one came.
        resolved: The address that was dialled, with port.
        local: The caller's own address and port.
        peer_seen: The caller's address and port as the server saw them.
        answered_by: The pod that answered.
        nonce: The value sent and, when answered, returned.
        sent_at: Seconds on the harness's monotonic clock when the probe was sent.
        elapsed: Seconds from sending to the verdict; `connect_elapsed` to the accepted connection.
        lag: The longest time the agent's event loop was late while the flow was under way, in seconds.
        late: An answer came after the deadline; the flow is not silent, the deadline was too short.
        journal: What the server's own journal says about it, in words (see `judge`).
        flags: The proxy's response flags (`UF`, `NR`, `UH`): from its own words in the answer, or its access log.
        identity: The caller's identity as the server's application saw it, where a proxy told it.
        tls_version: What the caller's own TLS agreed on (`TLSv1.3`), with `tls_cipher`.
        tls_peer: URI names (else DNS names) of the certificate that the server showed to the caller's own TLS.
        request_method: As the server's application saw it, with `request_path` and `request_headers`; HTTP echoes only.
    """

    phase: str = ""
    errno: str = ""
    icmp: str = ""
    resolved: str = ""
    local: str = ""
    peer_seen: str = ""
    answered_by: str = ""
    version: str = ""
    nonce: str = ""
    http_status: int = 0
    http_headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    sent_at: float = 0.0
    elapsed: float = 0.0
    connect_elapsed: float = 0.0
    lag: float = 0.0
    late: bool = False
    attempts: int = 1
    detail: str = ""
    journal: str = ""
    flags: str = ""
    identity: str = ""
    tls_version: str = ""
    tls_cipher: str = ""
    tls_peer: tuple[str, ...] = ()
    request_method: str = ""
    request_path: str = ""
    request_headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What happened to one flow, with what proves it. Compare with an `Expected`, never with a bool."""

    kind: Kind
    flow: Flow
    evidence: Evidence = field(default_factory=Evidence)

    def __bool__(self) -> bool:
        raise TypeError("a verdict is not a yes or no; compare it: `verdict == answered()`")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Expected):
            return other.matches(self)
        if isinstance(other, Verdict):
            return (self.kind, self.flow, self.evidence) == (other.kind, other.flow, other.evidence)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self.kind, self.flow, self.evidence))

    @property
    def nonce(self) -> str:
        """The nonce that was sent; ask the server's journal for it."""
        return self.evidence.nonce

    def with_evidence(self, **changes: object) -> Verdict:
        """The same verdict with more evidence."""
        return replace(self, evidence=replace(self.evidence, **cast("dict[str, Any]", changes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a layer promises for a flow: the verdicts that fulfil it, and the word for them.

    Attributes:
        word: `answered`, `denied` or the one kind's own name; printed as "expected …".
        kinds: The verdicts that count as this.
        version: Which version of the workload must have answered; empty when any may.
    """

    word: str
    kinds: frozenset[Kind]
    version: str = ""

    def matches(self, verdict: Verdict) -> bool:
        """Whether the verdict is one of those promised."""
        return verdict.kind in self.kinds and self.version in {"", verdict.evidence.version}

    @property
    def allows(self) -> bool:
        """Whether this expects an answer from the right workload."""
        return Kind.ANSWERED in self.kinds


def answered() -> Expected:
    """The right workload answers with the nonce."""
    return Expected(word="answered", kinds=frozenset({Kind.ANSWERED}))


def answered_by(version: str) -> Expected:
    """This version of the right workload answers with the nonce."""
    return Expected(word=f"answered by {version}", kinds=frozenset({Kind.ANSWERED}), version=version)


def denied(deny: str = "drop") -> Expected:
    """NetworkPolicy's denial between naked workloads: silence, or where the profile says `reject` a refusal.

    Args:
        deny: The profile's `deny`: `drop` or `reject`.
    """
    kinds = {Kind.DROPPED} if deny == "drop" else {Kind.REFUSED, Kind.REJECTED}
    return Expected(word="dropped" if deny == "drop" else "rejected", kinds=frozenset(kinds))


def exactly(kind: Kind) -> Expected:
    """This one verdict and no other."""
    return Expected(word=str(kind), kinds=frozenset({kind}))


def one_of(word: str, *kinds: Kind) -> Expected:
    """Any of these verdicts, printed as `word`.

    Raises:
        ValueError: No kind is given, so nothing could fulfil it.
    """
    if not kinds:
        raise ValueError(f"expected {word!r}: name at least one kind of verdict")
    return Expected(word=word, kinds=frozenset(kinds))


def reset() -> Expected:
    """Strict mutual TLS against plaintext: accepted, then RST before any application byte."""
    return exactly(Kind.RESET)


def forbidden() -> Expected:
    """A proxy's authorization refuses an HTTP request: its own 403, or gRPC 7."""
    return exactly(Kind.FORBIDDEN)


def unauthenticated() -> Expected:
    """A proxy takes the credentials for bad: its own 401."""
    return exactly(Kind.UNAUTHENTICATED)


def no_route() -> Expected:
    """A proxy knows no way for the request: its own 404."""
    return exactly(Kind.NO_ROUTE)


def unavailable() -> Expected:
    """A proxy has no server for the request, or cannot reach it: its own 503."""
    return exactly(Kind.UNAVAILABLE)


def refused_tcp() -> Expected:
    """A proxy's authorization refuses raw TCP: accepted, then ended, with a RST or without."""
    return one_of("reset or closed", Kind.RESET, Kind.CLOSED)


def denied_behind_proxy() -> Expected:
    """NetworkPolicy's drop as it shows through the caller's own proxy, which accepts and then finds no server."""
    return one_of("denied behind a proxy", Kind.UNAVAILABLE, Kind.TIMED_OUT, Kind.SILENT)


def tls_refused() -> Expected:
    """A certificate that the server does not take; with TLS 1.3 the refusal comes after the caller's handshake."""
    return one_of("refused by TLS", Kind.TLS_ERROR, Kind.RESET, Kind.CLOSED)
