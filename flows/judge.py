"""What an observation is worth: a denial counts only with its control, its neighbour and the server's own journal.

What belongs here: the rules that turn verdicts into findings. What does not: collecting verdicts and journals.

Behind a proxy of its own a server sees no caller: the proxy connects to it, from 127.0.0.6 (Istio). Seen on a real
Istio 1.31: raw TCP that a mesh's rule denies ends without a RST at the caller, and each time the application
has accepted a connection from 127.0.0.6 on which nothing is ever said, since the proxy connects before it has read the
bytes that it judges. So where such a denial is expected of a server's port, a silent connection of its own proxy says
nothing about that port. Nor does it on a port that speaks HTTP: a proxy gives a waiting request to whichever of its
connections is free first, and one that it has just opened may stay unused. Anywhere else, as where plaintext reaches
the raw TCP of a strict server, the proxy has no reason to connect, and a silent connection leaves the denial undecided.
Every rule about controls and neighbours stays as it is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flows.matrix import Cell, Finding
from flows.model import Expected, Flow, Kind, Protocol, Verdict, Workload

NEVER_ASKED = {Kind.DNS_ERROR, Kind.UNREACHABLE}
"""Verdicts that say the rule was not even asked: not the denial that was expected, and no proof against it either."""

OWN_PROXY = frozenset({"127.0.0.6", "::6"})
"""Where the connections come from that a meshed pod's proxy makes for callers (Istio)."""

LOOPBACK = frozenset({"127.0.0.1", "::1"})
"""Where a meshed pod's proxy's agent probes it from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One thing a server noted in its journal: an accepted connection, or a request with its nonce.

    Attributes:
        at: Seconds on the harness's monotonic clock.
        nonce: Empty for a connection on which no request came.
        peer: The caller's address as the server saw it.
    """

    at: float
    port: int
    protocol: str
    peer: str
    nonce: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """A server's journal, read after a control flow had arrived.

    Attributes:
        complete: The control flow arrived and nothing was lost; without that the journal proves nothing.
    """

    arrivals: tuple[Arrival, ...] = ()
    complete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnesses:
    """Everything besides the verdicts that a finding rests on.

    Attributes:
        controls: Flow key → the same flow, seen before the policy. By key, since a restarted pod has another address.
        journals: Workload name → its journal; a destination that is not ours has none.
        workloads: Everything of ours that could have knocked, by name.
        since: When the measured probes began, on the harness's monotonic clock.
        nonces: Further nonces of each flow (earlier rounds of the same window).
    """

    controls: Mapping[str, Verdict]
    journals: Mapping[str, Journal]
    workloads: Mapping[str, Workload]
    since: float = 0.0
    nonces: Mapping[Flow, frozenset[str]] = field(default_factory=dict)


def judge(cells: Iterable[Cell], witnesses: Witnesses) -> list[Cell]:
    """Every cell with its finding, and the reason where it is not plain.

    Allowed cells first: whether one of them holds decides what the denials are worth.
    """
    cells = list(cells)
    allowed = {
        index: _allowed(cell) for index, cell in enumerate(cells) if cell.expected is None or cell.expected.allows
    }
    neighbours = [cell for cell in allowed.values() if cell.expected and cell.finding is Finding.HOLDS]
    connecting = {
        (cell.flow.destination, cell.flow.port) for cell in cells if _proxy_connects(cell.flow, cell.expected)
    }
    return [allowed.get(index) or _denied(cell, neighbours, connecting, witnesses) for index, cell in enumerate(cells)]


def _allowed(cell: Cell) -> Cell:
    if cell.expected is None:
        return cell
    if cell.verdict is None or cell.verdict.kind is Kind.PROBE_ERROR:
        return _undecided(cell, _why_no_verdict(cell))
    if cell.expected.matches(cell.verdict):
        return replace(cell, finding=Finding.HOLDS)
    return replace(cell, finding=Finding.DIFFERS)


def _proxy_connects(flow: Flow, expected: Expected | None) -> bool:
    """Whether a meshed server's own proxy may connect for this flow without ever saying anything."""
    if flow.protocol is not Protocol.TCP:
        return flow.protocol is not Protocol.UDP
    return expected is None or Kind.CLOSED in expected.kinds


def _denied(
    cell: Cell, neighbours: Sequence[Cell], connecting: Container[tuple[str, int]], witnesses: Witnesses
) -> Cell:
    verdict, expected = cell.verdict, cell.expected
    if expected is None or verdict is None or verdict.kind is Kind.PROBE_ERROR:
        return _undecided(cell, _why_no_verdict(cell))
    if not expected.matches(verdict):
        if verdict.kind in NEVER_ASKED:
            return _undecided(cell, verdict.evidence.detail or f"{verdict.kind}: the rule was not even asked")
        return replace(cell, finding=Finding.DIFFERS)
    control = witnesses.controls.get(cell.flow.key)
    if control is None or control.kind is not Kind.ANSWERED:
        seen = (
            f"before the policy it was {control.kind}"
            if control is not None
            else "it was never asked before the policy"
        )
        return _undecided(cell, f"no positive control: {seen}")
    neighbour = _neighbour(cell, neighbours)
    seen = (
        f"answered by {control.evidence.answered_by or 'the server'} in {control.evidence.elapsed * 1000:.0f} ms before"
    )
    cell = replace(cell, control=f"{seen}; neighbour {neighbour.flow}" if neighbour else seen)
    cell = _heard(cell, verdict, connecting, witnesses)
    if cell.finding is not Finding.UNASKED:
        return cell
    if neighbour is None:
        return _undecided(
            cell,
            f"no neighbour flow, to {cell.flow.destination} or from {cell.flow.source}, stayed allowed: "
            "the denial may have another cause",
        )
    return replace(cell, finding=Finding.HOLDS)


def _heard(cell: Cell, verdict: Verdict, connecting: Container[tuple[str, int]], witnesses: Witnesses) -> Cell:
    """What the destination's journal says; the finding stays `unasked` when it has nothing against the denial."""
    destination = cell.flow.destination
    if destination not in witnesses.workloads or cell.flow.protocol is Protocol.ICMP:
        return replace(cell, verdict=verdict.with_evidence(journal="this destination keeps none"))
    journal = witnesses.journals.get(destination)
    if journal is None or not journal.complete:
        return _undecided(cell, f"the journal of {destination} could not be read after a control flow")
    nonces = {verdict.nonce, *witnesses.nonces.get(cell.flow, ())} - {""}
    if any(arrival.nonce in nonces for arrival in journal.arrivals):
        told = "the request arrived; only its answer was lost"
        return replace(cell, finding=Finding.DIFFERS, reason=told, verdict=verdict.with_evidence(journal=told))
    if cell.flow.protocol is not Protocol.UDP:
        sources = _addresses(witnesses.workloads.get(cell.flow.source))
        own = _own_proxy(witnesses.workloads[destination], connects=(destination, cell.flow.port) in connecting)
        silent = [
            each
            for each in journal.arrivals
            if not each.nonce and each.at >= witnesses.since and bare(each.peer) not in own
        ]
        if any(each.port == cell.flow.port and bare(each.peer) in sources for each in silent):
            told = f"the server accepted a connection from {cell.flow.source}"
            return replace(cell, finding=Finding.DIFFERS, reason=told, verdict=verdict.with_evidence(journal=told))
        known = {address for workload in witnesses.workloads.values() for address in _addresses(workload)}
        strangers = [each for each in silent if each.port == cell.flow.port and bare(each.peer) not in known]
        if strangers:
            return _undecided(
                cell, f"unexplained connection from {strangers[0].peer} to {destination}:{cell.flow.port}"
            )
    return replace(cell, verdict=verdict.with_evidence(journal="neither the nonce nor an unexplained connection"))


def _neighbour(cell: Cell, neighbours: Sequence[Cell]) -> Cell | None:
    """A flow that stayed allowed to the same server or from the same caller; the nearest, one of the same port first.

    Any other proves nothing: the server may be dead, and so may the caller.
    """
    server, caller = cell.flow.destination, cell.flow.source

    def distance(other: Cell) -> int:
        far = (other.flow.destination != server) + (other.flow.source != caller)
        return 2 * far + ((other.flow.destination, other.flow.port) != (server, cell.flow.port))

    near = [each for each in neighbours if each.flow.destination == server or each.flow.source == caller]
    return min(near, key=distance, default=None)


def _why_no_verdict(cell: Cell) -> str:
    if cell.verdict is None:
        return "the agent gave no record for this flow"
    return cell.verdict.evidence.detail or "the probe itself failed"


def _undecided(cell: Cell, reason: str) -> Cell:
    return replace(cell, finding=Finding.UNDECIDED, reason=reason)


def _own_proxy(workload: Workload, *, connects: bool) -> frozenset[str]:
    """From where silent connections to a meshed server say nothing: its own pod, and for some flows its own proxy."""
    if not workload.meshed:
        return frozenset()
    return LOOPBACK | _addresses(workload) | (OWN_PROXY if connects else frozenset())


def _addresses(workload: Workload | None) -> frozenset[str]:
    return frozenset(bare(each) for each in workload.addresses) if workload else frozenset()


def bare(text: str) -> str:
    """The address of `10.1.2.3`, `10.1.2.3:80`, `[fd00::1]:80` or `::ffff:10.1.2.3`, in one form."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
