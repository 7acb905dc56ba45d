"""Routes: which of them a request takes, in a real Envoy; and the names and order that real Istio 1.31 writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from clusters.lab.mesh.hosts import matches, most_specific, resolve
from clusters.lab.mesh.model import Json, Mesh, ServicePort
from clusters.lab.mesh.outbound import Outlook
from policies.istio.model import HeaderChanges, HttpMatch, HttpRoute, Redirect, StringMatch, VirtualService
from tests.lab.mesh.outward import (
    HOST,
    HTTP,
    SUBSETS,
    Calls,
    calling,
    client,
    destination_rule,
    prefix,
    server,
    to,
    versions,
    virtual_service,
)

V1, V2 = (to("v1"),), (to("v2"),)


def only(match: HttpMatch) -> HttpRoute:
    """A route to v2 for what matches."""
    return HttpRoute(matches=(match,), destinations=V2)


ROUTES = (
    HttpRoute(matches=(prefix("/first"),), destinations=V1),
    HttpRoute(matches=(prefix("/first/second"),), destinations=V2),
    only(HttpMatch(uri=StringMatch(exact="/exact"))),
    only(HttpMatch(uri=StringMatch(regex="/re[0-9]+"))),
    only(HttpMatch(uri=StringMatch(prefix="/CASE"), ignore_uri_case=True)),
    only(HttpMatch(uri=prefix("/put").uri, method=StringMatch(exact="PUT"))),
    only(HttpMatch(uri=prefix("/auth").uri, authority=StringMatch(prefix="server.shop"))),
    only(HttpMatch(headers=(("x-user", StringMatch(exact="jason")),))),
    only(HttpMatch(headers=(("x-any", StringMatch()),), without_headers=(("x-not", StringMatch(exact="no")),))),
    only(HttpMatch(headers=(("cookie", StringMatch(regex="^(.*?;)?(user=jason)(;.*)?$")),))),
    only(HttpMatch(uri=prefix("/query").uri, query=(("q", StringMatch(exact="1")),))),
    only(HttpMatch(uri=prefix("/port").uri, port=80)),
    only(HttpMatch(uri=prefix("/source").uri, source_labels={"app": "intruder"})),
    only(HttpMatch(uri=prefix("/namespace").uri, source_namespace="elsewhere")),
    HttpRoute(matches=(prefix("/weights"),), destinations=(to("v1", 0), to("v2", 100))),
    HttpRoute(matches=(prefix("/rewrite"),), destinations=V1, rewrite_uri="/new", rewrite_authority="other.host"),
    HttpRoute(matches=(prefix("/redirect"),), redirect=Redirect(uri="/there", authority="a.example", code=302)),
    HttpRoute(matches=(prefix("/direct"),), direct_response=(503, "said here")),
    HttpRoute(matches=(prefix("/abort"),), destinations=V1, abort_status=418, abort_percent=100.0),
    HttpRoute(matches=(prefix("/never"),), destinations=V1, abort_status=418),
    HttpRoute(matches=(prefix("/slow"),), destinations=V1, delay=30.0, delay_percent=100.0, abort_status=504),
    HttpRoute(matches=(prefix("/empty"),), destinations=(to("v3"),)),
    HttpRoute(matches=(prefix("/missing"),), destinations=(to("v9"),)),
    HttpRoute(matches=(prefix("/nobody"),), destinations=(to(host="nobody"),)),
    HttpRoute(
        matches=(prefix("/headers"),),
        destinations=(replace(to("v1"), headers=HeaderChanges(set_request=(("x-to", "v1"), ("x-set", "late")))),),
        headers=HeaderChanges(
            set_request=(("x-set", "new"), ("Host", "set.host")),
            add_request=(("x-added", "more"),),
            remove_request=("x-gone",),
            set_response=(("x-answer", "set"),),
            remove_response=("x-version",),
        ),
    ),
    HttpRoute(destinations=V1),
)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    with versions() as endpoints:
        mesh = Mesh(
            services=(server(replace(HTTP, endpoints=endpoints)),),
            destination_rules=(destination_rule(None, *SUBSETS),),
            virtual_services=(virtual_service(*ROUTES),),
        )
        with calling(tmp_path_factory.mktemp("routes"), mesh, client(), client("intruder")) as running:
            yield running


@pytest.mark.parametrize(
    ("path", "headers", "by"),
    [
        pytest.param("/", {}, "v1", id="nothing-matches"),
        pytest.param("/first/second", {}, "v1", id="first-route-wins"),
        pytest.param("/exact", {}, "v2", id="exact"),
        pytest.param("/exactly", {}, "v1", id="exact-is-no-prefix"),
        pytest.param("/re12", {}, "v2", id="regex"),
        pytest.param("/re12/x", {}, "v1", id="regex-is-whole"),
        pytest.param("/case/x", {}, "v2", id="case-ignored"),
        pytest.param("/FIRST", {}, "v1", id="case-minded"),
        pytest.param("/", {"x-user": "jason"}, "v2", id="header"),
        pytest.param("/", {"x-user": "jasons"}, "v1", id="header-is-whole"),
        pytest.param("/", {"x-any": "a"}, "v2", id="without-header-that-is-missing"),
        pytest.param("/", {"x-any": "a", "x-not": "yes"}, "v2", id="without-header-of-another-value"),
        pytest.param("/", {"x-any": "a", "x-not": "no"}, "v1", id="without-header-that-is-there"),
        pytest.param("/", {"cookie": "a=b;user=jason"}, "v2", id="cookie"),
        pytest.param("/query?q=1", {}, "v2", id="query"),
        pytest.param("/query?q=2", {}, "v1", id="query-of-another-value"),
        pytest.param("/port", {}, "v1", id="another-port"),
        pytest.param("/source", {}, "v1", id="another-source"),
        pytest.param("/namespace", {}, "v1", id="another-namespace"),
        pytest.param("/weights", {}, "v2", id="weight-of-zero"),
        pytest.param("/never", {}, "v1", id="fault-without-percentage"),
    ],
)
def test_a_request_takes_the_first_route_that_matches(
    calls: Calls, path: str, headers: dict[str, str], by: str
) -> None:
    assert calls.by(path, headers=headers) == by


def test_a_route_for_a_source_is_for_that_source_alone(calls: Calls) -> None:
    assert calls.by("/source", source="intruder") == "v2"


def test_methods_and_authorities_choose(calls: Calls) -> None:
    assert calls.get("/put", method="PUT").seen["by"] == "v2"
    assert calls.get("/put").seen["by"] == "v1"
    assert calls.get("/auth", host="server.shop").seen["by"] == "v2"
    assert calls.get("/auth", host="server").seen["by"] == "v1"


def test_a_rewrite_replaces_the_prefix_and_the_authority(calls: Calls) -> None:
    seen = calls.get("/rewrite/x").seen
    assert (seen["path"], seen["headers"]["host"]) == ("/new/x", "other.host")


def test_a_redirect_and_a_direct_response_answer_themselves(calls: Calls) -> None:
    moved, said = calls.get("/redirect/x"), calls.get("/direct")
    assert (moved.status, moved.headers["location"]) == (302, "http://a.example/there")
    assert (said.status, said.body) == (503, "said here")


def test_headers_are_set_added_and_removed(calls: Calls) -> None:
    answer = calls.get("/headers", headers={"x-set": "old", "x-added": "first", "x-gone": "here"})
    seen = answer.seen["headers"]
    assert (seen["x-set"], seen["x-added"], seen["x-to"]) == ("late", "more", "v1")
    assert (seen["host"], "x-gone" in seen) == ("set.host", False)
    assert (answer.headers["x-answer"], "x-version" in answer.headers) == ("set", False)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        pytest.param("/abort", 418, ("FI", "fault_filter_abort"), id="abort"),
        pytest.param("/empty", 503, ("UH", "no_healthy_upstream"), id="empty-subset"),
        pytest.param("/missing", 503, ("NC", "cluster_not_found"), id="subset-that-nobody-defines"),
        pytest.param("/nobody", 503, ("NC", "cluster_not_found"), id="host-that-is-nobody"),
    ],
)
def test_what_the_proxy_answers_itself_has_its_flag(
    calls: Calls, path: str, status: int, words: tuple[str, ...]
) -> None:
    assert calls.get(path).status == status
    assert calls.log.wait(f'"GET {path} HTTP/1.1" {status} {words[0]} ', *words)


def test_a_host_that_nobody_knows_passes_through(calls: Calls) -> None:
    calls.get("/outside", host="unknown.example")
    assert "PassthroughCluster" in calls.log.wait('"GET /outside')


def hosts(route: Json) -> dict[str, list[str]]:
    """Virtual host → domains."""
    return {each["name"]: each["domains"] for each in route["virtual_hosts"]}


def routed(mesh: Mesh, host: str, namespace: str = "shop", route: str = "8080") -> list[str]:
    """Where the routes of a virtual host lead, in order."""
    found = Outlook(mesh).outbound(client(namespace=namespace)).routes[route]
    (one,) = [each for each in found["virtual_hosts"] if each["name"] == f"{host}:{route}"]
    return [each["route"]["cluster"] for each in one["routes"]]


def test_a_service_has_the_names_that_its_clients_use() -> None:
    outlook = Outlook(Mesh(services=(server(HTTP), server(HTTP, name="alone", address=""))))
    here, there = (hosts(outlook.outbound(client(namespace=each)).routes["8080"]) for each in ("shop", "other"))
    full = [HOST, f"{HOST}."]
    assert here[f"{HOST}:8080"] == [*full, "server", "server.shop.svc", "server.shop", "10.96.0.10"]
    assert there[f"{HOST}:8080"] == [*full, "server.shop", "server.shop.svc", "10.96.0.10"]
    assert "*.alone" in here["alone.shop.svc.cluster.local:8080"]
    assert here["allow_any"] == ["*"]


LATER = "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("services", "cluster"),
    [
        pytest.param(
            (
                virtual_service(HttpRoute(destinations=(to("old"),)), name="b"),
                virtual_service(HttpRoute(destinations=(to("new"),)), name="a", created=LATER),
            ),
            f"outbound|8080|old|{HOST}",
            id="oldest",
        ),
        pytest.param(
            (
                virtual_service(HttpRoute(destinations=(to("b"),)), name="b"),
                virtual_service(HttpRoute(destinations=(to("a"),)), name="a"),
            ),
            f"outbound|8080|a|{HOST}",
            id="same-age-by-name",
        ),
        pytest.param(
            (
                virtual_service(HttpRoute(destinations=(to("wild"),)), hosts=("*.shop.svc.cluster.local",)),
                virtual_service(HttpRoute(destinations=(to("exact"),)), name="exact", created=LATER),
            ),
            f"outbound|8080|exact|{HOST}",
            id="exact-before-wildcard",
        ),
        pytest.param(
            (
                virtual_service(HttpRoute(destinations=(to("short", host=HOST),)), hosts=("*.svc.cluster.local",)),
                virtual_service(
                    HttpRoute(destinations=(to("long"),)), name="long", hosts=("*.shop.svc.cluster.local",)
                ),
            ),
            f"outbound|8080|long|{HOST}",
            id="longest-wildcard",
        ),
        pytest.param(
            (virtual_service(HttpRoute(destinations=(to("other"),)), namespace="other"),),
            f"outbound|8080||{HOST}",
            id="short-name-of-another-namespace",
        ),
        pytest.param(
            (virtual_service(HttpRoute(destinations=(to("far", host=HOST),)), hosts=(HOST,), namespace="other"),),
            f"outbound|8080|far|{HOST}",
            id="full-name-of-another-namespace",
        ),
        pytest.param(
            (
                virtual_service(name="tcp-only", hosts=("server",)),
                virtual_service(HttpRoute(destinations=(to("http"),)), created=LATER),
            ),
            f"outbound|8080|http|{HOST}",
            id="one-without-http-hides-nothing",
        ),
    ],
)
def test_one_virtual_service_is_for_a_host(services: tuple[VirtualService, ...], cluster: str) -> None:
    assert routed(Mesh(services=(server(HTTP),), virtual_services=services), HOST) == [cluster]


def test_nothing_follows_a_route_that_takes_everything() -> None:
    routes = (HttpRoute(matches=(prefix("/"),), destinations=V1), HttpRoute(destinations=V2))
    mesh = Mesh(services=(server(HTTP),), virtual_services=(virtual_service(*routes),))
    assert routed(mesh, HOST) == [f"outbound|8080|v1|{HOST}"]


def test_hosts_without_a_service_are_on_the_ports_of_their_virtual_service_and_on_80() -> None:
    services = (server(HTTP, replace(HTTP, number=7070)), server(replace(HTTP, number=80), name="web"))
    both = virtual_service(HttpRoute(destinations=V1), hosts=("server", "made.up"))
    alone = virtual_service(HttpRoute(destinations=V1), hosts=("alone.up",), name="alone")
    routes = Outlook(Mesh(services=services, virtual_services=(both, alone))).outbound(client()).routes
    assert hosts(routes["7070"])["made.up:7070"] == ["made.up"]
    assert [name for name in hosts(routes["7070"]) if name.startswith("alone.up")] == []
    assert {"made.up:80", "alone.up:80"} <= hosts(routes["80"]).keys()


def test_retries_are_istios_own_unless_a_route_has_others() -> None:
    routes = (
        HttpRoute(matches=(prefix("/0"),), destinations=V1, attempts=0),
        HttpRoute(matches=(prefix("/3"),), destinations=V1, attempts=3, retry_on="5xx,503", per_try_timeout=0.5),
        HttpRoute(destinations=V1, timeout=1.5),
    )
    mesh = Mesh(services=(server(HTTP),), virtual_services=(virtual_service(*routes),))
    found = Outlook(mesh).outbound(client()).routes["8080"]["virtual_hosts"][0]["routes"]
    none, own, default = (each["route"] for each in found)
    assert "retry_policy" not in none
    assert (own["retry_policy"]["retry_on"], own["retry_policy"]["num_retries"]) == ("5xx,retriable-status-codes", 3)
    assert (own["retry_policy"]["retriable_status_codes"], own["retry_policy"]["per_try_timeout"]) == ([503], "0.5s")
    assert (default["retry_policy"]["num_retries"], default["timeout"]) == (2, "1.5s")


def test_a_sniffed_port_has_a_configuration_of_its_own_service() -> None:
    unknown = ServicePort(number=6060, name="foo", protocol="unknown")
    mesh = Mesh(services=(server(unknown),), virtual_services=(virtual_service(HttpRoute(destinations=V1)),))
    found = Outlook(mesh).outbound(client()).routes[f"{HOST}:6060"]
    assert hosts(found) == {f"{HOST}:6060": ["*"]}


@pytest.mark.parametrize(
    ("host", "full"),
    [("a", "a.shop.svc.cluster.local"), ("a.b", "a.b"), ("*.a", "*.a"), ("*", "*")],
)
def test_only_a_name_without_a_dot_is_short(host: str, full: str) -> None:
    assert resolve(host, "shop") == full


def test_a_wildcard_means_what_ends_like_it() -> None:
    assert matches("*.example", "a.example")
    assert matches("*.example", "*.b.example")
    assert not matches("*.example", "example")
    assert most_specific("a.b.c", {"*": 1, "*.c": 2, "*.b.c": 3, "b.c": 4}) == 3
