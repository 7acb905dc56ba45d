"""Profiles: what is derived where a file does not say it."""

from __future__ import annotations

import pytest

from clusters.profile import parse
from flows.errors import UsageError


@pytest.mark.parametrize(
    ("said", "window"),
    [
        pytest.param({}, 1.0, id="nothing-said"),
        pytest.param({"deny_timeout": 3}, 3, id="as-long-as-the-deny-timeout"),
        pytest.param({"deny_timeout": 3, "window": 0.5}, 0.5, id="its-own"),
    ],
)
def test_window(said: dict[str, float], window: float) -> None:
    assert parse({"provider": "existing", **said}, source="p.yaml", name="p").window == window


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_what_is_no_time_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match=r"p\.yaml: field 'window' is .*; give seconds, more than 0"):
        parse({"provider": "existing", "window": value}, source="p.yaml", name="p")
