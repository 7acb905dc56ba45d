"""A proxy that does not fit its control plane is named, by revision before version; one that fits is not."""

from __future__ import annotations

import pytest

from clusters.mesh.dialect import Injection
from clusters.mesh.istio.skew import skew
from tests.clusters.mesh.fake import obj

REVISIONS = {"default": "1.31.0", "canary": "1.32.1"}


def proxy(revision: str, version: str) -> Injection:
    return Injection(form="native", ready=(2, 2), revision=revision, version=version)


@pytest.mark.parametrize(
    ("found", "labels", "own", "said"),
    [
        pytest.param(proxy("default", "1.31.0"), {"istio-injection": "enabled"}, {}, "", id="fits"),
        pytest.param(proxy("canary", "1.32.1"), {"istio.io/rev": "canary"}, {}, "", id="other-revision-fits"),
        pytest.param(proxy("default", "1.31.0-distroless"), {}, {}, "", id="another-build-fits"),
        pytest.param(proxy("default", "latest"), {}, {}, "", id="no-version-says-nothing"),
        pytest.param(proxy("canary", "1.32.1"), {"istio.io/rev": "stable-tag"}, {}, "", id="a-tag-says-nothing"),
        pytest.param(
            proxy("default", "1.30.2"),
            {"istio-injection": "enabled"},
            {},
            "its proxy is 1.30.2 and its control plane, revision default, is 1.31.0; restart the pod",
            id="older-than-its-control-plane",
        ),
        pytest.param(
            proxy("default", "1.31.0"),
            {"istio.io/rev": "canary"},
            {},
            "its proxy is of revision default and its labels ask for canary now; restart the pod",
            id="namespace-moved-on",
        ),
        pytest.param(
            proxy("default", "1.31.0"),
            {},
            {"istio.io/rev": "canary"},
            "its proxy is of revision default and its labels ask for canary now; restart the pod",
            id="pod-asks-for-another",
        ),
        pytest.param(
            proxy("1-29", "1.29.0"),
            {},
            {},
            "its proxy is of revision 1-29, whose control plane is gone; there is default, canary; restart the pod",
            id="control-plane-gone",
        ),
    ],
)
def test_skew(found: Injection, labels: dict[str, str], own: dict[str, str], said: str) -> None:
    """What labels ask for, what the proxy is, what is there."""
    assert (
        skew(found, obj("Pod", "server", "shop", labels=own), obj("Namespace", "shop", labels=labels), REVISIONS)
        == said
    )
