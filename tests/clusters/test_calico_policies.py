"""Which form of Calico's API a cluster takes, how a manifest is written for it, and what of it is in force."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from clusters import calico
from clusters.kube import Kube, KubeError
from fixtures import already
from tests.clusters.fakes import handle, lab_api

Object = dict[str, Any]


class Served:
    """A cluster that has these versions of Calico's API."""

    def __init__(self, *versions: str) -> None:
        self.versions = versions

    def serves(self, api_version: str, _kind: str) -> bool:
        return api_version in self.versions


@pytest.mark.parametrize(
    ("served", "form"),
    [
        pytest.param((calico.API_VERSION, calico.STORED), calico.API_VERSION, id="with-its-api-server"),
        pytest.param((calico.STORED,), calico.STORED, id="alone"),
        pytest.param((), "", id="without-calico"),
    ],
)
def test_form(served: tuple[str, ...], form: str) -> None:
    kube: Any = Served(*served)
    assert calico.form(kube) == form
    assert len(calico.kinds(kube)) == (4 if form else 0)


def manifest(kind: str = "NetworkPolicy", name: str = "own", **spec: Any) -> Object:
    return {"apiVersion": calico.API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        pytest.param({}, ["Ingress"], id="no-rule"),
        pytest.param({"egress": [{"action": "Allow"}]}, ["Egress"], id="egress"),
        pytest.param(
            {"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}, ["Ingress", "Egress"], id="both"
        ),
        pytest.param({"types": ["Egress"], "ingress": [{"action": "Allow"}]}, ["Egress"], id="said"),
    ],
)
def test_stored_form_has_its_types(spec: Object, types: list[str]) -> None:
    stored = calico.written(manifest(**spec), calico.STORED)
    assert (stored["metadata"]["name"], stored["spec"]["types"]) == ("default.own", types)
    assert calico.written(stored, calico.STORED) == stored


@pytest.fixture
def kube(tmp_path: Any) -> Iterator[Kube]:
    with lab_api(tmp_path) as content:
        yield Kube(handle(content, "run1"))


@pytest.fixture
def stranger(kube: Kube) -> Kube:
    """Another run on the same cluster."""
    return Kube(handle(kube.cluster.kubeconfig, "run2"))


def test_what_is_in_force(kube: Kube) -> None:
    kube.create(manifest("GlobalNetworkPolicy", "all"))
    kube.create(manifest("GlobalNetworkSet", "far"))
    own = manifest(name="here")
    kube.create({**own, "metadata": {"name": "here", "namespace": "default"}})
    kube.create({**own, "metadata": {"name": "there", "namespace": "kube-system"}})
    names = [each["metadata"]["name"] for each in calico.in_force(kube, ["default"])]
    assert names == ["here", "all"]
    assert [each["metadata"]["name"] for each in calico.in_force(kube, ["default"], sets=True)] == [
        "here",
        "all",
        "far",
    ]


def test_what_the_oracle_is_told(kube: Kube) -> None:
    kube.create(manifest("GlobalNetworkPolicy", "all"))
    kube.create(manifest("GlobalNetworkSet", "far", nets=["192.0.2.0/24"]))
    labelled = {"name": "worker", "namespace": "default", "labels": {"trusted": "yes"}}
    kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": labelled})
    found = calico.own(kube, ["default"])
    assert ([each.key for each in found.policies], [each.key for each in found.network_sets]) == (["all"], ["far"])
    assert found.accounts["default", "worker"].items() >= {"trusted": "yes"}.items()


def test_without_policies_of_calico_nothing_is_told(kube: Kube) -> None:
    assert calico.own(kube, ["default"]) == calico.Own()


def test_policies_of_others_are_named(kube: Kube, stranger: Kube) -> None:
    stranger.create(manifest("GlobalNetworkPolicy", "default-deny"))
    kube.create(manifest("GlobalNetworkPolicy", "ours"))
    assert already.told(kube, None, ["default"]) == "already there: Calico's GlobalNetworkPolicy default-deny"
    assert already.left(kube, None, ["default"]) == ["Calico's GlobalNetworkPolicy ours"]


def test_who_may_not_look_is_told_nothing(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(version: str, kind: str, namespace: str = "", *_: str) -> list[Object]:
        if version == calico.API_VERSION:
            raise KubeError(f"list {kind} in {namespace}: forbidden", status=403)
        return []

    monkeypatch.setattr(kube, "list", refuse)
    assert already.told(kube, None, ["default"]) == already.NOBODY
    with pytest.raises(KubeError, match="forbidden"):
        calico.in_force(kube, ["default"])


def test_a_kind_that_the_cluster_has_is_served(kube: Kube) -> None:
    assert kube.serves(calico.API_VERSION, "GlobalNetworkPolicy")
    assert not kube.serves(calico.API_VERSION, "StagedNetworkPolicy")
    assert not kube.serves(calico.STORED, "GlobalNetworkPolicy")
