"""The lab's data plane and the oracle read the same manifests alike; `make agreement` asks many more of them."""

from __future__ import annotations

from tests.agreement.agree import Count, hunt
from tests.agreement.kernel import Kernel

SETS = 60
"""Always the same ones, so that a run says the same as the one before it."""


def test_lab_and_oracle_agree(kernel: Kernel) -> None:
    count = Count()
    found = hunt(kernel.ground, kernel.begin, sets=SETS, seed=2, count=count)
    assert found is None, found.text()
    assert count.sets >= SETS - 5, "Hypothesis leaves out what it had already"
    assert 0.15 <= count.denied / (count.allowed + count.denied) <= 0.6, f"one-sided worlds prove little: {count}"
