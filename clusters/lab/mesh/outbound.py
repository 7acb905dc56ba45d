"""The outbound half of a proxy: listeners for every Service, and what they lead to.

What belongs here: listeners. What does not: routes (`routes`), clusters (`clusters`), what the proxy takes (`inbound`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final

from clusters.lab.mesh import accesslog, bootstrap, clusters
from clusters.lab.mesh.clusters import BLACK_HOLE, PASSTHROUGH
from clusters.lab.mesh.hosts import Names
from clusters.lab.mesh.model import OUTBOUND, Json, Mesh, Outbound, Proxy, Service, ServicePort
from clusters.lab.mesh.routes import Router

_TYPE: Final = "type.googleapis.com/envoy."
_FILTERS: Final = f"{_TYPE}extensions.filters."
_SNIFFED: Final[Json] = {
    "filter_chain_match": {"transport_protocol": "raw_buffer", "application_protocols": ["http/1.1", "h2c"]}
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listener:
    """One listener; `of` is the only address it is for when it is a pod's own, so that the pod itself goes without."""

    json: Json
    of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What all clients of one kind have in common."""

    listeners: tuple[_Listener, ...]
    routes: Mapping[str, Json] = field(default_factory=dict)


class Outlook:
    """A Mesh as clients see it; keeps what is equal for several of them, and hands out the same objects again.

    Whoever gets a configuration must not change it.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._names = Names(mesh)
        self._clusters: dict[tuple[str, bool], tuple[Json, ...]] = {}
        self._shared: dict[tuple[str, bool, frozenset[tuple[str, str]]], _Shared] = {}

    def outbound(self, proxy: Proxy) -> Outbound:
        """Everything outbound of one proxy."""
        ipv6 = ":" in proxy.address
        home = (proxy.namespace, ipv6)
        if home not in self._clusters:
            self._clusters[home] = clusters.build(self._names, proxy.namespace, ipv6=ipv6)
        labels = {key: value for key, value in proxy.labels.items() if key in self._names.source_keys}
        kind = (*home, frozenset(labels.items()))
        if kind not in self._shared:
            self._shared[kind] = _Listeners(self._names, proxy.namespace, labels, ipv6).all()
        shared = self._shared[kind]
        return Outbound(
            # A call to its own address is left to the inbound side, as in Istio.
            listeners=tuple(each.json for each in shared.listeners if not each.of or each.of != proxy.address),
            clusters=self._clusters[home],
            routes=shared.routes,
        )


def compile_outbound(mesh: Mesh, proxy: Proxy) -> Outbound:
    """Everything outbound of one proxy; `Outlook` is for several proxies of one mesh."""
    return Outlook(mesh).outbound(proxy)


class _Listeners:
    """Listeners and routes of one kind of client."""

    def __init__(self, names: Names, namespace: str, labels: Mapping[str, str], ipv6: bool) -> None:
        self._services = names.visible(namespace)
        self._router = Router(names, namespace, labels)
        self._any = str(IPv6Address(0) if ipv6 else IPv4Address(0))
        self._found: dict[tuple[str, int], _Listener] = {}
        self._routes: dict[str, Json] = {}

    def all(self) -> _Shared:
        ranges: dict[int, list[Json]] = {}
        for service in self._services:
            for port in service.ports:
                if port.protocol in {"http", "http2"}:
                    self._http(port.number)
                elif port.protocol == "tls" and service.external and not service.addresses:
                    chain = self._tcp_chain(service, port)
                    names = {"filter_chain_match": {"server_names": [service.host]}}
                    ranges.setdefault(port.number, []).append(names | chain)
                else:
                    self._by_address(service, port, ranges)
        for number, chains in ranges.items():
            self._add(self._any, number, partial(self._ranged, number, chains))
        last = _Listener(json=_virtual(self._any))
        return _Shared(listeners=(*self._found.values(), last), routes=self._routes)

    def _add(self, address: str, port: int, make: Callable[[], Json], of: str = "") -> None:
        """The first to claim an address keeps it."""
        if (address, port) not in self._found:
            self._found[address, port] = _Listener(json=make(), of=of)

    def _http(self, number: int) -> None:
        name = str(number)
        if name not in self._routes:
            self._routes[name] = self._router.of_port(number)

        def make() -> Json:
            chain = _SNIFFED | {"filters": [_requests(self._any, number, name)], **_PATIENCE}
            fallback = {"filters": [_connections({"stat_prefix": PASSTHROUGH, "cluster": PASSTHROUGH})]}
            return _listener(self._any, number, [chain], fallback | {"name": "PassthroughFilterChain"}, sniff=True)

        self._add(self._any, number, make)

    def _by_address(self, service: Service, port: ServicePort, ranges: dict[int, list[Json]]) -> None:
        """TCP, and what is told from the first bytes: a listener for each address that the port is called at."""
        if service.headless:
            for address in dict.fromkeys(each.address for each in port.endpoints):
                self._address(service, port, address, of=address)
            return
        blocks = [each for each in service.addresses if "/" in each]
        if blocks:
            match = {"filter_chain_match": {"prefix_ranges": [_range(each) for each in blocks]}}
            ranges.setdefault(port.number, []).append(match | self._tcp_chain(service, port))
        for address in service.addresses or (self._any,):
            if address not in blocks:
                self._address(service, port, address)

    def _address(self, service: Service, port: ServicePort, address: str, of: str = "") -> None:
        def make() -> Json:
            chain = self._tcp_chain(service, port)
            if port.protocol != "unknown":
                return _listener(address, port.number, [chain])
            name = f"{service.host}:{port.number}"
            if name not in self._routes:
                self._routes[name] = self._router.of_service(service, port)
            requests = _SNIFFED | {"filters": [_requests(address, port.number, name)], **_PATIENCE}
            return _listener(address, port.number, [requests], chain, sniff=True)

        self._add(address, port.number, make, of)

    def _tcp_chain(self, service: Service, port: ServicePort) -> Json:
        return {"filters": [_connections(self._router.tcp(service, port.number))], **_PATIENCE}

    def _ranged(self, number: int, chains: Sequence[Json]) -> Json:
        """Several hosts on one wildcard address, told apart by the address that is called or by the SNI."""
        fallback = {"filters": [_connections({"stat_prefix": PASSTHROUGH, "cluster": PASSTHROUGH})]}
        found = _listener(self._any, number, chains, fallback | {"name": "PassthroughFilterChain"})
        if any("server_names" in chain["filter_chain_match"] for chain in chains):
            found["listener_filters"] = [
                {
                    "name": "envoy.filters.listener.tls_inspector",
                    "typed_config": {"@type": f"{_FILTERS}listener.tls_inspector.v3.TlsInspector"},
                }
            ]
        return found


_PATIENCE: Final[Json] = {"transport_socket_connect_timeout": "15s"}


def _range(block: str) -> Json:
    network = ip_network(block, strict=False)
    return {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}


def _listener(
    address: str, port: int, chains: Sequence[Json], fallback: Json | None = None, *, sniff: bool = False
) -> Json:
    found: Json = {
        "name": f"{address}_{port}",
        "address": {"socket_address": {"address": address, "port_value": port}},
        "filter_chains": list(chains),
        "listener_filters_timeout": "0s",
        "continue_on_listener_filters_timeout": True,
        "traffic_direction": "OUTBOUND",
        "bind_to_port": False,
    }
    if fallback:
        found["default_filter_chain"] = fallback
    if sniff:
        found["listener_filters"] = [
            {
                "name": "envoy.filters.listener.http_inspector",
                "typed_config": {"@type": f"{_FILTERS}listener.http_inspector.v3.HttpInspector"},
            }
        ]
    return found


def _virtual(address: str) -> Json:
    """The listener that gets every connection and hands it to the one for its original destination."""
    return {
        "name": "virtualOutbound",
        "address": {"socket_address": {"address": address, "port_value": OUTBOUND}},
        "filter_chains": [
            {
                "name": "virtualOutbound-blackhole",
                "filter_chain_match": {"destination_port": OUTBOUND},
                "filters": [_connections({"stat_prefix": BLACK_HOLE, "cluster": BLACK_HOLE})],
            },
            {
                "name": "virtualOutbound-catchall-tcp",
                "filters": [_connections({"stat_prefix": PASSTHROUGH, "cluster": PASSTHROUGH})],
            },
        ],
        "use_original_dst": True,
        "traffic_direction": "OUTBOUND",
        "access_log": accesslog.listener_access_log(),
        "max_connections_to_accept_per_socket_event": 1,
    }


def _connections(where: Json) -> Json:
    return {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {"@type": f"{_FILTERS}network.tcp_proxy.v3.TcpProxy", "access_log": accesslog.access_log()}
        | where,
    }


def _requests(address: str, port: int, routes: str) -> Json:
    """The HTTP connection manager; those of Istio's filters that change no verdict are left out (CORS, statistics)."""
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{_FILTERS}network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": f"outbound_{address}_{port};",
            "rds": bootstrap.rds(routes),
            "http_filters": [
                {"name": "envoy.filters.http.fault", "typed_config": {"@type": f"{_FILTERS}http.fault.v3.HTTPFault"}},
                {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_FILTERS}http.router.v3.Router"}},
            ],
            "access_log": accesslog.access_log(),
            "use_remote_address": False,
            "proxy_100_continue": True,
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "stream_idle_timeout": "0s",
            "normalize_path": True,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        },
    }
