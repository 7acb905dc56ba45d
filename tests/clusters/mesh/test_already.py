"""What others wrote into a mesh is named, ours is not, and what may not be seen is no error."""

from __future__ import annotations

import pytest

from clusters.kube import KubeError
from clusters.mesh.dialect import Object
from clusters.mesh.istio.dialect import Istio
from tests.clusters.mesh.fake import FakeKube, istiod, obj

THEIRS = (
    obj("PeerAuthentication", "default", "istio-system"),
    obj("AuthorizationPolicy", "nobody", "shop"),
    obj("VirtualService", "elsewhere", "other"),
    obj("PeerAuthentication", "ours", "shop", labels={"eastwest.dev/run": "run1"}),
)


def already(*objects: Object, forbidden: tuple[str, ...] = ()) -> list[str]:
    return Istio(FakeKube(istiod(), *objects, forbidden=forbidden)).already(["shop", "lab"])


def test_what_others_wrote_here_and_mesh_wide_is_named() -> None:
    assert already(*THEIRS) == [
        "AuthorizationPolicy nobody in shop",
        "PeerAuthentication default in istio-system (mesh-wide)",
    ]


def test_what_may_not_be_seen_is_left_out() -> None:
    assert already(*THEIRS, forbidden=("PeerAuthentication",)) == ["AuthorizationPolicy nobody in shop"]


def test_a_cluster_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_given: object) -> list[Object]:
        raise KubeError("no answer")

    kube = FakeKube(*THEIRS)
    monkeypatch.setattr(kube, "list", silent)
    with pytest.raises(KubeError, match="no answer"):
        Istio(kube).already(["shop"])
