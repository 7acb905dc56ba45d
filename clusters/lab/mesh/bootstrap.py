"""What an Envoy of the lab is started with, and how its configuration says where the rest comes from.

What belongs here: the bootstrap, references to resources that its agent serves. What does not: what is in them
(`compile`), serving them (`xds`). They come by REST long polling over a socket of the container: files that Envoy
watches would take an inotify instance each, and a user has 128 of them in all. This imports nothing of ours and little
else, because every proxy's agent pays for it at its start; so it has numbers of `model` again (a test holds them
equal).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

Json = dict[str, Any]
FOLDER: Final = "/etc/istio/proxy"
"""Where a proxy's files are inside its container."""
MARK: Final = 1337
ADMIN, PROMETHEUS, STATUS, PROBES = 15000, 15090, 15021, 15020
IDENTITY: Final = "default"
"""The SDS secret with the proxy's own certificate and key."""
ROOTS: Final = "ROOTCA"
"""The SDS secret with the authorities that it trusts."""
LIFETIME: Final = "SECRET_TTL"
"""The agent's variable that says how long its certificates shall live, as Go writes durations."""
SOCKET: Final = f"{FOLDER}/agent.sock"
"""Where the agent serves what Envoy asks for."""
_AGENT: Final = "agent-xds"

_TYPE: Final = "type.googleapis.com/"
_RUNTIME: Final[Json] = {
    "re2.max_program_size.error_level": "32768",
    "envoy.reloadable_features.http_reject_path_with_fragment": False,  # Istio cuts `#…` off and goes on
}
"""Of Istio's own runtime layer what changes any answer."""
_ROUTER: Final = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": f"{_TYPE}envoy.extensions.filters.http.router.v3.Router"},
}
_STATS: Final[list[Json]] = [
    # Istio's own list, which decides what exists at all …
    *(
        {"prefix": each}
        for each in ("reporter=", "cluster_manager", "listener_manager", "server.", "wasm", "component")
    ),
    *({"suffix": each} for each in ("rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied")),
    {"safe_regex": {"regex": r"vhost\..*\.route\..*"}},
    # … what tells a person which configuration is in force …
    *({"suffix": each} for each in (".version_text", ".update_rejected", ".update_failure", ".update_success")),
    # … and what proves mutual TLS.
    *({"suffix": each} for each in ("ssl.handshake", "ssl.connection_error", "ssl.fail_verify_error")),
    *({"suffix": each} for each in ("ssl.fail_verify_no_cert", "ssl.fail_verify_san", "no_filter_chain_match")),
]


def _served() -> Json:
    """Asked for at once, and again as soon as there is something new; the agent holds the question until then."""
    polled = {
        "api_type": "REST",
        "transport_api_version": "V3",
        "cluster_names": [_AGENT],
        "refresh_delay": "0.001s",
        "request_timeout": "86400s",
    }
    return {"api_config_source": polled, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}


def seconds(duration: str) -> float:
    """A duration as Go writes it, `1h30m` or `20s`; 0 for what is none."""
    if not re.fullmatch(r"(\d+(\.\d+)?(ms|h|m|s))+", duration):
        return 0.0
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", duration)
    return sum(float(number) * {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}[unit] for number, unit in parts)


def sds(name: str) -> Json:
    """An SdsSecretConfig for `default` or `ROOTCA`: `{"name": …, "sds_config": …}`."""
    return {"name": name, "sds_config": _served()}


def rds(name: str) -> Json:
    """An Rds (`rds` of an HTTP connection manager) for the RouteConfiguration of that name."""
    return {"route_config_name": name, "config_source": _served()}


def marked(source_address: str = "") -> Json:
    """An `upstream_bind_config` whose connections carry the mark; a cluster that binds must say both.

    A cluster's own `upstream_bind_config` takes the place of the bootstrap's, and without the mark the redirection
    would send its connections back to the proxy.

    Args:
        source_address: Where connections come from: `127.0.0.6` for inbound ones, as Istio has it.
    """
    bind: Json = {
        "socket_options": [
            {"description": "SO_MARK", "level": 1, "name": 36, "int_value": MARK, "state": "STATE_PREBIND"}
        ]
    }
    if source_address:
        bind["source_address"] = {"address": source_address, "port_value": 0}
    return bind


def bootstrap(*, namespace: str, pod: str, address: str, metadata: Json | None = None) -> Json:
    """Envoy's bootstrap for one pod: admin, files to follow, the listeners on 15021 and 15090.

    Args:
        metadata: The node's metadata, shown in config dumps; Istio's tools read `NAMESPACE`, `LABELS`, `ISTIO_VERSION`.
    """
    return {
        "node": {
            "id": f"sidecar~{address}~{pod}.{namespace}~{namespace}.svc.cluster.local",
            "cluster": f"{(metadata or {}).get('WORKLOAD_NAME', pod)}.{namespace}",
            "metadata": metadata or {},
            "locality": {},
        },
        "admin": {"address": _address("127.0.0.1", ADMIN)},
        "dynamic_resources": {"lds_config": _served(), "cds_config": _served()},
        "cluster_manager": {"upstream_bind_config": marked()},
        "static_resources": {
            "listeners": [
                _listener(PROMETHEUS, "stats", "/stats/prometheus", "prometheus_stats", ":" in address),
                _listener(STATUS, "agent", "/healthz/ready", "agent", ":" in address),
            ],
            "clusters": [
                _local("prometheus_stats", _address("127.0.0.1", ADMIN)),
                _local("agent", _address("127.0.0.1", PROBES)),
                _local(_AGENT, {"pipe": {"path": SOCKET}}),
            ],
        },
        "stats_config": {"use_all_default_tags": False, "stats_matcher": {"inclusion_list": {"patterns": _STATS}}},
        "layered_runtime": {
            "layers": [{"name": "global config", "static_layer": _RUNTIME}, {"name": "admin", "admin_layer": {}}]
        },
        "application_log_config": {"log_format": {"text_format": "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"}},
    }


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _local(name: str, address: Json) -> Json:
    endpoint = {"endpoint": {"address": address}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "alt_stat_name": f"{name};",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _listener(port: int, prefix: str, path: str, cluster: str, ipv6: bool) -> Json:
    """A plain HTTP listener on every address that leads one path to one cluster."""
    host = str(ipaddress.IPv6Address(0) if ipv6 else ipaddress.IPv4Address(0))
    address = _address(host, port)
    if ipv6:
        address["socket_address"]["ipv4_compat"] = True
    manager = {
        "@type": f"{_TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": prefix,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "backend",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": path}, "route": {"cluster": cluster}}],
                }
            ]
        },
        "http_filters": [_ROUTER],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {
        "name": f"{host}_{port}",
        "address": address,
        "filter_chains": [chain],
        "ignore_global_conn_limit": True,
        "bypass_overload_manager": True,
    }
