"""What a new process calls from its first moment on, really sent, and what its ledger is worth."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flows
from flows.errors import HarnessError, InconclusiveError, VerdictError
from flows.judge import Arrival, Journal
from flows.ledger import Early, Ledger, read
from flows.model import Flow, Protocol
from tests.flows.pipes import Served

SOURCE = Path(flows.__path__[0], "early.py")
DENIED = Flow(source="late", destination="server", host="10.0.0.2", port=8080)
ALLOWED = Flow(source="late", destination="peer", host="10.0.0.3", port=8080)
HEARD_NOTHING = {"server": Journal(complete=True)}


@pytest.fixture
def ledger() -> Iterator[Callable[[str], dict[str, object]]]:
    """Starts a pod's first process with these targets and gives its ledger."""
    running: list[subprocess.Popen[bytes]] = []

    def told(early: str) -> dict[str, object]:
        pod = f"late-{secrets.token_hex(4)}"
        environment = {**os.environ, "EASTWEST_POD": pod, "EASTWEST_EARLY": early, "EASTWEST_PORTS": ""}
        running.append(
            subprocess.Popen([sys.executable, str(SOURCE), "probe"], env=environment, stdout=-1, start_new_session=True)
        )
        done = subprocess.run([sys.executable, str(SOURCE), "tell"], env=environment, capture_output=True, check=True)
        return dict(json.loads(done.stdout))

    yield told
    for each in running:
        os.killpg(each.pid, 9)
        each.communicate()


def test_each_target_is_called_until_time_is_up(
    serve: Callable[..., Served], port: int, ledger: Callable[[str], dict[str, object]]
) -> None:
    serve(ports=f"{port}/tcp,{port}/udp")
    targets = [f"{protocol},127.0.0.1,{port},{protocol}nonce,late" for protocol in ("tcp", "udp")]
    nobody = f"udp,127.0.0.1,{port + 1 if port < 65535 else 1},none,late"
    seen = read(json.dumps(ledger(" ".join(["0.3", *targets, nobody]))), [DENIED, ALLOWED, DENIED], time.monotonic())
    outcomes = {each.nonce.partition("-")[0]: each.outcome for each in seen.calls}
    assert outcomes == {"tcpnonce": "answered", "udpnonce": "answered", "none": "ECONNREFUSED"}
    assert len({each.nonce for each in seen.calls}) == len(seen.calls) > 3


def test_the_agent_serves_all_the_same(port: int) -> None:
    pod = f"late-{secrets.token_hex(4)}"
    environment = {**os.environ, "EASTWEST_POD": pod, "EASTWEST_EARLY": "0.1", "EASTWEST_PORTS": f"{port}/tcp"}
    command = [sys.executable, str(SOURCE), "probe"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["pod"] == pod
        os.killpg(process.pid, 9)


def _ledger(denied: str = "silent", allowed: str = "answered") -> Ledger:
    return Ledger(
        calls=(
            Early(flow=DENIED, nonce="d-1", after=0.25, outcome=denied, elapsed=0.3),
            Early(flow=ALLOWED, nonce="a-1", after=0.0, outcome=allowed, elapsed=0.3),
        ),
        began=100.0,
    )


def _arrival(nonce: str, port: int = 8080) -> dict[str, Journal]:
    arrival = Arrival(at=101.0, port=port, protocol="tcp", peer="10.0.0.9:40000", nonce=nonce)
    return {"server": Journal(arrivals=(arrival,), complete=True)}


def test_silence_beside_an_answer_holds() -> None:
    _ledger().verify([ALLOWED], HEARD_NOTHING, ["10.0.0.9"])


@pytest.mark.parametrize(
    ("ledger", "journals"),
    [
        pytest.param(_ledger("answered"), HEARD_NOTHING, id="answered"),
        pytest.param(_ledger("connected"), HEARD_NOTHING, id="connected"),
        pytest.param(_ledger("ECONNREFUSED"), HEARD_NOTHING, id="refused"),
        pytest.param(_ledger(), _arrival("d-1"), id="nonce-arrived"),
        pytest.param(_ledger(), _arrival(""), id="connection-arrived"),
    ],
)
def test_a_leak_is_told_with_its_length(ledger: Ledger, journals: dict[str, Journal]) -> None:
    with pytest.raises(VerdictError, match=r"late → server:8080/tcp: expected dropped, 1 of 1 first calls got through"):
        ledger.verify([ALLOWED], journals, ["10.0.0.9"])


@pytest.mark.parametrize(
    ("ledger", "journals"),
    [
        pytest.param(_ledger(allowed="silent"), HEARD_NOTHING, id="no-neighbour"),
        pytest.param(_ledger(), {}, id="no-journal"),
    ],
)
def test_without_witness_nothing_is_proved(ledger: Ledger, journals: dict[str, Journal]) -> None:
    with pytest.raises(InconclusiveError):
        ledger.verify([ALLOWED], journals, ["10.0.0.9"])


def test_where_denials_are_refusals_a_refusal_is_none() -> None:
    _ledger("ECONNREFUSED").verify([ALLOWED], HEARD_NOTHING, ["10.0.0.9"], rejects=True)
    with pytest.raises(VerdictError):
        _ledger("connected").verify([ALLOWED], HEARD_NOTHING, ["10.0.0.9"], rejects=True)


@pytest.mark.parametrize("text", ["", "[]", '{"began": 1, "now": 2, "calls": [{"place": 7}]}'])
def test_what_is_no_ledger_is_refused(text: str) -> None:
    with pytest.raises(HarnessError, match="ledger cannot be read"):
        read(text, [DENIED], 0.0)


def test_datagrams_are_told_apart_by_their_flow() -> None:
    udp = Flow(source="late", destination="server", host="10.0.0.2", port=8080, protocol=Protocol.UDP)
    told = Ledger(calls=(Early(flow=udp, nonce="u-1", after=0.5, outcome="silent", elapsed=0.3),), began=0.0)
    told.verify([], _arrival(""), ["10.0.0.9"])
    with pytest.raises(VerdictError, match=r"8080/udp: expected dropped, 1 of 1 first calls got through \(0\.50 s\)"):
        told.verify([], _arrival("u-1"), ["10.0.0.9"])
