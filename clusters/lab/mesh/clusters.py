"""Outbound clusters with their endpoints: DestinationRules, automatic mutual TLS, ServiceEntries.

What belongs here: what becomes of a connection once a route has chosen where it goes. What does not: choosing
(`routes`, `outbound`), the contexts of TLS (`tls`).

Where Istio has a cluster of type EDS the lab has one of type STATIC with the same endpoints in it: Envoy takes an
inotify instance for every file that it follows, an ordinary Linux gives a user 128 of them, and there are dozens of
clusters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, cast

from clusters.lab.mesh import peers, tls
from clusters.lab.mesh.hosts import Names, Rule
from clusters.lab.mesh.model import TRUST_DOMAIN, Endpoint, Json, Service, ServicePort
from flows.errors import HarnessError
from policies.istio.model import Balancer, Meta, Subset, TrafficPolicy

PASSTHROUGH, BLACK_HOLE = "PassthroughCluster", "BlackHoleCluster"
_TYPE: Final = "type.googleapis.com/envoy."
_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_UNLIMITED: Final = 4294967295
_BALANCERS: Final[Mapping[Balancer, str]] = {"ROUND_ROBIN": "ROUND_ROBIN", "RANDOM": "RANDOM"}
"""Every other one is LEAST_REQUEST, which is also the default; PASSTHROUGH is a type of cluster."""
_POOL: Final = (
    "max_connections",
    "max_pending_requests",
    "max_requests",
    "max_requests_per_connection",
    "connect_timeout",
)


def cluster_name(host: str, port: int, subset: str = "") -> str:
    """Istio's name of an outbound cluster: `outbound|8080|v1|server.shop.svc.cluster.local`."""
    return f"outbound|{port}|{subset}|{host}"


def build(names: Names, namespace: str, *, ipv6: bool = False) -> tuple[Json, ...]:
    """Every cluster that clients of one namespace have; equal for all of them."""
    found: list[Json] = [_black_hole(), _passthrough()]
    takes = _Takes(names)
    for service in names.visible(namespace):
        rule = names.rule(service, namespace)
        for port in service.ports:
            subsets = (None, *(rule.subsets if rule else ()))
            found += [_One(names, service, port, rule, subset, ipv6).cluster(takes) for subset in subsets]
    return tuple(found)


def effective(rule: Rule | None, subset: Subset | None, port: int) -> TrafficPolicy:
    """What a rule says for one subset and port.

    A port's own settings inherit nothing from the level they stand on; a subset takes from the level above what it does
    not say itself, in groups: TLS, load balancer, connection pool.
    """
    written = rule.policy if rule else None
    base = written.ports.get(port, written) if written else TrafficPolicy()
    if subset is None or subset.policy is None:
        return base
    own = subset.policy
    if port in own.ports:
        return own.ports[port]
    if own.tls is not None:
        base = replace(base, tls=own.tls, sni=own.sni, subject_alt_names=own.subject_alt_names)
    if own.balancer is not None:
        base = replace(base, balancer=own.balancer)
    if any(getattr(own, name) is not None for name in _POOL):
        base = replace(base, **{name: getattr(own, name) for name in _POOL})
    return base


def seconds(value: float) -> str:
    """A protobuf Duration."""
    return f"{value:.3f}".rstrip("0").rstrip(".") + "s"


class _Takes:
    """Whether an endpoint takes mutual TLS: it is meshed and no PeerAuthentication forbids it."""

    def __init__(self, names: Names) -> None:
        self._mesh = names.mesh
        self._known: dict[tuple[str, frozenset[tuple[str, str]]], peers.Modes] = {}

    def mutual(self, endpoint: Endpoint) -> bool:
        if not endpoint.meshed:
            return False
        key = (endpoint.namespace, frozenset(endpoint.labels.items()))
        if key not in self._known:
            self._known[key] = peers.modes(self._mesh, endpoint.namespace, endpoint.labels)
        return self._known[key].of(endpoint.port) != "DISABLE"

    def disabled(self, namespace: str) -> bool:
        """Whether a whole namespace takes plaintext only; then nobody is offered anything else, as in Istio."""
        key: tuple[str, frozenset[tuple[str, str]]] = (namespace, frozenset())
        if key not in self._known:
            self._known[key] = peers.modes(self._mesh, namespace, {})
        return self._known[key].default == "DISABLE"


class _One:
    """One cluster: a service's port, whole or a subset."""

    def __init__(
        self, names: Names, service: Service, port: ServicePort, rule: Rule | None, subset: Subset | None, ipv6: bool
    ) -> None:
        self._service, self._port, self._rule, self._subset, self._ipv6 = service, port, rule, subset, ipv6
        self._label = subset.name if subset else ""
        self._outside = names.outside(service)
        self._policy = effective(rule, subset, port.number)
        self.name = cluster_name(service.host, port.number, self._label)
        chosen = subset.labels.items() if subset else ()
        self._endpoints = [each for each in port.endpoints if all(each.labels.get(k) == v for k, v in chosen)]
        self._type = self._discovery()

    def _discovery(self) -> str:
        if self._service.headless or self._policy.balancer == "PASSTHROUGH":
            return "ORIGINAL_DST"
        if self._service.external:
            return {"NONE": "ORIGINAL_DST", "DNS": "STRICT_DNS"}.get(self._service.resolution, "STATIC")
        return "STATIC"

    def cluster(self, takes: _Takes) -> Json:
        policy = self._policy
        found: Json = {
            "name": self.name,
            "alt_stat_name": f"{self.name};",
            "type": self._type,
            "connect_timeout": seconds(10 if policy.connect_timeout is None else policy.connect_timeout),
            "lb_policy": _BALANCERS.get(policy.balancer or "UNSPECIFIED", "LEAST_REQUEST"),
            "circuit_breakers": {"thresholds": [self._thresholds()]},
            "common_lb_config": {"healthy_panic_threshold": {}},
            "metadata": {"filter_metadata": {"istio": self._origin()}},
        }
        if self._type == "ORIGINAL_DST":
            found["lb_policy"] = "CLUSTER_PROVIDED"
        else:
            found["load_assignment"] = self._assignment(takes)
        if self._type == "STRICT_DNS":
            family = "V6_ONLY" if self._ipv6 else "V4_ONLY"
            found |= {"dns_refresh_rate": "60s", "respect_dns_ttl": True, "dns_lookup_family": family}
        options = self._http_options()
        if options:
            found["typed_extension_protocol_options"] = {
                _OPTIONS: {"@type": f"type.googleapis.com/{_OPTIONS}"} | options
            }
        return found | self._sockets(takes)

    def _assignment(self, takes: _Takes) -> Json:
        """The endpoints; one that takes mutual TLS says so by `tlsMode`."""
        each = [
            {
                "endpoint": {"address": {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}}},
                "load_balancing_weight": 1,
            }
            | (
                {"metadata": {"filter_metadata": {"envoy.transport_socket_match": {"tlsMode": "istio"}}}}
                if takes.mutual(endpoint)
                else {}
            )
            for endpoint in self._endpoints
        ]
        return {
            "cluster_name": self.name,
            "endpoints": [{"locality": {}, "lb_endpoints": each, "load_balancing_weight": len(each)}] if each else [],
        }

    def _thresholds(self) -> Json:
        policy = self._policy
        return {
            "max_connections": _limit(policy.max_connections),
            "max_pending_requests": _limit(policy.max_pending_requests),
            "max_requests": _limit(policy.max_requests),
            "max_retries": _UNLIMITED,
        }

    def _origin(self) -> Json:
        service = self._service
        found: Json = {"services": [{"host": service.host, "name": service.name, "namespace": service.namespace}]}
        if self._rule:
            found["config"] = origin(self._rule.source, "destination-rule")
        if self._subset:
            found["subset"] = self._label
        if self._outside:
            found["external"] = True
        return found

    def _http_options(self) -> Json:
        """How requests are sent; nothing for plain HTTP/1.1 without any wish."""
        found: Json = {}
        if self._policy.max_requests_per_connection:
            found["common_http_protocol_options"] = {
                "max_requests_per_connection": self._policy.max_requests_per_connection
            }
        if self._policy.tls == "SIMPLE" and not self._policy.sni:
            found["upstream_http_protocol_options"] = {"auto_sni": True} | (
                {} if self._policy.subject_alt_names else {"auto_san_validation": True}
            )
        if self._port.protocol == "http2":
            found["explicit_http_config"] = {"http2_protocol_options": {}}
        elif self._port.protocol == "unknown":
            found["use_downstream_protocol_config"] = {"http_protocol_options": {}, "http2_protocol_options": {}}
        elif found:
            found["explicit_http_config"] = {"http_protocol_options": {}}
        return found

    def _sockets(self, takes: _Takes) -> Json:
        """TLS as a rule says, or by endpoint when none says anything and the service is of the mesh."""
        mode, policy = self._policy.tls, self._policy
        http2 = self._port.protocol == "http2"
        if mode == "SIMPLE":
            # What a server outside may be is known from its ServiceEntry; one of the mesh is asked for by its name.
            names = policy.subject_alt_names or (self._identities() if self._outside else ())
            return {"transport_socket": tls.simple_context(sni=policy.sni, names=names, alpn=("h2",) if http2 else ())}
        if mode == "DISABLE" or (mode is None and (self._outside or takes.disabled(self._service.namespace))):
            return {}
        if mode == "MUTUAL":
            rule = cast("Rule", self._rule).source
            raise HarnessError(
                f"DestinationRule {rule.namespace}/{rule.name}: tls.mode MUTUAL; the lab has ISTIO_MUTUAL"
            )
        context = tls.upstream_context(
            sni=policy.sni or tls.server_name(self._service.host, self._port.number, self._label),
            identities=policy.subject_alt_names or self._identities(),
            alpn=tls.MESH_H2_ALPN if http2 else tls.MESH_ALPN,
        )
        if mode == "ISTIO_MUTUAL":
            return {"transport_socket": context}
        if self._type == "ORIGINAL_DST":
            # There is no endpoint to say what it takes, so all of them must have a proxy.
            every = self._port.endpoints and all(each.meshed for each in self._port.endpoints)
            return {"transport_socket": context} if every else {}
        return {
            "transport_socket_matches": [
                {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transport_socket": context},
                {"name": "tlsMode-disabled", "match": {}, "transport_socket": tls.plaintext()},
            ]
        }

    def _identities(self) -> Sequence[str]:
        """Of all the service's endpoints, whatever the subset, as Istio."""
        return sorted(
            {
                f"spiffe://{TRUST_DOMAIN}/ns/{each.namespace}/sa/{each.service_account}"
                for each in self._port.endpoints
                if each.service_account
            }
        )


def origin(meta: Meta, kind: str) -> str:
    """How config dumps name the resource that something comes from."""
    return f"/apis/networking.istio.io/v1/namespaces/{meta.namespace}/{kind}/{meta.name}"


def _limit(value: int | None) -> int:
    return value or _UNLIMITED


def _black_hole() -> Json:
    return {
        "name": BLACK_HOLE,
        "alt_stat_name": f"{BLACK_HOLE};",
        "type": "STATIC",
        "connect_timeout": "10s",
    }


def _passthrough() -> Json:
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), _UNLIMITED)
    return {
        "name": PASSTHROUGH,
        "alt_stat_name": f"{PASSTHROUGH};",
        "type": "ORIGINAL_DST",
        "connect_timeout": "10s",
        "lb_policy": "CLUSTER_PROVIDED",
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": {
            _OPTIONS: {
                "@type": f"type.googleapis.com/{_OPTIONS}",
                "common_http_protocol_options": {"idle_timeout": "300s"},
                "use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}},
            }
        },
    }
