"""How many processes a run has where nobody says."""

from __future__ import annotations

import pytest

from eastwest import MOST_WORKERS, _workers


@pytest.mark.parametrize(
    ("asked", "processors", "target", "profile", "workers"),
    [
        pytest.param(-1, 1, "suites", "kind-calico", 2, id="one-more-than-processors"),
        pytest.param(-1, 1, "suites", "lab", 3, id="in-the-lab-two-more"),
        pytest.param(-1, 64, "suites", "lab", MOST_WORKERS, id="never-more-than-most"),
        pytest.param(-1, 2, "suites/a.py::test_it", "lab", 0, id="one-test-needs-none"),
        pytest.param(-1, 2, "shop/eastwest.yaml", "lab", 0, id="one-file-of-expectations-needs-none"),
        pytest.param(7, 2, "suites", "lab", 7, id="as-asked"),
    ],
)
def test_workers(
    monkeypatch: pytest.MonkeyPatch, asked: int, processors: int, target: str, profile: str, workers: int
) -> None:
    monkeypatch.delenv("EASTWEST_CLUSTER_NAMESPACE", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    assert _workers(asked, [target], "", profile) == workers
