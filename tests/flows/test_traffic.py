"""Traffic added up: what failed, what lost a packet, and what of the denied calls arrived."""

from __future__ import annotations

import pytest

from flows.errors import InconclusiveError, VerdictError
from flows.judge import Arrival, Journal
from flows.leaks import verify_denied
from flows.model import Evidence, Flow, Kind, Protocol, Verdict, answered, denied
from flows.traffic import TrafficReport, report

FLOW = Flow(source="caller", destination="server", host="10.0.0.2", port=8080)
UDP = Flow(source="caller", destination="server", host="10.0.0.2", port=8080, protocol=Protocol.UDP)
ADDRESSES = {"caller": ("10.0.0.1", "fd00::1")}


def _call(kind: Kind = Kind.ANSWERED, number: int = 1, flow: Flow = FLOW) -> Verdict:
    return Verdict(kind=kind, flow=flow, evidence=Evidence(nonce=f"n{number}", sent_at=100.0 + number))


def _allowed(*calls: Verdict) -> TrafficReport:
    return report([FLOW], calls, answered())


def _denied(*calls: Verdict, flow: Flow = FLOW) -> TrafficReport:
    return report([flow], calls, denied())


def _arrival(nonce: str = "", peer: str = "10.0.0.1:40000", port: int = 8080, protocol: str = "tcp") -> Arrival:
    return Arrival(at=101.5, port=port, protocol=protocol, peer=peer, nonce=nonce)


def _journal(*arrivals: Arrival, complete: bool = True) -> dict[str, Journal]:
    return {"server": Journal(arrivals=arrivals, complete=complete)}


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param({"attempts": 2}, id="second-attempt"),
        pytest.param({"connect_elapsed": 1.02}, id="syn-sent-again"),
    ],
)
def test_a_lost_packet_is_an_interruption(seen: dict[str, object]) -> None:
    told = _allowed(_call(), _call(number=2).with_evidence(**seen))
    told.verify()
    with pytest.raises(VerdictError, match=r"expected no interruption, 1 of 2 calls lost a packet"):
        told.verify_lossless()


def test_a_caller_that_was_late_itself_proves_no_loss() -> None:
    _allowed(_call().with_evidence(attempts=2, lag=0.6)).verify_lossless()


def test_silence_with_an_empty_journal_is_a_denial() -> None:
    verify_denied(_denied(_call(Kind.DROPPED), _call(Kind.PROBE_ERROR, 2)), _journal(), ADDRESSES)


@pytest.mark.parametrize(
    ("arrival", "flow"),
    [
        pytest.param(_arrival("n1"), FLOW, id="nonce"),
        pytest.param(_arrival("n1", protocol="udp"), UDP, id="datagram"),
        pytest.param(_arrival(), FLOW, id="connection-without-a-word"),
        pytest.param(_arrival(peer="[fd00::1]:40000"), FLOW, id="of-its-other-family"),
    ],
)
def test_what_arrived_is_a_leak_though_the_caller_heard_nothing(arrival: Arrival, flow: Flow) -> None:
    calls = _denied(_call(Kind.DROPPED, flow=flow), flow=flow)
    with pytest.raises(VerdictError, match=r"^caller → server:8080/\w+: expected dropped, 1 of 1 calls arrived"):
        verify_denied(calls, _journal(arrival), ADDRESSES)


@pytest.mark.parametrize(
    ("arrival", "flow"),
    [
        pytest.param(_arrival("somebody-else"), FLOW, id="another-nonce"),
        pytest.param(_arrival(port=9090), FLOW, id="another-port"),
        pytest.param(_arrival(peer="10.0.0.9:40000"), FLOW, id="another-caller"),
        pytest.param(_arrival(), UDP, id="a-connection-beside-datagrams"),
    ],
)
def test_what_others_sent_is_none(arrival: Arrival, flow: Flow) -> None:
    verify_denied(_denied(_call(Kind.DROPPED, flow=flow), flow=flow), _journal(arrival), ADDRESSES)


def test_an_answer_is_a_failure() -> None:
    with pytest.raises(VerdictError, match="expected dropped, 1 of 1 calls failed"):
        verify_denied(_denied(_call()), _journal(), ADDRESSES)


@pytest.mark.parametrize(
    ("calls", "journal"),
    [
        pytest.param((_call(Kind.DROPPED),), _journal(complete=False), id="journal"),
        pytest.param((_call(Kind.DROPPED),), {}, id="no-journal"),
        pytest.param((), _journal(), id="no-call"),
    ],
)
def test_without_witness_nothing_is_proved(calls: tuple[Verdict, ...], journal: dict[str, Journal]) -> None:
    with pytest.raises(InconclusiveError):
        verify_denied(_denied(*calls), journal, ADDRESSES)
