"""The inbound listener: the chains that real Istio 1.31 makes for the same Services and modes, and what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from clusters.lab.mesh.inbound import compile_inbound
from clusters.lab.mesh.model import INBOUND, AppProtocol, Json, Mesh, Service, ServicePort
from clusters.lab.mesh.peers import modes
from policies.istio.model import DestinationRule, MtlsMode, PeerAuthentication, TrafficPolicy
from tests.lab.mesh.calls import call, exchange
from tests.lab.mesh.envoy import Envoy, free_ports, running, validate
from tests.lab.mesh.trust import Authority, client_context, write_secrets
from tests.lab.mesh.worlds import CALLER, SERVER, meta, service

PORTS: dict[int, AppProtocol] = {8080: "http", 9090: "tcp", 7070: "unknown", 6061: "http2"}
ALPN = {
    (): "",
    ("istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"): " mesh",
    ("istio-http/1.0", "istio-http/1.1", "istio-h2"): " mesh-http",
    ("istio-peer-exchange", "istio"): " mesh-tcp",
    ("http/1.1", "h2c"): " http",
}
ANY = [
    "tls mesh-http → http mtls",
    "raw_buffer http → http",
    "tls mesh-tcp → tcp mtls",
    "raw_buffer → tcp",
    "tls → tcp",
]
STRICT_ANY = ["tls mesh-http → http mtls", "tls → tcp mtls"]
PLAIN_ANY = ["raw_buffer http → http", "raw_buffer → tcp"]


def chains(listener: Json, port: int = 0) -> list[str]:
    """A port's chains in short: what they match → what they are, with or without mutual TLS."""
    found = []
    for chain in listener["filter_chains"]:
        match = chain["filter_chain_match"]
        if match.get("destination_port", 0) == port:
            kind = {"http_connection_manager": "http", "tcp_proxy": "tcp"}[chain["filters"][-1]["name"].split(".")[-1]]
            alpn = ALPN[tuple(match.get("application_protocols", ()))]
            found.append(f"{match['transport_protocol']}{alpn} → {kind}{' mtls' * ('transport_socket' in chain)}")
    return found


def peers(mode: MtlsMode | None, ports: dict[int, MtlsMode] | None = None) -> PeerAuthentication:
    return PeerAuthentication(meta=meta(), selector={"app": "server"}, mode=mode, ports=ports or {})


def listener(*policies: PeerAuthentication) -> Json:
    (made,) = compile_inbound(Mesh(services=(service(PORTS),), peer_authentications=policies), SERVER).listeners
    return made


@pytest.mark.parametrize(
    ("mode", "port", "expected"),
    [
        pytest.param("PERMISSIVE", 8080, ["tls mesh → http mtls", "raw_buffer → http"], id="permissive-http"),
        pytest.param("PERMISSIVE", 9090, ["tls mesh → tcp mtls", "tls → tcp", "raw_buffer → tcp"], id="permissive-tcp"),
        pytest.param("PERMISSIVE", 7070, ANY, id="permissive-unknown"),
        pytest.param("PERMISSIVE", 0, ANY, id="permissive-without-service"),
        pytest.param("STRICT", 8080, ["tls → http mtls"], id="strict-http"),
        pytest.param("STRICT", 9090, ["tls → tcp mtls"], id="strict-tcp"),
        pytest.param("STRICT", 7070, STRICT_ANY, id="strict-unknown"),
        pytest.param("STRICT", 0, STRICT_ANY, id="strict-without-service"),
        pytest.param("DISABLE", 8080, ["raw_buffer → http"], id="disable-http"),
        pytest.param("DISABLE", 9090, ["raw_buffer → tcp"], id="disable-tcp"),
        pytest.param("DISABLE", 7070, PLAIN_ANY, id="disable-unknown"),
        pytest.param("DISABLE", 0, PLAIN_ANY, id="disable-without-service"),
    ],
)
def test_a_ports_chains_are_istios(mode: MtlsMode, port: int, expected: list[str]) -> None:
    assert chains(listener(peers(mode)), port) == expected


def test_a_mode_for_a_port_without_a_service_gets_chains_of_its_own() -> None:
    made = listener(peers("STRICT", {3030: "DISABLE", 3032: "PERMISSIVE"}))
    assert chains(made, 3030) == PLAIN_ANY
    assert chains(made, 3032) == ANY
    assert chains(made) == STRICT_ANY


def disabled(made: Json, inspector: str) -> list[int] | None:
    """Ports on which an inspector does not run; None when there is no such inspector."""
    for each in made["listener_filters"]:
        if each["name"].endswith(inspector):
            match = each["filter_disabled"]
            return [
                one["destination_port_range"]["start"] for one in match.get("or_match", {"rules": [match]})["rules"]
            ]
    return None


def test_inspectors_run_only_where_a_chain_asks_for_what_they_tell() -> None:
    assert disabled(listener(), "tls_inspector") == [INBOUND]
    assert disabled(listener(), "http_inspector") == [6061, 8080, 9090, INBOUND]
    assert disabled(listener(peers("STRICT")), "http_inspector") is None
    assert disabled(listener(peers("DISABLE")), "tls_inspector") is None
    assert disabled(listener(peers("PERMISSIVE", {9090: "DISABLE"})), "tls_inspector") == [9090, INBOUND]


MESH_WIDE = PeerAuthentication(meta=meta(namespace="istio-system"), mode="STRICT")
NAMESPACE = PeerAuthentication(meta=meta(), mode="DISABLE")


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        pytest.param((), "PERMISSIVE", id="nothing-is-permissive"),
        pytest.param((MESH_WIDE,), "STRICT", id="mesh"),
        pytest.param((NAMESPACE, MESH_WIDE), "DISABLE", id="namespace-before-mesh"),
        pytest.param((NAMESPACE, peers("STRICT")), "STRICT", id="workload-before-namespace"),
        pytest.param((NAMESPACE, peers("UNSET")), "DISABLE", id="unset-inherits"),
        pytest.param((NAMESPACE, peers(None)), "DISABLE", id="unwritten-inherits"),
        pytest.param((MESH_WIDE, peers("DISABLE", {9090: "PERMISSIVE"})), "PERMISSIVE", id="port-before-workload"),
        pytest.param((MESH_WIDE, peers("DISABLE", {9090: "UNSET"})), "DISABLE", id="unset-port-inherits"),
        pytest.param(
            (NAMESPACE, PeerAuthentication(meta=meta("older", created="2025-01-01T00:00:00Z"), mode="STRICT")),
            "STRICT",
            id="the-oldest-at-one-level",
        ),
        pytest.param(
            (PeerAuthentication(meta=meta(), selector={"app": "other"}, mode="STRICT"),),
            "PERMISSIVE",
            id="not-selected",
        ),
        pytest.param(
            (PeerAuthentication(meta=meta(namespace="x"), mode="STRICT"),), "PERMISSIVE", id="not-its-namespace"
        ),
    ],
)
def test_the_narrowest_mode_decides(policies: tuple[PeerAuthentication, ...], expected: str) -> None:
    assert modes(Mesh(peer_authentications=policies), "shop", SERVER.labels).of(9090) == expected


def test_the_first_of_two_services_decides_a_ports_protocol_and_name() -> None:
    services = (service({8080: "unknown"}, "another", first=81), service({8080: "http"}))
    made = compile_inbound(Mesh(services=services), SERVER)
    assert chains(made.listeners[0], 8080) == ANY
    manager = made.listeners[0]["filter_chains"][6]["filters"][0]["typed_config"]
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert route["decorator"] == {"operation": "another.shop.svc.cluster.local:81/*"}
    assert [each["name"] for each in made.clusters] == ["InboundPassthroughCluster", "inbound|8080||"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(8081, ["inbound|8081||"], id="number"),
        pytest.param("web", ["inbound|8080||"], id="name"),
        pytest.param("", ["inbound|80||"], id="unwritten"),
        pytest.param("nobodys", [], id="unknown-name"),
    ],
)
def test_a_pod_that_is_not_ready_knows_its_ports(target: int | str, expected: list[str]) -> None:
    port = ServicePort(number=80, name="http", protocol="http", target=target)
    one = Service(
        name="s", namespace="shop", host="s.shop.svc.cluster.local", ports=(port,), selector={"app": "server"}
    )
    pod = replace(SERVER, ports={8080: "web"})
    other = replace(pod, labels={"app": "other"})
    assert [each["name"] for each in compile_inbound(Mesh(services=(one,)), pod).clusters[1:]] == expected
    assert not compile_inbound(Mesh(services=(one,)), other).clusters[1:]


def test_a_destination_rules_limits_hold_for_the_server_too() -> None:
    pool = TrafficPolicy(max_connections=10, ports={9090: TrafficPolicy(connect_timeout=4.0)})
    rules = (
        DestinationRule(meta=meta(), host="*.shop.svc.cluster.local"),
        DestinationRule(meta=meta(), host="server", policy=pool),
    )
    made = compile_inbound(Mesh(services=(service(PORTS),), destination_rules=rules), SERVER)
    found = {
        each["name"]: (each["circuit_breakers"]["thresholds"][0]["max_connections"], each["connect_timeout"])
        for each in made.clusters
    }
    assert found["inbound|8080||"] == (10, "10s")
    assert found["inbound|9090||"] == (4294967295, "4s")


@pytest.mark.parametrize("mode", ["STRICT", "PERMISSIVE", "DISABLE"])
def test_envoy_takes_it_as_it_is_compiled(mode: MtlsMode, tmp_path: Path) -> None:
    made = compile_inbound(Mesh(services=(service(PORTS),), peer_authentications=(peers(mode),)), SERVER)
    authority = Authority()
    write_secrets(tmp_path, authority.issue(SERVER.identity), authority.pem)
    assert not validate(tmp_path, made.listeners, made.clusters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """A running proxy, and its ports by what they are."""

    envoy: Envoy
    folder: Path
    authority: Authority
    strict: int
    permissive: int
    disabled: int
    strict_tcp: int
    unknown: int
    undeclared: int


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modes]:
    folder, authority = tmp_path_factory.mktemp("modes"), Authority()
    write_secrets(folder, authority.issue(SERVER.identity), authority.pem)
    strict, permissive, disabled_, strict_tcp, unknown, undeclared = free_ports(6)
    declared: dict[int, AppProtocol] = {
        strict: "http",
        permissive: "http",
        disabled_: "http",
        strict_tcp: "tcp",
        unknown: "unknown",
    }
    wanted = peers("PERMISSIVE", {strict: "STRICT", disabled_: "DISABLE", strict_tcp: "STRICT"})
    inbound = compile_inbound(Mesh(services=(service(declared),), peer_authentications=(wanted,)), SERVER)
    with running(folder, inbound, [*declared, undeclared]) as envoy:
        yield Modes(
            envoy=envoy, folder=folder, authority=authority, strict=strict, permissive=permissive, disabled=disabled_,
            strict_tcp=strict_tcp, unknown=unknown, undeclared=undeclared,
        )  # fmt: skip


def test_strict_resets_plaintext_and_says_so(proxy: Modes) -> None:
    assert call(proxy.strict, "/strict").error == "reset"
    assert " NR filter_chain_not_found " in proxy.envoy.log.wait(f":{proxy.strict} ")
    assert exchange(proxy.strict_tcp, b"hello") == "reset"
    assert "/strict" not in proxy.envoy.application.seen


def test_strict_takes_mutual_tls_and_tells_the_application_who_calls(proxy: Modes) -> None:
    caller = client_context(proxy.folder, proxy.authority, proxy.authority.issue(CALLER))
    answer = call(proxy.strict, "/mutual", tls=caller)
    assert answer.status == 200
    identity = answer.seen["headers"]["x-forwarded-client-cert"]
    assert identity.startswith(f"By={SERVER.identity};Hash=")
    assert identity.endswith(f';Subject="";URI={CALLER}')
    assert "outbound_.8080_._.server.shop.svc.cluster.local default" in proxy.envoy.log.wait("/mutual")


def test_permissive_takes_both_and_answers_in_istios_name(proxy: Modes) -> None:
    caller = client_context(proxy.folder, proxy.authority, proxy.authority.issue(CALLER))
    assert call(proxy.permissive, tls=caller).status == 200
    answer = call(proxy.permissive, headers={"x-forwarded-client-cert": "By=forged"})
    assert answer.status == 200
    assert answer.headers["server"] == "istio-envoy"
    operation = f"server.shop.svc.cluster.local:{proxy.permissive}/*"
    assert answer.headers["x-envoy-decorator-operation"] == operation
    assert "x-forwarded-client-cert" not in answer.seen["headers"]


def test_disable_takes_only_plaintext(proxy: Modes) -> None:
    caller = client_context(proxy.folder, proxy.authority, proxy.authority.issue(CALLER))
    assert call(proxy.disabled).status == 200
    assert call(proxy.disabled, "/secured", tls=caller).error.startswith("tls: ")
    assert "/secured" not in proxy.envoy.application.seen


def test_what_no_service_declares_is_told_by_its_first_bytes(proxy: Modes) -> None:
    assert call(proxy.undeclared).headers["server"] == "istio-envoy"
    assert call(proxy.unknown).headers["server"] == "istio-envoy"
    caller = client_context(proxy.folder, proxy.authority, proxy.authority.issue(CALLER))
    assert "server" in call(proxy.unknown, tls=caller).headers, "raw TCP to a chain without HTTP: the application's own"
