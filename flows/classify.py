"""From what the agent recorded to one verdict of the closed set, with its evidence.

What belongs here: what a single record means. What does not: asking (`stream`), what a verdict is worth (`judge`).
"""

from __future__ import annotations

from flows.model import Evidence, Flow, Kind, Protocol, Verdict
from flows.wire import Record

MADE_BY_PROXY = {
    401: Kind.UNAUTHENTICATED,
    403: Kind.FORBIDDEN,
    404: Kind.NO_ROUTE,
    429: Kind.THROTTLED,
    502: Kind.UNAVAILABLE,
    503: Kind.UNAVAILABLE,
    504: Kind.TIMED_OUT,
}
"""By status, without an echo: no agent of ours said it. 502 is the proxy's own failure to connect (Linkerd's)."""
ENVOYS_WORDS = (
    ("no healthy upstream", "UH"),
    ("reset reason: overflow", "UO"),
    ("reset reason: connection timeout", "UF"),
    ("reset reason: connection failure", "UF"),
    ("reset reason: remote connection failure", "UF"),
    ("reset reason: connection termination", "UC"),
    ("reset reason: remote reset", "UR"),
    ("upstream request timeout", "UT"),
    ("fault filter abort", "FI"),
    ("local_rate_limited", "RL"),
)
"""What Envoy writes into an answer of its own → the response flag of its access log; a 403 or 401 has none there."""
NO_WAY = {"EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN"}
ROUTING_CODES = {"3/0", "3/1", "1/0", "1/3"}
"""ICMP and ICMPv6 codes by which a kernel tells itself that it found no way (no route, no neighbour)."""
ACCEPTED = "accepted; nothing was said, so who accepted is not known"
SAID = 160
"""How much of a proxy's own words the detail quotes, in characters."""
LEAST_LAG = 0.1
LAG_SHARE = 0.2


def lag_explains(record: Record) -> bool:
    """Whether the agent was itself so late (0.1 s and a fifth of the timeout) that silence means nothing."""
    return record.late or record.lag > max(LEAST_LAG, LAG_SHARE * record.timeout)


def ask_again(verdict: Verdict, record: Record) -> bool:
    """Whether the flow should be asked once more: the silence may have been our own."""
    return verdict.kind is Kind.PROBE_ERROR and record.error in {"timeout", "dns-timeout"} and lag_explains(record)


def classify(flow: Flow, record: Record) -> Verdict:
    """The verdict of one record: never a denial where the probe itself may be to blame."""
    kind, why = _kind(flow, record)
    detail = "; ".join(part for part in (why, record.detail) if part)
    echo = record.echo
    evidence = Evidence(
        phase=record.phase,
        errno=record.errno,
        icmp=record.icmp,
        resolved=record.resolved,
        local=record.local,
        peer_seen=echo.peer if echo else "",
        answered_by=echo.pod if echo else "",
        version=echo.version if echo else "",
        nonce=record.nonce,
        http_status=record.http_status,
        http_headers=record.http_headers,
        body=record.body,
        sent_at=record.sent_at,
        elapsed=record.elapsed,
        connect_elapsed=record.connect_elapsed,
        lag=record.lag,
        late=record.late,
        attempts=record.attempts,
        detail=f"DNS: {detail}" if kind is Kind.DNS_ERROR else detail,
        flags=flags(record) if echo is None else "",
        identity=identity(echo.headers) if echo else "",
        tls_version=record.tls_version,
        tls_cipher=record.tls_cipher,
        tls_peer=record.tls_peer,
        request_method=echo.method if echo else "",
        request_path=echo.path if echo else "",
        request_headers=echo.headers if echo else (),
    )
    return Verdict(kind=kind, flow=flow, evidence=evidence)


def _kind(flow: Flow, record: Record) -> tuple[Kind, str]:
    error = record.error
    if error in {"timeout", "dns-timeout"} and lag_explains(record):
        cause = "an answer came after the deadline" if record.late else f"the agent was {record.lag:.2f} s late itself"
        return Kind.PROBE_ERROR, f"silence that proves nothing: {cause}"
    if error == "":
        accepted = flow.protocol is Protocol.CONNECT
        return (
            (Kind.CLOSED, "accepted; nothing was said, so who accepted is not known")
            if accepted
            else _answer(flow, record)
        )
    if error.startswith("dns-"):
        return Kind.DNS_ERROR, f"{flow.host} did not resolve ({error.removeprefix('dns-')})"
    if error == "tls":
        return Kind.TLS_ERROR, ""
    if error in {"timeout", "reset", "eof"} and (record.body or record.http_status):
        return Kind.PROBE_ERROR, f"the answer broke off ({error})"
    if error == "timeout":
        unheard = record.phase == "connect" or flow.protocol in {Protocol.UDP, Protocol.ICMP}
        return (Kind.DROPPED if unheard else Kind.SILENT), ""
    if error == "reset":
        return Kind.RESET, ""
    if error == "eof":
        return Kind.CLOSED, ""
    return _refusal(flow, record)


def _answer(flow: Flow, record: Record) -> tuple[Kind, str]:
    echo = record.echo
    if flow.protocol is Protocol.ICMP or (flow.protocol is Protocol.HTTPS and record.http_status):
        return Kind.ANSWERED, ""
    if echo is not None:
        if echo.nonce != record.nonce:
            return Kind.PROBE_ERROR, f"the answer carries another nonce: {echo.nonce!r}"
        right = echo.pod == flow.pod if flow.pod else echo.workload == flow.destination
        if not right:
            return Kind.MISDELIVERED, f"answered by {echo.pod} ({echo.workload})"
        if flow.instance and echo.instance != flow.instance:
            return Kind.MISDELIVERED, f"answered by another {echo.pod} than this test's own"
        return Kind.ANSWERED, ""
    if flow.protocol is Protocol.HTTP and record.http_status in MADE_BY_PROXY:
        return MADE_BY_PROXY[record.http_status], _proxys_words(record)
    status = f"HTTP {record.http_status}" if record.http_status else "an answer"
    return Kind.PROBE_ERROR, f"{status} that is not from an agent and says nothing about the rules"


def _proxys_words(record: Record) -> str:
    """Who answered instead of the application, and what it said: `envoy: RBAC: access denied`."""
    server = next((value for name, value in record.http_headers if name.lower() == "server"), "a proxy")
    return f"{server} answered {record.http_status}: {record.body.strip()[:SAID] or 'nothing'}"


def flags(record: Record) -> str:
    """The response flags that an answer without an echo tells; the access log, where it can be read, tells all."""
    named = {name.lower(): value for name, value in record.http_headers}
    told = [flag for words, flag in ENVOYS_WORDS if words in record.body]
    if not told and record.http_status == 404 and not record.body and "envoy" in named.get("server", ""):
        told = ["NR"]
    return ",".join(dict.fromkeys(told))


def identity(headers: tuple[tuple[str, str], ...]) -> str:
    """The caller's identity as its own request told the application: the URI that the server's proxy put there last.

    Read from `x-forwarded-client-cert` (Envoy) or `l5d-client-id` (Linkerd). A mesh's dialect knows its own better.
    """
    named = {name.lower(): value for name, value in headers}
    nearest = named.get("x-forwarded-client-cert", "").rpartition(",")[2]
    told = [part.partition("=")[2] for part in nearest.split(";") if part.lower().startswith("uri=")]
    return told[-1] if told else named.get("l5d-client-id", "")


def _refusal(flow: Flow, record: Record) -> tuple[Kind, str]:
    """Refused, rejected or unreachable: the kernel's or the network's own word."""
    error = record.errno or record.error
    if record.icmp:
        code, _, sender = record.icmp.partition(" from ")
        if error in NO_WAY and code in ROUTING_CODES and sender in _hosts(record.local):
            return Kind.UNREACHABLE, "the caller's own kernel found no way"
        return Kind.REJECTED, ""
    if error == "ECONNREFUSED":
        return (Kind.REJECTED if flow.protocol in {Protocol.UDP, Protocol.ICMP} else Kind.REFUSED), ""
    if error in NO_WAY:
        return Kind.UNREACHABLE, ""
    if error == "EADDRNOTAVAIL" and flow.family == 6:
        return Kind.UNREACHABLE, "the caller has no IPv6 address"
    if error == "ETIMEDOUT" and record.phase == "connect":
        return Kind.DROPPED, ""
    return Kind.PROBE_ERROR, f"the probe failed ({error})"


def _hosts(local: str) -> set[str]:
    return {each.strip().rpartition(":")[0].strip("[]") for each in local.split(",")}
