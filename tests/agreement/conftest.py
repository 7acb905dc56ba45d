"""The kernel that is asked: one for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agreement.kernel import Kernel
from tests.agreement.kernel import kernel as laid


@pytest.fixture(scope="session")
def kernel() -> Iterator[Kernel]:
    with laid() as made:
        yield made
