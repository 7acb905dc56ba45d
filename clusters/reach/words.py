"""What an answer is worth when the server is a stranger: fewer words than a verdict has, and none that says too much.

What belongs here: from verdicts to what `eastwest matrix` says. What does not: asking, and what policies say.
"""

from __future__ import annotations

from enum import StrEnum

from flows.model import Kind, Protocol, Verdict


class Word(StrEnum):
    """What became of a flow between pods that are there."""

    ANSWERED = "answered"
    """An agent of ours answered with the nonce."""
    OPEN = "open"
    """The connection was accepted, or a datagram answered; by whom is not known."""
    DROPPED = "dropped"
    """Silence until the deadline."""
    REFUSED = "refused"
    """Turned away at once: nobody listens there, or a policy engine that rejects. A handshake cannot tell which."""
    REJECTED = "rejected"
    """An ICMP error said no."""
    ENDED = "ended"
    """An agent of ours should have answered, and the connection was accepted and then ended, as a proxy does it."""
    UNKNOWN = "unknown"
    """Could not be told."""


MARKS = {
    Word.ANSWERED: ".",
    Word.OPEN: ".",
    Word.DROPPED: "X",
    Word.REFUSED: "r",
    Word.REJECTED: "X",
    Word.ENDED: "X",
    Word.UNKNOWN: "?",
}
"""As a table shows them."""
PORT_UNREACHABLE = ("3/3", "1/4")
"""ICMP and ICMPv6: no socket has the port; a firewall that rejects says the same."""
SILENT_UDP = "a datagram without an answer: a stranger need not answer, so silence says nothing"
_PLAIN = {Kind.DROPPED: Word.DROPPED, Kind.REFUSED: Word.REFUSED, Kind.REJECTED: Word.REJECTED}
_ENDED = {
    Kind.RESET,
    Kind.CLOSED,
    Kind.SILENT,
    Kind.TLS_ERROR,
    Kind.UNAVAILABLE,
    Kind.FORBIDDEN,
}


def told(verdict: Verdict, *, ours: bool) -> tuple[Word, str]:
    """What happened, and why it is that word where that is not plain.

    Args:
        ours: An agent of ours should have answered.
    """
    kind, seen = verdict.kind, verdict.evidence
    if kind is Kind.ANSWERED:
        return Word.ANSWERED, ""
    if verdict.flow.protocol is Protocol.UDP:
        return _datagram(verdict, ours=ours)
    if kind is Kind.CLOSED and verdict.flow.protocol is Protocol.CONNECT:
        return Word.OPEN, ""
    if kind in _PLAIN:
        return _PLAIN[kind], seen.icmp or seen.detail
    if ours and kind in _ENDED:
        return Word.ENDED, f"{kind}: {seen.detail}" if seen.detail else str(kind)
    if kind is Kind.RESET:
        return Word.OPEN, "accepted, then reset"
    return Word.UNKNOWN, f"{kind}: {seen.detail}" if seen.detail else str(kind)


def _datagram(verdict: Verdict, *, ours: bool) -> tuple[Word, str]:
    kind, seen = verdict.kind, verdict.evidence
    if not ours and seen.body:
        return Word.OPEN, ""
    if kind is Kind.REJECTED:
        absent = not seen.icmp or seen.icmp.startswith(PORT_UNREACHABLE)
        return (Word.REFUSED if absent else Word.REJECTED), seen.icmp
    if kind is Kind.DROPPED:
        return (Word.DROPPED, "") if ours else (Word.UNKNOWN, SILENT_UDP)
    return Word.UNKNOWN, f"{kind}: {seen.detail}" if seen.detail else str(kind)
