"""Istio's objects as typed resources: what is kept as written, and how a mistake is named."""

from __future__ import annotations

from typing import Any

import pytest

from flows.errors import UsageError
from policies.istio.check import GROUPS, VERSIONS
from policies.istio.fields import types
from policies.istio.model import (
    AccessRule,
    AuthorizationPolicy,
    Condition,
    Destination,
    DestinationRule,
    EntryEndpoint,
    EntryPort,
    HeaderChanges,
    HttpMatch,
    HttpRoute,
    JwtRule,
    Meta,
    Operation,
    PeerAuthentication,
    RequestAuthentication,
    ServiceEntry,
    Source,
    StringMatch,
    Subset,
    TcpRoute,
    TrafficPolicy,
    VirtualService,
)
from policies.istio.read import read

TUNNEL = {"tunnel": {"targetHost": "a", "targetPort": 1}}
META = Meta(name="one", namespace="shop", created="2026-01-02T03:04:05Z")


def written(kind: str, spec: object, version: str = "v1") -> dict[str, Any]:
    """An object as an API server has it."""
    meta = {"name": "one", "namespace": "shop", "creationTimestamp": "2026-01-02T03:04:05Z"}
    return {"apiVersion": f"{GROUPS[kind]}/{version}", "kind": kind, "metadata": meta, "spec": spec}


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        pytest.param("PeerAuthentication", {}, PeerAuthentication(meta=META), id="peer-nothing"),
        pytest.param(
            "PeerAuthentication",
            {
                "selector": {"matchLabels": {"app": "a"}},
                "mtls": {"mode": "STRICT"},
                "portLevelMtls": {"8080": {"mode": "DISABLE"}, "9090": {}},
            },
            PeerAuthentication(meta=META, selector={"app": "a"}, mode="STRICT", ports={8080: "DISABLE", 9090: "UNSET"}),
            id="peer-ports",
        ),
        pytest.param(
            "PeerAuthentication",
            {"selector": {}, "mtls": {"mode": "UNSET"}},
            PeerAuthentication(meta=META, mode="UNSET"),
            id="peer-empty-selector-is-everybody",
        ),
        pytest.param("AuthorizationPolicy", {}, AuthorizationPolicy(meta=META), id="access-nothing"),
        pytest.param(
            "AuthorizationPolicy", {"rules": []}, AuthorizationPolicy(meta=META, rules=()), id="access-no-rules"
        ),
        pytest.param(
            "AuthorizationPolicy",
            {"rules": [{}]},
            AuthorizationPolicy(meta=META, rules=(AccessRule(),)),
            id="access-all",
        ),
        pytest.param(
            "AuthorizationPolicy",
            {
                "action": "DENY",
                "rules": [
                    {
                        "from": [{"source": {"serviceAccounts": ["x"], "notIpBlocks": ["10.0.0.0/8"]}}],
                        "to": [{"operation": {"paths": ["/a/{*}"], "ports": ["80"]}}],
                        "when": [{"key": "request.auth.claims[a][b]", "notValues": ["c"]}],
                    }
                ],
            },
            AuthorizationPolicy(
                meta=META,
                action="DENY",
                rules=(
                    AccessRule(
                        sources=(Source(service_accounts=("x",), not_ip_blocks=("10.0.0.0/8",)),),
                        operations=(Operation(paths=("/a/{*}",), ports=("80",)),),
                        conditions=(Condition(key="request.auth.claims[a][b]", not_values=("c",)),),
                    ),
                ),
            ),
            id="access-rule",
        ),
        pytest.param(
            "AuthorizationPolicy",
            {"action": "CUSTOM", "provider": {"name": "p"}, "rules": [{}]},
            AuthorizationPolicy(meta=META, action="CUSTOM", provider="p", rules=(AccessRule(),)),
            id="access-custom",
        ),
        pytest.param(
            "RequestAuthentication",
            {
                "jwtRules": [
                    {
                        "issuer": "i",
                        "jwks": '{"keys":[]}',
                        "fromHeaders": [{"name": "x", "prefix": "p "}],
                        "outputClaimToHeaders": [{"header": "x-sub", "claim": "sub"}],
                        "forwardOriginalToken": True,
                    }
                ]
            },
            RequestAuthentication(
                meta=META,
                rules=(
                    JwtRule(
                        issuer="i",
                        jwks='{"keys":[]}',
                        headers=(("x", "p "),),
                        claim_to_headers=(("sub", "x-sub"),),
                        forward=True,
                    ),
                ),
            ),
            id="tokens",
        ),
        pytest.param(
            "DestinationRule",
            {
                "host": "*.local",
                "exportTo": ["*"],
                "trafficPolicy": {
                    "tls": {},
                    "connectionPool": {"tcp": {"connectTimeout": "1.5s"}, "http": {"http2MaxRequests": 0}},
                    "portLevelSettings": [{"port": {"number": 80}, "loadBalancer": {"simple": "RANDOM"}}],
                },
                "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
            },
            DestinationRule(
                meta=META,
                exports=("*",),
                host="*.local",
                policy=TrafficPolicy(
                    tls="DISABLE", connect_timeout=1.5, max_requests=0, ports={80: TrafficPolicy(balancer="RANDOM")}
                ),
                subsets=(Subset(name="v1", labels={"version": "v1"}),),
            ),
            id="destination-rule",
        ),
        pytest.param(
            "VirtualService",
            {
                "hosts": ["a"],
                "gateways": ["mesh"],
                "http": [
                    {
                        "match": [{"uri": {"prefix": ""}, "headers": {"x": {}}}],
                        "route": [{"destination": {"host": "a", "port": {"number": 80}}, "weight": 0}],
                        "headers": {"request": {"set": {"k": "v"}}},
                        "fault": {
                            "abort": {"httpStatus": 503},
                            "delay": {"fixedDelay": "100ms", "percentage": {"value": 5}},
                        },
                        "retries": {},
                    }
                ],
                "tcp": [{"match": [{"port": 1}, {"port": 2}], "route": [{"destination": {"host": "b"}}]}],
            },
            VirtualService(
                meta=META,
                hosts=("a",),
                http=(
                    HttpRoute(
                        matches=(HttpMatch(uri=StringMatch(prefix=""), headers=(("x", StringMatch()),)),),
                        destinations=(Destination(host="a", port=80, weight=0),),
                        headers=HeaderChanges(set_request=(("k", "v"),)),
                        abort_status=503,
                        delay=0.1,
                        delay_percent=5,
                        attempts=0,
                    ),
                ),
                tcp=(
                    TcpRoute(ports=(1,), destinations=(Destination(host="b"),)),
                    TcpRoute(ports=(2,), destinations=(Destination(host="b"),)),
                ),
            ),
            id="virtual-service",
        ),
        pytest.param(
            "ServiceEntry",
            {
                "hosts": ["a.example"],
                "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080}],
                "resolution": "STATIC",
                "location": "MESH_INTERNAL",
                "endpoints": [{"address": "10.0.0.1", "ports": {"http": 81}, "serviceAccount": "x"}],
            },
            ServiceEntry(
                meta=META,
                hosts=("a.example",),
                ports=(EntryPort(number=80, name="http", protocol="HTTP", target_port=8080),),
                resolution="STATIC",
                endpoints=(EntryEndpoint(address="10.0.0.1", ports={"http": 81}, service_account="x"),),
                outside=False,
            ),
            id="service-entry",
        ),
    ],
)
def test_resource_is_read_as_written(kind: str, spec: object, expected: object) -> None:
    assert read(written(kind, spec)) == expected


@pytest.mark.parametrize("version", VERSIONS["networking.istio.io"])
def test_every_served_version_is_the_same(version: str) -> None:
    assert read(written("DestinationRule", {"host": "a"}, version)) == DestinationRule(meta=META, host="a")


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        pytest.param(
            {"apiVersion": "v1", "kind": "Pod"},
            "here: field 'kind' is 'Pod'; it must be one of PeerAuthentication,",
            id="kind",
        ),
        pytest.param(
            {**written("PeerAuthentication", {}), "apiVersion": "security.istio.io/v2"},
            "here: field 'apiVersion' is 'security.istio.io/v2'; it must be security.istio.io/v1 or",
            id="version",
        ),
        pytest.param(
            written("PeerAuthentication", {"mtlss": {}}),
            "here: field 'spec.mtlss' is unknown to Istio; correct or remove it",
            id="unknown-field",
        ),
        pytest.param(
            written("PeerAuthentication", {"mtls": {"mode": "strict"}}),
            "here: field 'spec.mtls.mode': Unsupported value: \"strict\": supported values:",
            id="closed-set",
        ),
        pytest.param(
            written("AuthorizationPolicy", {"action": "DENY"}),
            "here: configuration is invalid: invalid policy one.shop: DENY action without `rules` is meaningless",
            id="webhook",
        ),
        pytest.param(
            written("DestinationRule", {"host": "a", "subsets": [{"name": "v1", "trafficPolicy": TUNNEL}]}),
            "here: field 'spec.subsets[0].trafficPolicy.tunnel': the lab does not do tunnels; remove it",
            id="not-done",
        ),
    ],
)
def test_mistake_is_one_line_with_field_and_remedy(obj: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(obj, "here")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_every_struct_of_the_table_is_there() -> None:
    """A misspelt type in the table would be found only by the user who needs it."""
    names = types().keys() | {"str", "int", "uint", "num", "bool", "dur", "any", "enum", "list", "map"}
    shapes = [shape for name, struct in types().items() if name not in GROUPS for shape in struct.fields.values()]
    inner = [each.item for each in shapes if each.item is not None]
    assert {each.type for each in (*shapes, *inner)} <= names
