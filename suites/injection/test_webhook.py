"""What becomes of new pods when the webhook that injects them is away; nothing else of the run goes on meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.trials import RefusedError, Trials

pytestmark = pytest.mark.cluster_wide


@pytest.fixture(scope="module")
def meshed_namespace(trials: Trials) -> str:
    """A namespace that asks for proxies."""
    return trials.namespace(meshed=True)


@pytest.fixture(autouse=True)
def mended(trials: Trials) -> Iterator[None]:
    """Injection as it was, after each test."""
    yield
    trials.mend()


def test_webhook_gone(trials: Trials, meshed_namespace: str) -> None:
    """Without its webhook a meshed namespace's new pod is naked, and the missing webhook is named."""
    trials.disturb("gone")
    found = trials.injected(meshed_namespace, "unseen")
    assert (found.form, found.count) == ("none", "1/1")
    assert "webhook" in found.reason


def test_webhook_down_and_ignored(trials: Trials, meshed_namespace: str) -> None:
    """With failurePolicy Ignore an unreachable webhook lets the pod through without a proxy."""
    trials.disturb("down-ignore")
    found = trials.injected(meshed_namespace, "let-through")
    assert (found.form, found.count) == ("none", "1/1")
    assert "webhook" in found.reason


def test_webhook_down_and_failing(trials: Trials, meshed_namespace: str) -> None:
    """With failurePolicy Fail an unreachable webhook lets no pod in, and says so."""
    trials.disturb("down-fail")
    with pytest.raises(RefusedError, match="failed calling webhook"):
        trials.start(meshed_namespace, "kept-out")
    trials.mend()
    assert trials.injected(meshed_namespace, "let-in-again").count == "2/2"
