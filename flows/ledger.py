"""The ledger of a new pod's first calls, read and held against what was expected of them.

What belongs here: its strict reader, adding it up. What does not: sending (`early`), reading journals.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.errors import FIRST_LINE, HarnessError, InconclusiveError, VerdictError
from flows.judge import Journal
from flows.leaks import Leak, leaks
from flows.model import Flow

ANSWERED, SILENT = "answered", "silent"
REACHED = {ANSWERED, "connected", "closed"}
"""How only a call that got to the server can end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Early:
    """One call; `after` is seconds since the pod's first process began to call."""

    flow: Flow
    nonce: str
    after: float
    outcome: str
    elapsed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All calls of a new pod, in the order of sending.

    Attributes:
        began: When the first one was sent, on the harness's monotonic clock, right to the time that an exec takes.
    """

    calls: tuple[Early, ...]
    began: float

    def of(self, flow: Flow) -> list[Early]:
        """The calls of one flow."""
        return [each for each in self.calls if each.flow == flow]

    def words(self, found: Sequence[Leak] = ()) -> str:
        """One line a flow: calls, outcomes with their counts, when the first was answered, and what arrived."""
        lines = [f"{len(self.calls)} calls, from the first moment of the pod's process"]
        for flow in dict.fromkeys(each.flow for each in self.calls):
            mine = self.of(flow)
            counts = {each.outcome: sum(other.outcome == each.outcome for other in mine) for each in mine}
            told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
            first = next((each for each in mine if each.outcome == ANSWERED), None)
            told += f"; first answered {first.after:.3f} s in" if first else ""
            arrived = [each for each in found if each.flow == flow]
            told += f"; {len(arrived)} arrived" if arrived else ""
            lines.append(f"  {flow}: {told}")
        return "\n".join(lines)

    def window(self, found: Sequence[Leak]) -> float:
        """Seconds from the pod's first call to the last that leaked; 0 when none did."""
        nonces = {each.arrival.nonce for each in found}
        late = [each.after for each in self.calls if each.nonce in nonces]
        return max(late, default=0.0)

    def verify(
        self,
        allowed: Iterable[Flow],
        journals: Mapping[str, Journal],
        addresses: Sequence[str],
        *,
        rejects: bool = False,
    ) -> None:
        """Return when nothing but the allowed flows got anywhere.

        Args:
            journals: Destination → what came since before the pod began.
            addresses: The new pod's.
            rejects: Whether a refusal is how the cluster denies; else nobody but the denied server can have refused.

        Raises:
            VerdictError: A denied call arrived or was answered; the first line says how many and for how long.
            InconclusiveError: An allowed flow was never answered in that time, or a journal is not complete.
        """
        free = set(allowed)
        barred = [each for each in self.calls if each.flow not in free]
        source = {each.flow.source: addresses for each in self.calls}
        found = leaks([(each.flow, each.nonce) for each in barred], journals, source)
        loud = [each for each in barred if each.outcome in REACHED or (each.outcome != SILENT and not rejects)]
        if found or loud:
            flow = found[0].flow if found else loud[0].flow
            span = max(self.window(found), max((each.after for each in loud), default=0.0))
            count = max(sum(each.flow == flow for each in some) for some in (found, loud))
            line = f"{flow}: expected dropped, {count} of {len(self.of(flow))} first calls got through ({span:.2f} s)"
            raise VerdictError(f"{line[:FIRST_LINE]}\n{self.words(found)}")
        deaf = sorted({each.flow.destination for each in barred} - {n for n, each in journals.items() if each.complete})
        mute = [flow for flow in free if not any(each.outcome == ANSWERED for each in self.of(flow))]
        if deaf or mute or not barred:
            why = f"the journal of {deaf[0]} could not be read" if deaf else f"{[*mute, 'new pod'][0]}: never answered"
            raise InconclusiveError(why[:FIRST_LINE], detail=self.words())


def read(text: str, flows: Sequence[Flow], clock: float) -> Ledger:
    """The ledger that `early.py tell` printed.

    Args:
        flows: In the order in which the pod was given them.
        clock: The harness's monotonic clock when it was told.

    Raises:
        HarnessError: This is no ledger of these flows.
    """
    try:
        told: dict[str, Any] = json.loads(text)
        began, offset = float(told["began"]), clock - float(told["now"])
        calls = tuple(
            Early(
                flow=flows[int(each["place"])],
                nonce=str(each["nonce"]),
                after=float(each["at"]) - began,
                outcome=str(each["outcome"]),
                elapsed=float(each["elapsed"]),
            )
            for each in told["calls"]
        )
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise HarnessError(f"a new pod's ledger cannot be read ({error})", detail=text[:400]) from None
    return Ledger(calls=calls, began=began + offset)
