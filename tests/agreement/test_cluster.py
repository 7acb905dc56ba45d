"""A cluster is agreed with only where what the oracle says lasts; what differs, and what cannot be told, is said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pytest

from flows.errors import HarnessError
from flows.matrix import Cell
from flows.model import Evidence, Kind, Verdict, answered, denied
from flows.model import Flow as Probe
from policies.model import Transport
from tests.agreement.cluster import Outcome, differing, settle
from tests.agreement.scene import Flow

OPEN = Flow(source="pod-0", target="pod-1", port=8080, protocol=Transport.TCP, family=4)
SHUT = Flow(source="pod-0", target="pod-2", port=8080, protocol=Transport.TCP, family=4)
CELLS = {
    flow: Cell(flow=Probe(source=flow.source, destination=flow.target, host="10.0.0.1", port=8080), expected=expected)
    for flow, expected in ((OPEN, answered()), (SHUT, denied()))
}


def rounds(kinds: Iterable[tuple[Kind, Kind]]) -> Callable[[], Mapping[Probe, Verdict]]:
    """Asks that end so, one after another; the last again and again. Nonces are `ROUND-TARGET`."""
    left = iter(enumerate(kinds))
    latest = next(left)

    def ask() -> Mapping[Probe, Verdict]:
        nonlocal latest
        number, both = latest
        latest = next(left, latest)
        return {
            cell.flow: Verdict(kind=kind, flow=cell.flow, evidence=Evidence(nonce=f"{number}-{cell.flow.destination}"))
            for cell, kind in zip(CELLS.values(), both, strict=True)
        }

    return ask


AS_EXPECTED, NOT_YET = (Kind.ANSWERED, Kind.DROPPED), (Kind.ANSWERED, Kind.ANSWERED)
UNTOLD = (Kind.ANSWERED, Kind.PROBE_ERROR)


def outcome(*kinds: tuple[Kind, Kind], within: float = 0.3) -> Outcome:
    return settle(rounds(kinds), list(CELLS.values()), within=within, window=0.01)


def test_what_is_expected_holds_once_it_has_lasted() -> None:
    seen = outcome(NOT_YET, AS_EXPECTED, within=30)
    assert seen.held
    assert differing(CELLS, seen, frozenset({"0-pod-2"})) == {}, "the round before it counts for nothing"


def test_a_denial_that_the_server_knows_of_is_none() -> None:
    found = differing(CELLS, outcome(AS_EXPECTED, within=30), frozenset({"0-pod-2"}))
    assert found == {SHUT: "dropped, and the server's journal knows of it"}


def test_what_never_shows_is_a_difference() -> None:
    seen = outcome(NOT_YET)
    assert (seen.held, differing(CELLS, seen, frozenset())) == (False, {SHUT: "answered"})


def test_what_could_not_be_told_is_no_agreement() -> None:
    with pytest.raises(HarnessError, match=r"pod-0 → pod-2:8080/tcp by IPv4 could not be told"):
        differing(CELLS, outcome(UNTOLD), frozenset())


def test_what_shows_and_does_not_last_is_no_agreement() -> None:
    seen = settle(rounds([AS_EXPECTED]), list(CELLS.values()), within=0, window=30)
    with pytest.raises(HarnessError, match="did not last"):
        differing(CELLS, seen, frozenset())
