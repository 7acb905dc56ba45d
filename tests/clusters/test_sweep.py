from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.kube import LEASE, Kube
from clusters.marks import RUN
from clusters.mesh import dialects
from clusters.mesh.istio.write import manifests
from clusters.sweep import find, sweep
from policies.behaviour import (
    Access,
    Backend,
    Behaviour,
    ClientMode,
    ClientTls,
    ExternalService,
    HttpRoute,
    Mtls,
    Routing,
    Tokens,
    whole_mesh,
)
from tests.clusters.fakes import handle, lab_api
from tests.clusters.mesh.test_write import PLACE

ROOT = "istio-system"
RULE = "security.istio.io/v1", "PeerAuthentication"
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


@pytest.fixture
def walled(runs: tuple[Kube, Kube]) -> tuple[Kube, Kube]:
    """The two runs, each with a GlobalNetworkPolicy and a NetworkSet in a namespace of nobody."""
    for kube in runs:
        name = kube.cluster.run_id
        for kind, place in (("GlobalNetworkPolicy", {}), ("NetworkSet", {"namespace": "default"})):
            spec = {"spec": {}} if kind == "NetworkSet" else {"spec": {"selector": "has(nobody)"}}
            meta = {"name": name, **place}
            kube.create({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": meta, **spec})
    return runs


@pytest.mark.parametrize("namespace", ["", "default"], ids=["everywhere", "given"])
def test_what_a_run_wrote_of_calico_goes_with_it(walled: tuple[Kube, Kube], namespace: str) -> None:
    swept = sweep(walled[0], run_id="run1", namespace=namespace, timeout=0.2)
    ours = ["GlobalNetworkPolicy", "NetworkSet"]
    assert [str(each.kind) for each in swept.removed if each.kind in ours] == ours
    left = [
        walled[0].list("projectcalico.org/v3", kind, place) for kind, place in zip(ours, ("", "default"), strict=True)
    ]
    assert [[each["metadata"]["name"] for each in some] for some in left] == [["run2"], ["run2"]]


def test_global_policies_are_out_of_a_namespaces_sweep(walled: tuple[Kube, Kube]) -> None:
    assert "GlobalNetworkPolicy run2" not in kinds(walled[0], namespace="default")


@pytest.fixture
def meshed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Kube, Kube]]:
    """Two runs that share a cluster with a mesh, each with a mesh-wide object."""
    monkeypatch.setattr(dialects, "root", lambda _kube: ROOT)
    with lab_api(tmp_path, mesh="istio") as content:
        pair = Kube(handle(content, "run1")), Kube(handle(content, "run2"))
        pair[0].create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ROOT}})
        pair[0].patch("v1", "Namespace", ROOT, "", {"metadata": {"labels": {RUN: None}}})
        for kube in pair:
            meta = {"name": f"of-{kube.cluster.run_id}", "namespace": ROOT}
            kube.create({"apiVersion": RULE[0], "kind": RULE[1], "metadata": meta, "spec": {}})
        yield pair


@pytest.mark.parametrize("namespace", ["", "default"], ids=["everywhere", "given"])
def test_what_a_run_wrote_mesh_wide_goes_with_it(meshed: tuple[Kube, Kube], namespace: str) -> None:
    swept = sweep(meshed[0], run_id="run1", namespace=namespace)
    assert ([str(each.kind) for each in swept.removed], swept.failed) == ([RULE[1]], [])
    assert [each["metadata"]["name"] for each in meshed[0].list(*RULE)] == ["of-run2"]


def test_other_runs_mesh_wide_objects_are_out_of_a_namespaces_sweep(meshed: tuple[Kube, Kube]) -> None:
    assert find(meshed[0], namespace="default") == []


def test_what_a_dialect_writes_is_among_what_is_swept() -> None:
    behaviours: list[Behaviour] = [
        Mtls(scope=whole_mesh()),
        ClientTls(to="server", mode=ClientMode.DISABLE),
        Access(name="a", rules=None),
        Tokens(name="t", issuer="i", keys="{}"),
        Routing(service="server", routes=(HttpRoute(backends=(Backend(version="v1"),)),)),
        ExternalService(name="e", host="e.test"),
    ]
    written = [each.object for asked in behaviours for each in manifests(asked, PLACE)]
    assert {(each["apiVersion"], each["kind"]) for each in written} == {*dialects.kinds()}
