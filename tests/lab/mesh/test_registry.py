"""API objects to a Mesh: what a Service's port speaks, who is behind it, orders, and what is rebuilt when."""

from __future__ import annotations

import pytest

from clusters.lab.client import AUTHORIZATION_POLICIES, PEER_AUTHENTICATIONS, SERVICE_ENTRIES
from clusters.lab.mesh.model import AppProtocol, Endpoint, Service
from clusters.lab.mesh.reading import protocol
from tests.lab.mesh.objects import Watched, endpoint, endpoint_slice, pod, resource, service

PORT = {"name": "http", "port": 80, "targetPort": 8080}


def _shop() -> Watched:
    """A Service `server` with a pod behind it."""
    watched = Watched()
    watched.registry.pod_told("ADDED", pod("server", "10.244.0.5"))
    watched.registry.service_told("ADDED", service("server"))
    watched.registry.slice_told("ADDED", endpoint_slice("server", endpoint("10.244.0.5", "server")))
    return watched


def _endpoints(watched: Watched) -> tuple[Endpoint, ...]:
    (found,) = watched.registry.mesh.services
    return found.ports[0].endpoints


@pytest.mark.parametrize(
    ("name", "number", "app", "expected"),
    [
        pytest.param("http", 80, "", "http", id="http"),
        pytest.param("http-web", 80, "", "http", id="prefix"),
        pytest.param("HTTP-web", 80, "", "http", id="capitals"),
        pytest.param("httpweb", 80, "", "unknown", id="no-prefix"),
        pytest.param("http2-web", 80, "", "http2", id="http2"),
        pytest.param("grpc", 80, "", "http2", id="grpc"),
        pytest.param("grpc-web-x", 80, "", "http2", id="grpc-web"),
        pytest.param("tcp-db", 80, "", "tcp", id="tcp"),
        pytest.param("mongo", 80, "", "tcp", id="mongo"),
        pytest.param("https", 443, "", "tls", id="https"),
        pytest.param("tls-x", 443, "", "tls", id="tls"),
        pytest.param("web", 80, "", "unknown", id="other"),
        pytest.param("", 80, "", "unknown", id="nameless"),
        pytest.param("", 3306, "", "tcp", id="server-speaks-first"),
        pytest.param("http", 3306, "", "http", id="a-name-before-the-number"),
        pytest.param("tcp", 80, "http", "http", id="app-protocol-before-the-name"),
        pytest.param("http", 80, "kubernetes.io/h2c", "http2", id="kubernetes-h2c"),
        pytest.param("http", 80, "example.com/own", "unknown", id="somebodys-own"),
    ],
)
def test_what_a_port_speaks(name: str, number: int, app: str, expected: AppProtocol) -> None:
    assert protocol(name, number, app) == expected


def test_a_service_with_its_endpoint() -> None:
    watched = _shop()
    (found,) = watched.registry.mesh.services
    assert (found.host, found.addresses, found.headless) == ("server.shop.svc.cluster.local", ("10.96.0.7",), False)
    assert (found.ports[0].number, found.ports[0].target, found.ports[0].protocol) == (80, 8080, "http")
    labels = {"app": "server", "security.istio.io/tlsMode": "istio"}
    expected = Endpoint(
        address="10.244.0.5", port=8080, labels=labels, meshed=True, namespace="shop", service_account="server"
    )
    assert found.ports[0].endpoints == (expected,)


def test_a_naked_endpoint_has_a_service_account_too() -> None:
    watched = _shop()
    watched.registry.pod_told("MODIFIED", pod("server", "10.244.0.5", meshed=False))
    (found,) = _endpoints(watched)
    assert (found.meshed, found.service_account) == (False, "server")


def test_only_ready_endpoints_of_known_pods_are_there() -> None:
    watched = _shop()
    held = [endpoint("10.244.0.5", "server", ready=False), endpoint("10.244.0.6", "late"), endpoint("172.31.0.2")]
    watched.registry.slice_told("MODIFIED", endpoint_slice("server", *held))
    assert [each.address for each in _endpoints(watched)] == ["172.31.0.2"]
    watched.registry.pod_told("ADDED", pod("late", "10.244.0.6"))
    assert [each.address for each in _endpoints(watched)] == ["10.244.0.6", "172.31.0.2"]


def test_an_address_may_have_gone_to_another_pod() -> None:
    watched = _shop()
    watched.registry.slice_told("MODIFIED", endpoint_slice("server", endpoint("10.244.0.5")))
    watched.registry.pod_told("ADDED", pod("next", "10.244.0.5"))
    watched.registry.pod_told("DELETED", pod("server", "10.244.0.5"))
    (found,) = _endpoints(watched)
    assert found.service_account == "next"


def test_only_tcp_ports_and_no_aliases() -> None:
    watched = Watched()
    watched.registry.service_told("ADDED", service("dns", {"name": "dns", "port": 53, "protocol": "UDP"}, PORT))
    watched.registry.service_told("ADDED", service("alias", type="ExternalName", externalName="example.com"))
    (found,) = watched.registry.mesh.services
    assert [each.name for each in found.ports] == ["http"]


def test_a_headless_service_has_no_address() -> None:
    watched = Watched()
    watched.registry.service_told("ADDED", service("server", clusterIP="None", clusterIPs=["None"]))
    (found,) = watched.registry.mesh.services
    assert found.headless
    assert found.addresses == ()


def test_services_are_in_istios_order() -> None:
    watched = Watched()
    for name, created in (
        ("a", "2026-01-02T00:00:00Z"),
        ("c", "2026-01-01T00:00:00Z"),
        ("b", "2026-01-01T00:00:00Z"),
    ):
        watched.registry.service_told("ADDED", service(name, created=created))
    assert [each.name for each in watched.registry.mesh.services] == ["b", "c", "a"]


def test_resources_are_in_order_of_creation() -> None:
    watched = Watched()
    for name, created in (
        ("a", "2026-01-02T00:00:00Z"),
        ("c", "2026-01-01T00:00:00Z"),
        ("b", "2026-01-01T00:00:00Z"),
    ):
        watched.registry.resource_told(AUTHORIZATION_POLICIES, "ADDED", resource(name, created))
    assert [each.meta.name for each in watched.registry.mesh.authorization_policies] == ["b", "c", "a"]


def test_a_proxy_is_what_its_pod_says() -> None:
    found = _shop().registry.proxy("shop", "server")
    assert found is not None
    assert found.identity == "spiffe://cluster.local/ns/shop/sa/server"
    assert (found.address, found.node, found.ports) == ("10.244.0.5", "lab-0", {8080: "web"})


def test_what_a_pod_reports_of_itself_changes_nothing() -> None:
    watched = _shop()
    mesh, proxy, changes = watched.registry.mesh, watched.registry.proxy("shop", "server"), watched.changes
    watched.registry.pod_told("MODIFIED", pod("server", "10.244.0.5", conditions=[{"type": "Ready", "status": "True"}]))
    watched.registry.service_told("MODIFIED", service("server"))
    assert watched.registry.mesh is mesh
    assert watched.registry.proxy("shop", "server") is proxy
    assert watched.changes == changes + 1


def test_what_has_not_changed_stays_the_same_object() -> None:
    watched = _shop()
    watched.registry.service_told("ADDED", service("other"))
    watched.registry.resource_told(PEER_AUTHENTICATIONS, "ADDED", resource("default", mtls={"mode": "STRICT"}))
    before = watched.registry.mesh
    watched.registry.slice_told("MODIFIED", endpoint_slice("server"))
    after = watched.registry.mesh
    assert after.peer_authentications is before.peer_authentications
    assert _named(after.services, "other") is _named(before.services, "other")
    assert _named(after.services, "server") is not _named(before.services, "server")


def _named(services: tuple[Service, ...], name: str) -> Service:
    return next(each for each in services if each.name == name)


def test_what_is_deleted_is_gone() -> None:
    watched = _shop()
    policy = resource("rule", action="DENY", rules=[{}])
    watched.registry.resource_told(AUTHORIZATION_POLICIES, "ADDED", policy)
    watched.registry.resource_told(AUTHORIZATION_POLICIES, "DELETED", policy)
    watched.registry.pod_told("DELETED", pod("server", "10.244.0.5"))
    assert _endpoints(watched) == ()
    watched.registry.service_told("DELETED", service("server"))
    mesh = watched.registry.mesh
    assert (mesh.services, mesh.authorization_policies, watched.registry.proxy("shop", "server")) == ((), (), None)


def test_what_cannot_be_read_is_said_and_left_out() -> None:
    watched = Watched()
    watched.registry.resource_told(PEER_AUTHENTICATIONS, "ADDED", resource("good", mtls={"mode": "STRICT"}))
    watched.registry.resource_told(PEER_AUTHENTICATIONS, "ADDED", resource("bad", mtls={"mode": "SOMETIMES"}))
    watched.registry.resource_told(PEER_AUTHENTICATIONS, "MODIFIED", resource("good", mtls={"mode": "NO"}))
    assert watched.registry.mesh.peer_authentications == ()
    assert ["bad" in watched.said[0], "good" in watched.said[1]] == [True, True]


def test_a_service_entry_is_a_service_for_each_host() -> None:
    watched = Watched()
    entry = resource(
        "outside",
        hosts=["a.example", "b.example"],
        addresses=["240.0.0.1"],
        ports=[{"number": 443, "name": "tls", "protocol": "TLS"}],
        resolution="STATIC",
        endpoints=[{"address": "10.244.9.9", "ports": {"tls": 8443}}],
    )
    watched.registry.resource_told(SERVICE_ENTRIES, "ADDED", entry)
    first, second = watched.registry.mesh.services
    assert (first.host, second.host, first.external, first.resolution) == ("a.example", "b.example", True, "STATIC")
    assert first.ports[0].protocol == "tls"
    assert first.ports[0].endpoints == (Endpoint(address="10.244.9.9", port=8443, namespace="shop"),)


def test_a_host_that_dns_resolves_is_its_own_endpoint() -> None:
    watched = Watched()
    entry = resource(
        "dns", hosts=["a.example"], ports=[{"number": 80, "name": "http", "protocol": "HTTP"}], resolution="DNS"
    )
    watched.registry.resource_told(SERVICE_ENTRIES, "ADDED", entry)
    (found,) = watched.registry.mesh.services
    assert [(each.address, each.port) for each in found.ports[0].endpoints] == [("a.example", 80)]


def test_an_object_that_cannot_be_read_is_named_and_left_out_and_the_others_go_on() -> None:
    watched = _shop()
    watched.registry.service_told("ADDED", service("odd", {"name": "http", "port": "eighty"}))
    watched.registry.pod_told("ADDED", pod("odd") | {"spec": {"containers": [{"ports": [{"name": "http"}]}]}})
    assert [each.name for each in watched.registry.mesh.services] == ["server"]
    assert any("left out: Service shop/odd" in each for each in watched.said)
    assert any("left out: Pod shop/odd" in each for each in watched.said)
    watched.registry.service_told("ADDED", service("other"))
    assert [each.name for each in watched.registry.mesh.services] == ["other", "server"]
    watched.registry.service_told("MODIFIED", service("odd"))
    assert len(watched.registry.mesh.services) == 3
