"""Pods of a meshed namespace at admission: injected, refused, or let through; and who a token belongs to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clusters.lab.api import resources
from clusters.lab.api.admission import refuse_undone
from clusters.lab.api.podsecurity import violations
from clusters.lab.api.status import Causes
from clusters.lab.client import MUTATING_WEBHOOKS
from clusters.lab.mesh.webhooks import configuration
from tests.lab.api.world import MERGE, Api, Namespace, Object, pod, running

SPACES = "/api/v1/namespaces"
WEBHOOKS = MUTATING_WEBHOOKS.path()
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API server with the injector's webhooks, and an istiod behind its Service."""
    with running(tmp_path_factory.mktemp("injection"), mesh="istio") as server:
        assert server.call("POST", SPACES, {"metadata": {"name": "istio-system"}}).code == 201
        service = {"metadata": {"name": "istiod"}, "spec": {"ports": [{"port": 443}]}}
        assert server.call("POST", f"{SPACES}/istio-system/services", service).code == 201
        slices = {
            "metadata": {"name": "istiod", "labels": {"kubernetes.io/service-name": "istiod"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
            "ports": [],
        }
        assert server.call("POST", _SLICES, slices).code == 201
        answer = server.call("POST", WEBHOOKS, configuration())
        assert answer.code == 201, answer.message
        yield server


_SLICES = "/apis/discovery.k8s.io/v1/namespaces/istio-system/endpointslices"


def _ready(api: Api, *, ready: bool) -> None:
    endpoints = [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]
    api.call("PATCH", f"{_SLICES}/istiod", {"endpoints": endpoints}, content_type=MERGE)


@pytest.fixture
def away(control_plane: Api) -> Iterator[None]:
    """No istiod is ready."""
    _ready(control_plane, ready=False)
    yield
    _ready(control_plane, ready=True)


@pytest.fixture
def shop(control_plane: Api, request: pytest.FixtureRequest) -> Namespace:
    """A namespace of the mesh, with Pod Security as the test's marker asks."""
    labels = {"istio-injection": "enabled"}
    if level := getattr(request, "param", ""):
        labels["pod-security.kubernetes.io/enforce"] = level
    place = Namespace(api=control_plane, name=f"shop-{level or 'open'}")
    control_plane.call("POST", SPACES, {"metadata": {"name": place.name, "labels": labels}})
    place.create("serviceaccounts", {"metadata": {"name": "default"}})
    return place


def _containers(body: Object) -> set[str]:
    return {each["name"] for key in ("initContainers", "containers") for each in body["spec"].get(key, [])}


def test_pod_gets_its_proxy_and_everybody_the_token(shop: Namespace) -> None:
    made = shop.create("pods", pod("one"))
    assert made.code == 201, made.message
    assert _containers(made.body) == {"main", "istio-init", "istio-proxy"}
    names = [each["name"] for each in made.body["spec"]["volumes"] if each["name"].startswith("kube-api-access-")]
    mounts = [each["volumeMounts"] for each in made.body["spec"]["initContainers"]]
    assert len(names) == 1
    assert all(names[0] in {each["name"] for each in mount} for mount in mounts)


def test_injected_pod_can_be_changed(shop: Namespace) -> None:
    """What only the mesh's containers may ask for is not asked again."""
    shop.create("pods", pod("labelled"))
    assert shop.patch("pods", "labelled", {"metadata": {"labels": {"a": "b"}}}).code == 200
    assert shop.patch("pods", "labelled", {"status": {"phase": "Running"}}, subresource="status").code == 200


def test_other_containers_get_no_capabilities(shop: Namespace) -> None:
    answer = shop.create("pods", pod("greedy", securityContext={"capabilities": {"add": ["NET_ADMIN"]}}))
    assert answer.code == 422
    assert "spec.containers[0].securityContext.capabilities.add: Forbidden: the lab does not do" in answer.message


@pytest.mark.parametrize("shop", [pytest.param("restricted", id="restricted")], indirect=["shop"])
def test_pod_security_judges_the_injected_pod(shop: Namespace) -> None:
    secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    spec = {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}}
    answer = shop.create("pods", pod("one", spec, securityContext=secure))
    assert answer.code == 403
    assert (
        'runAsNonRoot != true (container "istio-init" must not set securityContext.runAsNonRoot=false)'
        in answer.message
    )


CAPABLE = {
    "initContainers": [{"name": "istio-init", "securityContext": {"capabilities": {"add": ["NET_RAW", "NET_ADMIN"]}}}],
    "containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}}}],
}


@pytest.mark.parametrize(
    ("level", "words"),
    [
        pytest.param(
            "baseline",
            'non-default capabilities (container "istio-init" must not include "NET_ADMIN", "NET_RAW" in '
            "securityContext.capabilities.add)",
            id="baseline",
        ),
        pytest.param(
            "restricted",
            'unrestricted capabilities (container "istio-init" must set securityContext.capabilities.drop=["ALL"]; '
            'container "istio-init" must not include "NET_ADMIN", "NET_RAW" in securityContext.capabilities.add)',
            id="restricted",
        ),
    ],
)
def test_pod_security_words_capabilities_as_kubernetes_does(level: str, words: str) -> None:
    assert words in violations(CAPABLE, level)


@pytest.mark.parametrize(
    ("injected", "refused"),
    [
        pytest.param(frozenset({"istio-init"}), [], id="made-by-injection"),
        pytest.param(
            frozenset({"istio-proxy"}),
            ["spec.initContainers[0].securityContext.capabilities.add"],
            id="of-somebody-else",
        ),
    ],
)
def test_capabilities_are_for_containers_of_the_injection(injected: frozenset[str], refused: list[str]) -> None:
    causes = Causes()
    refuse_undone(resources.PODS, {"spec": CAPABLE}, causes, None, injected)
    assert [each.field for each in causes.found] == refused


@pytest.mark.usefixtures("away")
def test_without_istiod_pods_are_refused_as_kubernetes_does(shop: Namespace) -> None:
    answer = shop.create("pods", pod("late"))
    assert (answer.code, answer.reason) == (500, "InternalError")
    address = "https://istiod.istio-system.svc:443/inject?timeout=10s"
    assert answer.message == (
        'Internal error occurred: failed calling webhook "namespace.sidecar-injector.istio.io": failed to call '
        f'webhook: Post "{address}": no endpoints available for service "istiod"'
    )


@pytest.mark.usefixtures("away")
def test_without_istiod_policies_are_refused(shop: Namespace) -> None:
    body = {"metadata": {"name": "one"}, "spec": {}}
    answer = shop.api.call("POST", f"/apis/security.istio.io/v1/namespaces/{shop.name}/peerauthentications", body)
    assert 'failed calling webhook "validation.istio.io"' in answer.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"name": "short"}, "webhooks[0].name: Invalid value", id="name"),
        pytest.param({"failurePolicy": "Never"}, 'failurePolicy: Unsupported value: "Never"', id="failure-policy"),
        pytest.param(
            {"clientConfig": {"service": {"name": "a", "namespace": "b", "path": "/mutate"}}},
            "webhooks[0].clientConfig: Forbidden: the lab does not do webhooks but Istio's sidecar injector",
            id="another-webhook",
        ),
        pytest.param({"reinvocationPolicy": "IfNeeded"}, "the lab does not do reinvocation", id="reinvocation"),
    ],
)
def test_webhook_is_refused(control_plane: Api, change: Object, words: str) -> None:
    wrong = configuration("canary")
    wrong["webhooks"] = [wrong["webhooks"][0] | change]
    answer = control_plane.call("POST", WEBHOOKS, wrong)
    assert (answer.code, words in answer.message) == (422, True), answer.message


def test_webhook_that_selects_nothing_is_stored(control_plane: Api) -> None:
    idle = configuration("idle")
    idle["webhooks"] = [
        each
        | {
            "namespaceSelector": {"matchLabels": {"istio.io/deactivated": "never-match"}},
            "clientConfig": {"url": "https://a"},
        }
        for each in idle["webhooks"][:1]
    ]
    assert control_plane.call("POST", WEBHOOKS, idle).code == 201


def _token(place: Namespace, *audiences: str) -> str:
    asked = place.api.call(
        "POST", place.path("serviceaccounts", "default", "token"), {"spec": {"audiences": audiences}}
    )
    return str(asked.body["status"]["token"])


def _reviewed(place: Namespace, token: str, *audiences: str) -> Object:
    body = {"spec": {"token": token, "audiences": audiences}}
    answer = place.api.call("POST", REVIEWS, body)
    assert answer.code == 201, answer.message
    status: Object = answer.body["status"]
    return status


def test_token_review_names_the_account(namespace: Namespace) -> None:
    status = _reviewed(namespace, _token(namespace, "istio-ca"), "istio-ca", "other")
    assert (status["authenticated"], status["audiences"]) == (True, ["istio-ca"])
    assert status["user"]["username"] == f"system:serviceaccount:{namespace.name}:default"


def test_token_review_refuses_another_audience(namespace: Namespace) -> None:
    status = _reviewed(namespace, _token(namespace), "istio-ca")
    assert "authenticated" not in status
    assert "is invalid for the target audiences" in status["error"]


def test_token_review_refuses_a_forged_token(namespace: Namespace) -> None:
    assert "authenticated" not in _reviewed(namespace, _token(namespace, "istio-ca")[:-2] + "xx", "istio-ca")


def test_token_review_refuses_an_account_that_is_gone(namespace: Namespace) -> None:
    token = _token(namespace, "istio-ca")
    namespace.delete("serviceaccounts", "default")
    assert "invalidated" in _reviewed(namespace, token, "istio-ca")["error"]


def test_token_of_another_audience_opens_nothing(namespace: Namespace) -> None:
    assert namespace.api.call("GET", "/api/v1/pods", token=_token(namespace, "istio-ca")).code == 401
