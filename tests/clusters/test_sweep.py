from __future__ import annotations

import datetime
from collections.abc import Iterator

import pytest

from clusters.kube import LEASE, Kube
from clusters.sweep import find, sweep
from tests.clusters.fakes import handle, lab_api

LATER = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)


@pytest.fixture
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kube, Kube]]:
    """Two runs that share a cluster, each with a namespace of its own and a map in a namespace of nobody."""
    with lab_api(tmp_path_factory.mktemp("lab")) as content:
        pair = Kube(handle(content, "run1")), Kube(handle(content, "run2"))
        for kube in pair:
            run = kube.cluster.run_id
            kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"of-{run}"}})
            kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": run, "namespace": "default"}})
        yield pair


def kinds(kube: Kube, **given: str) -> list[str]:
    return [f"{each.kind} {each.name}" for each in find(kube, **given)]


def test_finds_every_runs_objects_by_their_marks(runs: tuple[Kube, Kube]) -> None:
    expected = ["ConfigMap run1", "ConfigMap run2", "Namespace of-run1", "Namespace of-run2"]
    assert sorted(kinds(runs[0])) == expected


def test_a_named_run_is_swept_and_no_other(runs: tuple[Kube, Kube]) -> None:
    swept = sweep(runs[0], run_id="run1", namespace="default")
    assert [each.name for each in swept.removed] == ["run1"]
    assert kinds(runs[0], namespace="default") == ["ConfigMap run2"]


def test_a_run_within_its_lease_is_spared(runs: tuple[Kube, Kube]) -> None:
    swept = sweep(runs[1], timeout=1)
    assert (swept.removed, len(swept.spared)) == ([], 4)
    assert len(kinds(runs[0])) == 4


def test_an_object_past_its_lease_goes_whoever_made_it(runs: tuple[Kube, Kube]) -> None:
    swept = sweep(runs[1], namespace="default", now=LATER)
    assert sorted(each.name for each in swept.removed) == ["run1", "run2"]
    assert kinds(runs[0], namespace="default") == []


def test_an_object_without_a_readable_lease_is_spared(runs: tuple[Kube, Kube]) -> None:
    runs[0].patch("v1", "ConfigMap", "run1", "default", {"metadata": {"annotations": {LEASE: "soon"}}})
    swept = sweep(runs[1], namespace="default", now=LATER)
    assert [each.name for each in swept.spared] == ["run1"]


def test_a_dry_run_tells_and_removes_nothing(runs: tuple[Kube, Kube]) -> None:
    swept = sweep(runs[0], run_id="run1", dry_run=True)
    assert [each.kind for each in swept.removed] == ["Namespace", "ConfigMap"]
    assert len(kinds(runs[0], run_id="run1")) == 2


def test_what_stays_is_told_with_its_reason(runs: tuple[Kube, Kube]) -> None:
    # No namespace controller runs here, so a namespace that is deleted never goes.
    swept = sweep(runs[0], run_id="run1", timeout=0.2)
    assert [each.kind for each in swept.removed] == ["ConfigMap"]
    assert "Namespace of-run1" in swept.failed[0]
    assert "still being deleted" in swept.failed[0]
