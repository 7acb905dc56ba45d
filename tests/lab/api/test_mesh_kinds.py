"""The API of a lab with a mesh: its kinds as a cluster with Istio's definitions has them, and without a mesh none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clusters.lab import client
from tests.lab.api.world import JSON, MERGE, STRATEGIC, TABLE, Answer, Api, Object, Watch, running

KINDS = {
    "PeerAuthentication": (client.PEER_AUTHENTICATIONS, {"mtls": {"mode": "STRICT"}}),
    "AuthorizationPolicy": (client.AUTHORIZATION_POLICIES, {"action": "ALLOW", "rules": []}),
    "RequestAuthentication": (client.REQUEST_AUTHENTICATIONS, {"jwtRules": [{"issuer": "i", "jwks": '{"keys":[]}'}]}),
    "DestinationRule": (client.DESTINATION_RULES, {"host": "server", "subsets": []}),
    "VirtualService": (client.VIRTUAL_SERVICES, {"hosts": ["a"], "tcp": [{"route": [{"destination": {"host": "a"}}]}]}),
    "ServiceEntry": (client.SERVICE_ENTRIES, {"hosts": ["a.example"], "addresses": ["240.0.0.1"]}),
}
PEERS = "/apis/security.istio.io/v1/namespaces/default/peerauthentications"


@pytest.fixture(scope="module")
def meshed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running(tmp_path_factory.mktemp("meshed"), mesh="istio") as server:
        yield server


@pytest.fixture
def peer(meshed: Api) -> Iterator[Object]:
    """A PeerAuthentication `one` in the namespace `default`."""
    yield create(meshed, {"mtls": {"mode": "STRICT"}}).body
    meshed.call("DELETE", f"{PEERS}/one")


def create(api: Api, spec: object, **params: str) -> Answer:
    return api.call("POST", PEERS, {"metadata": {"name": "one"}, "spec": spec}, **params)


@pytest.mark.parametrize("kind", KINDS)
def test_kind_is_stored_as_it_was_written(meshed: Api, kind: str) -> None:
    """Custom kinds keep empty values, which Kubernetes' own drop."""
    resource, spec = KINDS[kind]
    place = resource.path("default")
    stored = meshed.call("POST", place, {"metadata": {"name": "kept"}, "spec": spec}, fieldValidation="Strict")
    assert (stored.code, stored.body["spec"], stored.body["metadata"]["generation"]) == (201, spec, 1)
    assert meshed.call("GET", f"{place}/kept").body == stored.body
    assert meshed.call("DELETE", f"{place}/kept").code == 200


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_mesh_there_is_no_such_path(api: Api, kind: str) -> None:
    answer = api.call("GET", KINDS[kind][0].path("default"))
    assert (answer.code, answer.reason) == (404, "NotFound")


def test_without_a_mesh_discovery_is_silent(api: Api) -> None:
    assert not any("istio" in each["name"] for each in api.call("GET", "/apis").body["groups"])


@pytest.mark.parametrize("plural", ["gateways", "sidecars", "envoyfilters", "workloadentries"])
def test_refused_kind_is_not_there(meshed: Api, plural: str) -> None:
    assert meshed.call("GET", f"/apis/networking.istio.io/v1/{plural}").code == 404


def test_discovery_tells_versions_and_short_names(meshed: Api) -> None:
    groups = {each["name"]: each for each in meshed.call("GET", "/apis").body["groups"]}
    group = groups["networking.istio.io"]
    assert [each["version"] for each in group["versions"]] == ["v1", "v1beta1", "v1alpha3"]
    assert group["preferredVersion"]["version"] == "v1"
    listed = meshed.call("GET", "/apis/networking.istio.io/v1alpha3").body["resources"]
    short = {each["name"]: each.get("shortNames") for each in listed if "/" not in each["name"]}
    assert short == {"destinationrules": ["dr"], "serviceentries": ["se"], "virtualservices": ["vs"]}


def test_every_version_is_the_same_object(meshed: Api, peer: Object) -> None:
    old = PEERS.replace("v1/", "v1beta1/")
    read = meshed.call("GET", f"{old}/one").body
    assert read == peer | {"apiVersion": "security.istio.io/v1beta1"}
    read["spec"] = {"mtls": {"mode": "PERMISSIVE"}}
    written = meshed.call("PUT", f"{old}/one", read).body
    assert (written["apiVersion"], written["metadata"]["generation"]) == ("security.istio.io/v1beta1", 2)
    patch = {"apiVersion": "security.istio.io/v1beta1", "spec": {"mtls": {"mode": "DISABLE"}}}
    assert meshed.call("PATCH", f"{old}/one", patch, content_type=MERGE).code == 200
    assert meshed.call("GET", f"{PEERS}/one").body["spec"] == patch["spec"]


def test_lists_and_watches_speak_the_asked_version(meshed: Api, peer: Object) -> None:
    old = PEERS.replace("v1/", "v1beta1/")
    (item,) = meshed.call("GET", old).body["items"]
    assert item == peer | {"apiVersion": "security.istio.io/v1beta1"}
    with Watch(meshed, old) as watch:
        assert watch.next() == ("ADDED", item)


def test_status_is_a_thing_of_its_own(meshed: Api, peer: Object) -> None:
    status = {"observedGeneration": 1, "conditions": [{"type": "Reconciled"}]}
    change = {"spec": {"mtls": {"mode": "DISABLE"}}, "status": status}
    told = meshed.call("PATCH", f"{PEERS}/one/status", change, content_type=MERGE).body
    assert (told["status"], told["spec"], told["metadata"]["generation"]) == (status, peer["spec"], 1)


def test_json_patch_is_taken_and_strategic_is_not(meshed: Api, peer: Object) -> None:
    assert peer["spec"] == {"mtls": {"mode": "STRICT"}}
    change = [{"op": "replace", "path": "/spec/mtls/mode", "value": "DISABLE"}]
    assert meshed.call("PATCH", f"{PEERS}/one", change, content_type=JSON).code == 200
    assert meshed.call("PATCH", f"{PEERS}/one", {}, content_type=STRATEGIC).code == 415


def test_table_has_the_columns_of_the_definition(meshed: Api, peer: Object) -> None:
    table = meshed.call("GET", PEERS, accept=TABLE).body
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Mode", "Age"]
    assert table["rows"][0]["cells"][:2] == [peer["metadata"]["name"], "STRICT"]


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        pytest.param(
            {"mtls": {"mod": 1}},
            400,
            'PeerAuthentication in version "v1" cannot be handled as a PeerAuthentication: strict decoding error: '
            'unknown field "spec.mtls.mod"',
            id="unknown-field",
        ),
        pytest.param(
            {"portLevelMtls": {"80": {}}},
            422,
            'PeerAuthentication.security.istio.io "one" is invalid: spec: Invalid value: "object": portLevelMtls '
            "requires selector",
            id="definition",
        ),
    ],
)
def test_object_is_refused(meshed: Api, spec: object, code: int, message: str) -> None:
    answer = create(meshed, spec, fieldValidation="Strict")
    assert (answer.code, answer.message) == (code, message)


def test_webhook_refuses_in_its_own_words(meshed: Api) -> None:
    place = client.DESTINATION_RULES.path("default")
    answer = meshed.call("POST", place, {"metadata": {"name": "one"}, "spec": {"host": "a_b"}})
    words = 'configuration is invalid: domain name "a_b" invalid (label "a_b" invalid)'
    denied = f'admission webhook "validation.istio.io" denied the request: {words}'
    assert (answer.code, answer.message) == (400, denied)


def test_lab_refuses_by_name(meshed: Api) -> None:
    place = client.DESTINATION_RULES.path("default")
    spec = {"host": "a", "trafficPolicy": {"outlierDetection": {}}}
    answer = meshed.call("POST", place, {"metadata": {"name": "one"}, "spec": spec})
    words = "spec.trafficPolicy.outlierDetection: Forbidden: the lab does not do outlier detection"
    assert (answer.code, answer.message) == (422, f'DestinationRule.networking.istio.io "one" is invalid: {words}')


def test_warnings_reach_the_client(meshed: Api) -> None:
    answer = create(meshed, {"selector": {}}, dryRun="All")
    assert answer.warnings == ['299 - "workload selector specified without labels"']


def test_openapi_explains_the_kinds(meshed: Api) -> None:
    schemas = meshed.call("GET", "/openapi/v3/apis/security.istio.io/v1").body["components"]["schemas"]
    fields = schemas["io.k8s.api.PeerAuthentication"]["properties"]["spec"]["properties"]
    assert set(fields) == {"mtls", "portLevelMtls", "selector"}
