"""Calico's own policies beside those of Kubernetes: the lab's data plane against the oracle, with real packets."""

from __future__ import annotations

from functools import partial

import pytest

from clusters.lab.policy.calico_mutants import CALICO_MUTANTS
from tests.agreement.agree import differences, told
from tests.agreement.calico import scenes
from tests.agreement.kernel import Kernel

SETS, SEED = 60, 1
FORGETS = "calico-stale-after-update"
"""It is right about every single world."""


def test_lab_and_oracle_agree(kernel: Kernel) -> None:
    for scene in scenes(kernel.ground, sets=SETS, seed=SEED):
        found = differences(scene, kernel.ground, kernel.begin)
        assert not found, f"{scene.text()}\n{told(found)}"


@pytest.mark.parametrize("mutant", [each.name for each in CALICO_MUTANTS if each.name != FORGETS])
def test_every_mutant_is_noticed(kernel: Kernel, mutant: str) -> None:
    """The worlds have in them what each mutant misreads."""
    ask = partial(kernel.begin, mutant=mutant)
    worlds = scenes(kernel.ground, sets=2 * SETS, seed=SEED)
    assert any(differences(scene, kernel.ground, ask) for scene in worlds)


def test_the_same_seed_makes_the_same_worlds(kernel: Kernel) -> None:
    made = [[each.text() for each in scenes(kernel.ground, sets=3, seed=seed)] for seed in (5, 5, 6)]
    assert made[0] == made[1] != made[2]
