"""The agent's own resolver: search lists, errors told apart, answers that are not ours ignored."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from flows.agent import ProbeError, Resolver, dns_answer, dns_question, within
from flows.model import Flow, Kind
from tests.flows.pipes import Namespace, Served, soon

Zone = dict[tuple[str, int], tuple[int, list[str]]]
A, AAAA = 1, 28


def name_of(query: bytes) -> tuple[str, int]:
    labels, place = [], 12
    while query[place]:
        labels.append(query[place + 1 : place + 1 + query[place]].decode())
        place += query[place] + 1
    return ".".join(labels), struct.unpack_from("!H", query, place + 1)[0]


def reply(query: bytes, code: int, addresses: list[str], number: int | None = None) -> bytes:
    first = struct.unpack_from("!H", query)[0] if number is None else number
    name, kind = name_of(query)
    end = 12 + len(name) + 2 + 4
    data = struct.pack("!6H", first, 0x8180 | code, 1, len(addresses), 0, 0) + query[12:end]
    for address in addresses:
        raw = socket.inet_pton(socket.AF_INET6 if kind == AAAA else socket.AF_INET, address)
        data += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 5, len(raw)) + raw
    return data


@contextmanager
def name_server(answer: Callable[[bytes], list[bytes]]) -> Iterator[int]:
    """The port of a DNS server on loopback that answers each query with these datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def run() -> None:
            while True:
                query, peer = sock.recvfrom(4096)
                if query == b"end":
                    return
                for data in answer(query):
                    sock.sendto(data, peer)

        thread = Thread(target=run, daemon=True)
        thread.start()
        yield int(sock.getsockname()[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"end", sock.getsockname())
        thread.join(20)


def zone(known: Zone, asked: list[str]) -> Callable[[bytes], list[bytes]]:
    def answer(query: bytes) -> list[bytes]:
        name, kind = name_of(query)
        asked.append(name)
        return [reply(query, *known.get((name, kind), (0 if any(n == name for n, _ in known) else 3, [])))]

    return answer


CONFIGURATION = "nameserver 127.0.0.1\nsearch demo.svc.cluster.local svc.cluster.local\noptions ndots:5 edns0\n"


def look_up(name: str, port: int, path: Path, pause: float = 5.0, family: int = 0) -> tuple[str, list[str]]:
    said: list[str] = []
    path.write_text(CONFIGURATION, encoding="utf-8")

    async def run() -> str | None:
        return await within(Resolver(str(path), port).lookup(name, pause, said.append, family), 10)

    return asyncio.run(run()) or "", said


@pytest.mark.parametrize(
    ("name", "known", "address", "asked"),
    [
        pytest.param(
            "server",
            {("server.demo.svc.cluster.local", A): (0, ["10.0.0.1"])},
            "10.0.0.1",
            ["server.demo.svc.cluster.local"],
            id="search-list-first",
        ),
        pytest.param(
            "server.demo",
            {("server.demo.svc.cluster.local", A): (0, ["10.0.0.1"])},
            "10.0.0.1",
            ["server.demo.demo.svc.cluster.local", "server.demo.svc.cluster.local"],
            id="second-domain-of-the-search-list",
        ),
        pytest.param("server.", {("server", A): (0, ["10.0.0.2"])}, "10.0.0.2", ["server"], id="absolute"),
        pytest.param(
            "a.b.c.d.e.f", {("a.b.c.d.e.f", A): (0, ["10.0.0.3"])}, "10.0.0.3", ["a.b.c.d.e.f"], id="ndots-reached"
        ),
        pytest.param("six.", {("six", AAAA): (0, ["fd00::1"])}, "fd00::1", ["six"], id="ipv6-only"),
        pytest.param(
            "both.", {("both", AAAA): (0, ["fd00::1"]), ("both", A): (0, ["10.0.0.4"])}, "10.0.0.4", ["both"], id="both"
        ),
    ],
)
def test_names_become_addresses(tmp_path: Path, name: str, known: Zone, address: str, asked: list[str]) -> None:
    seen: list[str] = []
    with name_server(zone(known, seen)) as port:
        found, said = look_up(name, port, tmp_path / "resolv.conf")
    assert found == address
    assert list(dict.fromkeys(seen)) == asked
    assert said[-1] == f"asked 127.0.0.1 for {asked[-1]}"


@pytest.mark.parametrize(("family", "address"), [(4, "10.0.0.4"), (6, "fd00::1")])
def test_one_family_alone_is_asked_for(tmp_path: Path, family: int, address: str) -> None:
    asked: list[int] = []
    known: Zone = {("both", AAAA): (0, ["fd00::1"]), ("both", A): (0, ["10.0.0.4"])}

    def answer(query: bytes) -> list[bytes]:
        asked.append(name_of(query)[1])
        return zone(known, [])(query)

    with name_server(answer) as port:
        assert look_up("both.", port, tmp_path / "resolv.conf", family=family)[0] == address
    assert asked == [A if family == 4 else AAAA]


@pytest.mark.parametrize(
    ("code", "word"), [(0, "dns-nodata"), (2, "dns-servfail"), (3, "dns-nxdomain"), (5, "dns-refused")]
)
def test_errors_are_told_apart(tmp_path: Path, code: int, word: str) -> None:
    with name_server(lambda query: [reply(query, code, [])]) as port, pytest.raises(ProbeError) as caught:
        look_up("server.", port, tmp_path / "resolv.conf")
    assert caught.value.code == word


def test_a_closed_port_is_refused(tmp_path: Path, port: int) -> None:
    with pytest.raises(ProbeError) as caught:
        look_up("server.", port, tmp_path / "resolv.conf")
    assert caught.value.code == "dns-refused"


def test_answers_to_other_questions_and_garbage_are_ignored(tmp_path: Path) -> None:
    def answer(query: bytes) -> list[bytes]:
        other = (struct.unpack_from("!H", query)[0] + 1) % (1 << 16)
        right = reply(query, 0, ["10.0.0.5"] if name_of(query)[1] == A else [])
        return [b"\x00", query, reply(query, 3, [], number=other), right]

    with name_server(answer) as port:
        assert look_up("server.", port, tmp_path / "resolv.conf")[0] == "10.0.0.5"


def test_two_questions_never_have_one_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the empty answer for AAAA, when it comes first, is taken for the one for A: the name has no address."""
    monkeypatch.setattr("flows.agent.secrets.randbelow", lambda _: 7)
    asked: list[bytes] = []

    def the_last_question_first(query: bytes) -> list[bytes]:
        asked.append(query)
        return [] if len(asked) == 1 else [reply(asked[1], 0, []), reply(asked[0], 0, ["10.0.0.1"])]

    with name_server(the_last_question_first) as port:
        assert look_up("server.", port, tmp_path / "resolv.conf")[0] == "10.0.0.1"


def test_a_lost_query_is_sent_again(tmp_path: Path) -> None:
    seen: list[int] = []

    def answer(query: bytes) -> list[bytes]:
        seen.append(name_of(query)[1])
        return [reply(query, 0, ["10.0.0.6"])] if seen.count(A) > 1 and seen[-1] == A else []

    with name_server(answer) as port:
        assert look_up("server.", port, tmp_path / "resolv.conf", pause=0.1)[0] == "10.0.0.6"


@pytest.mark.parametrize("data", [b"", b"\x00" * 12, reply(dns_question(7, "server", A), 0, ["10.0.0.1"])[:-3]])
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a DNS answer"):
        dns_answer(data)


def test_a_name_server_that_cannot_be_reached_is_a_dns_error(namespace: Namespace) -> None:
    served = Served("caller", prefix=namespace.prefix)
    asked = Flow(source="caller", destination="server", host="server.demo.svc.cluster.local.", port=80)
    (verdict,) = served.agent().ask([asked], 0.3).result(soon())
    served.close()
    assert verdict.kind is Kind.DNS_ERROR
    assert verdict.evidence.detail.startswith("DNS: server.demo.svc.cluster.local. did not resolve")
