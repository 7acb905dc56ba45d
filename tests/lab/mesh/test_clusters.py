"""Clusters: which rule is for a service, what a subset inherits, what a connection is wrapped in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusters.lab.mesh.clusters import build, effective
from clusters.lab.mesh.hosts import Names, Rule
from clusters.lab.mesh.model import AppProtocol, Endpoint, Json, Mesh, Service, ServicePort
from flows.errors import HarnessError
from policies.istio.model import (
    DestinationRule,
    Meta,
    MtlsMode,
    PeerAuthentication,
    ServiceEntry,
    Subset,
    TlsMode,
    TrafficPolicy,
)
from tests.lab.mesh.outward import HOST, HTTP, SUBSETS, destination_rule, endpoint, named, server
from tests.lab.mesh.worlds import meta

MESHED = (endpoint("v1", "10.244.0.1"), endpoint("v2", "10.244.0.2"))
NAKED = endpoint("v1", "10.244.0.3", meshed=False)
SERVER = server(replace(HTTP, endpoints=MESHED))
NAME = f"outbound|8080||{HOST}"
LATER = "2026-01-02T00:00:00Z"


def cluster(mesh: Mesh, name: str = NAME, namespace: str = "shop") -> Json:
    return named(build(Names(mesh), namespace), name)


def tls(found: Json) -> str:
    """A cluster's TLS in short: `SNI names` of the socket, prefixed by `per endpoint` where that decides."""
    matches = found.get("transport_socket_matches")
    if matches:
        assert [each["name"] for each in matches] == ["tlsMode-istio", "tlsMode-disabled"]
        return "per endpoint " + tls({"transport_socket": matches[0]["transport_socket"]})
    if "transport_socket" not in found:
        return "plaintext"
    context = found["transport_socket"]["typed_config"]
    common = context["common_tls_context"]
    validation = common.get("validation_context") or common["combined_validation_context"]["default_validation_context"]
    names = validation.get("match_subject_alt_names") or [
        each["matcher"] for each in validation.get("match_typed_subject_alt_names", ())
    ]
    mine = "mutual" if "tls_certificate_sds_secret_configs" in common else "simple"
    return " ".join([mine, context.get("sni", "-"), *dict.fromkeys(each["exact"] for each in names)])


IDENTITIES = "spiffe://cluster.local/ns/shop/sa/server-v1 spiffe://cluster.local/ns/shop/sa/server-v2"
SNI = f"outbound_.8080_._.{HOST}"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        pytest.param(None, f"per endpoint mutual {SNI} {IDENTITIES}", id="nothing-written"),
        pytest.param("DISABLE", "plaintext", id="disable"),
        pytest.param("ISTIO_MUTUAL", f"mutual {SNI} {IDENTITIES}", id="istio-mutual"),
        pytest.param("SIMPLE", "simple -", id="simple"),
    ],
)
def test_a_rule_says_what_connections_are_wrapped_in(mode: TlsMode | None, expected: str) -> None:
    rule = destination_rule(TrafficPolicy(tls=mode, balancer="RANDOM"))
    assert tls(cluster(Mesh(services=(SERVER,), destination_rules=(rule,)))) == expected


def test_written_names_take_the_place_of_the_service_accounts() -> None:
    policy = TrafficPolicy(tls="ISTIO_MUTUAL", sni="my.sni", subject_alt_names=("spiffe://x/y",))
    assert tls(cluster(Mesh(services=(SERVER,), destination_rules=(destination_rule(policy),)))) == (
        "mutual my.sni spiffe://x/y"
    )


def test_client_certificates_from_files_are_refused_by_name() -> None:
    mesh = Mesh(services=(SERVER,), destination_rules=(destination_rule(TrafficPolicy(tls="MUTUAL")),))
    with pytest.raises(HarnessError, match=r"shop/server.*MUTUAL"):
        cluster(mesh)


def modes(found: Json) -> dict[str, str]:
    """Address → `tlsMode`."""
    return {
        each["endpoint"]["address"]["socket_address"]["address"]: each.get("metadata", {})
        .get("filter_metadata", {})
        .get("envoy.transport_socket_match", {})
        .get("tlsMode", "")
        for group in found["load_assignment"]["endpoints"]
        for each in group["lb_endpoints"]
    }


def peer(
    mode: MtlsMode | None, namespace: str = "shop", selector: dict[str, str] | None = None, **ports: MtlsMode
) -> PeerAuthentication:
    numbers = {int(name.removeprefix("p")): each for name, each in ports.items()}
    return PeerAuthentication(meta=meta(namespace=namespace), selector=selector, mode=mode, ports=numbers)


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        pytest.param((), {"10.244.0.1": "istio", "10.244.0.2": "istio", "10.244.0.3": ""}, id="meshed-and-naked"),
        pytest.param(
            (peer(None, selector={"version": "v1"}, p8080="DISABLE"),),
            {"10.244.0.1": "", "10.244.0.2": "istio", "10.244.0.3": ""},
            id="port-of-one-workload-disabled",
        ),
    ],
)
def test_each_endpoint_says_whether_it_takes_mutual_tls(
    policies: tuple[PeerAuthentication, ...], expected: dict[str, str]
) -> None:
    service = server(replace(HTTP, endpoints=(*MESHED, NAKED)))
    assert modes(cluster(Mesh(services=(service,), peer_authentications=policies))) == expected


@pytest.mark.parametrize("namespace", ["shop", "istio-system"])
def test_a_namespace_that_takes_plaintext_only_is_offered_nothing_else(namespace: str) -> None:
    """As Istio: even where one workload of it is strict, which then refuses."""
    mesh = Mesh(
        services=(SERVER,), peer_authentications=(peer("DISABLE", namespace), peer("STRICT", "shop", {"a": "b"}))
    )
    assert tls(cluster(mesh)) == "plaintext"


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        pytest.param(MESHED, f"mutual {SNI} {IDENTITIES}", id="all-meshed"),
        pytest.param((*MESHED, NAKED), "plaintext", id="one-naked"),
        pytest.param((), "plaintext", id="nobody"),
    ],
)
def test_a_headless_service_has_one_socket_for_all(endpoints: tuple[Endpoint, ...], expected: str) -> None:
    found = cluster(Mesh(services=(server(replace(HTTP, endpoints=endpoints), address=""),)))
    assert (found["type"], found["lb_policy"], tls(found)) == ("ORIGINAL_DST", "CLUSTER_PROVIDED", expected)


def rule(host: str, namespace: str, name: str, created: str = "2026-01-01T00:00:00Z") -> DestinationRule:
    """A rule that can be told by its subset."""
    return destination_rule(None, Subset(name=name), host=host, name=name, namespace=namespace, created=created)


@pytest.mark.parametrize(
    ("rules", "subsets"),
    [
        pytest.param((rule(HOST, "client", "c"), rule("server", "shop", "s")), "c", id="clients-namespace-first"),
        pytest.param((rule("*.local", "client", "w"), rule("server", "shop", "s")), "w", id="its-wildcard-too"),
        pytest.param((rule("server", "shop", "s"), rule("*", "istio-system", "r")), "s", id="service-before-root"),
        pytest.param((rule("*", "istio-system", "r"),), "r", id="root"),
        pytest.param((rule(HOST, "third", "t"),), "", id="a-third-namespace-has-no-say"),
        pytest.param((rule("server", "client", "x"),), "", id="short-name-of-another-namespace"),
        pytest.param((rule("*.shop.svc.cluster.local", "shop", "w"), rule("server", "shop", "e")), "e", id="exact"),
        pytest.param((rule("*.local", "shop", "s"), rule("*.cluster.local", "shop", "l")), "l", id="longest-wildcard"),
        pytest.param((rule(HOST, "shop", "b", LATER), rule("server", "shop", "c")), "c b", id="merged-oldest-first"),
    ],
)
def test_one_rule_is_for_a_service(rules: tuple[DestinationRule, ...], subsets: str) -> None:
    mesh = Mesh(services=(SERVER,), destination_rules=rules)
    found = Names(mesh).rule(SERVER, "client")
    assert " ".join(each.name for each in (found.subsets if found else ())) == subsets


def test_merged_rules_keep_the_first_policy_and_the_first_subset_of_a_name() -> None:
    rules = (
        destination_rule(TrafficPolicy(balancer="RANDOM"), Subset(name="v1", labels={"version": "v2"}), created=LATER),
        destination_rule(None, *SUBSETS[:1], name="first"),
        destination_rule(TrafficPolicy(balancer="ROUND_ROBIN"), created="2026-01-03T00:00:00Z", name="last"),
    )
    mesh = Mesh(services=(SERVER,), destination_rules=rules)
    assert list(modes(cluster(mesh, f"outbound|8080|v1|{HOST}"))) == ["10.244.0.1"]
    assert cluster(mesh)["lb_policy"] == "RANDOM"


TOP = TrafficPolicy(
    balancer="ROUND_ROBIN",
    max_connections=10,
    connect_timeout=3.0,
    ports={80: TrafficPolicy(balancer="RANDOM"), 90: TrafficPolicy(tls="DISABLE")},
)


@pytest.mark.parametrize(
    ("subset", "port", "expected"),
    [
        pytest.param(None, 8080, replace(TOP), id="top"),
        pytest.param(None, 80, TrafficPolicy(balancer="RANDOM"), id="a-port-inherits-nothing"),
        pytest.param(TrafficPolicy(tls="SIMPLE"), 8080, replace(TOP, tls="SIMPLE"), id="a-subset-inherits"),
        pytest.param(
            TrafficPolicy(max_requests=1),
            8080,
            TrafficPolicy(balancer="ROUND_ROBIN", max_requests=1, ports=TOP.ports),
            id="a-pool-is-one-thing",
        ),
        pytest.param(TrafficPolicy(tls="SIMPLE"), 90, TrafficPolicy(tls="SIMPLE"), id="a-subset-over-the-top-port"),
        pytest.param(
            TrafficPolicy(tls="SIMPLE", ports={80: TrafficPolicy(max_connections=3)}),
            80,
            TrafficPolicy(max_connections=3),
            id="a-subsets-port-inherits-nothing",
        ),
    ],
)
def test_a_policy_is_merged_as_istio_does(subset: TrafficPolicy | None, port: int, expected: TrafficPolicy) -> None:
    written = Rule(source=Meta(name="r", namespace="shop"), policy=TOP)
    assert effective(written, Subset(name="v1", policy=subset) if subset else None, port) == expected


def test_subsets_pick_endpoints_by_label_and_may_have_none() -> None:
    mesh = Mesh(services=(SERVER,), destination_rules=(destination_rule(None, *SUBSETS),))
    picked = {each.name: list(modes(cluster(mesh, f"outbound|8080|{each.name}|{HOST}"))) for each in SUBSETS}
    assert picked == {"v1": ["10.244.0.1"], "v2": ["10.244.0.2"], "v3": []}


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        pytest.param("http", None, id="http"),
        pytest.param("tcp", None, id="tcp"),
        pytest.param("http2", "explicit_http_config", id="http2"),
        pytest.param("unknown", "use_downstream_protocol_config", id="unknown"),
    ],
)
def test_requests_are_sent_in_the_ports_protocol(protocol: AppProtocol, expected: str | None) -> None:
    found = cluster(Mesh(services=(server(replace(HTTP, protocol=protocol)),)))
    options = next(iter(found.get("typed_extension_protocol_options", {"": {}}).values()))
    assert [key for key in options if key != "@type"] == ([expected] if expected else [])


def test_limits_and_balancers_are_the_rules() -> None:
    policy = TrafficPolicy(balancer="LEAST_CONN", max_connections=1, max_pending_requests=2, max_requests=3)
    found = cluster(Mesh(services=(SERVER,), destination_rules=(destination_rule(policy),)))
    limits = found["circuit_breakers"]["thresholds"][0]
    assert (found["lb_policy"], found["connect_timeout"]) == ("LEAST_REQUEST", "10s")
    assert [limits[key] for key in ("max_connections", "max_pending_requests", "max_requests")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("resolution", "kind"), [("NONE", "ORIGINAL_DST"), ("STATIC", "STATIC"), ("DNS", "STRICT_DNS")]
)
@pytest.mark.parametrize("outside", [True, False], ids=["outside", "inside"])
def test_a_service_entry_is_resolved_as_it_says(resolution: str, kind: str, outside: bool) -> None:
    """Only a host inside the mesh is offered the mesh's own TLS."""
    port = ServicePort(number=80, name="http", protocol="http", endpoints=(endpoint(),))
    host = Service(name="a", namespace="shop", host="a.example", external=True, resolution=resolution, ports=(port,))
    entry = ServiceEntry(meta=meta(), hosts=("a.example",), outside=outside)
    found = cluster(Mesh(services=(host,), service_entries=(entry,)), "outbound|80||a.example")
    assert (found["type"], tls(found) == "plaintext") == (kind, outside)
