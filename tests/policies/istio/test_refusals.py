"""What Istio refuses, in its own words as a real one said them, and what the lab refuses by name."""

from __future__ import annotations

from typing import Any

import pytest

from policies.istio.check import GROUPS, Findings, check
from policies.istio.fields import Shape, types
from policies.istio.refusals import REFUSALS, Refusal

HTTP: dict[str, Any] = {"route": [{"destination": {"host": "a"}}]}
ENTRY: dict[str, Any] = {"hosts": ["a.b"], "ports": [{"number": 80, "name": "a", "protocol": "HTTP"}]}


def checked(kind: str, spec: object, **meta: object) -> Findings:
    meta = {"name": "x", "namespace": "n", **meta}
    return check({"apiVersion": f"{GROUPS[kind]}/v1", "kind": kind, "metadata": meta, "spec": spec})


def access(**rule: object) -> dict[str, Any]:
    return {"rules": [rule]}


def to(**operation: object) -> dict[str, Any]:
    return access(to=[{"operation": operation}])


def source(**what: object) -> dict[str, Any]:
    return access(**{"from": [{"source": what}]})


def when(key: str, *values: str) -> dict[str, Any]:
    return access(when=[{"key": key, "values": list(values)}])


def http(**route: object) -> dict[str, Any]:
    return {"hosts": ["a"], "http": [{**HTTP, **route}]}


def policy(**traffic: object) -> dict[str, Any]:
    return {"host": "a", "trafficPolicy": traffic}


@pytest.mark.parametrize(
    ("kind", "spec", "problem"),
    [
        pytest.param(
            "PeerAuthentication",
            {"portLevelMtls": {"80": {}}},
            'spec: Invalid value: "object": portLevelMtls requires selector',
            id="port-without-selector",
        ),
        pytest.param(
            "PeerAuthentication",
            {"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"0": {}}},
            'spec.portLevelMtls: Invalid value: "object": port must be between 1-65535',
            id="port-zero",
        ),
        pytest.param(
            "PeerAuthentication",
            {"selector": {"matchLabels": {"a": "*"}}},
            'spec.selector.matchLabels[a]: Invalid value: "string": wildcard not allowed in label value match',
            id="wildcard-label",
        ),
        pytest.param(
            "AuthorizationPolicy",
            {"selector": {}, "targetRefs": []},
            'spec: Invalid value: "object": only one of targetRefs or selector can be set',
            id="selector-and-target",
        ),
        pytest.param(
            "AuthorizationPolicy",
            to(ports=[80]),
            'spec.rules[0].to[0].operation.ports[0]: Invalid value: "integer": spec.rules[0].to[0].operation.ports[0] '
            'in body must be of type string: "integer"',
            id="port-as-number",
        ),
        pytest.param(
            "AuthorizationPolicy",
            source(serviceAccounts=["a"], namespaces=["b"]),
            'spec.rules[0].from[0].source: Invalid value: "object": Cannot set serviceAccounts with namespaces or '
            "principals",
            id="accounts-and-namespaces",
        ),
        pytest.param(
            "AuthorizationPolicy", access(when=[{}]), "spec.rules[0].when[0].key: Required value", id="no-key"
        ),
        pytest.param(
            "RequestAuthentication",
            {"jwtRules": [{"issuer": "i", "jwks": "{}", "jwksUri": "http://a"}]},
            'spec.jwtRules[0]: Invalid value: "object": only one of jwks or jwksUri can be set',
            id="two-key-sets",
        ),
        pytest.param("DestinationRule", {}, "spec.host: Required value", id="no-host"),
        pytest.param(
            "DestinationRule",
            policy(loadBalancer={"simple": "RANDOM", "consistentHash": {"useSourceIp": True}}),
            '<nil>: Invalid value: "": "spec.trafficPolicy.loadBalancer" must validate one and only one schema '
            "(oneOf). Found 2 valid alternatives",
            id="two-balancers",
        ),
        pytest.param(
            "DestinationRule",
            policy(connectionPool={"tcp": {"connectTimeout": "0s"}}),
            'spec.trafficPolicy.connectionPool.tcp.connectTimeout: Invalid value: "string": must be a valid duration '
            "greater than 1ms",
            id="no-time",
        ),
        pytest.param(
            "VirtualService", http(route=[{}]), "spec.http[0].route[0].destination: Required value", id="no-destination"
        ),
        pytest.param(
            "ServiceEntry",
            {"hosts": []},
            "spec.hosts: Invalid value: 0: spec.hosts in body should have at least 1 items",
            id="no-hosts",
        ),
        pytest.param(
            "ServiceEntry",
            {**ENTRY, "endpoints": [{"address": "1.1.1.1"}]},
            'spec: Invalid value: "object": NONE mode cannot set endpoints',
            id="endpoints-unresolved",
        ),
        pytest.param(
            "ServiceEntry",
            {**ENTRY, "ports": [*ENTRY["ports"], {"number": 81, "name": "a"}]},
            'spec.ports[1]: Duplicate value: {"name":"a"}',
            id="port-name-twice",
        ),
    ],
)
def test_definition_refuses(kind: str, spec: object, problem: str) -> None:
    assert str(checked(kind, spec).problems[0]) == problem


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        pytest.param(
            "AuthorizationPolicy", {"action": "CUSTOM", "rules": [{}]}, "`provider.name` must not be empty", id="custom"
        ),
        pytest.param(
            "AuthorizationPolicy", to(), "`to.operation` must not be empty, found at rule 0", id="no-operation"
        ),
        pytest.param(
            "AuthorizationPolicy", source(principals=[""]), "empty value not allowed, found in Principals", id="empty"
        ),
        pytest.param("AuthorizationPolicy", to(ports=["70000"]), "bad port (70000): <nil>", id="port"),
        pytest.param("AuthorizationPolicy", source(ipBlocks=["1.2.3"]), "bad IP address (1.2.3)", id="address"),
        pytest.param(
            "AuthorizationPolicy",
            source(serviceAccounts=["a/b/c"]),
            "expected format 'serviceAccount' or 'namespace/serviceAccount', found \"a/b/c\" in ServiceAccounts",
            id="account",
        ),
        pytest.param("AuthorizationPolicy", when("foo", "a"), "unknown attribute: foo", id="attribute"),
        pytest.param(
            "AuthorizationPolicy",
            when("request.headers", "a"),
            "bad key (request.headers): should have format a[b]",
            id="header-without-name",
        ),
        pytest.param(
            "AuthorizationPolicy",
            to(paths=["/a/{**}/{*}"]),
            "invalid or unsupported path a/{**}/{*}, found in Paths. {**} is not the last operator",
            id="path-template",
        ),
        pytest.param(
            "RequestAuthentication", {"jwtRules": [{"jwks": '{"keys":[]}'}]}, "issuer or jwksUri must be", id="issuer"
        ),
        pytest.param("DestinationRule", {"host": "a_b"}, 'domain name "a_b" invalid (label "a_b" invalid)', id="host"),
        pytest.param("DestinationRule", policy(), "traffic policy must have at least one field", id="empty-policy"),
        pytest.param(
            "DestinationRule", policy(tls={"mode": "MUTUAL"}), "client certificate required for mutual tls", id="mutual"
        ),
        pytest.param(
            "VirtualService", {"hosts": ["a"]}, "http, tcp or tls must be provided in virtual service", id="no-routes"
        ),
        pytest.param(
            "VirtualService",
            http(redirect={"uri": "/"}),
            "HTTP route cannot contain both route and redirect",
            id="both",
        ),
        pytest.param(
            "VirtualService",
            http(route=[{"destination": {"host": "a"}, "weight": 0}] * 2),
            "total destination weight = 0",
            id="no-weight",
        ),
        pytest.param(
            "VirtualService",
            http(match=[{"headers": {"a": {"prefix": ""}}}]),
            "prefix string match should not be",
            id="prefix",
        ),
        pytest.param(
            "VirtualService", http(fault={}), "HTTP fault injection must have an abort and/or a delay", id="fault"
        ),
        pytest.param(
            "VirtualService",
            http(retries={"attempts": 1, "retryOn": "foo"}),
            '"foo" is not a valid retryOn policy',
            id="retry",
        ),
        pytest.param("ServiceEntry", {**ENTRY, "addresses": ["foo"]}, "foo is not a valid IP", id="entry-address"),
        pytest.param(
            "ServiceEntry",
            {**ENTRY, "resolution": "STATIC", "endpoints": [{"address": "a.b"}]},
            'endpoint address "a.b" is not a valid IP address',
            id="entry-endpoint",
        ),
    ],
)
def test_webhook_refuses(kind: str, spec: object, words: str) -> None:
    found = checked(kind, spec)
    assert found.problems == []
    assert found.denied.startswith("configuration is invalid: ")
    assert words in found.denied


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        pytest.param(
            "VirtualService",
            http(route=[{"destination": {"host": "a"}, "weight": each} for each in (50, 60)]),
            id="weights",
        ),
        pytest.param("VirtualService", http(match=[{"uri": {"prefix": ""}}, {}]), id="match-of-everything"),
        pytest.param("AuthorizationPolicy", to(paths=["/a/*/b"], methods=["get"]), id="odd-patterns"),
        pytest.param("DestinationRule", {"host": "*", "subsets": [{"name": "v1"}]}, id="everything"),
    ],
)
def test_istio_takes_it(kind: str, spec: object) -> None:
    found = checked(kind, spec)
    assert (found.problems, found.denied, found.undone) == ([], "", [])


@pytest.mark.parametrize(
    ("kind", "spec", "path", "words"),
    [
        pytest.param(
            "AuthorizationPolicy", {"targetRefs": []}, "spec.targetRefs", "policies of waypoints", id="target"
        ),
        pytest.param(
            "RequestAuthentication",
            {"jwtRules": [{"issuer": "i"}]},
            "spec.jwtRules[0]",
            "discovery of an issuer's keys",
            id="keys",
        ),
        pytest.param(
            "DestinationRule",
            policy(portLevelSettings=[{"port": {"number": 1}, "outlierDetection": {}}]),
            "spec.trafficPolicy.portLevelSettings[0].outlierDetection",
            "outlier detection",
            id="port-outliers",
        ),
        pytest.param(
            "DestinationRule",
            {"host": "a", "subsets": [{"name": "v", "trafficPolicy": {"tls": {"credentialName": "c"}}}]},
            "spec.subsets[0].trafficPolicy.tls.credentialName",
            "certificates from files and Secrets",
            id="subset-tls",
        ),
        pytest.param(
            "VirtualService", {"gateways": ["mesh", "g"], **http()}, "spec.gateways", "gateways", id="gateways"
        ),
        pytest.param(
            "VirtualService",
            http(fault={"abort": {"grpcStatus": "OK"}}),
            "spec.http[0].fault.abort.grpcStatus",
            "aborts but by httpStatus",
            id="abort",
        ),
        pytest.param(
            "ServiceEntry", {**ENTRY, "resolution": "DNS_ROUND_ROBIN"}, "spec.resolution", "other resolutions", id="dns"
        ),
    ],
)
def test_lab_refuses_by_name(kind: str, spec: object, path: str, words: str) -> None:
    ((field, why),) = checked(kind, spec).undone
    assert (field, words in why) == (path, True)


def test_resource_of_one_revision_is_refused() -> None:
    """Each control plane of the lab takes every resource, which would be wrong for this one."""
    found = checked("PeerAuthentication", {}, labels={"istio.io/rev": "canary"})
    assert [path for path, _ in found.undone] == ["metadata.labels[istio.io/rev]"]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: f"{each.kind}-{each.path}-{each.why[:4]}")
def test_refused_field_exists(refusal: Refusal) -> None:
    """A misspelt path would refuse nothing."""
    steps = refusal.path.replace("T.", "spec.trafficPolicy.").split(".")[1:]
    shape: Shape | None = Shape(type=f"{refusal.kind}Spec")
    for step in steps:
        assert shape is not None
        shape = types()[shape.type].fields[step.removesuffix("[*]")]
        assert ("[*]" in step) <= (shape.type == "list")
        shape = shape.item if "[*]" in step else shape


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        pytest.param(
            "PeerAuthentication", {"selector": {}}, "workload selector specified without labels", id="selector"
        ),
        pytest.param(
            "AuthorizationPolicy", {"action": "DENY", **to(methods=["GET"])}, "deny all traffic to TCP ports", id="deny"
        ),
        pytest.param(
            "VirtualService", {"hosts": ["a"], "http": [HTTP, HTTP]}, "virtualService rule #1 not used", id="unused"
        ),
    ],
)
def test_istio_warns(kind: str, spec: object, words: str) -> None:
    assert words in checked(kind, spec).warnings[0]
