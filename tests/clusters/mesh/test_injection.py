from __future__ import annotations

from typing import Any

import pytest

from clusters.mesh.istio.injection import injection
from tests.clusters.mesh.fake import FakeKube, obj, webhooks

EARLY, LATE = "2026-11-21T18:00:00Z", "2026-11-21T19:00:00Z"
STALE = [{"time": LATE, "fieldsV1": {"f:metadata": {"f:labels": {"f:istio-injection": {}}}}}]


def pod(*, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **spec: Any) -> Any:
    made = obj("Pod", "server", "shop", labels=labels, spec={"containers": [{"name": "app"}], **spec})
    made["metadata"] |= {"annotations": annotations or {}, "creationTimestamp": EARLY}
    return made


def around(name: str = "shop", **labels: str) -> Any:
    made = obj("Namespace", name, labels={key.replace("__", ".").replace("_", "-"): v for key, v in labels.items()})
    made["metadata"]["creationTimestamp"] = EARLY
    return made


REVISED = obj("Namespace", "shop", labels={"istio.io/rev": "1-30"})
BOTH = obj("Namespace", "shop", labels={"istio.io/rev": "default", "istio-injection": "disabled"})
YOUNG = around(istio_injection="enabled")
YOUNG["metadata"]["managedFields"] = STALE
BORN_TOGETHER = around(istio_injection="enabled")
BORN_TOGETHER["metadata"]["managedFields"] = [{**STALE[0], "time": EARLY}]


@pytest.mark.parametrize(
    ("what", "namespace", "reason"),
    [
        pytest.param(pod(), around(), "namespace shop is not labelled", id="not-labelled"),
        pytest.param(pod(), around(istio_injection="true"), "istio-injection=true (only 'enabled'", id="wrong-value"),
        pytest.param(pod(), around(istio_injection="disabled"), "label istio-injection=disabled", id="disabled"),
        pytest.param(
            pod(), REVISED, "istio.io/rev=1-30: no webhook serves it; there is default", id="no-such-revision"
        ),
        pytest.param(pod(), BOTH, "label istio-injection=disabled", id="both-labels"),
        pytest.param(pod(), YOUNG, "older than the namespace's label istio-injection", id="older-than-label"),
        pytest.param(pod(), BORN_TOGETHER, "may be older than the namespace's label", id="label-and-pod-of-one-second"),
        pytest.param(
            pod(labels={"sidecar.istio.io/inject": "false"}),
            around(istio_injection="enabled"),
            "pod label sidecar.istio.io/inject=false",
            id="refused-by-label",
        ),
        pytest.param(
            pod(annotations={"sidecar.istio.io/inject": "false"}),
            around(istio_injection="enabled"),
            "pod annotation sidecar.istio.io/inject=false",
            id="refused-by-annotation",
        ),
        pytest.param(
            pod(annotations={"sidecar.istio.io/inject": "true"}),
            around(),
            "alone calls no webhook",
            id="annotation-alone",
        ),
        pytest.param(pod(hostNetwork=True), around(istio_injection="enabled"), "hostNetwork", id="host-network"),
        pytest.param(pod(), around("kube-system"), "ignores namespace kube-system", id="ignored-namespace"),
        pytest.param(
            pod(), around(istio_injection="enabled"), "may be older than the namespace's label", id="undated-label"
        ),
        pytest.param(
            pod(labels={"sidecar.istio.io/inject": "true"}),
            around(istio_injection="enabled"),
            "checked labels",
            id="nothing-explains-it",
        ),
    ],
)
def test_a_pod_without_a_proxy_has_a_reason(what: Any, namespace: Any, reason: str) -> None:
    found = injection(FakeKube(webhooks()), what, namespace)
    assert found.form == "none"
    assert reason in found.reason


def test_a_missing_webhook_is_the_reason() -> None:
    asked = pod(labels={"sidecar.istio.io/inject": "true"})
    assert "no injection webhook is installed" in injection(FakeKube(), asked, around()).reason


def test_a_webhook_that_nobody_answers_may_be_the_reason() -> None:
    kube = FakeKube(webhooks(policy="Ignore"), obj("EndpointSlice", "istiod-x", "istio-system", endpoints=[]))
    found = injection(kube, pod(), around(istio_injection="enabled"))
    assert "may have been down: istio-system/istiod has no ready endpoint" in found.reason


def test_without_the_right_to_see_webhooks_the_reason_says_so() -> None:
    kube = FakeKube(webhooks(), forbidden=("MutatingWebhookConfiguration",))
    assert "no right to list" in injection(kube, pod(), around(istio_injection="enabled")).reason
    assert "not labelled" in injection(kube, pod(), around()).reason


def test_ready_is_counted_as_kubectl_counts() -> None:
    proxy = {"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.31.0", "restartPolicy": "Always"}
    setup = {"name": "istio-init", "image": "docker.io/istio/proxyv2:1.31.0"}
    native = pod(annotations={"istio.io/rev": "1-31"}, initContainers=[setup, proxy])
    native["status"] = {
        "initContainerStatuses": [{"name": "istio-init", "ready": True}, {"name": "istio-proxy", "ready": True}],
        "containerStatuses": [{"name": "app", "ready": False}],
    }
    found = injection(FakeKube(), native, around())
    assert (found.form, found.count, found.proxy_ready) == ("native", "1/2", True)
    assert (found.revision, found.version, found.reason) == ("1-31", "1.31.0", "")
