"""Outbound listeners: which there are for a port's protocol and addresses, and what raw TCP becomes in a real Envoy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from clusters.lab.mesh.model import Endpoint, Json, Mesh, Service, ServicePort
from clusters.lab.mesh.outbound import Outlook, compile_outbound
from policies.istio.model import TcpRoute, VirtualService
from tests.lab.mesh.calls import exchange
from tests.lab.mesh.outward import (
    CLUSTER_IP,
    HOST,
    HTTP,
    SUBSETS,
    TCP,
    Calls,
    calling,
    client,
    destination_rule,
    endpoint,
    named,
    server,
    to,
    versions,
    virtual_service,
)

UNKNOWN = ServicePort(number=6060, name="foo", protocol="unknown")
TLS = ServicePort(number=8443, name="https", protocol="tls")
PODS = (endpoint("v1", "10.244.0.1"), endpoint("v2", "10.244.0.2"))


def chain(found: Json) -> str:
    """A filter chain in short: what it matches → where it leads."""
    match = found.get("filter_chain_match", {})
    parts = [*match.get("application_protocols", ()), *match.get("server_names", ())]
    parts += [f"{each['address_prefix']}/{each['prefix_len']}" for each in match.get("prefix_ranges", ())]
    config = found["filters"][0]["typed_config"]
    weighted = [f"{each['name']}={each['weight']}" for each in config.get("weighted_clusters", {}).get("clusters", ())]
    where = config["rds"]["route_config_name"] if "rds" in config else config.get("cluster") or " ".join(weighted)
    return f"{','.join(parts)} → {where}".strip()


def listeners(mesh: Mesh, address: str = "10.244.0.9") -> dict[str, list[str]]:
    """Listener → chains, the default last; without the one that gets everything."""
    return {
        each["name"]: [
            chain(one) for one in (*each["filter_chains"], *filter(None, [each.get("default_filter_chain")]))
        ]
        for each in compile_outbound(mesh, client(address=address)).listeners
        if each["name"] != "virtualOutbound"
    }


SNIFFED = "http/1.1,h2c"


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        pytest.param(
            server(HTTP), {"0.0.0.0_8080": [f"{SNIFFED} → 8080", "→ PassthroughCluster"]}, id="http-on-the-wildcard"
        ),
        pytest.param(server(TCP), {f"{CLUSTER_IP}_9090": [f"→ outbound|9090||{HOST}"]}, id="tcp-on-the-address"),
        pytest.param(server(TLS), {f"{CLUSTER_IP}_8443": [f"→ outbound|8443||{HOST}"]}, id="tls-as-tcp"),
        pytest.param(
            server(UNKNOWN),
            {f"{CLUSTER_IP}_6060": [f"{SNIFFED} → {HOST}:6060", f"→ outbound|6060||{HOST}"]},
            id="unknown-is-sniffed",
        ),
        pytest.param(
            server(replace(TCP, endpoints=PODS), address=""),
            {f"10.244.0.{each}_9090": [f"→ outbound|9090||{HOST}"] for each in (1, 2)},
            id="headless-tcp-on-each-pod",
        ),
        pytest.param(server(TCP, address=""), {}, id="headless-tcp-without-pods"),
        pytest.param(
            server(replace(HTTP, endpoints=PODS), address=""),
            {"0.0.0.0_8080": [f"{SNIFFED} → 8080", "→ PassthroughCluster"]},
            id="headless-http-on-the-wildcard",
        ),
    ],
)
def test_a_port_has_listeners_for_its_protocol(service: Service, expected: dict[str, list[str]]) -> None:
    assert listeners(Mesh(services=(service,))) == expected


def entry(port: ServicePort, host: str = "a.example", *addresses: str) -> Service:
    return Service(
        name=host, namespace="shop", host=host, addresses=addresses, external=True, resolution="NONE", ports=(port,)
    )


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        pytest.param(
            (entry(TCP),), {"0.0.0.0_9090": ["→ outbound|9090||a.example"]}, id="tcp-without-address-takes-the-port"
        ),
        pytest.param(
            (entry(TCP, "a.example", "240.0.0.0/24"),),
            {"0.0.0.0_9090": ["240.0.0.0/24 → outbound|9090||a.example", "→ PassthroughCluster"]},
            id="tcp-for-a-range",
        ),
        pytest.param(
            (entry(TCP, "a.example", "240.0.0.1", "240.0.0.2"),),
            {f"240.0.0.{each}_9090": ["→ outbound|9090||a.example"] for each in (1, 2)},
            id="tcp-for-each-address",
        ),
        pytest.param(
            (entry(TLS), entry(TLS, "*.wild.example")),
            {
                "0.0.0.0_8443": [
                    "a.example → outbound|8443||a.example",
                    "*.wild.example → outbound|8443||*.wild.example",
                    "→ PassthroughCluster",
                ]
            },
            id="tls-by-server-name",
        ),
        pytest.param(
            (entry(TCP), entry(TCP, "late.example")),
            {"0.0.0.0_9090": ["→ outbound|9090||a.example"]},
            id="the-first-keeps-an-address",
        ),
    ],
)
def test_a_service_entry_has_listeners_for_its_addresses(
    services: tuple[Service, ...], expected: dict[str, list[str]]
) -> None:
    assert listeners(Mesh(services=services)) == expected


def test_a_pod_of_a_headless_service_has_no_listener_for_itself() -> None:
    mesh = Mesh(services=(server(replace(TCP, endpoints=PODS), address=""),))
    assert list(listeners(mesh, "10.244.0.1")) == ["10.244.0.2_9090"]


def test_everything_else_passes_through_but_not_to_the_proxy_itself() -> None:
    (found,) = compile_outbound(Mesh(), client()).listeners
    assert (found["use_original_dst"], found["address"]["socket_address"]["port_value"]) == (True, 15001)
    assert [chain(each) for each in found["filter_chains"]] == ["→ BlackHoleCluster", "→ PassthroughCluster"]
    assert found["filter_chains"][0]["filter_chain_match"] == {"destination_port": 15001}


def test_a_client_with_an_ipv6_address_listens_on_ipv6() -> None:
    assert list(listeners(Mesh(services=(server(HTTP),)), "fd00::9")) == ["::_8080"]


WEIGHTS = (to("v1", 75, port=9090), to("v2", 25, port=9090))


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        pytest.param(
            TcpRoute(destinations=WEIGHTS),
            f"→ outbound|9090|v1|{HOST}=75 outbound|9090|v2|{HOST}=25",
            id="weights",
        ),
        pytest.param(TcpRoute(destinations=(to("v1"),)), f"→ outbound|9090|v1|{HOST}", id="one"),
        pytest.param(
            TcpRoute(destinations=(to("v1", 0), to("v2", 5))), f"→ outbound|9090|v2|{HOST}=5", id="weight-of-zero"
        ),
        pytest.param(
            TcpRoute(destinations=(to(host="single"),)),
            "→ outbound|7777||single.shop.svc.cluster.local",
            id="a-services-only-port",
        ),
        pytest.param(TcpRoute(ports=(1,), destinations=WEIGHTS), f"→ outbound|9090||{HOST}", id="another-port"),
        pytest.param(
            TcpRoute(source_labels={"app": "intruder"}, destinations=WEIGHTS),
            f"→ outbound|9090||{HOST}",
            id="another-source",
        ),
    ],
)
def test_a_tcp_route_says_where_connections_go(route: TcpRoute, expected: str) -> None:
    single = server(replace(TCP, number=7777), name="single", address="10.96.0.77")
    services = (server(TCP, replace(TCP, number=9191)), single)
    mesh = Mesh(services=services, virtual_services=(virtual_service(tcp=(route,)),))
    assert listeners(mesh)[f"{CLUSTER_IP}_9090"] == [expected]


def test_clients_share_what_is_equal_for_them() -> None:
    """Two clients that no route tells apart get the same objects; one that is told apart gets its own routes."""
    special = TcpRoute(source_labels={"app": "intruder"}, destinations=WEIGHTS)
    outlook = Outlook(Mesh(services=(server(TCP, HTTP),), virtual_services=(virtual_service(tcp=(special,)),)))
    caller, other = (outlook.outbound(replace(client(), address=f"10.244.0.{each}")) for each in (8, 9))
    intruder = outlook.outbound(client("intruder"))
    assert all(one is another for one, another in zip(caller.listeners, other.listeners, strict=True))
    assert caller.clusters is other.clusters is intruder.clusters
    assert caller.listeners != intruder.listeners


ROUTES: tuple[VirtualService, ...] = (
    virtual_service(
        tcp=(
            TcpRoute(ports=(9090,), source_labels={"app": "intruder"}, destinations=(to("v2"),)),
            TcpRoute(ports=(9090,), destinations=(to("v1", 100), to("v2", 0))),
            TcpRoute(ports=(9091,), destinations=(to("v3"),)),
            TcpRoute(ports=(9092,), destinations=(to("v9"),)),
        )
    ),
)
ASKED = b"GET / HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    with versions() as endpoints:
        tcp = replace(TCP, endpoints=endpoints)
        ports = (tcp, replace(tcp, number=9091), replace(tcp, number=9092), replace(UNKNOWN, endpoints=endpoints[:1]))
        mesh = Mesh(
            services=(server(*ports),),
            destination_rules=(destination_rule(None, *SUBSETS),),
            virtual_services=ROUTES,
        )
        with calling(tmp_path_factory.mktemp("tcp"), mesh, client(), client("intruder")) as running:
            yield running


def answered(calls: Calls, source: str, port: int) -> str:
    """What came back, or how the connection ended."""
    found = exchange(calls.ports[source, f"{CLUSTER_IP}_{port}"], ASKED)
    return found if isinstance(found, str) else found.decode()


@pytest.mark.parametrize(("source", "version"), [("caller", "v1"), ("intruder", "v2")])
def test_connections_go_where_their_route_says(calls: Calls, source: str, version: str) -> None:
    assert f'"by": "{version}"' in answered(calls, source, 9090)


@pytest.mark.parametrize(
    ("port", "flag", "cluster"),
    [
        pytest.param(9091, "UH", f"outbound|9091|v3|{HOST}", id="empty-subset"),
        pytest.param(9092, "NC", "-", id="subset-that-nobody-defines"),
    ],
)
def test_a_connection_to_nobody_ends_with_its_flag(calls: Calls, port: int, flag: str, cluster: str) -> None:
    assert answered(calls, "caller", port) in {"reset", "eof"}
    assert cluster in calls.log.wait(f'"- - -" 0 {flag} ')


def test_unknown_bytes_are_http_or_tcp_by_how_they_begin(calls: Calls) -> None:
    """Expected: a request is logged as one; a version of HTTP that is none goes through as bytes."""
    assert '"by": "v1"' in answered(calls, "caller", 6060)
    assert "via_upstream" in calls.log.wait('"GET / HTTP/1.1" 200')
    exchange(calls.ports["caller", f"{CLUSTER_IP}_6060"], b"HELLO\r\n\r\n")
    assert f"outbound|6060||{HOST}" in calls.log.wait('"- - -" 0 - ')


def test_endpoint_addresses_are_names_only_where_they_are_resolved() -> None:
    port = replace(TCP, endpoints=(Endpoint(address="a.example", port=9090),))
    host = replace(entry(port), resolution="DNS")
    found = named(compile_outbound(Mesh(services=(host,)), client()).clusters, "outbound|9090||a.example")
    assert (found["type"], found["dns_lookup_family"]) == ("STRICT_DNS", "V4_ONLY")
