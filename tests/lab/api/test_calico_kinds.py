"""The API of Calico's own kinds: stored and listed as by Calico's API server, and what it or the lab refuses."""

from __future__ import annotations

import pytest

from clusters.lab import client
from clusters.lab.api.calico_kinds import REFUSALS, why
from tests.lab.api.world import JSON, MERGE, TABLE, Answer, Api, Object

KINDS = {
    "NetworkPolicy": (client.CALICO_POLICIES, {"selector": "all()", "types": ["Ingress"], "ingress": []}),
    "GlobalNetworkPolicy": (client.GLOBAL_POLICIES, {"namespaceSelector": "all()", "types": ["Egress"]}),
    "NetworkSet": (client.NETWORK_SETS, {"nets": ["10.0.0.1"]}),
    "GlobalNetworkSet": (client.GLOBAL_NETWORK_SETS, {"nets": ["fd00::/8"]}),
}
OWN = client.CALICO_POLICIES.path("default")


def create(api: Api, spec: object, kind: str = "NetworkPolicy", name: str = "one") -> Answer:
    """Ask for an object without keeping it."""
    resource = KINDS[kind][0]
    body = {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name}, "spec": spec}
    return api.call("POST", resource.path("default"), body, fieldValidation="Strict", dryRun="All")


@pytest.mark.parametrize("kind", KINDS)
def test_kind_is_stored_as_it_was_written(api: Api, kind: str) -> None:
    resource, spec = KINDS[kind]
    place = resource.path("default")
    stored = api.call("POST", place, {"metadata": {"name": "kept"}, "spec": spec}, fieldValidation="Strict")
    assert (stored.code, stored.body["spec"]) == (201, spec)
    assert api.call("GET", f"{place}/kept").body == stored.body
    assert api.call("DELETE", f"{place}/kept").code == 200


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        pytest.param({}, ["Ingress"], id="no-rule"),
        pytest.param({"ingress": [{"action": "Allow"}]}, ["Ingress"], id="ingress"),
        pytest.param({"egress": [{"action": "Allow"}]}, ["Egress"], id="egress-alone"),
        pytest.param(
            {"ingress": [{"action": "Allow"}], "egress": [{"action": "Deny"}]}, ["Ingress", "Egress"], id="both"
        ),
    ],
)
def test_types_are_filled_in(api: Api, spec: Object, types: list[str]) -> None:
    """Unlike those of Kubernetes, a policy with egress rules alone is not about ingress."""
    assert create(api, spec).body["spec"]["types"] == types


def test_discovery_has_both_network_policies(api: Api) -> None:
    found = {each["kind"]: each for each in api.call("GET", "/apis/projectcalico.org/v3").body["resources"]}
    assert {kind: each["namespaced"] for kind, each in found.items()} == {
        "GlobalNetworkPolicy": False,
        "GlobalNetworkSet": False,
        "HostEndpoint": False,
        "NetworkPolicy": True,
        "NetworkSet": True,
    }
    assert "cnp" in found["NetworkPolicy"]["shortNames"]


@pytest.mark.parametrize(
    ("path", "name", "group"),
    [
        pytest.param("apis/networking.k8s.io/v1", "io.k8s.api.NetworkPolicy", "networking.k8s.io", id="kubernetes"),
        pytest.param(
            "apis/projectcalico.org/v3", "org.projectcalico.v3.NetworkPolicy", "projectcalico.org", id="calico"
        ),
    ],
)
def test_schemas_stay_apart(api: Api, path: str, name: str, group: str) -> None:
    schema = api.call("GET", f"/openapi/v3/{path}").body["components"]["schemas"][name]
    assert [each["group"] for each in schema["x-kubernetes-group-version-kind"]] == [group]


def test_table_shows_the_order(api: Api) -> None:
    api.call("POST", OWN, {"metadata": {"name": "kept"}, "spec": {"order": 10.5}})
    table = api.call("GET", OWN, accept=TABLE).body
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Order", "Age"]
    assert table["rows"][0]["cells"][:2] == ["kept", "10.5"]
    api.call("DELETE", f"{OWN}/kept")


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        pytest.param(
            "NetworkPolicy",
            {"selector": "app = 'a'"},
            "spec.selector: Invalid value: is no selector of Calico: selector \"app = 'a'\": at 5 is '= 'a''; ",
            id="selector",
        ),
        pytest.param(
            "NetworkPolicy",
            {"ingress": [{"action": "Reject"}]},
            "spec.ingress[0].action: Invalid value: is 'Reject'; it must be one of Allow, Deny, Log, Pass",
            id="action",
        ),
        pytest.param(
            "GlobalNetworkPolicy",
            {"egress": [{"action": "Deny", "destination": {"nets": ["10.0.0.1/8"]}}]},
            "spec.egress[0].destination.nets[0]: Invalid value: is '10.0.0.1/8'; write a range",
            id="net",
        ),
        pytest.param("NetworkSet", {"nets": ["everywhere"]}, "spec.nets[0]: Invalid value: is 'everywhere'", id="set"),
        pytest.param(
            "NetworkPolicy",
            {"ingress": [{"action": "Allow", "destination": {"ports": [80]}}]},
            "spec.ingress[0].destination.ports: Invalid value: stands in a rule without a protocol that has ports",
            id="ports",
        ),
        pytest.param(
            "GlobalNetworkPolicy",
            {"doNotTrack": True},
            "spec.doNotTrack: Forbidden: the lab does not do policies before connection tracking",
            id="untracked",
        ),
    ],
)
def test_refused(api: Api, kind: str, spec: Object, message: str) -> None:
    answer = create(api, spec, kind)
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert message in answer.message


def _asking(path: str) -> Object:
    """A spec that asks for this field."""
    asks: dict[str, object] = {
        "performanceHints": ["AssumeNeededOnEveryNode"],
        "icmp": {"type": 8},
        "notICMP": {"type": 8},
        "http": {"methods": ["GET"]},
        "metadata": {"annotations": {"a": "b"}},
        "services": {"name": "s", "namespace": "n"},
    }
    first, *inside = path.removeprefix("spec.").replace("[*]", "").split(".")
    value = asks.get((inside or [first])[-1], True)
    for step in reversed(inside):
        value = {step: value}
    return {first: [{"action": "Allow", **value}] if inside and isinstance(value, dict) else value}


@pytest.mark.parametrize(("kind", "path"), REFUSALS, ids=lambda each: each)
def test_what_the_lab_does_not_do(api: Api, kind: str, path: str) -> None:
    answer = create(api, _asking(path), kind)
    assert answer.code == 422
    assert f"{path.replace('[*]', '[0]')}: Forbidden: the lab does not do {why(path)}" in answer.message


def test_host_endpoints_are_refused_by_name(api: Api) -> None:
    body = {"metadata": {"name": "one"}, "spec": {"node": "lab-0"}}
    answer = api.call("POST", "/apis/projectcalico.org/v3/hostendpoints", body)
    assert (answer.code, "the lab does not do host endpoints" in answer.message) == (422, True)


def test_tiers_are_unknown(api: Api) -> None:
    """As to Calico 3.28, whose strict reader says so."""
    answer = create(api, {"tier": "security"})
    assert (answer.code, 'unknown field "spec.tier"' in answer.message) == (400, True)


def test_stored_form_is_not_served(api: Api) -> None:
    assert api.call("GET", "/apis/crd.projectcalico.org/v1/globalnetworkpolicies").code == 404


def test_patch_and_replace_pass_the_same_checks(api: Api) -> None:
    made = api.call("POST", OWN, {"metadata": {"name": "kept"}, "spec": {"selector": "all()"}}).body
    assert api.call("PATCH", f"{OWN}/kept", {"spec": {"order": "x"}}, content_type=MERGE).code == 422
    bad = [{"op": "replace", "path": "/spec/selector", "value": "=="}]
    assert api.call("PATCH", f"{OWN}/kept", bad, content_type=JSON).code == 422
    replaced = api.call("PUT", f"{OWN}/kept", {**made, "spec": {"egress": [{"action": "Allow"}]}}).body
    assert replaced["spec"] == {"egress": [{"action": "Allow"}], "types": ["Egress"]}
    api.call("DELETE", f"{OWN}/kept")
