"""What of many calls that should have been denied reached the server all the same, as its own journal tells.

What belongs here: pairing calls with arrivals. What does not: sending them (`traffic`), reading journals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flows.errors import FIRST_LINE, InconclusiveError, VerdictError
from flows.judge import Arrival, Journal, bare
from flows.model import Flow, Protocol
from flows.traffic import TrafficReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """One arrival of a flow that should have been denied; a connection on which nothing was said has no nonce."""

    flow: Flow
    arrival: Arrival


def leaks(
    calls: Iterable[tuple[Flow, str]], journals: Mapping[str, Journal], addresses: Mapping[str, Sequence[str]]
) -> list[Leak]:
    """Every arrival of these calls, the earliest first.

    Args:
        calls: Each with its nonce.
        journals: Destination → what came since before the first call.
        addresses: Source → its addresses; a connection from one to a port that only denied flows have is a leak, too.
    """
    sent: dict[str, dict[str, Flow]] = {}
    doors: dict[tuple[str, str, int], Flow] = {}
    for flow, nonce in calls:
        sent.setdefault(flow.destination, {})[nonce] = flow
        if flow.protocol is not Protocol.UDP:
            for address in addresses.get(flow.source, ()):
                doors[flow.destination, bare(address), flow.port] = flow
    found = []
    for name, journal in journals.items():
        for arrival in journal.arrivals:
            silent = doors.get((name, bare(arrival.peer), arrival.port)) if not arrival.nonce else None
            came = sent.get(name, {}).get(arrival.nonce, silent)
            if came is not None:
                found.append(Leak(flow=came, arrival=arrival))
    return sorted(found, key=lambda each: each.arrival.at)


def verify_denied(
    report: TrafficReport, journals: Mapping[str, Journal], addresses: Mapping[str, Sequence[str]]
) -> None:
    """Return when none of the calls got anywhere: silence at the caller, and nothing in the server's own journal.

    A call that could not be told apart from the caller's own lag is decided by the journal alone.

    Raises:
        VerdictError: One was answered or arrived; the first line names flow, count and when.
        InconclusiveError: A journal is not complete, or a flow was never called.
    """
    found = leaks([(each.flow, each.nonce) for each in report.verdicts], journals, addresses)
    if found:
        first = found[0]
        count = sum(each.flow == first.flow for each in found)
        calls = next(each.calls for each in report.flows if each.flow == first.flow)
        when = first.arrival.at - report.started
        line = f"{first.flow}: expected {report.expected.word}, {count} of {calls} calls arrived ({when:.2f} s in)"
        shown = [
            f"  {each.arrival.at - report.started:7.3f} s  {each.flow} {each.arrival.nonce}" for each in found[:20]
        ]
        raise VerdictError("\n".join([line[:FIRST_LINE], *shown, report.words()]))
    if report.failures:
        report.verify()
    deaf = sorted({flow.flow.destination for flow in report.flows if not _complete(journals, flow.flow.destination)})
    unasked = [each.flow for each in report.flows if not each.calls]
    if deaf or unasked or not report.flows:
        why = f"the journal of {deaf[0]} could not be read" if deaf else f"{[*unasked, 'traffic'][0]}: no call was sent"
        raise InconclusiveError(why[:FIRST_LINE], detail=report.words())


def _complete(journals: Mapping[str, Journal], name: str) -> bool:
    return name in journals and journals[name].complete
