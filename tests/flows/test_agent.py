"""The agent itself: what it serves, journals and records, over loopback."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import certifi
import pytest

from flows.model import Flow, Kind, Protocol
from flows.stream import Agent
from tests.flows.pipes import DEADLINE, Behaviour, Served, closes, misbehaving, resets, says, soon, stays_silent

Serve = Callable[..., Served]


def flow(port: int, protocol: str = "tcp", **changes: Any) -> Flow:
    values: dict[str, Any] = {"source": "caller", "destination": "server", "host": "127.0.0.1", "port": port, **changes}
    return Flow(protocol=Protocol(protocol), **values)


@pytest.fixture(scope="module")
def caller() -> Iterator[Agent]:
    """One agent for all that need no more than a caller."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EASTWEST_CA", certifi.where())
        served = Served("caller")
    yield served.agent()
    served.close()


@pytest.fixture(scope="module")
def echoing() -> Iterator[tuple[str, int]]:
    """Pod and port of one agent that answers all that only need an answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    served = Served("server", f"{port}/tcp,{port}/udp")
    yield served.pod, port
    served.close()


@pytest.mark.parametrize("protocol", ["tcp", "udp", "http"])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1"])
def test_the_right_pod_answers_with_nonce_and_peer(
    caller: Agent, echoing: tuple[str, int], protocol: str, host: str
) -> None:
    pod, port = echoing
    (verdict,) = caller.ask([flow(port, protocol, host=host, pod=pod)], 2).result(soon())
    assert verdict.kind is Kind.ANSWERED, verdict
    assert verdict.evidence.answered_by == pod
    assert verdict.evidence.peer_seen == verdict.evidence.local
    assert verdict.evidence.phase == "done"


def test_an_applications_own_403_is_answered_and_its_headers_are_seen(serve: Serve, port: int) -> None:
    served = serve(ports=f"{port}/tcp")
    asked = flow(port, "http", pod=served.pod, method="POST", url_path="/status/403", headers=(("X-Team", "blue"),))
    (verdict,) = served.agent().ask([asked], 2).result(soon())
    assert (verdict.kind, verdict.evidence.http_status) == (Kind.ANSWERED, 403)
    assert (verdict.evidence.request_method, verdict.evidence.request_path) == ("POST", "/status/403")
    assert ("X-Team", "blue") in verdict.evidence.request_headers


def test_a_head_request_is_proved_by_a_header(serve: Serve, port: int) -> None:
    served = serve(ports=f"{port}/tcp")
    (verdict,) = served.agent().ask([flow(port, "http", pod=served.pod, method="HEAD")], 2).result(soon())
    assert verdict.kind is Kind.ANSWERED


def test_the_answer_of_another_pod_is_misdelivered(serve: Serve, port: int) -> None:
    served = serve(ports=f"{port}/tcp")
    (verdict,) = served.agent().ask([flow(port, pod="server-of-old")], 2).result(soon())
    assert verdict.kind is Kind.MISDELIVERED
    assert verdict.evidence.answered_by == served.pod


CHUNKED = "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nupst\r\n5\r\nream!\r\n0\r\n\r\n"
MISBEHAVED = [
    pytest.param(resets, "tcp", Kind.RESET, id="tcp-reset"),
    pytest.param(resets, "http", Kind.RESET, id="http-reset"),
    pytest.param(closes, "tcp", Kind.CLOSED, id="tcp-closed"),
    pytest.param(closes, "http", Kind.CLOSED, id="http-closed"),
    pytest.param(stays_silent, "tcp", Kind.SILENT, id="tcp-silent"),
    pytest.param(stays_silent, "https", Kind.SILENT, id="https-silent"),
    pytest.param(says("not TLS at all"), "https", Kind.TLS_ERROR, id="https-to-plaintext"),
    pytest.param(says("SSH-2.0-x\n"), "tcp", Kind.PROBE_ERROR, id="tcp-something-else"),
    pytest.param(
        says("HTTP/1.1 403 No\r\n\r\nRBAC: access denied"), "http", Kind.FORBIDDEN, id="proxy-403-until-close"
    ),
    pytest.param(says(CHUNKED), "http", Kind.UNAVAILABLE, id="proxy-503-chunked"),
    pytest.param(
        says("HTTP/1.1 504 T\r\nContent-Length: 9\r\n\r\nhalf"), "http", Kind.PROBE_ERROR, id="http-cut-short"
    ),
]


@pytest.mark.parametrize(("behaviour", "protocol", "kind"), MISBEHAVED)
def test_what_a_server_does_is_told_apart(caller: Agent, behaviour: Behaviour, protocol: str, kind: Kind) -> None:
    with misbehaving(behaviour) as port:
        (verdict,) = caller.ask([flow(port, protocol)], 0.5).result(soon())
    assert verdict.kind is kind, verdict


def test_a_port_without_a_listener_refuses_and_rejects(caller: Agent, port: int) -> None:
    verdicts = caller.ask([flow(port), flow(port, "udp")], 2).result(soon())
    assert [verdict.kind for verdict in verdicts] == [Kind.REFUSED, Kind.REJECTED]
    assert verdicts[1].evidence.icmp == "3/3 from 127.0.0.1"


def test_a_thousand_probes_in_one_batch_are_all_answered(serve: Serve, port: int) -> None:
    server, caller = serve(ports=f"{port}/tcp,{port}/udp"), serve("caller")
    protocols = ("tcp", "udp", "http")
    flows = [flow(port, protocols[number % 3], pod=server.pod) for number in range(1000)]
    verdicts = caller.agent().ask(flows, 5).result(soon())
    assert {verdict.kind for verdict in verdicts} == {Kind.ANSWERED}


def test_the_journal_holds_connections_nonces_and_probes_of_kubelets(serve: Serve, port: int) -> None:
    served = serve(ports=f"{port}/tcp,{port}/udp")
    agent = served.agent()
    asked = agent.ask([flow(port, pod=served.pod), flow(port, "udp", pod=served.pod)], 2).result(soon())
    kubelet = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    kubelet.request("GET", "/ready")
    assert kubelet.getresponse().status == 200
    silent = socket.create_connection(("127.0.0.1", port), DEADLINE)
    quiet = f"127.0.0.1:{silent.getsockname()[1]}"
    journal = agent.journal(0, soon())
    kubelet.close()
    silent.close()
    assert journal.control
    assert journal.lost == 0
    by_connection = {entry.connection: entry for entry in journal.entries}
    unexplained = [entry for entry in by_connection.values() if entry.event == "accepted"]
    assert [entry.peer for entry in unexplained] == [quiet]
    assert [entry.event for entry in journal.entries].count("ready") == 1
    nonces = [(e.event, e.nonce, e.source) for e in journal.entries if e.nonce and e.source != "control"]
    assert sorted(nonces) == [("datagram", asked[1].nonce, "caller"), ("nonce", asked[0].nonce, "caller")]
    controls = [(entry.protocol, entry.port) for entry in journal.entries if entry.source == "control"]
    assert sorted(controls) == [("tcp", port), ("udp", port)]
    beyond = agent.journal(journal.next + 500, soon())
    assert beyond.lost, "a reader that is ahead knew the journal of another agent"
    later = agent.journal(journal.next, soon())
    assert {entry.source for entry in later.entries if entry.nonce} == {"control"}


def test_times_are_told_on_the_harness_clock(serve: Serve, port: int) -> None:
    served = serve(ports=f"{port}/tcp")
    agent = served.agent()
    before = soon() - DEADLINE
    (verdict,) = agent.ask([flow(port, pod=served.pod)], 2).result(soon())
    assert before - 0.5 < verdict.evidence.sent_at < soon() - DEADLINE + 0.5


def test_a_kept_alive_connection_may_speak_twice(serve: Serve, port: int) -> None:
    served = serve(ports=f"{port}/tcp")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    peers = []
    for nonce in ("a", "b"):
        connection.request("GET", "/", headers={"X-Eastwest-Nonce": nonce})
        echo = json.loads(connection.getresponse().read())
        assert (echo["pod"], echo["nonce"]) == (served.pod, nonce)
        peers.append(echo["peer"])
    connection.close()
    assert len(set(peers)) == 1


def test_sigterm_ends_it_at_once_with_success(serve: Serve, port: int) -> None:
    served = serve(ports=f"{port}/tcp")
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(DEADLINE) == 0


@pytest.mark.parametrize("ports", ["8080", "8080/icmp", "x/tcp"])
def test_a_port_that_is_none_is_named(serve: Serve, ports: str) -> None:
    served = serve()
    environment = {**served.environment, "EASTWEST_PORTS": ports}
    done = subprocess.run(
        served.command("serve"), env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 1
    assert f"EASTWEST_PORTS: {ports!r} is not a port" in done.stderr
