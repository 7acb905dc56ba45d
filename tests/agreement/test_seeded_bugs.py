"""A bug put into either reading on purpose is found by random worlds, and told by an example without anything idle."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import pytest

from policies import oracle
from policies.model import Port
from tests.agreement.agree import Count, Found, hunt
from tests.agreement.kernel import Kernel

T = TypeVar("T")
SETS = 300
"""Within which a bug must be found."""


def minimal(found: Found | None) -> tuple[int, int, int]:
    """How many policies, peers and ports the example has; more than two pods are of no use to any flow."""
    assert found is not None, f"not found within {SETS} sets"
    assert len(found.scene.pods) <= 2, found.text()
    specs = [each["spec"] for each in found.scene.policies]
    rules = [rule for spec in specs for key in ("ingress", "egress") for rule in spec.get(key) or []]
    peers = sum(len(rule.get(key) or []) for rule in rules for key in ("from", "to"))
    return len(specs), peers, sum(len(rule.get("ports") or []) for rule in rules)


@pytest.mark.parametrize("mutant", ["or-for-and", "except-ignored"])
def test_a_bug_of_the_lab_is_found_and_shrunk(kernel: Kernel, mutant: str) -> None:
    ask = partial(kernel.begin, mutant=mutant)
    assert minimal(hunt(kernel.ground, ask, sets=SETS, seed=1, count=Count())) == (1, 1, 0)


def last_left_out(sound: Callable[[Port, T], bool], wanted: Port, target: T) -> bool:
    """A range ends before its last number."""
    end = wanted.end
    return sound(wanted, target) and not (isinstance(end, int) and getattr(target, "port", 0) == end)


def test_a_bug_of_the_oracle_is_found_and_shrunk(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "_covers", partial(last_left_out, oracle._covers))
    assert minimal(hunt(kernel.ground, kernel.begin, sets=SETS, seed=1, count=Count())) == (1, 0, 1)
