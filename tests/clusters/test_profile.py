"""Profiles: what is derived where a file does not say it."""

from __future__ import annotations

import pytest

from clusters.profile import load, parse


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


def test_a_flow_that_is_asked_once_has_longer_than_a_drop_takes() -> None:
    profile = load("lab")
    assert profile.patience > profile.deny_timeout
