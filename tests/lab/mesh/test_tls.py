"""TLS of proxies: which callers a server takes, which servers a caller takes, asked of a real Envoy."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clusters.lab.mesh import tls
from clusters.lab.mesh.accesslog import access_log
from clusters.lab.mesh.inbound import compile_inbound
from clusters.lab.mesh.model import Json, Mesh
from policies.istio.model import PeerAuthentication
from tests.lab.mesh.calls import call
from tests.lab.mesh.envoy import LOOPBACK, Envoy, free_ports, running
from tests.lab.mesh.trust import Authority, client_context, write_secrets
from tests.lab.mesh.worlds import CALLER, SERVER, meta, service

SNI = tls.server_name("server.shop.svc.cluster.local", 8080, "v1")
SOCKETS = {
    "right": tls.upstream_context(sni=SNI, identities=["spiffe://cluster.local/ns/x/sa/y", SERVER.identity]),
    "wrong": tls.upstream_context(sni=SNI, identities=[CALLER]),
    "anybody": tls.upstream_context(sni="", identities=[]),
    "plain": tls.plaintext(),
}


def test_a_servers_name_says_port_subset_and_host() -> None:
    assert SNI == "outbound_.8080_.v1_.server.shop.svc.cluster.local"
    assert tls.server_name("a.example", 80) == "outbound_.80_._.a.example"


def test_a_simple_caller_trusts_the_systems_authorities_and_shows_no_certificate() -> None:
    common = tls.simple_context(sni="a.example", names=["b.example"])["typed_config"]["common_tls_context"]
    assert "tls_certificate_sds_secret_configs" not in common
    assert "BEGIN CERTIFICATE" in common["validation_context"]["trusted_ca"]["inline_string"]
    assert common["validation_context"]["match_subject_alt_names"] == [{"exact": "b.example"}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strict:
    """A running proxy with a strict port, and a port for each of `SOCKETS` that leads there through that socket."""

    envoy: Envoy
    folder: Path
    authority: Authority
    port: int
    through: dict[str, int]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strict]:
    folder, authority = tmp_path_factory.mktemp("tls"), Authority()
    write_secrets(folder, authority.issue(SERVER.identity), authority.pem)
    port, *others = free_ports(1 + len(SOCKETS))
    through = dict(zip(SOCKETS, others, strict=True))
    mode = PeerAuthentication(meta=meta(), mode="STRICT")
    inbound = compile_inbound(Mesh(services=(service({port: "http"}),), peer_authentications=(mode,)), SERVER)
    listeners = [leading(name, each) for name, each in through.items()]
    clusters = [cluster(name, port, socket) for name, socket in SOCKETS.items()]
    with running(folder, inbound, [port], listeners, clusters) as envoy:
        yield Strict(envoy=envoy, folder=folder, authority=authority, port=port, through=through)


def address(port: int) -> Json:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def leading(name: str, port: int) -> Json:
    kinds = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "router", "typed_config": {"@type": f"{kinds}.http.router.v3.Router"}}
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": name}}]
    manager = {
        "@type": f"{kinds}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [router],
        "access_log": access_log(),
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {"name": name, "address": address(port), "filter_chains": [chain]}


def cluster(name: str, port: int, socket: Json) -> Json:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]
    assignment = {"cluster_name": name, "endpoints": endpoints}
    return {"name": name, "type": "STATIC", "load_assignment": assignment, "transport_socket": socket}


def test_a_caller_takes_the_server_it_expects_and_shows_itself(strict: Strict) -> None:
    answer = call(strict.through["right"], "/right")
    assert answer.status == 200
    assert answer.seen["headers"]["x-forwarded-client-cert"].endswith(f";URI={SERVER.identity}")
    assert f" {SNI} default" in strict.envoy.log.wait("/right", f":{strict.port} ")


def test_without_expected_identities_any_server_of_the_mesh_will_do(strict: Strict) -> None:
    assert call(strict.through["anybody"]).status == 200


def test_a_caller_refuses_another_server(strict: Strict) -> None:
    assert call(strict.through["wrong"], "/wrong").status == 503
    line = strict.envoy.log.wait("/wrong")
    assert " 503 UF " in line
    assert "CERTIFICATE_VERIFY_FAILED" in line
    assert "/wrong" not in strict.envoy.application.seen


def test_a_caller_without_tls_is_reset_and_its_proxy_says_503(strict: Strict) -> None:
    assert call(strict.through["plain"], "/plain").status == 503
    assert " 503 UC " in strict.envoy.log.wait("/plain")
    assert "/plain" not in strict.envoy.application.seen


@pytest.mark.parametrize(
    ("uri", "made", "own"),
    [
        pytest.param(CALLER, {}, False, id="another-authority"),
        pytest.param(CALLER, {"expired": True}, True, id="expired"),
        pytest.param("spiffe://other.example/ns/shop/sa/caller", {}, True, id="another-trust-domain"),
        pytest.param("", {}, True, id="no-certificate"),
    ],
)
def test_a_server_refuses_what_its_mesh_did_not_sign(strict: Strict, uri: str, made: dict[str, Any], own: bool) -> None:
    signer = strict.authority if own else Authority()
    identity = signer.issue(uri, **made) if uri else None
    answer = call(strict.port, "/refused", tls=client_context(strict.folder, strict.authority, identity))
    assert answer.error.startswith("tls: ")
    assert "/refused" not in strict.envoy.application.seen


@pytest.mark.parametrize(
    ("version", "cipher", "taken"),
    [
        pytest.param(ssl.TLSVersion.TLSv1_3, "", True, id="tls-1.3"),
        pytest.param(ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", True, id="tls-1.2"),
        pytest.param(ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-CHACHA20-POLY1305", False, id="unlisted-cipher"),
        pytest.param(ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", False, id="tls-1.1"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_versions_and_ciphers_are_istios(strict: Strict, version: ssl.TLSVersion, cipher: str, taken: bool) -> None:
    context = client_context(strict.folder, strict.authority, strict.authority.issue(CALLER))
    context.minimum_version = context.maximum_version = version
    if cipher:
        context.set_ciphers(cipher)
    answer = call(strict.port, tls=context)
    assert (answer.status == 200) is taken, answer
