"""The two seams at which a mutant may stand: around the compilation of a snapshot, and on the way into the kernel.

What belongs here: the seams' types. What does not: any mutant (`faults`, and the registry in `clusters.lab.mutants`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from clusters.lab.policy.ruleset import Ruleset
from clusters.lab.policy.snapshot import Snapshot

Compile = Callable[[Snapshot], Ruleset]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a mutant may know besides the snapshot.

    Attributes:
        node: The node whose data plane this is.
        now: A monotonic clock, in seconds.
        wake: Asks for another compilation after so many seconds.
        memory: The mutant's own, kept between compilations.
    """

    node: str
    now: Callable[[], float]
    wake: Callable[[float], None]
    memory: dict[str, Any] = field(default_factory=dict)


Around = Callable[[Snapshot, World, Compile], Ruleset]
"""Gives the ruleset that the broken data plane would program; `Compile` is the sound one."""
Steps = Callable[[Ruleset, Ruleset], Sequence[Ruleset]]
"""From what is in force and what is wanted to the states that the kernel is put into, one transaction each; the last
one is what is wanted."""


def at_once(_: Ruleset, wanted: Ruleset) -> Sequence[Ruleset]:
    """The sound way: one transaction."""
    return (wanted,)
