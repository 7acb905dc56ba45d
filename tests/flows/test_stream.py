"""The stream to one agent: what a short, broken or lost one means, and that a lost one loses nothing."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flows import stream
from flows.errors import HarnessError
from flows.model import Flow, Kind
from flows.stream import Agent
from tests.flows.pipes import DEADLINE, Scripted, Served, misbehaving, soon, stays_silent

Serve = Callable[..., Served]
GREETING = {
    "op": "hello",
    "protocol": 2,
    "instance": "i1",
    "pod": "p",
    "workload": "w",
    "version": "",
    "python": "3.9.0",
    "now": 0.0,
    "next_seq": 1,
    "lost": 0,
}


def flow(port: int, **changes: Any) -> Flow:
    values = {"source": "caller", "destination": "server", "host": "127.0.0.1", "port": port, **changes}
    return Flow(**values)


def scripted(**answers: list[dict[str, Any] | bytes]) -> Agent:
    """An agent whose far side gives these messages for these ops."""
    return Agent("caller", far_side(**answers), patience=0.2)


def far_side(**answers: list[dict[str, Any] | bytes]) -> Callable[[], Scripted]:
    """Opens channels whose far side gives these messages for these ops."""

    def answer(sent: dict[str, Any]) -> Iterator[dict[str, Any] | bytes]:
        if sent["op"] == "ping":
            yield {"op": "pong", "id": sent["id"], "now": 0.0}
        for each in answers.get(sent["op"], [GREETING] if sent["op"] == "hello" else []):
            yield {**each, "batch": sent["id"]} if isinstance(each, dict) and each["op"] == "end" else each

    return lambda: Scripted(answer)


def test_a_flow_without_a_record_is_a_probe_error() -> None:
    agent = scripted(batch=[{"op": "end", "seq": 1, "batch": "", "round": 0, "count": 0, "sent_at": 0.0}])
    agent.connect(soon())
    (verdict,) = agent.ask([flow(1)], 0.5).result(soon())
    agent.close()
    assert verdict.kind is Kind.PROBE_ERROR
    assert "0 records for 1 flows" in verdict.evidence.detail


def test_records_that_the_agent_dropped_are_probe_errors() -> None:
    agent = scripted(batch=[{"op": "end", "seq": 8, "batch": "", "round": 0, "count": 1, "sent_at": 0.0}])
    agent.connect(soon())
    (verdict,) = agent.ask([flow(1)], 0.5).result(soon())
    agent.close()
    assert verdict.kind is Kind.PROBE_ERROR
    assert "had to drop 7 messages" in verdict.evidence.detail


def test_a_line_that_is_no_message_fails_what_is_asked_and_is_shown() -> None:
    agent = scripted(batch=[b"Killed\n"])
    agent.connect(soon())
    (verdict,) = agent.ask([flow(1)], 0.5).result(soon())
    assert verdict.kind is Kind.PROBE_ERROR
    assert "the line: Killed" in verdict.evidence.detail
    with pytest.raises(HarnessError, match="the line: Killed"):
        agent.ask([flow(1)], 0.5)
    agent.close()


def test_another_protocol_is_refused_at_once() -> None:
    with pytest.raises(HarnessError, match="the agent speaks protocol 3, we speak 2; restart its pod"):
        scripted(hello=[{**GREETING, "protocol": 3}]).connect(soon())


def test_what_the_exec_wrote_to_stderr_is_quoted(serve: Serve) -> None:
    served = serve()
    served.environment["EASTWEST_POD"] = "nobody"
    agent = Agent("caller", served.open_channel)
    with pytest.raises(HarnessError, match="no agent serves at @eastwest-agent-nobody"):
        agent.connect(soon() - DEADLINE + 6)


def test_a_session_killed_in_the_middle_of_a_batch_loses_and_doubles_nothing(serve: Serve, port: int) -> None:
    server, caller = serve(ports=f"{port}/tcp"), serve("caller")
    came_back: queue.Queue[str] = queue.Queue()
    agent = caller.agent(came_back.put)
    met = threading.Event()
    with misbehaving(stays_silent, met) as silent:
        asked = agent.ask([flow(port, pod=server.pod), flow(silent), *[flow(port, pod=server.pod)] * 20], 0.5)
        assert met.wait(20)
        caller.channels[-1].process.kill()
        verdicts = asked.result(soon())
    assert [verdict.kind for verdict in verdicts] == [Kind.ANSWERED, Kind.SILENT, *[Kind.ANSWERED] * 20]
    assert "session ended" in came_back.get(timeout=20)
    assert agent.reconnects == 1
    assert len({verdict.nonce for verdict in verdicts}) == len(verdicts)
    journal = serve_journal(server)
    assert sorted(journal) == sorted(verdict.nonce for verdict in verdicts if verdict.kind is Kind.ANSWERED)


def serve_journal(server: Served) -> list[str]:
    journal = server.agent().journal(0, soon())
    assert journal.control
    return [entry.nonce for entry in journal.entries if entry.nonce and entry.source != "control"]


def test_repeated_rounds_survive_lost_sessions(serve: Serve, port: int) -> None:
    server, caller = serve(ports=f"{port}/tcp,{port}/udp"), serve("caller")
    came_back: queue.Queue[str] = queue.Queue()
    agent = caller.agent(came_back.put)
    flows = [flow(port, pod=server.pod), flow(port, pod=server.pod, protocol="udp")]
    repeat = agent.repeat(flows, 0.5, 0.02)
    for known in (3, 8, 13):
        repeat.wait(known, soon())
        caller.channels[-1].process.kill()
        assert "session ended" in came_back.get(timeout=20)
    repeat.wait(20, soon())
    repeat.stop()
    rounds = repeat.rounds()
    assert [each.number for each in rounds] == list(range(1, len(rounds) + 1))
    assert {verdict.kind for each in rounds for verdict in each.verdicts} == {Kind.ANSWERED}
    assert rounds[0].verdicts[0].nonce.endswith("-1")
    assert agent.reconnects == 3
    sent = [each.sent_at for each in rounds]
    assert sent == sorted(sent)


def test_a_restarted_pod_fails_what_was_asked_of_the_former_one(serve: Serve) -> None:
    caller = serve("caller")
    agent = caller.agent()
    met = threading.Event()
    with misbehaving(stays_silent, met) as silent:
        asked = agent.ask([flow(silent)], 5)
        assert met.wait(20)
        former = agent.instance
        caller.restart()
        (verdict,) = asked.result(soon())
    assert verdict.kind is Kind.PROBE_ERROR
    assert f"the pod {caller.pod} was restarted" in verdict.evidence.detail
    assert agent.instance != former


def test_an_agent_that_was_stopped_asks_again_instead_of_reporting_silence(serve: Serve) -> None:
    caller = serve("caller")
    agent = caller.agent()
    met = threading.Event()
    with misbehaving(stays_silent, met) as silent:
        asked = agent.ask([flow(silent)], 0.5)
        assert met.wait(20)
        os.kill(caller.process.pid, signal.SIGSTOP)
        threading.Event().wait(1.0)
        os.kill(caller.process.pid, signal.SIGCONT)
        (verdict,) = asked.result(soon())
    assert verdict.kind is Kind.SILENT
    assert verdict.evidence.attempts == 2, verdict.evidence


def test_a_new_harness_takes_over_and_the_former_may_not_come_back(serve: Serve, port: int) -> None:
    served = serve("caller", ports=f"{port}/tcp")
    former = served.agent()
    repeat = former.repeat([flow(port, pod=served.pod)], 0.5, 0.01)
    repeat.wait(3, soon())
    agent = served.agent()
    with pytest.raises(HarnessError, match="another harness has taken over this agent"):
        repeat.wait(1_000_000, soon())
    (verdict,) = agent.ask([flow(port, pod=served.pod)], 0.5).result(soon())
    assert verdict.kind is Kind.ANSWERED
    assert agent.reconnects == 0


def test_a_stream_without_heartbeats_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SILENCE", 0.1)
    came_back: queue.Queue[str] = queue.Queue()
    agent = Agent("caller", far_side(), on_reconnect=came_back.put)
    agent.connect(soon())
    assert came_back.get(timeout=20) == "no sign of life from the agent for 0.1 s"
    agent.close()


def test_a_stream_that_cannot_be_opened_again_fails_what_is_asked(serve: Serve) -> None:
    caller = serve("caller")
    agent = Agent("caller", caller.open_channel, patience=5)
    agent.connect(soon())
    met = threading.Event()
    with misbehaving(stays_silent, met) as silent:
        asked = agent.ask([flow(silent)], 30)
        assert met.wait(20)
        caller.end()
        (verdict,) = asked.result(soon())
    assert verdict.kind is Kind.PROBE_ERROR
    assert "no agent serves at" in verdict.evidence.detail
    with pytest.raises(HarnessError, match="no connection to the agent in its pod"):
        agent.journal(0, soon())
    agent.close()
