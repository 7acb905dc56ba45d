"""The agent: it serves, journals and probes inside one pod; nothing is written and only the standard library is used.

`serve` is the container's main process; an exec runs `relay.py`, which pipes to it. `visit` is one session in a
container of somebody else, over the exec's own pipes, without a listener. The protocol between harness and
agent is in docs/explanation/architecture.md. This file travels into stock images, hence Python 3.9 and no import of
ours, and hence its length. What belongs here: listeners, journal, prober and the records kept until acknowledged. What
does not: what a record means.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import errno
import ipaddress
import itertools
import json
import os
import platform
import resource
import secrets
import signal
import socket
import ssl
import struct
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

PROTOCOL = 2
TICK, RELAXED = 0.025, 0.25
"""Seconds between two looks at how late the event loop is: while something is asked, and else."""
STAGGER = 0.4
"""After this part of the timeout a second connection is tried: one lost SYN (sent again after 1 s) is not a drop."""
GRACE = 0.1
"""A silent socket is watched for this part of the timeout, at most this many seconds, for an answer that is late."""
OUTBOX_BYTES = 16 << 20
JOURNAL_ENTRIES = 100_000
JOURNAL_PART = 2_000
MOST_ROUNDS = 64
KNOWN = 20_000
"""Questions remembered so that one that is asked again after a lost stream is not answered twice."""
IDLE = 120.0
"""Seconds until the server gives up a connection on which nothing happens (its peer may have been cut off)."""
BODY = 2_048
"""How much of an answer that is not an echo a record quotes, in bytes."""
HEADERS = 16_384
"""How much of a request's headers an echo returns, in characters."""
LONGEST_DELAY = 30.0
SOURCES = (20_000, 12_000)
"""First and number of the ports that datagrams are sent from, one after the other: from one that an allowed datagram
used a moment ago a denied one would pass as that one's, since UDP has no end and kernels remember it for minutes."""
FEW = 5
"""Failed requests of a sample that are told one by one."""
MOST_REQUESTS = 100_000
MOST_OFFERS = 64
TLS_VERSIONS = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
CA = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
API_NAME = "kubernetes.default.svc"
SERVER_HEADER = "x-eastwest-echo"
INSTRUCTION = "x-eastwest-"
"""A header `x-eastwest-status: 403` or `x-eastwest-delay: 0.5` (or a query without the `x-`) says how to answer."""
SOCKETS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, 132)}
"""Protocol → type and protocol number of its sockets; SCTP in its one-to-one style."""
NO_PROTOCOL = {errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT}
ECHO = ("pod", "workload", "instance", "version", "nonce", "peer")
Message = dict[str, Any]
T = TypeVar("T")


class ProbeError(Exception):
    """A probe ended in a way that is not an OSError; `code` is what the record says."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(detail or code)
        self.code = code


async def within(work: Awaitable[T], seconds: float) -> T | None:
    """The result, or None when it was not there in time; the work has ended when this returns."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=max(seconds, 0))
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    return None if task.cancelled() else task.result()


def endpoint(address: Any) -> str:
    """`10.0.0.1:80` or `[fd00::1]:80`; an IPv4 address seen through an IPv6 socket is shown as IPv4."""
    host = str(address[0]).partition("%")[0]
    host = host[7:] if host.startswith("::ffff:") and "." in host else host
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"


class Lag:
    """How late the event loop was during the last minute; closely looked at while something is asked."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._peaks: deque[tuple[float, float]] = deque()
        self._asked = 0
        self._schedule()

    def __enter__(self) -> None:
        self._asked += 1
        if self._asked == 1:
            self._timer.cancel()
            self._look()

    def __exit__(self, *_: object) -> None:
        self._asked -= 1

    def _schedule(self) -> None:
        self._due = self._loop.time() + (TICK if self._asked else RELAXED)
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        late = max(now - self._due, 0.0)
        while self._peaks and self._peaks[-1][1] <= late:
            self._peaks.pop()
        while self._peaks and self._peaks[0][0] < now - 60:
            self._peaks.popleft()
        self._peaks.append((now, late))
        self._schedule()

    def since(self, then: float) -> float:
        """The longest lateness since `then`, with the one that is going on right now; seconds."""
        current = max(self._loop.time() - self._due, 0.0)
        first = bisect.bisect_left(self._peaks, (then,))
        return round(max(current, self._peaks[first][1] if first < len(self._peaks) else 0.0), 4)


class Journal:
    """What reached this pod, numbered from 0; bounded, and what was lost by that is counted."""

    def __init__(self) -> None:
        self.entries: deque[Message] = deque(maxlen=JOURNAL_ENTRIES)
        self.next = 0
        self.undecided: dict[int, asyncio.Future[None]] = {}

    def add(self, event: str, protocol: str, port: int, peer: str, connection: int, **more: str) -> None:
        """Note one event: `accepted`, `nonce`, `datagram` or `ready`."""
        now = asyncio.get_running_loop().time()
        entry = {"n": self.next, "at": now, "event": event, "protocol": protocol, "port": port, "peer": peer}
        entry.update(nonce=more.get("nonce", "")[:80], source=more.get("source", "")[:80], connection=connection)
        self.entries.append(entry)
        self.next += 1

    def since(self, number: int) -> list[Message]:
        """The entries from `number` on that are still there."""
        wanted = min(max(self.next - number, 0), len(self.entries))
        return list(itertools.islice(self.entries, len(self.entries) - wanted, None))

    async def settle(self) -> None:
        """Give connections that were accepted a moment ago the time to say who they are."""
        if self.undecided:
            await asyncio.wait(set(self.undecided.values()), timeout=0.2)


class Identity:
    """Who this agent is, as the pod's environment says it."""

    def __init__(self) -> None:
        self.pod = os.environ.get("EASTWEST_POD", "")
        self.workload = os.environ.get("EASTWEST_WORKLOAD", "")
        self.version = os.environ.get("EASTWEST_VERSION", "")
        self.instance = secrets.token_hex(6)
        self.ports: list[tuple[int, str]] = []
        for item in filter(None, os.environ.get("EASTWEST_PORTS", "").replace(" ", "").split(",")):
            port, _, protocol = item.partition("/")
            if not port.isdigit() or protocol not in {"tcp", "udp", "sctp"}:
                said = f"eastwest agent: EASTWEST_PORTS: {item!r} is not a port; write 8080/tcp, 8080/udp or 8080/sctp"
                raise SystemExit(said)
            self.ports.append((int(port), protocol))

    def echo(self, nonce: str, peer: str) -> Message:
        """The proof that this pod answered."""
        values = (self.pod, self.workload, self.instance, self.version, nonce, peer)
        return dict(zip(ECHO, values))


class Served(asyncio.Protocol):
    """One accepted connection: lines of JSON or HTTP/1.1, whichever its first byte says."""

    numbers = itertools.count(1)

    def __init__(self, identity: Identity, journal: Journal, port: int, protocol: str = "tcp") -> None:
        self.identity, self.journal, self.port, self.protocol = identity, journal, port, protocol
        self.buffer = b""
        self.number = next(self.numbers)
        self.continued = False
        self.delayed: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Journal the connection before anything is known about it."""
        assert isinstance(transport, asyncio.Transport)
        loop = asyncio.get_running_loop()
        self.transport = transport
        self.peer = endpoint(transport.get_extra_info("peername") or ("unknown", 0))
        self.journal.add("accepted", self.protocol, self.port, self.peer, self.number)
        self.journal.undecided[self.number] = loop.create_future()
        self.idle = loop.call_later(IDLE, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        del exc
        self.idle.cancel()
        if self.delayed is not None:
            self.delayed.cancel()
        self._decided()

    def _decided(self) -> None:
        waiting = self.journal.undecided.pop(self.number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Answer every complete request of the buffer, one after the other."""
        self.idle.cancel()
        self.idle = asyncio.get_running_loop().call_later(IDLE, self.transport.abort)
        self.buffer += data
        try:
            while self.buffer and not self.delayed and (self._line() if self.buffer[:1] == b"{" else self._http()):
                self._decided()
        except ValueError:
            self.transport.close()
        if len(self.buffer) > 1 << 16:
            self.transport.abort()

    def _note(self, protocol: str, nonce: str, source: str) -> None:
        self.journal.add("nonce", protocol, self.port, self.peer, self.number, nonce=nonce, source=source)

    def _line(self) -> bool:
        line, end, rest = self.buffer.partition(b"\n")
        if not end:
            return False
        self.buffer = rest
        asked = json.loads(line)
        self._note(self.protocol, str(asked.get("nonce", "")), str(asked.get("source", "")))
        self.transport.write(json.dumps(self.identity.echo(str(asked.get("nonce", "")), self.peer)).encode() + b"\n")
        return True

    def _http(self) -> bool:
        if not self.buffer[:1].isalpha():  # a TLS handshake, say: ended at once, as by any server of plain HTTP
            raise ValueError("neither a line nor HTTP")
        head, end, rest = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        start, *lines = head.decode("latin-1").split("\r\n")
        method, path, version = start.split(" ")
        headers = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        named = {name.lower(): value for name, value in headers}
        if not self._body(named, rest):
            return False
        nonce = named.get("x-eastwest-nonce", "")
        if path == "/ready" and not nonce:
            self.journal.add("ready", "http", self.port, self.peer, self.number)
        else:
            self._note("http", nonce, named.get("x-eastwest-source", ""))
        answer = self.identity.echo(nonce, self.peer)
        short = json.dumps(answer)
        seen = {"method": method, "path": path, "headers": bounded(headers)}
        body = json.dumps({**answer, **seen}).encode() + b"\n"
        asked = instruction("status", named, path)
        status = int(asked) if asked.isdigit() and len(asked) == 3 and asked >= "200" else 200
        last = "close" in named.get("connection", "").lower() or version == "HTTP/1.0"
        lines = [f"HTTP/1.1 {status} From-Agent", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines += [f"{SERVER_HEADER}: {short}", f"Connection: {'close' if last else 'keep-alive'}", "", ""]
        whole = "\r\n".join(lines).encode() + (b"" if method == "HEAD" else body)
        wait = instruction("delay", named, path)
        if wait:
            seconds = min(float(wait), LONGEST_DELAY)
            self.delayed = asyncio.get_running_loop().call_later(seconds, self._answer, whole, last)
        else:
            self._answer(whole, last)
        return True

    def _body(self, named: dict[str, str], rest: bytes) -> bool:
        """Take the request's body from the buffer; False while more of it must come."""
        if "chunked" in named.get("transfer-encoding", "").lower():
            found = dechunked(rest)
            left = found[1] if found is not None else None
        else:
            length = int(named.get("content-length") or 0)
            left = rest[length:] if len(rest) >= length else None
        if left is None:
            if named.get("expect", "").lower() == "100-continue" and not self.continued:
                self.continued = True
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return False
        self.buffer, self.continued = left, False
        return True

    def _answer(self, whole: bytes, last: bool) -> None:
        was, self.delayed = self.delayed, None
        self.transport.write(whole)
        if last:
            self.transport.close()
        elif was is not None:
            self.data_received(b"")


def instruction(name: str, named: dict[str, str], path: str) -> str:
    """What a request asks of the answer (`status`, `delay`): by header, by query, or `/status/403` as its path."""
    query = path.partition("?")[2].split("&")
    asked = [part.partition("=")[2] for part in query if part.startswith(f"{INSTRUCTION[2:]}{name}=")]
    plain = path.rpartition("/status/")[2].partition("?")[0] if name == "status" and "/status/" in path else ""
    return named.get(INSTRUCTION + name) or (asked[0] if asked else plain)


def bounded(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers up to a bound; the first that goes beyond it is cut, those after it are left out."""
    left, kept = HEADERS, []
    for name, value in headers:
        if left <= 0:
            break
        kept.append((name[:left], value[: max(left - len(name), 0)]))
        left -= len(name) + len(value)
    return kept


def open_listener(port: int, protocol: str) -> socket.socket | None:
    """A listening or bound socket for both families, or for IPv4 where there is no IPv6; None without SCTP here."""
    kind, number = SOCKETS[protocol]
    for family in (socket.AF_INET6, socket.AF_INET):
        sock = None
        try:
            sock = socket.socket(family, kind, number)
            sock.setblocking(False)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            if protocol != "udp":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            else:  # learn to which of our addresses a datagram came, so that the answer leaves from there
                level, option = (socket.IPPROTO_IPV6, 49) if family == socket.AF_INET6 else (socket.IPPROTO_IP, 8)
                sock.setsockopt(level, option, 1)  # IPV6_RECVPKTINFO, IP_PKTINFO
            sock.bind(("", port))
        except OSError as error:
            if sock is not None:
                sock.close()
            if protocol == "sctp" and error.errno in NO_PROTOCOL:
                return None
            if family == socket.AF_INET or error.errno == errno.EADDRINUSE:
                raise SystemExit(f"eastwest agent: port {port}/{protocol}: cannot listen: {error.strerror}") from None
        else:
            return sock
    raise SystemExit(f"eastwest agent: port {port}/{protocol}: no address family to listen on")


def answer_datagrams(sock: socket.socket, identity: Identity, journal: Journal, port: int) -> None:
    """Journal and answer whatever waits on the socket."""
    for _ in range(64):
        try:
            data, control, _, peer = sock.recvmsg(4096, 256)
        except OSError:  # nothing waits, or an ICMP error about an earlier answer
            return
        if sock.family == socket.AF_INET6:  # struct in6_pktinfo: address, interface; let routing choose the interface
            reply = [(level, kind, value[:16] + bytes(4)) for level, kind, value in control]
        else:  # struct in_pktinfo: interface, our address, the header's destination
            reply = [(level, kind, bytes(4) + value[4:]) for level, kind, value in control]
        asked: Any = None
        with contextlib.suppress(ValueError):
            asked = json.loads(data)
        nonce, source = (asked.get("nonce", ""), asked.get("source", "")) if isinstance(asked, dict) else ("", "")
        journal.add("datagram", "udp", port, endpoint(peer), 0, nonce=str(nonce), source=str(source))
        with contextlib.suppress(OSError):  # the peer asks again
            sock.sendmsg([json.dumps(identity.echo(str(nonce), endpoint(peer))).encode()], reply, 0, peer)


def probe_socket(family: int, kind: int, number: int = 0) -> socket.socket:
    """A non-blocking socket that keeps ICMP errors with their sender (IP_RECVERR, IPV6_RECVERR)."""
    sock = socket.socket(family, kind, number)
    sock.setblocking(False)
    level, option = (socket.IPPROTO_IPV6, 25) if family == socket.AF_INET6 else (socket.IPPROTO_IP, 11)
    with contextlib.suppress(OSError):
        sock.setsockopt(level, option, 1)
    return sock


def icmp_error(sock: socket.socket) -> str:
    """`TYPE/CODE from SENDER` of the ICMP error that ended the socket, or nothing where none came."""
    with contextlib.suppress(OSError):
        for _, _, value in sock.recvmsg(1, 512, socket.MSG_ERRQUEUE)[1]:
            _, origin, kind, code = struct.unpack_from("=IBBB", value)
            if origin in {2, 3} and len(value) >= 24:  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6; then the sender
                family = socket.AF_INET if origin == 2 else socket.AF_INET6
                raw = value[20:24] if origin == 2 else value[24:40]
                return f"{kind}/{code} from {socket.inet_ntop(family, raw)}"
    return ""


def dns_question(number: int, name: str, kind: int) -> bytes:
    """A query for one name (absolute, without the last dot), with room for 1232 bytes of answer (EDNS0)."""
    labels = b"".join(bytes([len(label)]) + label for label in (part.encode("idna") for part in name.split(".")))
    head, tail = struct.pack("!6H", number, 0x0100, 1, 0, 0, 1), struct.pack("!BHHBHHIH", 0, kind, 1, 0, 41, 1232, 0, 0)
    return head + labels + tail


def dns_answer(data: bytes) -> tuple[int, int, list[str]]:
    """The answer's number, its code and the addresses in it.

    Raises:
        ValueError: This is no answer.
    """

    def skip(at: int) -> int:
        while data[at]:
            if data[at] >= 0xC0:
                return at + 2
            at += data[at] + 1
        return at + 1

    try:
        number, flags, questions, answers = struct.unpack_from("!4H", data)
        place, found = 12, []
        for _ in range(questions):
            place = skip(place) + 4
        for _ in range(answers):
            place = skip(place)
            kind, _, _, length = struct.unpack_from("!HHIH", data, place)
            if (kind, length) in {(1, 4), (28, 16)}:
                raw = data[place + 10 : place + 10 + length]
                found.append(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, raw))
            place += 10 + length
    except (struct.error, IndexError, ValueError) as error:
        raise ValueError(f"not a DNS answer: {error}") from None
    if not flags & 0x8000:
        raise ValueError("not a DNS answer: a question")
    return number, flags & 15, found


class Resolver:
    """Names to addresses over UDP, as /etc/resolv.conf says; no thread is left behind by an unanswered query."""

    def __init__(self, path: str = "/etc/resolv.conf", port: int = 53) -> None:
        self._path, self._port = Path(path), port

    def configuration(self) -> tuple[list[str], list[str], int]:
        """Name servers, search domains and ndots."""
        servers, search, ndots = [], [], 1
        with contextlib.suppress(OSError), self._path.open(encoding="utf-8") as file:
            for words in (line.split() for line in file):
                if words[:1] == ["nameserver"] and len(words) > 1:
                    servers.append(words[1])
                elif words[:1] in (["search"], ["domain"]):
                    search = words[1:]
                elif words[:1] == ["options"]:
                    ndots = next((int(w[6:]) for w in words if w.startswith("ndots:") and w[6:].isdigit()), ndots)
        return servers[:3] or ["127.0.0.1"], search, ndots

    async def lookup(self, name: str, pause: float, say: Callable[[str], None], family: int = 0) -> str:
        """The first address of the name, IPv4 before IPv6; asks until it is cancelled.

        Args:
            pause: Seconds until the next try.
            say: Told which server is asked for what.
            family: 4 or 6, to ask for addresses of this family only.

        Raises:
            ProbeError: `dns-nxdomain`, `dns-nodata`, `dns-servfail`, `dns-refused`, `dns-unreachable`.
        """
        servers, search, ndots = self.configuration()
        candidates = [name]
        if not name.endswith("."):
            longer = [f"{name}.{domain}" for domain in search]
            candidates = [name, *longer] if name.count(".") >= ndots else [*longer, name]
        worst = ""
        for candidate in candidates:
            code, found = await self._ask(candidate.rstrip("."), servers, pause, say, family)
            if found:
                return found[0]
            worst = code if worst in {"", "dns-nxdomain"} else worst
        raise ProbeError(worst)

    async def _ask(
        self, name: str, servers: list[str], pause: float, say: Callable[[str], None], family: int
    ) -> tuple[str, list[str]]:
        failed: dict[str, str] = {}
        for server in itertools.cycle(servers):
            say(f"asked {server} for {name}")
            try:
                answers = await within(self._exchange(name, server, family), pause)
            except OSError as error:
                failed[server] = "dns-refused" if error.errno == errno.ECONNREFUSED else "dns-unreachable"
                say(f"asked {server} for {name}: {error.strerror}")
                answers = None
            if answers is None:
                if len(failed) == len(set(servers)):
                    return failed[server], []
                continue
            found = [address for _, addresses in answers for address in addresses]
            codes = {code for code, _ in answers}
            words = {3: "dns-nxdomain", 2: "dns-servfail", 5: "dns-refused"}
            return words.get(max(codes), "dns-servfail" if codes - {0} else "dns-nodata"), found
        raise ProbeError("dns-unreachable", "no name server is configured")

    async def _exchange(self, name: str, server: str, family: int) -> list[tuple[int, list[str]]]:
        """The answers for A and AAAA; A alone where it has an address, or where only one family is asked for."""
        loop = asyncio.get_running_loop()
        with probe_socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((server, self._port))
            first = secrets.randbelow(1 << 16)
            second = first ^ 1  # never the same, or the empty answer for AAAA would pass for the one for A
            kinds = {first: 1, second: 28} if not family else {first: 1} if family == 4 else {first: 28}
            for number, kind in kinds.items():
                sock.send(dns_question(number, name, kind))
            seen: dict[int, tuple[int, list[str]]] = {}
            while not set(kinds) <= set(seen) and not seen.get(first, (0, []))[1]:
                data = await loop.sock_recv(sock, 4096)
                with contextlib.suppress(ValueError):
                    number, code, found = dns_answer(data)
                    seen[number] = (code, found)
            return [seen[number] for number in kinds if number in seen]


class Line:
    """Bytes over one connected socket, through TLS where wanted."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._loop = sock, asyncio.get_running_loop()
        self._tls: ssl.SSLObject | None = None
        self._broken: OSError | None = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.local = endpoint(sock.getsockname())
        self.agreed: Message = {}
        """What TLS agreed on, as a record has it."""

    def close(self) -> None:
        """Let go of the socket."""
        self._sock.close()

    async def secure(self, context: ssl.SSLContext, name: str) -> None:
        """Do the TLS handshake; where the context checks names, the server must prove `name`."""
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name or None)
        await self._drive(self._tls.do_handshake)
        cipher, shown = self._tls.cipher(), self._tls.getpeercert(binary_form=True)
        self.agreed.update(tls_version=self._tls.version() or "", tls_cipher=cipher[0] if cipher else "")
        self.agreed["tls_peer"] = certified_names(shown or b"")

    async def _drive(self, step: Callable[[], T]) -> T:
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                result = step()
                await self._flush()
                return result
            await self._flush()
            data = await self._loop.sock_recv(self._sock, 1 << 16)
            if not data:
                raise self._broken or ProbeError("eof")
            self._in.write(data)

    async def _flush(self) -> None:
        if self._out.pending:
            await self._loop.sock_sendall(self._sock, self._out.read())

    async def send(self, data: bytes) -> None:
        """Send all; a peer that has closed already shows when the answer is read.

        With TLS so does one that has reset: its alert (TLS 1.3 refuses a certificate after the handshake) may wait.
        """
        tls = self._tls
        if tls is None:
            with contextlib.suppress(BrokenPipeError):
                await self._loop.sock_sendall(self._sock, data)
            return
        try:
            await self._drive(lambda: tls.write(data))
        except BrokenPipeError:
            pass
        except ConnectionResetError as error:
            self._broken = error

    async def receive(self) -> bytes:
        """The next bytes; empty at the end."""
        tls = self._tls
        if tls is None:
            return await self._loop.sock_recv(self._sock, 1 << 16)
        with contextlib.suppress(ssl.SSLZeroReturnError):
            return await self._drive(lambda: tls.read(1 << 16))
        return b""


def certified_names(der: bytes) -> list[str]:
    """URI names of a certificate, else its DNS names: those of its subjectAltName (2.5.29.17), read from the DER."""

    def element(at: int) -> tuple[int, int, int]:
        tag, length, at = der[at], der[at + 1], at + 2
        if length > 0x80:
            size = length - 0x80
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        return tag, at, at + length

    found: dict[int, list[str]] = {0x86: [], 0x82: []}
    at = der.find(b"\x06\x03\x55\x1d\x11") + 5
    with contextlib.suppress(IndexError):
        if at >= 5:
            at += 3 if der[at] == 0x01 else 0  # `critical`
            _, at, _ = element(at)  # OCTET STRING
            _, at, end = element(at)  # SEQUENCE
            while at < end:
                tag, start, at = element(at)
                found.get(tag, []).append(der[start:at].decode("latin-1"))
    return found[0x86] or found[0x82]


def offered(offer: Message) -> ssl.SSLContext:
    """The context of a TLS offer; the key is read from memory of this process alone and never reaches a disk.

    Raises:
        ProbeError: `bad-offer`: a certificate, key or version is none. The key is not quoted.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    versions = {f"1.{number}": version for number, version in enumerate(TLS_VERSIONS)}
    what = "ca"
    try:
        if offer.get("ca"):
            context.load_verify_locations(cadata=str(offer["ca"]))
            context.verify_mode = ssl.CERT_REQUIRED
        what = "alpn"
        if offer.get("alpn"):
            context.set_alpn_protocols([str(each) for each in offer["alpn"]])
        what = "minimum or maximum version (1.0 to 1.3)"
        if offer.get("minimum"):
            context.minimum_version = versions[str(offer["minimum"])]
        if offer.get("maximum"):
            context.maximum_version = versions[str(offer["maximum"])]
            if context.maximum_version < ssl.TLSVersion.TLSv1_2:  # else the library itself refuses to offer it
                context.set_ciphers("DEFAULT:@SECLEVEL=0")
                context.minimum_version = context.maximum_version
        what = "certificate or key"
        if offer.get("certificate"):
            with os.fdopen(os.memfd_create("eastwest", os.MFD_CLOEXEC), "wb", 0) as file:
                file.write(f"{offer['certificate']}\n{offer.get('key', '')}\n".encode())
                context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")
    except (OSError, ValueError, KeyError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise ProbeError("bad-offer", f"TLS offer: {what} cannot be used ({reason})") from None
    return context


def http_response(data: bytes, ended: bool, method: str) -> tuple[int, list[list[str]], bytes, bool] | None:
    """Status, headers and body of a complete response, and whether its connection may be used again; else None.

    Raises:
        ValueError: This is no HTTP.
    """
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return None
    start, *lines = head.decode("latin-1").split("\r\n")
    version, _, status = start.partition(" ")
    if not version.startswith("HTTP/"):
        raise ValueError(f"not HTTP: {start[:80]!r}")
    code = int(status[:3])
    if 100 <= code < 200:
        return http_response(rest, ended, method)
    headers = [[name.strip(), value.strip()] for name, _, value in (line.partition(":") for line in lines)]
    named = {name.lower(): value for name, value in headers}
    again = version == "HTTP/1.1" and "close" not in named.get("connection", "").lower()
    if method == "HEAD" or code in {204, 304}:
        return code, headers, b"", again and not rest
    if "chunked" in named.get("transfer-encoding", "").lower():
        parts = dechunked(rest)
        return None if parts is None else (code, headers, parts[0], again and not parts[1])
    if "content-length" in named:
        length = int(named["content-length"])
        return (code, headers, rest[:length], again and len(rest) == length) if len(rest) >= length else None
    return (code, headers, rest, False) if ended else None


def dechunked(data: bytes) -> tuple[bytes, bytes] | None:
    """The body of a chunked message and what follows it; None while more must come."""
    body = b""
    while True:
        size, found, data = data.partition(b"\r\n")
        if not found:
            return None
        length = int(size.partition(b";")[0], 16)
        if length == 0:
            break
        if len(data) < length + 2:
            return None
        body, data = body + data[:length], data[length + 2 :]
    if data.startswith(b"\r\n"):
        return body, data[2:]
    _, found, rest = data.partition(b"\r\n\r\n")  # behind trailers
    return (body, rest) if found else None


class Kept:
    """Connections that one question keeps open between its requests; without `keep` none is."""

    def __init__(self, keep: bool = False) -> None:
        self.keep, self.opened = keep, 0
        self.idle: deque[Line] = deque()
        self.sockets: deque[socket.socket] = deque()

    def close(self) -> None:
        """Close those that wait for another request."""
        while self.idle:
            self.idle.popleft().close()
        while self.sockets:
            self.sockets.popleft().close()


class Prober:
    """Asks flows; each probe becomes one record, whatever happens."""

    def __init__(self, lag: Lag, resolver: Resolver) -> None:
        self.lag, self._resolver = lag, resolver
        self._loop = asyncio.get_running_loop()
        files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 16)
        self._slots = asyncio.Semaphore(max(8, (files - 64) // 3))
        self._trust: dict[str, ssl.SSLContext] = {}
        self._sources = itertools.count(secrets.randbelow(SOURCES[1]))

    async def record(self, ask: Message, nonce: str, kept: Kept | None = None, address: str = "") -> Message:
        """What happened to one probe.

        Args:
            kept: Connections of earlier requests, and where this one's goes.
            address: What the host is known to resolve to.
        """
        timeout, host = float(ask["timeout"]), str(ask["host"])
        seen: Message = {"probe": int(ask["id"]), "nonce": nonce, "timeout": timeout, "phase": "dns", "error": ""}
        seen.update(errno="", icmp="", resolved="", local="", elapsed=0.0, connect_elapsed=0.0, lag=0.0, late=False)
        seen.update(attempts=1, http_status=0, http_headers=[], body="", echo=None, detail="")
        seen.update(tls_version="", tls_cipher="", tls_peer=[])
        async with self._slots:
            with self.lag:
                begun = seen["sent_at"] = self._loop.time()
                try:
                    ipaddress.ip_address((address or host).partition("%")[0])
                    address = address or host
                except ValueError:
                    address = await self._timed(self._resolve(ask, timeout / 3, seen), timeout, 0.0, seen) or ""
                if not seen["error"]:
                    seen.update(sent_at=self._loop.time(), phase="connect", resolved=endpoint((address, ask["port"])))
                    work = (
                        self._datagram(ask, nonce, address, seen, kept or Kept())
                        if ask["protocol"] in {"udp", "icmp"}
                        else self._connection(ask, nonce, address, seen, kept or Kept())
                    )
                    await self._timed(work, timeout, min(GRACE, GRACE * timeout), seen)
                elif seen["error"] == "timeout":
                    seen["error"] = "dns-timeout"
                seen["lag"] = self.lag.since(begun)
        return seen

    async def _timed(self, work: Coroutine[Any, Any, T], allowed: float, grace: float, seen: Message) -> T | None:
        """Let the work have its time; how it ended stands in `seen`."""
        begun = self._loop.time()
        task = self._loop.create_task(work)
        try:
            await asyncio.wait({task}, timeout=allowed)
            seen["elapsed"] = self._loop.time() - begun
            if not task.done():
                phase = seen["phase"]
                await asyncio.wait({task}, timeout=grace)
                seen.update(late=task.done() or seen["phase"] != phase, phase=phase, error="timeout")
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        failure = None if task.cancelled() else task.exception()
        if seen["error"] == "timeout" or failure is None:
            return None if task.cancelled() or failure else task.result()
        if isinstance(failure, ssl.SSLError):
            more = getattr(failure, "verify_message", "")
            seen.update(error="tls", detail=f"{failure.reason or failure}{': ' if more else ''}{more}")
        elif isinstance(failure, OSError):
            name = errno.errorcode.get(failure.errno or 0, "")
            seen.update(error="reset" if name == "ECONNRESET" else name or "oserror", errno=name)
            seen["detail"] = seen["detail"] or failure.strerror or str(failure)
        elif isinstance(failure, ProbeError):
            seen.update(error=failure.code, detail=seen["detail"] or str(failure))
        elif isinstance(failure, ValueError):
            seen.update(error="bad-answer", detail=str(failure))
        else:
            raise failure
        return None

    async def _resolve(self, ask: Message, pause: float, seen: Message) -> str:
        def say(what: str) -> None:
            seen["detail"] = what

        return await self._resolver.lookup(str(ask["host"]), pause, say, int(ask.get("ip_family") or 0))

    async def _dial(self, ask: Message, address: str, seen: Message, opened: list[socket.socket]) -> socket.socket:
        """The first of at most two connections, the second begun when the first shows nothing for a while."""
        ready: asyncio.Future[socket.socket] = self._loop.create_future()
        timeout, family = float(ask["timeout"]), socket.AF_INET6 if ":" in address else socket.AF_INET

        def wake(sock: socket.socket) -> None:
            if not ready.done():
                ready.set_result(sock)

        def begin() -> None:
            sctp = ask["protocol"] == "sctp"
            sock = probe_socket(family, *SOCKETS["sctp" if sctp else "tcp"])
            opened.append(sock)
            seen["attempts"] = len(opened)
            if not sctp:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = sock.connect_ex((address, int(ask["port"])))
            if code in {0, errno.EINPROGRESS}:
                self._loop.add_writer(sock.fileno(), wake, sock)
            elif not ready.done():
                ready.set_exception(OSError(code, os.strerror(code)))
            with contextlib.suppress(OSError):
                local = endpoint(sock.getsockname())
                seen["local"] = f"{seen['local']}, {local}" if seen["local"] else local

        begin()
        second = self._loop.call_later(STAGGER * timeout, begin)
        try:
            sock = await ready
        finally:
            second.cancel()
            for each in opened:
                self._loop.remove_writer(each.fileno())
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            seen["icmp"] = icmp_error(sock)
            raise OSError(code, os.strerror(code))
        return sock

    async def _connection(self, ask: Message, nonce: str, address: str, seen: Message, kept: Kept) -> None:
        while kept.idle:
            line = kept.idle.popleft()
            seen.update(local=line.local, **line.agreed)
            try:
                await self._talk(line, ask, nonce, seen, kept)
            except (OSError, ProbeError) as error:
                ended = isinstance(error, (ConnectionResetError, BrokenPipeError)) or str(error) == "eof"
                if not ended or seen["body"] or str(ask.get("method") or "GET") not in {"GET", "HEAD"}:
                    raise
                seen.update(local="", phase="connect", detail="a kept connection had ended; asked again on another")
            else:
                return
        opened: list[socket.socket] = []
        sock = None
        begun = self._loop.time()
        try:
            sock = await self._dial(ask, address, seen, opened)
            seen.update(connect_elapsed=self._loop.time() - begun)
            if ask["protocol"] == "connect":  # a stranger's server: the handshake is all that is wanted of it
                seen["phase"] = "done"
                return
            opened.remove(sock)
            kept.opened += 1
            await self._talk(Line(sock), ask, nonce, seen, kept, address)
        except OSError:
            seen["icmp"] = seen["icmp"] or (icmp_error(sock) if sock is not None and sock.fileno() >= 0 else "")
            raise
        finally:
            for each in opened:
                each.close()

    async def _talk(self, line: Line, ask: Message, nonce: str, seen: Message, kept: Kept, fresh: str = "") -> None:
        """One request and its answer; the connection is kept where both sides want that, else closed.

        Args:
            fresh: The address of a connection on which nothing has been said.
        """
        again = False
        try:
            offer = ask.get("tls")
            if fresh and (offer or ask["protocol"] == "https"):
                seen["phase"] = "tls"
                host = str(ask["host"])
                name = API_NAME if fresh == host else host.rstrip(".")
                await line.secure(self._context(offer), str(offer.get("server_name", "")) if offer else name)
                seen.update(line.agreed)
            seen["phase"] = "send"
            if ask["protocol"] in {"tcp", "sctp"}:
                await line.send(json.dumps({"nonce": nonce, "source": ask.get("source", "")}).encode() + b"\n")
                again = await self._read_line(line, seen)
            else:
                await line.send(self._request(ask, nonce, kept.keep))
                again = await self._read_http(line, str(ask.get("method") or "GET"), seen)
        finally:
            if again and kept.keep:
                kept.idle.append(line)
            else:
                line.close()

    def _context(self, offer: Message | None) -> ssl.SSLContext:
        """The context of an offer, or one that trusts the cluster's CA."""
        path = os.environ.get("EASTWEST_CA", CA)
        mark = json.dumps(offer, sort_keys=True) if offer else path
        if mark not in self._trust:
            if not offer and not os.access(path, os.R_OK):
                raise ProbeError(
                    "no-ca", f"{path} cannot be read; mount the service account's token or set EASTWEST_CA"
                )
            if len(self._trust) > MOST_OFFERS:
                self._trust.clear()
            self._trust[mark] = offered(offer) if offer else ssl.create_default_context(cafile=path)
        return self._trust[mark]

    def _request(self, ask: Message, nonce: str, keep: bool) -> bytes:
        headers = [(str(name), str(value)) for name, value in ask.get("headers", [])]
        given = {name.lower() for name, _ in headers}
        host = endpoint((str(ask["host"]).rstrip("."), ask["port"]))
        own = [
            ("Host", host),
            ("User-Agent", f"eastwest-agent/{PROTOCOL}"),
            ("Connection", "keep-alive" if keep else "close"),
        ]
        own += [("X-Eastwest-Nonce", nonce), ("X-Eastwest-Source", str(ask.get("source", "")))]
        method = str(ask.get("method") or "GET")
        if method in {"POST", "PUT", "PATCH"}:
            own.append(("Content-Length", "0"))
        lines = [f"{method} {ask.get('url_path') or '/'} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in own if name.lower() not in given]
        lines += [f"{name}: {value}" for name, value in headers]
        return "\r\n".join([*lines, "", ""]).encode()

    async def _read_line(self, line: Line, seen: Message) -> bool:
        seen["phase"], data = "response", b""
        while b"\n" not in data:
            more = await line.receive()
            if not more:
                raise ProbeError("eof")
            data += more
            seen["body"] = data[:BODY].decode("utf-8", "replace")
        self._answered(data, seen)
        return data.endswith(b"\n")

    async def _read_http(self, line: Line, method: str, seen: Message) -> bool:
        seen["phase"], data, more = "response", b"", b"-"
        while True:
            response = http_response(data, not more, method)
            if response is not None:
                break
            if not more or len(data) > 1 << 20:
                raise ProbeError("eof" if not more else "bad-answer")
            more = await line.receive()
            data += more
            seen["body"] = data[:BODY].decode("utf-8", "replace")
        seen["http_status"], seen["http_headers"], body, again = response
        proof = next((value for name, value in response[1] if name.lower() == SERVER_HEADER), "")
        seen["body"] = body[:BODY].decode("utf-8", "replace")
        self._answered(body or proof.encode(), seen)
        return again

    @staticmethod
    def _answered(data: bytes, seen: Message) -> None:
        seen["phase"] = "done"
        echo: Any = None
        with contextlib.suppress(ValueError):
            echo = json.loads(data)
        if isinstance(echo, dict) and {"pod", "instance", "nonce"} <= set(echo):
            pairs = echo.get("headers")
            told = [list(map(str, pair)) for pair in pairs if len(pair) == 2] if isinstance(pairs, list) else []
            seen["echo"] = {**{key: str(echo.get(key, "")) for key in (*ECHO, "method", "path")}, "headers": told}
            seen["body"] = ""

    def _datagram_socket(self, address: str, protocol: int) -> socket.socket:
        sock = probe_socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM, protocol)
        for number in itertools.islice(self._sources, 0 if protocol else 8):
            with contextlib.suppress(OSError):  # taken; at worst the kernel chooses
                sock.bind(("", SOURCES[0] + number % SOURCES[1]))
                break
        return sock

    async def _datagram(self, ask: Message, nonce: str, address: str, seen: Message, kept: Kept) -> None:
        question = json.dumps({"nonce": nonce, "source": ask.get("source", "")}).encode()
        icmp = 0 if ask["protocol"] == "udp" else 58 if ":" in address else 1
        if icmp:  # an echo request; the kernel gives it its checksum and its number
            question = struct.pack("!BBHHH", 8 if icmp == 1 else 128, 0, 0, 0, 1) + nonce.encode()
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(kept.sockets.popleft() if kept.sockets else self._datagram_socket(address, icmp))
            try:
                sock.connect((address, int(ask["port"])))
                seen.update(local=endpoint(sock.getsockname()), phase="send")
                for attempt in itertools.count(1):
                    seen["attempts"] = min(attempt, 3)
                    try:
                        if attempt <= 3:
                            sock.send(question)
                            seen["phase"] = "response"
                    except PermissionError as error:  # a rule on our own side drops it; for TCP that is silence, too
                        seen.update(errno="EPERM", detail=f"the caller's own kernel dropped it: {error.strerror}")
                    if await within(self._hear(sock, nonce, seen), float(ask["timeout"]) / 3 if attempt < 3 else 3600):
                        seen["body"] = "" if icmp else seen["body"]
                        if kept.keep:
                            stack.pop_all()
                            kept.sockets.append(sock)
                        return
            except OSError:
                seen["icmp"] = icmp_error(sock)
                raise

    async def _hear(self, sock: socket.socket, nonce: str, seen: Message) -> bool:
        while True:
            data = await self._loop.sock_recv(sock, 4096)
            seen["body"] = data[:BODY].decode("utf-8", "replace")
            if nonce.encode() in data:
                self._answered(data, seen)
                return True


class Agent:
    """The main process: listeners, prober, and the one harness that is attached."""

    def __init__(self, identity: Identity) -> None:
        self.identity, self.journal, self.lag = identity, Journal(), Lag()
        self.prober = Prober(self.lag, Resolver())
        self._loop = asyncio.get_running_loop()
        self._outbox: deque[tuple[int, bytes]] = deque()
        self._bytes = self._seq = self._lost = 0
        self._writer: asyncio.StreamWriter | None = None
        self._harness = ""
        self._known: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stops: dict[str, asyncio.Event] = {}

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it, and hold it until it has ended."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def tell(self, op: str, **fields: Any) -> None:
        """Number a message, keep it until it is acknowledged, and send it if somebody listens."""
        self._seq += 1
        line = json.dumps({"op": op, "seq": self._seq, **fields}).encode() + b"\n"
        self._outbox.append((self._seq, line))
        self._bytes += len(line)
        while self._bytes > OUTBOX_BYTES:
            self._bytes -= len(self._outbox.popleft()[1])
            self._lost += 1
        self.whisper(line)

    def whisper(self, line: bytes) -> None:
        """Send if somebody listens; a session that has not read for long is cut and must resume."""
        if self._writer is not None:
            self._writer.write(line)
            if self._writer.transport.get_write_buffer_size() > 2 * OUTBOX_BYTES:
                self._writer.transport.abort()
                self._writer = None

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one session until it ends or another one takes over."""
        try:
            with contextlib.suppress(OSError, ValueError):  # it broke, or a line was longer than any of ours
                async for line in reader:
                    self._take(line, writer)
        finally:
            if self._writer is writer:
                self._writer = None
            writer.close()

    def _take(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            self._handle(json.loads(line), writer)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.tell("error", message=f"{type(error).__name__}: {error} in {line[:200]!r}")

    def _handle(self, asked: Message, writer: asyncio.StreamWriter) -> None:
        op = asked["op"]
        if op == "hello":
            self._hello(asked, writer)
        elif op == "ping":
            self.whisper(json.dumps({"op": "pong", "id": asked["id"], "now": self._loop.time()}).encode() + b"\n")
        elif op == "ack":
            while self._outbox and self._outbox[0][0] <= asked["seq"]:
                self._bytes -= len(self._outbox.popleft()[1])
        elif op == "stop":
            if asked["id"] in self._stops:
                self._stops[asked["id"]].set()
        elif op not in {"batch", "repeat", "sample", "journal"}:
            self.tell("error", message=f"unknown op {op!r}")
        elif asked["id"] not in self._known:  # asked again after a lost stream: the answer is under way
            name = str(asked["id"])
            if op == "batch":
                work = self._batch(name, 0, asked["probes"])
            elif op == "repeat":
                self._stops[name] = asyncio.Event()
                keep = asked.get("connections") == "keep-alive"
                work = self._repeat(name, asked["probes"], float(asked["interval"]), keep)
            elif op == "sample":
                keep = asked.get("connections") == "keep-alive"
                count = min(int(asked["count"]), MOST_REQUESTS)
                until = self._loop.time() + float(asked["within"])
                work = self._sample(name, asked["probe"], count, keep, int(asked["parallel"]), until)
            else:
                work = self._journal(name, int(asked["since"]))
            self._known[name] = self.start(work)
            if len(self._known) > KNOWN:
                self._known = {each: task for each, task in self._known.items() if not task.done() or each == name}

    def _hello(self, asked: Message, writer: asyncio.StreamWriter) -> None:
        mine = asked.get("instance") == self.identity.instance
        if mine and asked.get("harness") != self._harness:  # it would take away and acknowledge what is not its own
            no = {"op": "error", "seq": 0, "message": "another harness has taken over this agent"}
            writer.write(json.dumps(no).encode() + b"\n")
            return
        if self._writer is not None and self._writer is not writer:
            self._writer.transport.abort()
        self._writer, self._harness = writer, str(asked.get("harness"))
        if not mine:  # another harness, or one that knows a former agent: what was asked before is nobody's
            for task in self._known.values():
                task.cancel()
            self._known.clear()
            self._stops.clear()
            self._outbox.clear()
            self._bytes = self._lost = 0
        if asked.get("protocol") != PROTOCOL:
            said = f"protocol {asked.get('protocol')!r} is not spoken here; this agent speaks {PROTOCOL}"
            self.tell("error", message=said)
        hello = {"op": "hello", "protocol": PROTOCOL, "instance": self.identity.instance, "pod": self.identity.pod}
        hello.update(workload=self.identity.workload, version=self.identity.version, now=self._loop.time())
        hello.update(python=platform.python_version(), next_seq=self._seq + 1, lost=self._lost)
        self.whisper(json.dumps(hello).encode() + b"\n")
        for seq, line in list(self._outbox):
            if mine and seq > asked.get("last_seq", 0):
                self.whisper(line)

    async def _batch(
        self, name: str, number: int, probes: list[Message], mark: str = "", kept: dict[int, Kept] | None = None
    ) -> None:
        """One round: a record for every probe and the terminator."""
        sent_at = self._loop.time()

        async def one(ask: Message) -> None:
            own = kept.setdefault(ask["id"], Kept(True)) if kept is not None else None
            record = await self.prober.record(ask, f"{ask['nonce']}{mark}", own)
            self.tell("record", batch=name, round=number, **record)

        tasks = []
        for place, ask in enumerate(probes):
            tasks.append(self._loop.create_task(one(ask)))
            if place % 16 == 15:  # let those begin, so that a large batch does not hold up its own answers
                await asyncio.sleep(0)
        try:
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for task in tasks:
                task.cancel()
        failed = [f"{type(each).__name__}: {each}" for each in ended if each is not None]
        for what in failed[:3]:
            self.tell("error", message=f"a probe of {name} failed inside the agent: {what}")
        self.tell("end", batch=name, round=number, count=len(tasks) - len(failed), sent_at=sent_at)

    async def _repeat(self, name: str, probes: list[Message], interval: float, keep: bool) -> None:
        """Rounds that overlap, until stopped; those under way are finished."""
        rounds: set[asyncio.Task[None]] = set()
        kept: dict[int, Kept] | None = {} if keep else None
        due, number, stop = self._loop.time(), 0, self._stops[name]
        try:
            while not stop.is_set():
                if len(rounds) < MOST_ROUNDS:
                    number += 1
                    task = self.start(self._batch(name, number, probes, f"-{number}", kept))
                    rounds.add(task)
                    task.add_done_callback(rounds.discard)
                due = max(due + interval, self._loop.time())
                await within(stop.wait(), due - self._loop.time())
            await asyncio.gather(*rounds, return_exceptions=True)
        finally:
            self._stops.pop(name, None)
            for task in rounds:
                task.cancel()
            for each in (kept or {}).values():
                each.close()
        self.tell("stopped", id=name, rounds=number)

    async def _sample(self, name: str, ask: Message, count: int, keep: bool, parallel: int, until: float) -> None:
        """Many requests of one probe, told as runs of like outcomes in the order of sending; none begins late."""
        kept, sent_at, address = Kept(keep), self._loop.time(), ""
        places: dict[tuple[Any, ...], int] = {}
        outcomes: list[Message] = []
        failures: list[Message] = []
        order: list[int] = []
        numbers = itertools.takewhile(lambda _: self._loop.time() < until, range(count))

        async def work(most: int) -> None:
            for number in itertools.islice(numbers, most):
                order.append(-1)
                record = await self.prober.record({**ask, "id": number}, f"{ask['nonce']}-{number}", kept, address)
                echo = record["echo"] or {}
                mark = (*(echo.get(key) for key in ECHO[:4]), echo.get("nonce") == record["nonce"])
                mark += tuple(record[key] for key in ("http_status", "error", "errno", "phase", "late"))
                order[number] = places.setdefault(mark, len(places))
                if order[number] == len(outcomes):
                    outcomes.append(record)
                if record["error"] or not echo:
                    failures.append(record)

        try:
            await work(1)
            if outcomes and outcomes[0]["resolved"]:  # a name is resolved once
                address = outcomes[0]["resolved"].rpartition(":")[0].strip("[]")
            await asyncio.gather(*(work(count) for _ in range(max(1, parallel))))
        finally:
            kept.close()
        runs = [[place, len(list(group))] for place, group in itertools.groupby(order)]
        few = sorted(failures, key=lambda each: int(each["probe"]))[:FEW]
        told = [[{"seq": 0, "batch": name, "round": 0, **each} for each in part] for part in (outcomes, few)]
        elapsed = self._loop.time() - sent_at
        self.tell("sample", id=name, outcomes=told[0], failures=told[1], runs=runs, opened=kept.opened, elapsed=elapsed)

    async def _journal(self, name: str, since: int) -> None:
        """Prove that the journal hears every listener, then tell what it holds."""
        first, wanted = self.journal.next, {}
        for place, (port, protocol) in enumerate(self.identity.ports):
            ask = {"id": place, "protocol": protocol, "host": "127.0.0.1", "port": port, "timeout": 1.0}
            wanted[secrets.token_hex(8)] = {**ask, "source": "control"}
        await asyncio.gather(*(self.prober.record(ask, nonce) for nonce, ask in wanted.items()))
        await self.journal.settle()
        control = set(wanted) <= {entry["nonce"] for entry in self.journal.since(first)}
        entries = self.journal.since(since)
        lost = abs(self.journal.next - since - len(entries))  # a reader ahead of us knew another agent's journal
        parts = [entries[at : at + JOURNAL_PART] for at in range(0, len(entries), JOURNAL_PART)] or [[]]
        for place, part in enumerate(parts, 1):
            more = place < len(parts)
            self.tell("journal", id=name, entries=part, next=self.journal.next, control=control, lost=lost, more=more)

    async def beat(self) -> None:
        """A sign of life each second, with how late the event loop was."""
        while True:
            await asyncio.sleep(1)
            now = self._loop.time()
            self.whisper(json.dumps({"op": "heartbeat", "now": now, "lag": self.lag.since(now - 1)}).encode() + b"\n")


def socket_name() -> str:
    """The abstract Unix socket of this pod's agent, private to the pod's network namespace."""
    return f"\0eastwest-agent-{os.environ.get('EASTWEST_POD', '')}"


async def serve() -> None:
    """Listen on every port and for sessions, until the process is told to end."""
    identity = Identity()
    agent = Agent(identity)
    loop = asyncio.get_running_loop()
    served: list[tuple[int, str]] = []
    for port, protocol in identity.ports:
        sock = open_listener(port, protocol)
        if sock is None:
            continue
        served.append((port, protocol))
        if protocol != "udp":
            await loop.create_server(partial(Served, identity, agent.journal, port, protocol), sock=sock, backlog=1024)
        else:
            loop.add_reader(sock, answer_datagrams, sock, identity, agent.journal, port)
    identity.ports = served
    await asyncio.start_unix_server(agent.session, socket_name(), limit=64 << 20)
    sys.stdout.write(json.dumps({"op": "serving", "pod": identity.pod, "ports": identity.ports}) + "\n")
    sys.stdout.flush()
    await agent.beat()


async def visit(seconds: float) -> None:
    """One session over standard input and output: nothing listens and nothing stays, at the latest after `seconds`."""
    agent, loop = Agent(Identity()), asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=64 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    pipe, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    beat = agent.start(agent.beat())
    await within(agent.session(reader, asyncio.StreamWriter(pipe, protocol, None, loop)), seconds)
    beat.cancel()
    os._exit(0)


def main() -> None:
    """`agent.py serve`, or `agent.py visit SECONDS`."""
    if sys.argv[1:] != ["serve"] and (sys.argv[1:2] != ["visit"] or len(sys.argv) != 3):
        raise SystemExit("usage: agent.py serve | visit SECONDS")
    for number in (signal.SIGTERM, signal.SIGINT):  # as PID 1 nothing is handled unless we do
        signal.signal(number, lambda *_: os._exit(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if soft < hard < 1 << 20 else max(soft, 1 << 16), hard))
    asyncio.run(serve() if sys.argv[1] == "serve" else visit(float(sys.argv[2])))


if __name__ == "__main__":
    main()
