"""HTTP as proxies and tests need it: what the application saw, answers made to order, bodies in every framing."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flows.agent import dechunked, http_response, instruction
from flows.model import Flow, Kind, Protocol
from flows.stream import Agent
from tests.flows.pipes import DEADLINE, Served, misbehaving, says, soon

Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def echoing() -> Iterator[tuple[Served, int, Agent]]:
    """One agent that asks itself."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    served = Served("server", f"{port}/tcp")
    yield served, port, served.agent()
    served.close()


def http(port: int, **changes: Any) -> Flow:
    plain: dict[str, Any] = {
        "source": "server",
        "destination": "server",
        "host": "127.0.0.1",
        "port": port,
        "protocol": Protocol.HTTP,
    }
    return Flow(**{**plain, **changes})


@pytest.mark.parametrize("path", ["/", "//a/../b", "/%2e%2e/admin%2Fx;y?q=1#f", "/a\\b", "/ADMIN/./"])
def test_a_path_is_sent_and_told_as_it_is(echoing: tuple[Served, int, Agent], path: str) -> None:
    _, port, agent = echoing
    (verdict,) = agent.ask([http(port, url_path=path, method="DELETE")], 5).result(soon())
    assert verdict.kind is Kind.ANSWERED
    assert (verdict.evidence.request_method, verdict.evidence.request_path) == ("DELETE", path)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 502, 503, 504])
@pytest.mark.parametrize("way", ["header", "query", "path"])
def test_an_applications_own_refusal_is_answered(echoing: tuple[Served, int, Agent], status: int, way: str) -> None:
    _, port, agent = echoing
    asked = {
        "header": http(port, headers=(("X-Eastwest-Status", str(status)),)),
        "query": http(port, url_path=f"/x?eastwest-status={status}"),
        "path": http(port, url_path=f"/status/{status}"),
    }[way]
    (verdict,) = agent.ask([asked], 5).result(soon())
    assert (verdict.kind, verdict.evidence.http_status) == (Kind.ANSWERED, status)


def test_an_answer_can_be_delayed(echoing: tuple[Served, int, Agent]) -> None:
    _, port, agent = echoing
    (slow,) = agent.ask([http(port, headers=(("x-eastwest-delay", "0.2"),))], 5).result(soon())
    assert slow.kind is Kind.ANSWERED
    assert slow.evidence.elapsed >= 0.2
    (silent,) = agent.ask([http(port, headers=(("x-eastwest-delay", "20"),))], 0.3).result(soon())
    assert silent.kind is Kind.SILENT


def test_headers_are_bounded(echoing: tuple[Served, int, Agent]) -> None:
    _, port, agent = echoing
    long = tuple((f"x-{number}", "v" * 4_000) for number in range(10))
    (verdict,) = agent.ask([http(port, headers=long)], 5).result(soon())
    assert verdict.kind is Kind.ANSWERED
    assert 8_000 < sum(len(name) + len(value) for name, value in verdict.evidence.request_headers) <= 16_384


def test_a_request_in_chunks_is_answered_after_a_continue(echoing: tuple[Served, int, Agent]) -> None:
    _, port, _ = echoing
    head = "POST /x HTTP/1.1\r\nhost: h\r\nx-eastwest-nonce: n7\r\nexpect: 100-continue\r\n"
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
        for _ in range(2):  # the same connection, twice
            connection.sendall(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
            assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b"3\r\nabc\r\n0\r\nx-trailer: 1\r\n\r\n")
            answer = connection.recv(1 << 16)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["nonce"] == "n7"


def test_what_is_no_request_is_ended_at_once(echoing: tuple[Served, int, Agent]) -> None:
    """A caller's proxy that speaks TLS to it is told so, as by any server of plain HTTP."""
    _, port, _ = echoing
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as asked:
        asked.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        assert asked.recv(1) == b""


def test_the_nonce_is_looked_for_only_in_answers_of_ours() -> None:
    assert instruction("status", {}, "/status/403?x") == "403"
    assert instruction("status", {"x-eastwest-status": "401"}, "/status/403") == "401"
    assert instruction("delay", {}, "/delay/5") == ""


ENVELOPE = "HTTP/1.1 200 OK\r\ndate: x\r\nserver: envoy\r\nx-envoy-upstream-service-time: 1\r\n"


def test_an_echo_is_ours_through_a_proxy_that_changes_its_shape(echoing: tuple[Served, int, Agent]) -> None:
    _, _, agent = echoing

    def proxy(connection: socket.socket) -> None:
        asked = connection.recv(1 << 16).decode()
        nonce = next(line.split(": ")[1] for line in asked.split("\r\n") if line.startswith("X-Eastwest-Nonce"))
        echo = {"pod": "p", "workload": "server", "instance": "i", "version": "v2", "nonce": nonce, "peer": "1:2"}
        body = json.dumps({**echo, "headers": [["x-forwarded-client-cert", "By=spiffe://s;URI=spiffe://td/ns/a/sa/b"]]})
        half = len(body) // 2
        parts = "".join(f"{len(part):x}\r\n{part}\r\n" for part in (body[:half], body[half:]))
        connection.sendall(f"HTTP/1.1 100 Continue\r\n\r\n{ENVELOPE}transfer-encoding: chunked\r\n\r\n".encode())
        connection.sendall(f"{parts}0\r\n\r\n".encode())

    with misbehaving(proxy) as port:
        (verdict,) = agent.ask([http(port)], 5).result(soon())
    assert verdict.kind is Kind.ANSWERED, verdict
    assert (verdict.evidence.version, verdict.evidence.identity) == ("v2", "spiffe://td/ns/a/sa/b")


SAID = [
    pytest.param("403 Forbidden", "RBAC: access denied", Kind.FORBIDDEN, "", id="rbac"),
    pytest.param("401 Unauthorized", "Jwt is expired", Kind.UNAUTHENTICATED, "", id="jwt"),
    pytest.param("404 Not Found", "", Kind.NO_ROUTE, "NR", id="no-route"),
    pytest.param("429 Too Many", "local_rate_limited", Kind.THROTTLED, "RL", id="throttled"),
    pytest.param("502 Bad Gateway", "", Kind.UNAVAILABLE, "", id="bad-gateway"),
    pytest.param("503 No", "no healthy upstream", Kind.UNAVAILABLE, "UH", id="empty-subset"),
    pytest.param("504 Late", "upstream request timeout", Kind.TIMED_OUT, "UT", id="timed-out"),
    pytest.param("500 Broken", "", Kind.PROBE_ERROR, "", id="a-status-of-no-rule"),
]


@pytest.mark.parametrize(("status", "body", "kind", "flags"), SAID)
def test_a_proxys_own_answer_is_named_with_its_words(
    echoing: tuple[Served, int, Agent], status: str, body: str, kind: Kind, flags: str
) -> None:
    _, _, agent = echoing
    answer = f"HTTP/1.1 {status}\r\nserver: istio-envoy\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    with misbehaving(says(answer)) as port:
        (verdict,) = agent.ask([http(port)], 5).result(soon())
    assert (verdict.kind, verdict.evidence.flags, verdict.evidence.body) == (kind, flags, body)
    assert status[:3] in verdict.evidence.detail


@pytest.mark.parametrize(
    ("data", "again"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", True, id="kept"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok?", False, id="more-than-asked"),
        pytest.param(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", False, id="closing"),
        pytest.param(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", False, id="of-old"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True, id="chunks"),
    ],
)
def test_a_connection_is_kept_only_behind_a_whole_answer(data: bytes, again: bool) -> None:
    found = http_response(data, False, "GET")
    assert found is not None
    assert (found[2][:2], found[3]) == (b"ok", again)
    assert http_response(data[: data.rindex(b"ok") + 1], False, "GET") is None


def test_chunks_end_behind_their_trailers() -> None:
    assert dechunked(b"0\r\n") is None
    assert dechunked(b"2\r\nok\r\n0\r\nx: 1\r\n\r\nrest") == (b"ok", b"rest")
