"""What an observation is worth. Take any rule of the judge away and a test here fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from flows.judge import Arrival, Journal, Witnesses, judge
from flows.matrix import Cell, Finding
from flows.model import (
    Expected,
    Flow,
    Kind,
    Protocol,
    Verdict,
    answered,
    denied,
    denied_behind_proxy,
    forbidden,
    refused_tcp,
    reset,
)
from tests.flows.samples import DENIED, NEIGHBOUR, SERVER, WORKLOADS, cell, flow, verdict

CONTROLS = {each.key: verdict(Kind.ANSWERED, each) for each in (flow("caller"), flow("intruder"))}
QUIET = {"server": Journal(complete=True)}


def judged(
    *cells: Cell,
    controls: Mapping[str, Verdict] = CONTROLS,
    journals: Mapping[str, Journal] = QUIET,
    nonces: Mapping[Flow, frozenset[str]] | None = None,
) -> list[Cell]:
    witnesses = Witnesses(controls=controls, journals=journals, workloads=WORKLOADS, since=100.0, nonces=nonces or {})
    return judge(cells, witnesses)


def heard(*arrivals: Arrival, complete: bool = True) -> dict[str, Journal]:
    return {"server": Journal(arrivals=arrivals, complete=complete)}


def arrival(peer: str = "10.0.0.3:4000", nonce: str = "", at: float = 101.0) -> Arrival:
    return Arrival(at=at, port=8080, protocol="tcp", peer=peer, nonce=nonce)


def test_denial_with_control_journal_and_neighbour_holds() -> None:
    allowed, refused = judged(NEIGHBOUR, DENIED)
    assert (allowed.finding, refused.finding) == (Finding.HOLDS, Finding.HOLDS)
    assert "answered by server" in refused.control


def test_denial_without_control_is_undecided() -> None:
    refused = judged(NEIGHBOUR, DENIED, controls={})[1]
    assert refused.finding is Finding.UNDECIDED
    assert refused.reason.startswith("no positive control")


def test_denial_whose_control_was_denied_is_undecided() -> None:
    controls = {**CONTROLS, DENIED.flow.key: verdict(Kind.DROPPED, DENIED.flow)}
    refused = judged(NEIGHBOUR, DENIED, controls=controls)[1]
    assert refused.reason == "no positive control: before the policy it was dropped"


def test_denial_without_neighbour_is_undecided() -> None:
    (refused,) = judged(DENIED)
    assert refused.finding is Finding.UNDECIDED
    assert "neighbour" in refused.reason


@pytest.mark.parametrize(
    ("near", "finding"),
    [
        pytest.param(flow("peer"), Finding.HOLDS, id="to-the-same-server"),
        pytest.param(replace(flow("peer"), port=9090), Finding.HOLDS, id="to-another-port-of-it"),
        pytest.param(replace(flow("intruder"), destination="peer"), Finding.HOLDS, id="from-the-same-caller"),
        pytest.param(replace(flow("caller"), destination="peer"), Finding.UNDECIDED, id="between-others"),
    ],
)
def test_a_neighbour_shares_server_or_caller(near: Flow, finding: Finding) -> None:
    allowed = Cell(flow=near, expected=answered(), verdict=verdict(Kind.ANSWERED, near))
    refused = judged(allowed, DENIED)[1]
    assert refused.finding is finding
    assert (str(near) in refused.control) is (finding is Finding.HOLDS)


def test_neighbour_that_was_denied_is_none() -> None:
    refused = judged(cell("caller", answered(), Kind.DROPPED), DENIED)[1]
    assert refused.finding is Finding.UNDECIDED


def test_denial_with_unread_journal_is_undecided() -> None:
    assert judged(NEIGHBOUR, DENIED, journals={})[1].finding is Finding.UNDECIDED
    assert judged(NEIGHBOUR, DENIED, journals=heard(complete=False))[1].finding is Finding.UNDECIDED


def test_nonce_in_the_journal_is_a_leak() -> None:
    refused = judged(NEIGHBOUR, DENIED, journals=heard(arrival(nonce="n1")))[1]
    assert refused.finding is Finding.DIFFERS
    assert "only its answer was lost" in refused.reason


def test_nonce_of_an_earlier_round_of_the_window_is_a_leak() -> None:
    nonces = {DENIED.flow: frozenset({"n0", "n1"})}
    refused = judged(NEIGHBOUR, DENIED, journals=heard(arrival(nonce="n0")), nonces=nonces)[1]
    assert refused.finding is Finding.DIFFERS


def test_accepted_connection_of_the_source_is_a_leak() -> None:
    refused = judged(NEIGHBOUR, DENIED, journals=heard(arrival()))[1]
    assert refused.finding is Finding.DIFFERS
    assert "accepted a connection from intruder" in refused.reason


def test_accepted_connection_of_a_stranger_is_undecided() -> None:
    refused = judged(NEIGHBOUR, DENIED, journals=heard(arrival(peer="[::ffff:10.9.9.9]:1")))[1]
    assert refused.finding is Finding.UNDECIDED
    assert "unexplained connection" in refused.reason


@pytest.mark.parametrize(
    "harmless",
    [
        pytest.param(arrival(at=99.0), id="before-the-window"),
        pytest.param(arrival(peer="10.0.0.1:5000"), id="of-a-known-neighbour"),
        pytest.param(arrival(nonce="other"), id="request-of-another-flow"),
        pytest.param(Arrival(at=101.0, port=9090, protocol="tcp", peer="10.0.0.3:1"), id="other-port"),
    ],
)
def test_explained_arrivals_do_not_matter(harmless: Arrival) -> None:
    assert judged(NEIGHBOUR, DENIED, journals=heard(harmless))[1].finding is Finding.HOLDS


def test_datagram_leak_is_found_by_nonce_only() -> None:
    asked = flow("intruder", protocol=Protocol.UDP)
    refused = Cell(flow=asked, expected=denied(), verdict=verdict(Kind.DROPPED, asked))
    controls = {**CONTROLS, asked.key: verdict(Kind.ANSWERED, asked)}
    assert judged(NEIGHBOUR, refused, controls=controls)[1].finding is Finding.HOLDS
    leak = judged(NEIGHBOUR, refused, controls=controls, journals=heard(arrival(nonce="n1")))[1]
    assert leak.finding is Finding.DIFFERS


@pytest.mark.parametrize(
    ("expected", "kind", "finding"),
    [
        pytest.param(answered(), Kind.ANSWERED, Finding.HOLDS, id="answered-as-expected"),
        pytest.param(answered(), Kind.DROPPED, Finding.DIFFERS, id="answer-missing"),
        pytest.param(answered(), Kind.MISDELIVERED, Finding.DIFFERS, id="another-answered"),
        pytest.param(answered(), Kind.DNS_ERROR, Finding.DIFFERS, id="no-name-no-answer"),
        pytest.param(answered(), Kind.PROBE_ERROR, Finding.UNDECIDED, id="probe-failed"),
        pytest.param(denied(), Kind.ANSWERED, Finding.DIFFERS, id="open"),
        pytest.param(denied(), Kind.MISDELIVERED, Finding.DIFFERS, id="open-to-another"),
        pytest.param(denied(), Kind.REFUSED, Finding.DIFFERS, id="refused-is-not-dropped"),
        pytest.param(denied(), Kind.SILENT, Finding.DIFFERS, id="accepted-is-not-dropped"),
        pytest.param(denied("reject"), Kind.REFUSED, Finding.HOLDS, id="refused-where-profile-says-so"),
        pytest.param(denied("reject"), Kind.DROPPED, Finding.DIFFERS, id="dropped-where-profile-says-reject"),
        pytest.param(denied(), Kind.PROBE_ERROR, Finding.UNDECIDED, id="a-probe-error-is-no-denial"),
        pytest.param(denied(), Kind.DNS_ERROR, Finding.UNDECIDED, id="a-name-error-is-no-denial"),
        pytest.param(denied(), Kind.UNREACHABLE, Finding.UNDECIDED, id="no-route-is-no-denial"),
    ],
)
def test_kinds(expected: Expected, kind: Kind, finding: Finding) -> None:
    assert judged(NEIGHBOUR, cell("intruder", expected, kind))[1].finding is finding


def test_no_record_is_undecided() -> None:
    assert judged(NEIGHBOUR, cell("intruder", denied(), None))[1].finding is Finding.UNDECIDED
    assert judged(cell("caller", answered(), None))[0].finding is Finding.UNDECIDED


def test_no_journal_tells_of_icmp() -> None:
    """The pod's kernel answers, not its agent: its journal, with whatever is in it, is no witness."""
    asked = flow("intruder", protocol=Protocol.ICMP)
    refused = Cell(flow=asked, expected=denied(), verdict=verdict(Kind.DROPPED, asked))
    controls = {asked.key: verdict(Kind.ANSWERED, asked)}
    found = judged(NEIGHBOUR, refused, controls=controls, journals=heard(arrival(), complete=False))[1]
    assert found.finding is Finding.HOLDS, found.reason
    assert found.verdict is not None
    assert "keeps none" in found.verdict.evidence.journal


def test_destination_without_a_journal_says_so() -> None:
    asked = Flow(source="caller", destination="kubernetes", host="10.96.0.1", port=443, protocol=Protocol.HTTPS)
    refused = Cell(flow=asked, expected=denied(), verdict=verdict(Kind.DROPPED, asked))
    found = judged(NEIGHBOUR, refused, controls={asked.key: verdict(Kind.ANSWERED, asked)})[1]
    assert found.finding is Finding.HOLDS
    assert found.verdict is not None
    assert "keeps none" in found.verdict.evidence.journal


REFUSED = cell("intruder", refused_tcp(), Kind.CLOSED)


def at_meshed(*arrivals: Arrival, meshed: bool = True) -> Cell:
    """The refused flow, judged with what a server's journal heard behind the server's own proxy, or without one."""
    workloads = {**WORKLOADS, "server": replace(SERVER, meshed=meshed)}
    witnesses = Witnesses(controls=CONTROLS, journals=heard(*arrivals), workloads=workloads, since=100.0)
    return judge([NEIGHBOUR, REFUSED], witnesses)[1]


@pytest.mark.parametrize("peer", ["127.0.0.6:40000", "[::6]:40000", "127.0.0.1:40000", "10.0.0.2:40000"])
def test_a_servers_own_proxy_says_nothing_by_connecting(peer: str) -> None:
    assert at_meshed(arrival(peer=peer)).finding is Finding.HOLDS


@pytest.mark.parametrize(
    ("heard_of", "meshed", "finding"),
    [
        pytest.param(arrival(peer="127.0.0.6:40000", nonce="n1"), True, Finding.DIFFERS, id="nonce-through-the-proxy"),
        pytest.param(arrival(), True, Finding.DIFFERS, id="caller-past-the-proxy"),
        pytest.param(arrival(peer="10.9.9.9:1"), True, Finding.UNDECIDED, id="stranger-past-the-proxy"),
        pytest.param(arrival(peer="127.0.0.6:40000"), False, Finding.UNDECIDED, id="no-proxy-that-could-explain-it"),
    ],
)
def test_everything_else_at_a_meshed_server_still_counts(heard_of: Arrival, meshed: bool, finding: Finding) -> None:
    assert at_meshed(heard_of, meshed=meshed).finding is finding


PLAIN = cell("intruder", reset(), Kind.RESET)
HTTP = flow("intruder", protocol=Protocol.HTTP)
OWN = arrival(peer="127.0.0.6:40000")


@pytest.mark.parametrize(
    ("wanted", "beside", "finding"),
    [
        pytest.param(PLAIN, (), Finding.UNDECIDED, id="plaintext-that-strict-resets"),
        pytest.param(PLAIN, (cell("peer", refused_tcp(), Kind.CLOSED),), Finding.HOLDS, id="beside-a-refused-one"),
        pytest.param(
            Cell(flow=HTTP, expected=forbidden(), verdict=verdict(Kind.FORBIDDEN, HTTP)), (), Finding.HOLDS, id="http"
        ),
    ],
)
def test_a_proxy_that_had_no_reason_to_connect(wanted: Cell, beside: tuple[Cell, ...], finding: Finding) -> None:
    workloads = {**WORKLOADS, "server": replace(SERVER, meshed=True)}
    controls = {**CONTROLS, HTTP.key: verdict(Kind.ANSWERED, HTTP)}
    witnesses = Witnesses(controls=controls, journals=heard(OWN), workloads=workloads, since=100.0)
    assert judge([NEIGHBOUR, wanted, *beside], witnesses)[1].finding is finding


MESHED = [
    pytest.param(reset(), Kind.RESET, Finding.HOLDS, id="strict-resets"),
    pytest.param(reset(), Kind.UNAVAILABLE, Finding.DIFFERS, id="own-proxys-503-is-no-reset"),
    pytest.param(reset(), Kind.CLOSED, Finding.DIFFERS, id="closed-is-no-reset"),
    pytest.param(reset(), Kind.DROPPED, Finding.DIFFERS, id="dropped-is-no-reset"),
    pytest.param(forbidden(), Kind.FORBIDDEN, Finding.HOLDS, id="forbidden"),
    pytest.param(forbidden(), Kind.ANSWERED, Finding.DIFFERS, id="an-applications-own-403"),
    pytest.param(forbidden(), Kind.UNAUTHENTICATED, Finding.DIFFERS, id="401-is-no-403"),
    pytest.param(forbidden(), Kind.RESET, Finding.DIFFERS, id="reset-is-no-403"),
    pytest.param(denied_behind_proxy(), Kind.SILENT, Finding.HOLDS, id="silent-behind-the-own-proxy"),
    pytest.param(denied_behind_proxy(), Kind.FORBIDDEN, Finding.DIFFERS, id="another-layer-denied"),
]


@pytest.mark.parametrize(("expected", "kind", "finding"), MESHED)
def test_kinds_of_a_mesh(expected: Expected, kind: Kind, finding: Finding) -> None:
    assert judged(NEIGHBOUR, cell("intruder", expected, kind))[1].finding is finding


def test_denials_of_a_proxy_need_control_and_neighbour_too() -> None:
    refused = cell("intruder", forbidden(), Kind.FORBIDDEN)
    assert judged(NEIGHBOUR, refused, controls={})[1].reason.startswith("no positive control")
    assert "neighbour" in judged(refused)[0].reason
    assert judged(NEIGHBOUR, refused, journals={})[1].finding is Finding.UNDECIDED
