from __future__ import annotations

from clusters.mesh import dialects
from clusters.mesh.istio.detect import detect
from clusters.mesh.istio.dialect import Istio
from tests.clusters.mesh.fake import FakeKube, istiod, obj, webhooks

CONFIG = obj("ConfigMap", "istio", "istio-system", data={"mesh": "rootNamespace: roots\ntrustDomain: td.example\n"})
UPSTREAM = istiod(PILOT_ENABLE_ALPN_FILTER="false", PILOT_ENABLE_METADATA_EXCHANGE="false")


def test_a_cluster_without_a_control_plane_has_no_mesh() -> None:
    assert dialects.of(FakeKube()) is None
    assert dialects.facts(FakeKube()) == {"mesh": "none"}


def test_a_mesh_is_described() -> None:
    found = detect(FakeKube(UPSTREAM, webhooks(), CONFIG))
    assert found is not None
    assert (found.version, found.revisions, found.native_sidecars) == ("1.31.0", {"default": "1.31.0"}, True)
    assert (found.root_namespace, found.trust_domain) == ("roots", "td.example")
    assert found.lacks == ("istio-alpn", "metadata-exchange", "istio-stats")
    assert [each.port for each in found.essentials] == [15012]


def test_the_default_revision_comes_first() -> None:
    kube = FakeKube(istiod("1-30", "1.30.2"), istiod("1-31"), webhooks("1-30", default=False), webhooks("1-31"))
    found = detect(kube)
    assert found is not None
    assert list(found.revisions) == ["1-31", "1-30"]
    assert Istio(kube).namespace_labels() == {"istio.io/rev": "1-31"}
    assert Istio(kube).namespace_labels("1-30") == {"istio.io/rev": "1-30"}


def test_a_control_plane_that_is_being_removed_is_none() -> None:
    going = istiod()
    going["metadata"]["deletionTimestamp"] = "2026-11-21T18:00:00Z"
    assert detect(FakeKube(going, webhooks())) is None


def test_native_sidecars_can_be_switched_off() -> None:
    found = detect(FakeKube(istiod(ENABLE_NATIVE_SIDECARS="false"), webhooks()))
    assert found is not None
    assert not found.native_sidecars


def test_what_may_not_be_seen_is_named() -> None:
    policy = obj("AuthorizationPolicy", "x", "default")
    found = detect(FakeKube(policy, forbidden=("Deployment", "Pod", "ConfigMap", "MutatingWebhookConfiguration")))
    assert found is not None
    assert found.version == "unknown"
    assert "unknown: no right to see Pods of istio-system" in found.lacks


def test_missing_rights_in_a_cluster_without_the_kinds_are_no_mesh() -> None:
    assert detect(FakeKube(forbidden=("Deployment", "Pod"))) is None
