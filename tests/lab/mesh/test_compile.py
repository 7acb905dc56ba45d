"""A proxy's whole configuration: both halves fit together, Envoy takes it, and two proxies talk by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clusters.lab.mesh.compile import Cache, compile_proxy
from clusters.lab.mesh.inbound import compile_inbound
from clusters.lab.mesh.model import Endpoint, Mesh, ServicePort
from policies.istio.model import HttpRoute, PeerAuthentication
from tests.lab.mesh.envoy import LOOPBACK, free_ports, running, validate
from tests.lab.mesh.outward import (
    HTTP,
    SUBSETS,
    TCP,
    bound,
    calling,
    client,
    destination_rule,
    endpoint,
    server,
    to,
    virtual_service,
)
from tests.lab.mesh.trust import Authority, write_secrets
from tests.lab.mesh.worlds import SERVER, meta

PODS = (endpoint("v1", "10.244.0.1"), endpoint("v2", "10.244.0.2"))
UNKNOWN = ServicePort(number=6060, name="foo", protocol="unknown", endpoints=PODS)
MESH = Mesh(
    services=(
        server(replace(HTTP, endpoints=PODS), replace(TCP, endpoints=PODS), UNKNOWN),
        server(replace(TCP, number=9091, endpoints=PODS), name="alone", address=""),
    ),
    destination_rules=(destination_rule(None, *SUBSETS),),
    virtual_services=(virtual_service(HttpRoute(destinations=(to("v1", 90), to("v2", 10)))),),
)


def test_envoy_takes_the_whole_configuration(tmp_path: Path) -> None:
    authority = Authority()
    write_secrets(tmp_path, authority.issue(SERVER.identity), authority.pem)
    config = compile_proxy(MESH, SERVER)
    outbound = Cache().outlook(MESH).outbound(SERVER)
    listeners = [
        bound(outbound, each["name"], port) if each in outbound.listeners else each
        for each, port in zip(config.listeners, free_ports(len(config.listeners)), strict=True)
    ]
    assert validate(tmp_path, listeners, config.clusters) == ""


def test_every_name_is_there_once_and_every_route_is_there() -> None:
    config = compile_proxy(MESH, SERVER)
    for found in (config.listeners, config.clusters):
        names = [each["name"] for each in found]
        assert len(names) == len(set(names))
    assert {"virtualInbound", "virtualOutbound"} <= {each["name"] for each in config.listeners}
    assert set(config.routes) == {"8080", "server.shop.svc.cluster.local:6060"}


def test_what_is_compiled_depends_on_nothing_else() -> None:
    once, again = (compile_proxy(replace(MESH), SERVER, Cache()) for _ in range(2))
    assert once == again


def test_a_cache_is_for_one_mesh_object_at_a_time() -> None:
    cache, changed = Cache(), replace(MESH, virtual_services=())
    before = compile_proxy(MESH, SERVER, cache)
    assert compile_proxy(MESH, SERVER, cache).clusters[0] is before.clusters[0]
    assert compile_proxy(changed, SERVER, cache).routes != before.routes


def test_two_proxies_talk_as_the_identities_that_they_are(tmp_path: Path) -> None:
    """Expected: a strict server's application is told who calls; a server of another name is no server at all."""
    authority = Authority()
    (folder := tmp_path / "server").mkdir()
    write_secrets(folder, authority.issue(SERVER.identity), authority.pem)
    (port,) = free_ports(1)
    pod = Endpoint(
        address=LOOPBACK, port=port, labels=SERVER.labels, meshed=True, namespace="shop", service_account="server"
    )
    wrong = replace(pod, service_account="somebody")
    mesh = Mesh(
        services=(
            server(replace(HTTP, endpoints=(pod,))),
            server(replace(HTTP, endpoints=(wrong,)), name="wrong", address="10.96.0.11"),
        ),
        peer_authentications=(PeerAuthentication(meta=meta(), mode="STRICT"),),
    )
    callee = replace(SERVER, address=LOOPBACK, ports={port: "http"})
    with (
        running(folder, compile_inbound(mesh, callee), [port]),
        calling(tmp_path, mesh, client(), authority=authority) as calls,
    ):
        answer, refused = calls.get(), calls.get(host="wrong")
        assert answer.status == 200, answer
        assert f"URI={client().identity}" in answer.seen["headers"]["x-forwarded-client-cert"]
        assert refused.status == 503
        assert "CERTIFICATE_VERIFY_FAILED" in calls.log.wait('"GET / HTTP/1.1" 503')
