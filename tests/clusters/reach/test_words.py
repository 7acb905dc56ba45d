"""What an answer is worth when the server is a stranger: never more than was seen."""

from __future__ import annotations

import pytest

from clusters.reach.words import MARKS, Word, told
from flows.model import Evidence, Flow, Kind, Protocol, Verdict

CONNECT, TCP, UDP = Protocol.CONNECT, Protocol.TCP, Protocol.UDP


def verdict(kind: Kind, protocol: Protocol, **evidence: str) -> Verdict:
    """A verdict of a flow in this protocol."""
    flow = Flow(source="a", destination="b", host="10.0.0.1", port=80, protocol=protocol)
    seen = Evidence(icmp=evidence.get("icmp", ""), body=evidence.get("body", ""), detail=evidence.get("detail", ""))
    return Verdict(kind=kind, flow=flow, evidence=seen)


@pytest.mark.parametrize(
    ("seen", "ours", "word"),
    [
        (verdict(Kind.CLOSED, CONNECT), False, Word.OPEN),
        (verdict(Kind.DROPPED, CONNECT), False, Word.DROPPED),
        (verdict(Kind.REFUSED, CONNECT), False, Word.REFUSED),
        (verdict(Kind.REJECTED, CONNECT, icmp="3/13 from 10.0.0.9"), False, Word.REJECTED),
        (verdict(Kind.REJECTED, CONNECT, icmp="3/3 from 10.0.0.9"), False, Word.REJECTED),
        (verdict(Kind.UNREACHABLE, CONNECT), False, Word.UNKNOWN),
        (verdict(Kind.PROBE_ERROR, CONNECT), False, Word.UNKNOWN),
        (verdict(Kind.ANSWERED, TCP), True, Word.ANSWERED),
        (verdict(Kind.DROPPED, TCP), True, Word.DROPPED),
        (verdict(Kind.RESET, TCP), True, Word.ENDED),
        (verdict(Kind.CLOSED, TCP), True, Word.ENDED),
        (verdict(Kind.SILENT, TCP), True, Word.ENDED),
        (verdict(Kind.MISDELIVERED, TCP), True, Word.UNKNOWN),
        (verdict(Kind.ANSWERED, UDP), True, Word.ANSWERED),
        (verdict(Kind.DROPPED, UDP), True, Word.DROPPED),
        (verdict(Kind.DROPPED, UDP), False, Word.UNKNOWN),
        (verdict(Kind.PROBE_ERROR, UDP, body="an answer"), False, Word.OPEN),
        (verdict(Kind.PROBE_ERROR, UDP), False, Word.UNKNOWN),
        (verdict(Kind.REJECTED, UDP), False, Word.REFUSED),
        (verdict(Kind.REJECTED, UDP, icmp="3/3 from 10.0.0.1"), False, Word.REFUSED),
        (verdict(Kind.REJECTED, UDP, icmp="1/4 from fd00::1"), False, Word.REFUSED),
        (verdict(Kind.REJECTED, UDP, icmp="3/13 from 10.0.0.1"), False, Word.REJECTED),
        (verdict(Kind.REJECTED, UDP, icmp="1/1 from fd00::1"), False, Word.REJECTED),
    ],
)
def test_the_word_of_a_verdict(seen: Verdict, ours: bool, word: Word) -> None:
    assert told(seen, ours=ours)[0] is word


def test_what_could_not_be_told_says_why() -> None:
    assert told(verdict(Kind.PROBE_ERROR, CONNECT, detail="the agent was late"), ours=False)[1] == (
        "probe-error: the agent was late"
    )
    assert "silence says nothing" in told(verdict(Kind.DROPPED, UDP), ours=False)[1]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("protocol", [CONNECT, TCP, UDP])
def test_no_denial_is_made_of_what_is_none(kind: Kind, protocol: Protocol) -> None:
    """Only silence, a rejection, and of our own agents an accepted end, look denied."""
    word, _ = told(verdict(kind, protocol), ours=False)
    assert MARKS[word] != "X" or kind in {Kind.DROPPED, Kind.REJECTED}


def test_every_word_has_a_mark() -> None:
    assert set(MARKS) == set(Word)
