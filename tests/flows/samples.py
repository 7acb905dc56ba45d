"""Ready-made workloads, flows, verdicts and agents for tests of what is made of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flows.matrix import Cell
from flows.model import Evidence, Expected, Flow, Kind, Protocol, Verdict, Workload, answered, denied

CALLER = Workload(name="caller", namespace="a", pod="caller", addresses=("10.0.0.1",))
SERVER = Workload(name="server", namespace="a", pod="server", addresses=("10.0.0.2",))
INTRUDER = Workload(name="intruder", namespace="b", pod="intruder", addresses=("10.0.0.3",))
WORKLOADS = {each.name: each for each in (CALLER, SERVER, INTRUDER)}


def flow(source: str = "caller", destination: str = "server", protocol: Protocol = Protocol.TCP) -> Flow:
    """A flow between two of the workloads above."""
    return Flow(source=source, destination=destination, host="10.0.0.2", port=8080, protocol=protocol, pod=destination)


def verdict(kind: Kind, asked: Flow | None = None, **evidence: object) -> Verdict:
    """A verdict with a nonce, and whatever else is given."""
    plain = Verdict(kind=kind, flow=asked or flow(), evidence=Evidence(nonce="n1", answered_by="server"))
    return plain.with_evidence(**evidence)


def cell(source: str, expected: Expected | None, kind: Kind | None, **evidence: object) -> Cell:
    """A cell from `source` to the server."""
    asked = flow(source)
    return Cell(flow=asked, expected=expected, verdict=verdict(kind, asked, **evidence) if kind else None)


NEIGHBOUR = cell("caller", answered(), Kind.ANSWERED)
DENIED = cell("intruder", denied(), Kind.DROPPED)


@dataclass
class Question:
    """A question whose verdicts are there at once, or never."""

    verdicts: list[Verdict]
    finished: bool = True

    def done(self) -> bool:
        return self.finished

    def early(self) -> dict[Flow, Verdict]:
        return {each.flow: each for each in self.verdicts if each.kind is not Kind.DROPPED}

    def result(self, deadline: float) -> list[Verdict]:
        assert deadline >= time.monotonic() - 60
        return self.verdicts


@dataclass
class Agent:
    """Answers each question with what `kind` says for the flow and the round."""

    kind: Callable[[Flow, int], Kind]
    rounds: int = 0
    asked: list[Flow] = field(default_factory=list)
    finished: bool = True
    elapsed: float = 0.0

    def ask(self, flows: Sequence[Flow], timeout: float) -> Question:
        assert timeout > 0
        number = self.rounds
        self.rounds += 1
        self.asked += flows
        found = [
            verdict(self.kind(each, number), each, nonce=f"{each.source}-{number}", elapsed=self.elapsed)
            for each in flows
        ]
        return Question(found, self.finished)
