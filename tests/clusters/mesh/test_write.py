from __future__ import annotations

from typing import Any

import pytest

from clusters.mesh.dialect import Place
from clusters.mesh.istio.write import manifests
from flows.errors import UsageError
from flows.model import Workload
from policies.behaviour import (
    Access,
    Action,
    Backend,
    Behaviour,
    ClientMode,
    ClientTls,
    Condition,
    ExternalService,
    HttpRoute,
    Mode,
    Mtls,
    Operation,
    RequestMatch,
    Routing,
    Rule,
    Source,
    Text,
    Tokens,
    split,
    whole_mesh,
    workload,
)


def one(name: str, namespace: str) -> Workload:
    return Workload(name=name, namespace=namespace, pod=name, service=name, service_account=name)


PLACE = Place(
    namespaces={"home": "shop", "foreign": "other"},
    workloads={"server": one("server", "shop"), "caller": one("caller", "shop"), "intruder": one("intruder", "other")},
    select={name: {"eastwest.dev/service": name} for name in ("server", "caller", "intruder")},
)
SELECTED = {"selector": {"matchLabels": {"eastwest.dev/service": "server"}}}
SERVER = "server.shop.svc.cluster.local"


def specs(behaviour: Behaviour) -> list[Any]:
    """What was written, as (kind, namespace, name, spec)."""
    written = [each.object for each in manifests(behaviour, PLACE)]
    return [(o["kind"], o["metadata"]["namespace"], o["metadata"]["name"], o["spec"]) for o in written]


def spec(behaviour: Behaviour) -> Any:
    return specs(behaviour)[-1][-1]


def rule(**given: Any) -> Any:
    return spec(Access(name="x", rules=(Rule(**given),)))["rules"][0]


def test_modes_have_a_scope() -> None:
    assert specs(Mtls()) == [("PeerAuthentication", "shop", "default", {"mtls": {"mode": "STRICT"}})]
    ports = ((8080, Mode.DISABLE),)
    wanted = {**SELECTED, "mtls": {"mode": "UNSET"}, "portLevelMtls": {"8080": {"mode": "DISABLE"}}}
    assert spec(Mtls(scope=workload("server"), mode=None, ports=ports)) == wanted


def test_what_covers_the_mesh_is_in_the_root_namespace_and_says_so() -> None:
    written = manifests(Mtls(scope=whole_mesh()), PLACE, "roots")
    assert (written[0].object["metadata"]["namespace"], written[0].mesh_wide) == ("roots", True)
    assert not manifests(Mtls(), PLACE)[0].mesh_wide


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(split("server", v1=90, v2=10), id="routes"),
        pytest.param(ClientTls(to="server"), id="client-tls"),
        pytest.param(ExternalService(name="ext", host="ext.example"), id="external"),
    ],
)
def test_what_steers_callers_is_told_the_worlds_proxies_alone(behaviour: Behaviour) -> None:
    assert [each.mesh_wide for each in manifests(behaviour, PLACE)] == [False] * len(specs(behaviour))
    assert [each[-1]["exportTo"] for each in specs(behaviour)] == [[".", "other"]] * len(specs(behaviour))


def test_what_callers_send_names_a_host() -> None:
    assert spec(ClientTls(to="server", mode=ClientMode.DISABLE)) == {
        "host": SERVER,
        "trafficPolicy": {"tls": {"mode": "DISABLE"}},
        "exportTo": [".", "other"],
    }
    assert spec(ClientTls(pattern="*.local"))["host"] == "*.local"


def test_allow_nothing_has_no_rules() -> None:
    assert specs(Access(name="nothing", rules=None)) == [("AuthorizationPolicy", "shop", "nothing", {})]
    assert spec(Access(name="all", rules=(Rule(),), scope=workload("server"))) == {**SELECTED, "rules": [{}]}


def test_sources_are_spelled_as_istio_spells_them() -> None:
    source = Source(
        identities=("caller",), not_identities=("intruder",), raw_identities=("*/sa/x",), roles=("foreign",)
    )
    assert rule(sources=(source,))["from"] == [
        {
            "source": {
                "principals": ["cluster.local/ns/shop/sa/caller", "*/sa/x"],
                "notPrincipals": ["cluster.local/ns/other/sa/intruder"],
                "namespaces": ["other"],
            }
        }
    ]
    assert rule(sources=(Source(accounts=("intruder", "ci")),))["from"] == [
        {"source": {"serviceAccounts": ["other/intruder", "ci"]}}
    ]
    assert rule(sources=(Source(identities=("*",)), Source())) == {}


def test_operations_have_ports_as_text() -> None:
    assert rule(operations=(Operation(ports=(9090,), not_paths=("/admin",)),)) == {
        "to": [{"operation": {"ports": ["9090"], "notPaths": ["/admin"]}}]
    }


@pytest.mark.parametrize(
    ("key", "value", "written"),
    [
        ("header:x-team", "a", {"key": "request.headers[x-team]", "values": ["a"]}),
        ("claim:a/b", "v", {"key": "request.auth.claims[a][b]", "values": ["v"]}),
        ("identity", "caller", {"key": "source.principal", "values": ["cluster.local/ns/shop/sa/caller"]}),
        ("namespace", "foreign", {"key": "source.namespace", "values": ["other"]}),
        ("destination-port", "8080", {"key": "destination.port", "values": ["8080"]}),
        ("sni", "a.example", {"key": "connection.sni", "values": ["a.example"]}),
    ],
)
def test_conditions_have_istio_keys(key: str, value: str, written: Any) -> None:
    assert rule(conditions=(Condition(key=key, values=(value,)),))["when"] == [written]


def test_tokens_stay_where_they_were_besides_the_header_that_is_named() -> None:
    (written,) = spec(Tokens(name="jwt", issuer="i", keys="{}", audiences=("a",), headers=(("x-t", ""),)))["jwtRules"]
    assert written["fromHeaders"] == [{"name": "x-t"}, {"name": "Authorization", "prefix": "Bearer "}]
    assert written["audiences"] == ["a"]


def test_a_split_has_subsets_and_every_share() -> None:
    versions, routes = specs(split("server", v1=100, v2=0))
    assert versions[-1] == {
        "host": SERVER,
        "subsets": [{"name": "v1", "labels": {"version": "v1"}}, {"name": "v2", "labels": {"version": "v2"}}],
        "exportTo": [".", "other"],
    }
    assert routes[-1]["hosts"] == [SERVER]
    assert routes[-1]["http"][0]["route"] == [
        {"destination": {"host": SERVER, "subset": "v1"}, "weight": 100},
        {"destination": {"host": SERVER, "subset": "v2"}, "weight": 0},
    ]


def test_a_route_says_everything_that_is_asked() -> None:
    match = RequestMatch(
        path=Text(prefix="/v2"), headers=(("x-a", Text(present=True)),), source="caller", role="home", ignore_case=True
    )
    route = HttpRoute(
        matches=(match,), rewrite_path="/", set_request=(("a", "b"),), abort=503, timeout=0.5, retries=0, backends=()
    )
    assert spec(Routing(service="server", routes=(route,)))["http"] == [
        {
            "match": [
                {
                    "uri": {"prefix": "/v2"},
                    "headers": {"x-a": {}},
                    "sourceLabels": {"eastwest.dev/service": "caller"},
                    "sourceNamespace": "shop",
                    "ignoreUriCase": True,
                }
            ],
            "route": [{"destination": {"host": SERVER}}],
            "rewrite": {"uri": "/"},
            "headers": {"request": {"set": {"a": "b"}}},
            "fault": {"abort": {"httpStatus": 503, "percentage": {"value": 100.0}}},
            "timeout": "0.5s",
            "retries": {"attempts": 0},
        }
    ]


@pytest.mark.parametrize(
    ("behaviour", "named"),
    [
        (Mtls(ports=((8080, Mode.STRICT),)), "Mtls.ports"),
        (Mtls(scope=workload("ghost")), "'ghost'"),
        (ClientTls(), "ClientTls"),
        (Access(name="x"), "rules is empty"),
        (Access(name="x", action=Action.DENY, rules=None), "without rules"),
        (Access(name="x", action=Action.CUSTOM, rules=(Rule(),)), "provider"),
        (Access(name="x", rules=(Rule(conditions=(Condition(key="moon", values=("full",)),)),)), "'moon'"),
        (Access(name="x", rules=(Rule(sources=(Source(accounts=("a",), roles=("home",)),)),)), "Source.accounts"),
        (Routing(service="server"), "neither routes nor tcp"),
        (Routing(service="server", tcp=(Backend(version="v1"), Backend(version="v2"))), "no weight"),
        (Routing(service="server", routes=(HttpRoute(matches=(RequestMatch(path=Text()),)),)), "exactly one"),
    ],
)
def test_what_istio_cannot_say_is_named(behaviour: Behaviour, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        manifests(behaviour, PLACE)
