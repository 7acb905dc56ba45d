"""What a batch says before it has come to its end."""

from __future__ import annotations

import threading
from dataclasses import replace

from flows.model import Kind
from flows.questions import Asked, Question
from tests.flows.test_classify import ECHO, RECORD, flow


class Desk:
    """A desk whose agent has the harness's own clock."""

    def __init__(self) -> None:
        self.name = "caller"
        self.changed = threading.Condition(threading.RLock())

    def to_harness_clock(self, agent_seconds: float) -> float:
        return agent_seconds

    def post(self, question: Question, request: bytes) -> None:
        """Nobody is asked."""

    def forget(self, question: Question) -> None:
        """Nobody was."""


def test_an_answer_counts_early_under_the_nonce_that_was_given() -> None:
    asked = Asked(Desk(), [flow(), flow(port=81)], 0.5)
    nonce = asked._nonces[0]
    echo = replace(ECHO, nonce=nonce)
    asked.take(replace(RECORD, phase="done", error="", batch=asked.name, echo=echo, nonce=nonce))
    assert {each.port: verdict.kind for each, verdict in asked.early().items()} == {80: Kind.ANSWERED}
    assert not asked.done()
