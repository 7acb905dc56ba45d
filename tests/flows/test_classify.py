"""One record, one verdict: the closed set, and what is never a denial."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flows.classify import ask_again, classify
from flows.model import Flow, Kind, Protocol
from flows.wire import Echo, Record

NONCE = "0123456789abcdef"
ECHO = Echo(pod="server-0", workload="server", instance="i", version="v1", nonce=NONCE, peer="10.0.0.1:999")
RECORD = Record(
    seq=1,
    batch="b1",
    round=0,
    probe=0,
    nonce=NONCE,
    timeout=0.5,
    phase="connect",
    error="timeout",
    errno="",
    icmp="",
    resolved="10.0.0.2:80",
    local="10.0.0.1:999, 10.0.0.1:998",
    sent_at=1.0,
    elapsed=0.5,
    connect_elapsed=0.0,
    lag=0.01,
    late=False,
    attempts=2,
    http_status=0,
    http_headers=(),
    body="",
    echo=None,
    detail="",
    tls_version="",
    tls_cipher="",
    tls_peer=(),
)


def flow(protocol: str = "tcp", **changes: Any) -> Flow:
    plain = Flow(source="caller", destination="server", host="10.0.0.2", port=80, protocol=Protocol(protocol))
    return replace(plain, **{"pod": "server-0", **changes})


DONE = {"phase": "done", "error": ""}
CASES: list[tuple[str, str, dict[str, object], Kind]] = [
    ("echo-with-nonce", "tcp", {**DONE, "echo": ECHO}, Kind.ANSWERED),
    ("own-403-with-echo", "http", {**DONE, "echo": ECHO, "http_status": 403}, Kind.ANSWERED),
    ("another-pod", "tcp", {**DONE, "echo": replace(ECHO, pod="other-0")}, Kind.MISDELIVERED),
    ("another-nonce", "tcp", {**DONE, "echo": replace(ECHO, nonce="x")}, Kind.PROBE_ERROR),
    ("no-echo", "tcp", {**DONE, "body": "SSH-2.0"}, Kind.PROBE_ERROR),
    ("proxy-401", "http", {**DONE, "http_status": 401}, Kind.UNAUTHENTICATED),
    ("proxy-403", "http", {**DONE, "http_status": 403}, Kind.FORBIDDEN),
    ("proxy-404", "http", {**DONE, "http_status": 404}, Kind.NO_ROUTE),
    ("proxy-429", "http", {**DONE, "http_status": 429}, Kind.THROTTLED),
    ("proxy-503", "http", {**DONE, "http_status": 503}, Kind.UNAVAILABLE),
    ("proxy-504", "http", {**DONE, "http_status": 504}, Kind.TIMED_OUT),
    ("a-200-that-is-not-ours", "http", {**DONE, "http_status": 200}, Kind.PROBE_ERROR),
    ("https-any-status", "https", {**DONE, "http_status": 403}, Kind.ANSWERED),
    ("no-handshake", "tcp", {}, Kind.DROPPED),
    ("udp-silence", "udp", {"phase": "response"}, Kind.DROPPED),
    ("silence-after-accept", "tcp", {"phase": "response"}, Kind.SILENT),
    ("silence-in-tls", "https", {"phase": "tls"}, Kind.SILENT),
    ("half-an-answer", "http", {"phase": "response", "body": "HTTP/1.1 2"}, Kind.PROBE_ERROR),
    ("rst-on-connect", "tcp", {"error": "ECONNREFUSED", "errno": "ECONNREFUSED"}, Kind.REFUSED),
    ("udp-refused", "udp", {"error": "ECONNREFUSED", "errno": "ECONNREFUSED", "phase": "response"}, Kind.REJECTED),
    (
        "icmp-port-unreachable",
        "tcp",
        {"error": "ECONNREFUSED", "errno": "ECONNREFUSED", "icmp": "3/3 from 10.0.0.9"},
        Kind.REJECTED,
    ),
    (
        "icmp-prohibited",
        "tcp",
        {"error": "EHOSTUNREACH", "errno": "EHOSTUNREACH", "icmp": "3/13 from 10.0.0.1"},
        Kind.REJECTED,
    ),
    ("no-route-here", "tcp", {"error": "ENETUNREACH", "errno": "ENETUNREACH"}, Kind.UNREACHABLE),
    (
        "no-neighbour-here",
        "tcp",
        {"error": "EHOSTUNREACH", "errno": "EHOSTUNREACH", "icmp": "3/1 from 10.0.0.1"},
        Kind.UNREACHABLE,
    ),
    (
        "host-unreachable-from-afar",
        "tcp",
        {"error": "EHOSTUNREACH", "errno": "EHOSTUNREACH", "icmp": "3/1 from 10.0.0.9"},
        Kind.REJECTED,
    ),
    ("reset-after-accept", "tcp", {"phase": "response", "error": "reset", "errno": "ECONNRESET"}, Kind.RESET),
    ("clean-end-after-accept", "tcp", {"phase": "response", "error": "eof"}, Kind.CLOSED),
    ("bad-certificate", "https", {"phase": "tls", "error": "tls"}, Kind.TLS_ERROR),
    ("name-unknown", "tcp", {"phase": "dns", "error": "dns-nxdomain"}, Kind.DNS_ERROR),
    ("name-server-silent", "tcp", {"phase": "dns", "error": "dns-timeout"}, Kind.DNS_ERROR),
    ("out-of-files", "tcp", {"error": "EMFILE", "errno": "EMFILE"}, Kind.PROBE_ERROR),
    ("no-ca", "https", {"phase": "tls", "error": "no-ca"}, Kind.PROBE_ERROR),
    ("drop-with-lag", "tcp", {"lag": 0.11}, Kind.PROBE_ERROR),
    ("drop-with-lag-below-a-fifth", "tcp", {"lag": 0.11, "timeout": 1.0}, Kind.DROPPED),
    ("drop-with-late-answer", "tcp", {"late": True}, Kind.PROBE_ERROR),
    ("silence-with-lag", "tcp", {"phase": "response", "lag": 0.2}, Kind.PROBE_ERROR),
    ("dns-silence-with-lag", "tcp", {"phase": "dns", "error": "dns-timeout", "lag": 0.2}, Kind.PROBE_ERROR),
    ("answer-with-lag", "tcp", {**DONE, "echo": ECHO, "lag": 0.4}, Kind.ANSWERED),
]


@pytest.mark.parametrize(("protocol", "seen", "kind"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_record_has_one_verdict(protocol: str, seen: dict[str, object], kind: Kind) -> None:
    verdict = classify(flow(protocol), record(**seen))
    assert verdict.kind is kind, verdict.evidence


def record(**seen: object) -> Record:
    values = {name: getattr(RECORD, name) for name in RECORD.__slots__}
    return Record(**{**values, **seen})


def test_without_an_expected_pod_any_pod_of_the_destination_may_answer() -> None:
    seen = record(**DONE, echo=replace(ECHO, pod="server-7"))
    assert classify(flow(pod=""), seen).kind is Kind.ANSWERED
    assert classify(flow(pod="", destination="other"), seen).kind is Kind.MISDELIVERED


def test_dns_is_named_first() -> None:
    seen = record(phase="dns", error="dns-timeout", detail="asked 10.96.0.10 for server")
    assert classify(flow(host="server"), seen).evidence.detail.startswith("DNS: server did not resolve (timeout)")


@pytest.mark.parametrize(
    ("seen", "again"),
    [
        pytest.param({"lag": 0.3}, True, id="silence-with-lag"),
        pytest.param({"late": True}, True, id="late-answer"),
        pytest.param({}, False, id="plain-drop"),
        pytest.param({"error": "EMFILE"}, False, id="failed-probe"),
    ],
)
def test_only_silence_that_proves_nothing_is_asked_again(seen: dict[str, object], again: bool) -> None:
    asked = record(**seen)
    assert ask_again(classify(flow(), asked), asked) is again


@pytest.mark.parametrize(
    ("instance", "kind"),
    [("i", Kind.ANSWERED), ("", Kind.ANSWERED), ("former", Kind.MISDELIVERED)],
    ids=["the-very-agent", "any-may-answer", "a-namesake"],
)
def test_a_namesake_of_the_server_is_another_workload(instance: str, kind: Kind) -> None:
    """A pod of the same name in another namespace, or before a restart, has another agent."""
    record = replace(RECORD, phase="done", error="", echo=ECHO)
    assert classify(flow(instance=instance), record).kind is kind
