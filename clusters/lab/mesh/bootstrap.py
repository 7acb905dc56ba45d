"""What an Envoy of the lab is started with, and how its configuration names the files that follow.

What belongs here: the bootstrap, the files' names, references to them. What does not: what is in the files (`compile`),
who writes them (`pilot`). It imports nothing but the standard library and little of that, because every proxy's agent
pays for it at its start; so it has numbers of `model` again (a test holds them equal).
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Any, Final
from urllib.parse import quote

Json = dict[str, Any]
FOLDER: Final = "/etc/istio/proxy"
"""Where a proxy's files are inside its container."""
MARK: Final = 1337
ADMIN, PROMETHEUS, STATUS, PROBES = 15000, 15090, 15021, 15020
IDENTITY: Final = "default"
"""The SDS secret with the proxy's own certificate and key."""
ROOTS: Final = "ROOTCA"
"""The SDS secret with the authorities that it trusts."""
CLUSTERS_FILE: Final = "cds.json"
LISTENERS_FILE: Final = "lds.json"

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
    # … what the agent must see to know what Envoy has taken …
    *({"suffix": each} for each in (".version_text", ".update_rejected", ".update_failure", ".update_success")),
    # … and what proves mutual TLS.
    *({"suffix": each} for each in ("ssl.handshake", "ssl.connection_error", "ssl.fail_verify_error")),
    *({"suffix": each} for each in ("ssl.fail_verify_no_cert", "ssl.fail_verify_san", "no_filter_chain_match")),
]


def routes_file(name: str) -> str:
    """The file of a RouteConfiguration; different names never share one."""
    return f"rds-{quote(name, safe='')}.json"


def endpoints_file(cluster: str) -> str:
    """The file of a cluster's endpoints; named by a hash, since cluster names are longer than a file's may be."""
    return f"eds-{hashlib.sha256(cluster.encode()).hexdigest()[:20]}.json"


def secret_file(name: str) -> str:
    """The file of an SDS secret, `default` or `ROOTCA`."""
    return f"sds-{name}.json"


def _source(file: str) -> Json:
    return {"path_config_source": {"path": f"{FOLDER}/{file}"}, "resource_api_version": "V3"}


def sds(name: str) -> Json:
    """An SdsSecretConfig for `default` or `ROOTCA`: `{"name": …, "sds_config": …}`."""
    return {"name": name, "sds_config": _source(secret_file(name))}


def rds(name: str) -> Json:
    """An Rds (`rds` of an HTTP connection manager) for the RouteConfiguration of that name."""
    return {"route_config_name": name, "config_source": _source(routes_file(name))}


def eds(cluster: str) -> Json:
    """An EdsClusterConfig (`eds_cluster_config` of a cluster) for the cluster's own name."""
    return {"eds_config": _source(endpoints_file(cluster)), "service_name": cluster}


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
        "dynamic_resources": {"lds_config": _source(LISTENERS_FILE), "cds_config": _source(CLUSTERS_FILE)},
        "cluster_manager": {"upstream_bind_config": marked()},
        "static_resources": {
            "listeners": [
                _listener(PROMETHEUS, "stats", "/stats/prometheus", "prometheus_stats", ":" in address),
                _listener(STATUS, "agent", "/healthz/ready", "agent", ":" in address),
            ],
            "clusters": [_local("prometheus_stats", ADMIN), _local("agent", PROBES)],
        },
        "stats_config": {"use_all_default_tags": False, "stats_matcher": {"inclusion_list": {"patterns": _STATS}}},
        "layered_runtime": {
            "layers": [{"name": "global config", "static_layer": _RUNTIME}, {"name": "admin", "admin_layer": {}}]
        },
        "application_log_config": {"log_format": {"text_format": "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"}},
    }


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _local(name: str, port: int) -> Json:
    endpoint = {"endpoint": {"address": _address("127.0.0.1", port)}}
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
