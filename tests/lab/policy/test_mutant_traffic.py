"""Each mutant that is always wrong, with real packets: wrong where it says so, and the sound data plane is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusters.lab.mutants import MUTANTS
from clusters.lab.policy.snapshot import Snapshot
from tests.lab.policy.bench import Bench
from tests.lab.policy.misreadings import MISREADINGS, Misreading
from tests.lab.policy.world import policy


def _seen(bench: Bench, case: Misreading) -> str:
    before = bench.heard(case.probe.host)
    (answers,) = bench.probe(case.probe)
    names = " and ".join(sorted({each.split()[0] for each in answers.split(" | ")}))
    return f"{names}, but heard" if names == "dropped" and bench.heard(case.probe.host) > before else names


@pytest.mark.parametrize("case", MISREADINGS, ids=str)
def test_mutant_is_wrong_and_the_sound_one_is_not(bench: Bench, world: Snapshot, case: Misreading) -> None:
    policies = tuple(policy(spec, name=f"p{index}") for index, spec in enumerate(case.specs))
    bench.program(replace(world, policies=policies))
    sound = _seen(bench, case)
    bench.program(replace(world, policies=policies), case.mutant)
    assert (sound, _seen(bench, case)) == (case.sound, case.broken)


@pytest.mark.parametrize("name", MUTANTS)
def test_kernel_takes_what_the_mutant_programs(bench: Bench, world: Snapshot, name: str) -> None:
    specs = [spec for case in MISREADINGS for spec in case.specs]
    policies = tuple(policy(spec, name=f"p{index}") for index, spec in enumerate(dict.fromkeys(specs)))
    bench.program(replace(world, policies=policies), name)
    assert bench.ruleset()
