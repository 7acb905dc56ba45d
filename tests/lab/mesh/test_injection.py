"""Who gets a proxy and what an injected pod looks like; every expectation was seen at a real Istio 1.31."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from clusters.lab.mesh import redirect
from clusters.lab.mesh.bootstrap import seconds
from clusters.lab.mesh.injection import InjectionDeniedError, InjectionDownError, inject
from clusters.lab.mesh.template import IMAGE
from clusters.lab.mesh.webhooks import configuration

Object = dict[str, Any]
UP = {"istiod.istio-system": True, "istiod-canary.istio-system": True}
INJECT, REV, ENABLED = "sidecar.istio.io/inject", "istio.io/rev", {"istio-injection": "enabled"}
HOLD = {"proxy.istio.io/config": "holdApplicationUntilProxyStarts: true"}
TWO = {"sidecar.istio.io/nativeSidecar": "false"}


def pod(labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    meta = {"name": "server", "namespace": "shop", "labels": labels or {}, "annotations": annotations or {}}
    ports = [{"name": "http", "containerPort": 8080}]
    return {"metadata": meta, "spec": {"containers": [{"name": "app", "image": "python:3", "ports": ports}], **spec}}


def space(labels: dict[str, str] | None = None) -> Object:
    return {"metadata": {"name": "shop", "labels": labels or {}}}


def injected(given: Object, labels: dict[str, str] | None = None, **fields: Any) -> Object | None:
    """What becomes of a pod in a namespace with these labels, with two revisions installed."""
    fields = {"webhooks": [configuration(), configuration("canary")], "control_planes": UP} | fields
    return inject(given, namespace=space(ENABLED if labels is None else labels), **fields)


def names(result: Object | None) -> tuple[list[str], list[str]]:
    assert result is not None
    spec = result["spec"]
    return [each["name"] for each in spec["initContainers"]], [each["name"] for each in spec["containers"]]


def container(result: Object | None, name: str = "istio-proxy") -> Object:
    assert result is not None
    every = [*result["spec"]["initContainers"], *result["spec"]["containers"]]
    return dict(next(each for each in every if each["name"] == name))


@pytest.mark.parametrize(
    ("namespace", "labels", "annotations", "revision"),
    [
        pytest.param(ENABLED, {}, {}, "default", id="namespace-label"),
        pytest.param({}, {}, {}, "", id="no-label"),
        pytest.param({"istio-injection": "disabled"}, {INJECT: "true"}, {}, "", id="namespace-disabled"),
        pytest.param({REV: "default"}, {}, {}, "default", id="namespace-of-default-revision"),
        pytest.param({REV: "canary"}, {}, {}, "canary", id="namespace-of-another-revision"),
        pytest.param({REV: "gone"}, {}, {}, "", id="namespace-of-no-revision"),
        pytest.param({REV: "canary", **ENABLED}, {}, {}, "default", id="injection-label-beats-revision"),
        pytest.param(ENABLED, {REV: "gone"}, {}, "default", id="pod-revision-in-enabled-namespace"),
        pytest.param({}, {REV: "canary"}, {}, "canary", id="pod-revision"),
        pytest.param({}, {REV: "gone", INJECT: "true"}, {}, "", id="pod-of-no-revision"),
        pytest.param({}, {INJECT: "true"}, {}, "default", id="pod-asks-by-label"),
        pytest.param({}, {INJECT: "on"}, {}, "", id="pod-asks-with-another-word"),
        pytest.param({}, {}, {INJECT: "true"}, "", id="pod-asks-by-annotation-only"),
        pytest.param(ENABLED, {INJECT: "false"}, {INJECT: "true"}, "", id="label-refuses"),
        pytest.param(ENABLED, {}, {INJECT: "false"}, "", id="annotation-refuses"),
        pytest.param(ENABLED, {INJECT: "true"}, {INJECT: "false"}, "default", id="label-before-annotation"),
        pytest.param(ENABLED, {}, {INJECT: "False"}, "default", id="annotation-that-istio-does-not-read"),
    ],
)
def test_labels_decide_who_gets_a_proxy_and_from_whom(
    namespace: dict[str, str], labels: dict[str, str], annotations: dict[str, str], revision: str
) -> None:
    result = injected(pod(labels, annotations), namespace)
    assert (result["metadata"]["annotations"][REV] if result else "") == revision


def test_a_host_network_pod_is_never_injected() -> None:
    assert injected(pod(hostNetwork=True)) is None


def test_a_system_namespace_is_never_injected() -> None:
    given = pod({INJECT: "true"})
    given["metadata"]["namespace"] = "kube-public"
    assert injected(given, {}) is None


def test_without_a_webhook_configuration_nothing_injects() -> None:
    assert injected(pod(), webhooks=[]) is None


def test_an_injected_pod_stays_as_it_is() -> None:
    assert injected(injected(pod()) or {}) is None


def test_a_container_that_only_looks_like_a_proxy_is_refused() -> None:
    with pytest.raises(InjectionDeniedError, match="container istio-proxy"):
        injected(pod(containers=[{"name": "istio-proxy", "image": "auto"}]))


@pytest.mark.parametrize(
    ("planes", "why"),
    [
        pytest.param({"istiod.istio-system": False}, 'no endpoints available for service "istiod"', id="no-endpoint"),
        pytest.param({}, 'service "istiod" not found', id="no-service"),
    ],
)
def test_a_webhook_that_must_answer_and_cannot_refuses_the_pod(planes: dict[str, bool], why: str) -> None:
    with pytest.raises(InjectionDownError, match=f'calling webhook "namespace.sidecar-injector.istio.io".*{why}'):
        injected(pod(), control_planes=planes)


def test_a_webhook_that_may_be_ignored_lets_the_pod_pass_naked() -> None:
    ignoring = copy.deepcopy(configuration())
    for each in ignoring["webhooks"]:
        each["failurePolicy"] = "Ignore"
    assert injected(pod(), webhooks=[ignoring], control_planes={"istiod.istio-system": False}) is None


def test_a_pod_that_opted_out_needs_no_control_plane() -> None:
    assert injected(pod({INJECT: "false"}), control_planes={}) is None


@pytest.mark.parametrize(
    ("annotations", "inits", "mains"),
    [
        pytest.param({}, ["istio-init", "istio-proxy", "own"], ["app"], id="native"),
        pytest.param(HOLD, ["istio-init", "istio-proxy", "own"], ["app"], id="native-needs-no-hold"),
        pytest.param(TWO, ["own", "istio-init"], ["app", "istio-proxy"], id="two-containers"),
        pytest.param(TWO | HOLD, ["own", "istio-init"], ["istio-proxy", "app"], id="two-containers-hold"),
    ],
)
def test_containers_stand_in_istios_order(annotations: dict[str, str], inits: list[str], mains: list[str]) -> None:
    given = pod({}, annotations, initContainers=[{"name": "own", "image": "python:3"}])
    assert names(injected(given)) == (inits, mains)


def test_only_a_native_proxy_restarts_by_itself_and_only_a_held_one_has_a_hook() -> None:
    native, held = container(injected(pod({}, HOLD))), container(injected(pod({}, TWO | HOLD)))
    assert (native.get("restartPolicy"), native.get("lifecycle")) == ("Always", None)
    assert (held.get("restartPolicy"), held["lifecycle"]["postStart"]["exec"]["command"]) == (
        None,
        ["pilot-agent", "wait"],
    )


def test_labels_and_annotations_are_istios() -> None:
    result = injected(pod({"app": "till", "version": "v2"}))
    assert result is not None
    assert result["metadata"]["labels"] == {
        "app": "till",
        "version": "v2",
        "security.istio.io/tlsMode": "istio",
        "service.istio.io/canonical-name": "till",
        "service.istio.io/canonical-revision": "v2",
    }
    status = json.loads(result["metadata"]["annotations"]["sidecar.istio.io/status"])
    assert (status["initContainers"], status["containers"]) == (["istio-init", "istio-proxy"], None)
    assert status["revision"] == "default"
    assert set(status["volumes"]) <= {each["name"] for each in result["spec"]["volumes"]}


@pytest.mark.parametrize(
    ("labels", "name", "revision"),
    [
        pytest.param({}, "server", "latest", id="pod-name"),
        pytest.param({"app": "till", "version": "v1"}, "till", "v1", id="app"),
        pytest.param({"app.kubernetes.io/name": "kn", "app": "a"}, "kn", "latest", id="kubernetes-name-first"),
        pytest.param(
            {"app.kubernetes.io/version": "kv", "version": "v"}, "server", "kv", id="kubernetes-version-first"
        ),
    ],
)
def test_canonical_labels_come_from_the_best_label(labels: dict[str, str], name: str, revision: str) -> None:
    result = injected(pod(labels))
    assert result is not None
    found = result["metadata"]["labels"]
    canonical = [found[f"service.istio.io/canonical-{each}"] for each in ("name", "revision")]
    assert canonical == [name, revision]


def test_a_pod_whose_name_is_made_up_has_no_canonical_name() -> None:
    given = pod()
    given["metadata"]["generateName"] = "server-"
    result = injected(given)
    assert result is not None
    assert result["metadata"]["labels"]["service.istio.io/canonical-name"] == ""


def test_the_pod_that_was_sent_is_not_changed() -> None:
    given = pod()
    before = copy.deepcopy(given)
    injected(given)
    assert given == before


def test_probes_go_to_the_agent_and_the_agent_knows_what_to_ask() -> None:
    app = {
        "name": "app",
        "image": "python:3",
        "ports": [{"name": "http", "containerPort": 8080}],
        "startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        "livenessProbe": {
            "httpGet": {
                "path": "/live",
                "port": "http",
                "scheme": "HTTPS",
                "httpHeaders": [{"name": "a", "value": "b"}],
            },
            "timeoutSeconds": 3,
        },
        "readinessProbe": {"exec": {"command": ["true"]}},
        "lifecycle": {"preStop": {"httpGet": {"path": "/x", "port": 8080}}},
    }
    result = injected(pod(containers=[app]))
    seen, env = container(result, "app"), container(result)["env"]
    headers = [{"name": "a", "value": "b"}]
    assert seen["startupProbe"] == {"httpGet": {"path": "/app-health/app/startupz", "port": 15020}, "periodSeconds": 1}
    assert seen["livenessProbe"]["httpGet"] == {"path": "/app-health/app/livez", "port": 15020, "httpHeaders": headers}
    assert seen["readinessProbe"] == {"exec": {"command": ["true"]}}
    assert json.loads(next(each["value"] for each in env if each["name"] == "ISTIO_KUBE_APP_PROBERS")) == {
        "/app-health/app/livez": {
            "httpGet": {"path": "/live", "port": 8080, "scheme": "HTTPS", "httpHeaders": headers},
            "timeoutSeconds": 3,
        },
        "/app-health/app/startupz": {"tcpSocket": {"port": 8080}, "timeoutSeconds": 1},
        "/app-lifecycle/app/prestopz": {"httpGet": {"path": "/x", "port": 8080, "scheme": "HTTP"}},
    }


def test_probes_stay_when_the_pod_says_so() -> None:
    app = {"name": "app", "image": "python:3", "readinessProbe": {"httpGet": {"port": 8080}}}
    result = injected(pod({}, {"sidecar.istio.io/rewriteAppHTTPProbers": "false"}, containers=[app]))
    assert container(result, "app")["readinessProbe"] == {"httpGet": {"port": 8080}}


def test_traffic_annotations_become_the_redirections_arguments() -> None:
    traffic = {
        "excludeOutboundPorts": "9999,7777",
        "includeOutboundPorts": "6666",
        "excludeInboundPorts": "8081",
        "includeInboundPorts": "8080,8082",
        "includeOutboundIPRanges": "10.0.0.0/8,192.168.1.0/24",
        "excludeOutboundIPRanges": "10.3.0.0/16",
    }
    asked = {f"traffic.sidecar.istio.io/{name}": value for name, value in traffic.items()}
    command = ["pilot-agent", *container(injected(pod({}, asked)), "istio-init")["args"]]
    assert redirect.is_redirection(command)
    assert redirect.parse(command[2:]) == redirect.Redirection(
        inbound_ports=("8080", "8082"),
        inbound_excluded=("15090", "15021", "8081", "15020"),
        ranges=("10.0.0.0/8", "192.168.1.0/24"),
        excluded_ranges=("10.3.0.0/16",),
        ports=("6666",),
        excluded_ports=("9999", "7777"),
    )


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        pytest.param("traffic.sidecar.istio.io/excludeOutboundPorts", "abc", id="no-port"),
        pytest.param("traffic.sidecar.istio.io/excludeInboundPorts", "*", id="star-to-exclude"),
        pytest.param("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.1", id="no-range"),
        pytest.param("proxy.istio.io/config", "nonsense: [", id="no-yaml"),
        pytest.param("proxy.istio.io/config", "holdApplicationUntilProxyStarts: maybe", id="no-bool"),
        pytest.param("proxy.istio.io/config", "concurrency: 2", id="config-undone"),
        pytest.param("proxy.istio.io/config", "proxyMetadata: {SECRET_TTL: soon}", id="no-duration"),
        pytest.param("proxy.istio.io/config", "proxyMetadata: {OTHER: x}", id="metadata-undone"),
        pytest.param("sidecar.istio.io/interceptionMode", "TPROXY", id="annotation-undone"),
    ],
)
def test_an_annotation_that_cannot_be_followed_refuses_the_pod_by_name(annotation: str, value: str) -> None:
    with pytest.raises(InjectionDeniedError, match=f"denied the request: .*{annotation}"):
        injected(pod({}, {annotation: value}))


def test_metadata_become_variables_of_the_agent() -> None:
    result = injected(pod({}, {"proxy.istio.io/config": '{"proxyMetadata": {"SECRET_TTL": "20s"}}'}))
    assert {"name": "SECRET_TTL", "value": "20s"} in container(result, "istio-proxy")["env"]


@pytest.mark.parametrize(
    ("text", "wanted"), [("20s", 20), ("1h30m", 5400), ("1.5s", 1.5), ("250ms", 0.25), ("20", 0), ("", 0), ("s", 0)]
)
def test_durations_are_read_as_go_writes_them(text: str, wanted: float) -> None:
    assert seconds(text) == wanted


def test_every_container_of_the_mesh_has_the_labs_image() -> None:
    result = injected(pod())
    assert {container(result, each)["image"] for each in ("istio-init", "istio-proxy")} == {IMAGE}
