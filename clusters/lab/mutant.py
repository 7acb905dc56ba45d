"""What a mutant is: a deliberately broken data plane with a name, a sentence, and the tests that must catch it.

What belongs here: the value. What does not: the registry (`mutants`), how any of them breaks things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from clusters.lab.policy.mutation import Around, Compile, Steps, World, at_once
from clusters.lab.policy.ruleset import Ruleset
from clusters.lab.policy.snapshot import Snapshot

NETWORK: Final = "suites/network"


def soundly(snapshot: Snapshot, _: World, compile_sound: Compile) -> Ruleset:
    """What stands around the compilation of policies where the mutant is not one of theirs."""
    return compile_sound(snapshot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One broken data plane.

    Attributes:
        breaks: One sentence: what does not hold with it.
        around: What stands around the sound compilation of network policies.
        steps: The states by which the kernel comes to what is wanted.
        seen_in: Kinds of real engines that had such a fault, where known.
        suite: Where the tests are that must catch it.
        tests: They, as expressions of pytest's `-k`.
        dual: Whether it shows over IPv6 alone: it makes a lab dual stack, which has no mesh.
        mesh: Whether it is the lab's mesh that it breaks, and which it therefore switches on.
    """

    name: str
    breaks: str
    around: Around = soundly
    steps: Steps = at_once
    seen_in: str = ""
    suite: str = NETWORK
    tests: tuple[str, ...] = ()
    dual: bool = False
    mesh: bool = False
