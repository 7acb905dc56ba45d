"""Samples of many requests over real agents, and traffic that goes on while its server goes and comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from flows.errors import HarnessError, InconclusiveError, VerdictError
from flows.model import Flow, Kind, Protocol, answered
from flows.questions import Connections
from flows.sample import Sample
from flows.traffic import Traffic, report
from tests.flows import samples
from tests.flows.pipes import Served, misbehaving, resets, says, stays_silent

Serve = Callable[..., Served]


def http(port: int, protocol: Protocol = Protocol.HTTP) -> Flow:
    return Flow(source="caller", destination="server", host="127.0.0.1", port=port, protocol=protocol)


@pytest.mark.parametrize(("connections", "opened"), [("fresh", 300), ("keep-alive", 8)])
@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.TCP])
def test_every_request_of_a_sample_is_told(
    serve: Serve, port: int, connections: Connections, opened: int, protocol: Protocol
) -> None:
    server = serve(ports=f"{port}/tcp")
    sample = serve("caller").agent().sample(http(port, protocol), 300, 5.0, connections)
    assert (sample.count, sample.versions(), sample.pods()) == (300, {"v1": 300}, {server.pod: 300})
    assert sample.opened == opened
    assert sample.kinds() == {Kind.ANSWERED: 300}
    assert not sample.failures


def test_a_proxys_answers_are_failures_with_their_evidence(serve: Serve) -> None:
    answer = "HTTP/1.1 503 No\r\nServer: envoy\r\nContent-Length: 19\r\n\r\nno healthy upstream"
    with misbehaving(says(answer)) as port:
        sample = serve("caller").agent().sample(http(port), 40, 2.0)
    assert sample.kinds() == {Kind.UNAVAILABLE: 40}
    assert sample.sequence()[0] == "<unavailable>"
    assert [each.evidence.flags for each in sample.failures] == ["UH"] * 5


def test_a_sample_whose_time_is_up_is_shorter(serve: Serve) -> None:
    with misbehaving(stays_silent) as port:
        sample = serve("caller").agent().sample(http(port), 1000, 0.1, within=0.3)
    assert 0 < sample.count < 1000
    assert set(sample.kinds()) <= {Kind.SILENT, Kind.PROBE_ERROR}


def test_a_sample_of_datagrams_is_refused(serve: Serve, port: int) -> None:
    with pytest.raises(HarnessError, match="requests of http or tcp"):
        serve("caller").agent().sample(http(port, Protocol.UDP), 10, 1.0)


def test_runs_leave_failures_out() -> None:
    outcomes = (
        samples.verdict(Kind.ANSWERED, version="v1"),
        samples.verdict(Kind.RESET),
        samples.verdict(Kind.ANSWERED, version="v2"),
    )
    sample = Sample(flow=samples.flow(), outcomes=outcomes, order=(0, 1, 0, 2, 2, 0))
    assert sample.runs("v1") == 3
    assert sample.sequence() == ("v1", "<reset>", "v1", "v2", "v2", "v1")


@pytest.mark.parametrize("connections", ["fresh", "keep-alive"])
def test_traffic_without_a_failure_holds(serve: Serve, port: int, connections: Connections) -> None:
    serve(ports=f"{port}/tcp")
    flows = [http(port), http(port, Protocol.TCP)]
    traffic = Traffic({"caller": serve("caller").agent()}, flows, timeout=5, interval=0.01, connections=connections)
    traffic.start().more(5)
    told = traffic.stop()
    told.verify()
    assert told.calls >= 12
    assert {each.flow for each in told.flows} == set(flows)


@pytest.mark.parametrize("connections", ["fresh", "keep-alive"])
def test_traffic_notes_every_call_that_fails(serve: Serve, port: int, connections: Connections) -> None:
    server = serve(ports=f"{port}/tcp")
    caller = {"caller": serve("caller").agent()}
    traffic = Traffic(caller, [http(port)], timeout=5, interval=0.01, connections=connections).start()
    server.end()
    traffic.more(5)
    server.restart()
    traffic.more(5)
    told = traffic.stop()
    kinds = {each.kind for each in told.failures}
    assert Kind.REFUSED in kinds
    assert kinds <= {Kind.REFUSED, Kind.RESET, Kind.CLOSED}, "a call that was under way may be cut off"
    assert told.longest_gap >= told.at(told.failures[-1]) - told.at(told.failures[0])
    with pytest.raises(VerdictError, match=r"expected answered, \d+ of \d+ calls failed \(\w+ first"):
        told.verify()


def test_traffic_that_could_not_be_told_is_undecided() -> None:
    seen = [samples.verdict(kind, sent_at=1.0 + n) for n, kind in enumerate((Kind.ANSWERED, Kind.PROBE_ERROR))]
    with pytest.raises(InconclusiveError, match="1 of 2 calls could not be told"):
        report([samples.flow()], seen, answered()).verify()
    with pytest.raises(InconclusiveError, match="no call was sent"):
        report([samples.flow("caller"), samples.flow("intruder")], seen[:1], answered()).verify()


def test_the_longest_gap_is_between_calls_that_were_answered() -> None:
    kinds = [Kind.ANSWERED, Kind.RESET, Kind.RESET, Kind.ANSWERED, Kind.ANSWERED]
    seen = [samples.verdict(kind, sent_at=10.0 + n) for n, kind in enumerate(kinds)]
    (told,) = report([samples.flow()], seen, answered()).flows
    assert (told.longest_gap, told.gap_at, len(told.failures)) == (3.0, 0.0, 2)


def test_traffic_of_an_unknown_workload_is_refused() -> None:
    with pytest.raises(HarnessError, match="no agent in workload 'caller'"):
        Traffic({}, [samples.flow()], timeout=1)


def test_a_kept_connection_that_ended_is_no_failure_but_one_refused_is(serve: Serve, port: int) -> None:
    """Every HTTP client asks again when a connection that it kept had ended; not when a fresh one is reset."""
    server, caller = serve(ports=f"{port}/tcp"), serve("caller").agent()
    closing = replace(http(port), headers=(("Connection", "close"),))
    assert caller.sample(closing, 20, 5.0, "keep-alive").kinds() == {Kind.ANSWERED: 20}
    with misbehaving(resets) as other:
        assert caller.sample(http(other), 20, 5.0, "keep-alive").kinds() == {Kind.RESET: 20}
    assert server.pod
