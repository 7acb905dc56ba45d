"""Proxies and their control plane: of which revision a pod's proxy is, and what becomes of it when labels move on."""

from __future__ import annotations

import pytest

from fixtures.trials import Trials


@pytest.fixture(scope="module")
def revisions(trials: Trials) -> list[str]:
    """Two revisions of the control plane, side by side."""
    return trials.revisions()


def test_fits(trials: Trials) -> None:
    """A new pod's proxy is of its control plane's own revision and version, which nothing is said about."""
    found = trials.injected(trials.namespace(meshed=True), "new")
    assert (found.count, found.skew) == ("2/2", "")


def test_moved_on(trials: Trials, revisions: list[str]) -> None:
    """A namespace that moves to another revision leaves running pods behind: found, named, and mended by a restart."""
    first, second = revisions[:2]
    space = trials.namespace(meshed=True, revision=second)
    before = trials.injected(space, "stays")
    assert (before.count, before.revision, before.skew) == ("2/2", second, "")
    former = dict.fromkeys(trials.dialect.namespace_labels(second))
    trials.relabel(space, {**former, **trials.dialect.namespace_labels(first)})
    behind = trials.outcome(space, "stays")
    assert (behind.count, behind.revision) == ("2/2", second)
    assert f"of revision {second}" in behind.skew
    assert f"ask for {first}" in behind.skew
    after = trials.injected(space, "moves")
    assert (after.count, after.revision, after.skew) == ("2/2", first, "")
