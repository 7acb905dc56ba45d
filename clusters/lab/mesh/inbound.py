"""What a meshed pod takes: the listener on 15006, its filter chains, and the clusters that lead to the application.

What belongs here: the inbound half of a proxy's configuration, shaped as Istio 1.31 shapes it. What does not: modes
(`peers`), policies (`access`), tokens (`tokens`), TLS (`tls`).

One set of chains a declared port, and one without a port for all others (`InboundPassthroughCluster`). A port whose
protocol is not declared has chains for HTTP and for raw TCP, told apart by ALPN or, without TLS, by the first bytes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from clusters.lab.mesh import access, tls, tokens
from clusters.lab.mesh.accesslog import access_log, listener_access_log
from clusters.lab.mesh.bootstrap import marked
from clusters.lab.mesh.model import INBOUND, AppProtocol, Inbound, Json, Mesh, Proxy, Service, ServicePort
from clusters.lab.mesh.peers import Mode, modes, selects
from clusters.lab.mesh.pools import Pool, pool_of

PASSTHROUGH: Final = "InboundPassthroughCluster"
LOOPBACK: Final = "127.0.0.6"
"""Where the application sees its callers come from."""
_TYPES: Final = "type.googleapis.com/envoy."
_MESH_HTTP: Final = ["istio-http/1.0", "istio-http/1.1", "istio-h2"]
_MESH_TCP: Final = ["istio-peer-exchange", "istio"]
_MESH: Final = ["istio", "istio-peer-exchange", *_MESH_HTTP]
_PLAIN_HTTP: Final = ["http/1.1", "h2c"]
_FOREVER: Final = "9223372035s"
_BOTH: Final[Json] = {"http_protocol_options": {}, "http2_protocol_options": {}}

Shape = Literal["http", "tcp", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Port:
    """One port of the workload as its chains need it; `number` 0 is every port that nobody declares.

    Attributes:
        service: The Service that has it, and `port` that Service's number for it.
        http2: Whether it speaks nothing but HTTP/2; `retries`: whether the proxy asks again when nothing was sent yet.
    """

    number: int
    shape: Shape
    mode: Mode
    service: str = ""
    port: int = 0
    http2: bool = False
    retries: bool = True

    @property
    def declared(self) -> bool:
        return bool(self.service)

    @property
    def name(self) -> str:
        return f"0.0.0.0_{self.number}" if self.declared else "virtualInbound"

    @property
    def http_name(self) -> str:
        return self.name if self.declared else "virtualInbound-catchall-http"

    @property
    def cluster(self) -> str:
        return f"inbound|{self.number}||" if self.declared else PASSTHROUGH


def compile_inbound(mesh: Mesh, proxy: Proxy) -> Inbound:
    """The listener that takes everything that reaches the pod, and its clusters."""
    declared = _declared(mesh, proxy)
    taken = modes(mesh, proxy.namespace, proxy.labels)
    ports = [_Port(number=0, shape="unknown", mode=taken.default)]
    ports += [
        _Port(number=number, shape="unknown", mode=mode)
        for number, mode in sorted(taken.ports.items())
        if number not in declared
    ]
    for number, (service, port) in declared.items():
        ports.append(
            _Port(
                number=number,
                shape=_shape(port.protocol),
                mode=taken.of(number),
                service=service.host,
                port=port.number,
                http2=port.protocol == "http2",
                retries=not port.name.startswith("grpc"),  # Istio leaves those to gRPC itself
            )
        )
    filters = _Filters(mesh, proxy)
    ipv6 = ipaddress.ip_address(proxy.address).version == 6
    chains = [_blackhole(), *(chain for port in ports for chain in _chains(port, filters))]
    clusters = [
        _cluster(number, service, port, pool_of(mesh, proxy.namespace, service, port.number), ipv6=ipv6)
        for number, (service, port) in declared.items()
    ]
    return Inbound(listeners=(_listener(ports, chains, ipv6=ipv6),), clusters=(_passthrough(ipv6=ipv6), *clusters))


def _declared(mesh: Mesh, proxy: Proxy) -> dict[int, tuple[Service, ServicePort]]:
    """The pod's ports that Services lead to, ready or not; of several Services for one port the first decides."""
    found: dict[int, tuple[Service, ServicePort]] = {}
    for service in mesh.services:
        selected = service.selector and service.namespace == proxy.namespace and not service.external
        for port in service.ports:
            if selected and selects(service.selector, proxy.labels):
                target = _target(port, proxy)
                targets = {target} if target else set()
            else:
                targets = {each.port for each in port.endpoints if each.address == proxy.address}
            for number in targets:
                found.setdefault(number, (service, port))
    return dict(sorted(found.items()))


def _target(port: ServicePort, proxy: Proxy) -> int:
    """The pod's own number for a Service's port; 0 when no container has a port of that name."""
    if isinstance(port.target, int):
        return port.target
    if not port.target:
        return port.number
    return next((number for number, name in proxy.ports.items() if name == port.target), 0)


def _shape(protocol: AppProtocol) -> Shape:
    shapes: Mapping[AppProtocol, Shape] = {"http": "http", "http2": "http", "unknown": "unknown"}
    return shapes.get(protocol, "tcp")


class _Filters:
    """A proxy's filters for a port; policies are compiled once for all its chains."""

    def __init__(self, mesh: Mesh, proxy: Proxy) -> None:
        self._network = access.network(mesh, proxy)
        self._http = [*access.http_custom(mesh, proxy), *tokens.http(mesh, proxy), *access.http(mesh, proxy)]

    def tcp(self, port: _Port) -> list[Json]:
        proxy = {"stat_prefix": port.cluster, "cluster": port.cluster, "access_log": access_log()}
        return [*self._network, _network_filter("tcp_proxy", "tcp_proxy.v3.TcpProxy", proxy)]

    def http(self, port: _Port) -> list[Json]:
        kind = "http_connection_manager"
        return [_network_filter(kind, f"{kind}.v3.HttpConnectionManager", _manager(port, self._http))]


def _chains(port: _Port, filters: _Filters) -> list[Json]:
    http, tcp = filters.http(port), filters.tcp(port)
    both: list[tuple[str, Sequence[str], list[Json], bool]] = []
    strict, open_ = port.mode != "DISABLE", port.mode != "STRICT"
    if port.shape == "http":
        both += [("tls", _MESH if open_ else (), http, True)] * strict
        both += [("raw_buffer", (), http, False)] * open_
    elif port.shape == "tcp":
        both += [("tls", _MESH if open_ else (), tcp, True)] * strict
        both += [("tls", (), tcp, False)] * (strict and open_)  # the application's own TLS
        both += [("raw_buffer", (), tcp, False)] * open_
    else:
        both += [("tls", _MESH_HTTP, http, True)] * strict
        both += [("raw_buffer", _PLAIN_HTTP, http, False)] * open_
        both += [("tls", _MESH_TCP if open_ else (), tcp, True)] * strict
        both += [("raw_buffer", (), tcp, False)] * open_
        both += [("tls", (), tcp, False)] * (strict and open_)
    return [_chain(port, *each, name=port.http_name if each[2] is http else port.name) for each in both]


def _chain(
    port: _Port, transport: str, protocols: Sequence[str], filters: list[Json], secured: bool, *, name: str
) -> Json:
    match: Json = {"transport_protocol": transport}
    if port.number:
        match["destination_port"] = port.number
    if protocols:
        match["application_protocols"] = list(protocols)
    chain: Json = {"name": name, "filter_chain_match": match, "filters": filters}
    return chain | ({"transport_socket": tls.downstream_context()} if secured else {})


def _blackhole() -> Json:
    """Whoever connects to 15006 itself would be sent in circles."""
    proxy = {"stat_prefix": "BlackHoleCluster", "cluster": "BlackHoleCluster"}
    return {
        "name": "virtualInbound-blackhole",
        "filter_chain_match": {"destination_port": INBOUND},
        "filters": [_network_filter("tcp_proxy", "tcp_proxy.v3.TcpProxy", proxy)],
    }


def _manager(port: _Port, filters: list[Json]) -> Json:
    """The HTTP connection manager of a port, with Istio's defaults (path normalisation BASE)."""
    retries: Json = {"retry_policy": {"retry_on": "reset-before-request", "num_retries": 2}} if port.retries else {}
    action: Json = {
        "cluster": port.cluster,
        "timeout": "0s",
        "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
    }
    route = {
        "name": "default",
        "match": {"prefix": "/"},
        "route": action | retries,
        "decorator": {"operation": f"{port.service}:{port.port}/*"},  # response header x-envoy-decorator-operation
    }
    host = {"name": f"inbound|http|{port.port}", "domains": ["*"], "routes": [route]}
    identity = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"
    prefix = f"inbound_0.0.0.0_{port.number};" if port.declared else f"{PASSTHROUGH};"
    return {
        "stat_prefix": prefix,
        "route_config": {"name": port.cluster, "virtual_hosts": [host], "validate_clusters": False},
        "http_filters": [*filters, *_common_filters()],
        # without a tracer these only mark the request id and name the operation in the response, as Istio does
        "tracing": {
            "client_sampling": {"value": 100},
            "random_sampling": {"value": 1},
            "overall_sampling": {"value": 100},
        },
        "server_name": "istio-envoy",
        "access_log": access_log(),
        "use_remote_address": False,
        "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": {"subject": True, "dns": True, "uri": True},
        "proxy_100_continue": True,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "stream_idle_timeout": "0s",
        "normalize_path": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "request_id_extension": {
            "typed_config": {"@type": f"type.googleapis.com/{identity}", "use_request_id_for_trace_sampling": True}
        },
        **({"http2_protocol_options": {}} if port.http2 else {}),
    }


def _common_filters() -> list[Json]:
    http = f"{_TYPES}extensions.filters.http."
    stats = {"@type": f"{http}grpc_stats.v3.FilterConfig", "emit_filter_state": True, "stats_for_all_methods": False}
    return [
        {"name": "envoy.filters.http.grpc_stats", "typed_config": stats},
        {"name": "envoy.filters.http.fault", "typed_config": {"@type": f"{http}fault.v3.HTTPFault"}},
        {"name": "envoy.filters.http.cors", "typed_config": {"@type": f"{http}cors.v3.Cors"}},
        {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{http}router.v3.Router"}},
    ]


def _network_filter(name: str, kind: str, config: Json) -> Json:
    typed = {"@type": f"{_TYPES}extensions.filters.network.{kind}"} | config
    return {"name": f"envoy.filters.network.{name}", "typed_config": typed}


def _listener(ports: Sequence[_Port], chains: list[Json], *, ipv6: bool) -> Json:
    """The listener; inspectors run only on ports whose chains ask for what they tell."""
    inspected = {port.number: port.mode != "DISABLE" for port in ports}
    sniffed = {port.number: port.shape == "unknown" and port.mode != "STRICT" for port in ports}
    everywhere = ipaddress.IPv6Address(0) if ipv6 else ipaddress.IPv4Address(0)
    filters = [
        _listener_filter("original_dst", "OriginalDst", {}),
        *_inspector("tls_inspector", "TlsInspector", inspected, {"initial_read_buffer_size": 512}),
        *_inspector("http_inspector", "HttpInspector", sniffed, {}),
    ]
    return {
        "name": "virtualInbound",
        "address": {"socket_address": {"address": str(everywhere), "port_value": INBOUND}},
        "listener_filters": filters,
        "listener_filters_timeout": "0s",
        "continue_on_listener_filters_timeout": True,
        "traffic_direction": "INBOUND",
        "filter_chains": chains,
        "access_log": listener_access_log(),
        "max_connections_to_accept_per_socket_event": 1,
    }


def _listener_filter(name: str, kind: str, config: Json) -> Json:
    typed = {"@type": f"{_TYPES}extensions.filters.listener.{name}.v3.{kind}"} | config
    return {"name": f"envoy.filters.listener.{name}", "typed_config": typed}


def _inspector(name: str, kind: str, needed: Mapping[int, bool], config: Json) -> list[Json]:
    if not any(needed.values()):
        return []
    idle = sorted({INBOUND, *(number for number, wanted in needed.items() if not wanted)})
    ranges: list[Json] = [{"destination_port_range": {"start": each, "end": each + 1}} for each in idle]
    disabled = ranges[0] if len(ranges) == 1 else {"or_match": {"rules": ranges}}
    return [_listener_filter(name, kind, config) | {"filter_disabled": disabled}]


def _base(name: str, pool: Pool, *, ipv6: bool) -> Json:
    return {
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": pool.connect_timeout,
        "circuit_breakers": {"thresholds": [pool.thresholds]},
        "upstream_bind_config": marked("::6" if ipv6 else LOOPBACK),
    }


def _passthrough(*, ipv6: bool) -> Json:
    return _base(PASSTHROUGH, Pool(), ipv6=ipv6) | {
        "alt_stat_name": "PassthroughCluster;",
        "typed_extension_protocol_options": _protocols(
            {"common_http_protocol_options": {"idle_timeout": "300s"}, "use_downstream_protocol_config": _BOTH}
        ),
    }


def _cluster(number: int, service: Service, port: ServicePort, pool: Pool, *, ipv6: bool) -> Json:
    name = f"inbound|{number}||"
    place = {"name": service.name, "namespace": service.namespace, "host": service.host}
    cluster = _base(name, pool, ipv6=ipv6) | {
        "cleanup_interval": _FOREVER,
        "alt_stat_name": f"{name};",
        "metadata": {"filter_metadata": {"istio": {"services": [place]}}},
    }
    options: Json = {}
    if port.protocol == "http2":
        options["explicit_http_config"] = {"http2_protocol_options": {}}
    elif port.protocol == "unknown":
        options["use_downstream_protocol_config"] = _BOTH
    if pool.max_requests_per_connection:
        options["common_http_protocol_options"] = {"max_requests_per_connection": pool.max_requests_per_connection}
        if len(options) == 1:
            options["explicit_http_config"] = {"http_protocol_options": {}}
    return cluster | ({"typed_extension_protocol_options": _protocols(options)} if options else {})


def _protocols(options: Json) -> Json:
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {name: {"@type": f"type.googleapis.com/{name}"} | options}
