"""What Istio knows and the lab does not do: refused by name, in one table that documentation is made from.

What belongs here: `REFUSALS`. What does not: what Istio itself would refuse (`shapes`, `rules`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from policies.paths import find

Object = dict[str, Any]


def _there(_value: object) -> bool:
    return True


def _given(value: object) -> bool:
    return bool(value)


def _other_than(*allowed: object) -> Callable[[object], bool]:
    return lambda value: value not in allowed


def _is(*values: object) -> Callable[[object], bool]:
    return lambda value: value in values


def _beyond(*allowed: object) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and any(each not in allowed for each in value)


def _without(*keys: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and not any(key in value for key in keys)


def _begins(prefix: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value.startswith(prefix)


def _ipv6(value: object) -> bool:
    return isinstance(value, str) and ":" in value and not value.startswith("unix:")


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that the lab does not do.

    Attributes:
        path: The field; `[*]` stands for every element of a list, `T` for every traffic policy: of the rule, of its
            subsets, and of single ports.
        why: What is not done, as the message says it behind "the lab does not do".
        when: Tells from the field's value whether it asks for that.
    """

    kind: str
    path: str
    why: str
    when: Callable[[object], bool] = _there

    @property
    def always(self) -> bool:
        """Whether no value of the field is done."""
        return self.when in (_there, _given)


_WAYPOINTS: Final = "policies of waypoints, gateways and Services: there are sidecars only; use selector"
_FILES: Final = "certificates from files and Secrets for upstream TLS"
_GATEWAYS: Final = "gateways: routes belong to the sidecars of the mesh"
_MIRROR: Final = "mirroring"
_SUBNETS: Final = "routing TCP by addresses"

REFUSALS: Final[tuple[Refusal, ...]] = (
    Refusal("AuthorizationPolicy", "spec.targetRef", _WAYPOINTS),
    Refusal("AuthorizationPolicy", "spec.targetRefs", _WAYPOINTS),
    Refusal("AuthorizationPolicy", "spec.rules[*].from[*].source.trustDomains", "trust domains of other meshes"),
    Refusal("AuthorizationPolicy", "spec.rules[*].from[*].source.notTrustDomains", "trust domains of other meshes"),
    Refusal(
        "AuthorizationPolicy",
        "spec.rules[*].when[*].key",
        "attributes of experimental Envoy filters",
        _begins("experimental."),
    ),
    Refusal("RequestAuthentication", "spec.targetRef", _WAYPOINTS),
    Refusal("RequestAuthentication", "spec.targetRefs", _WAYPOINTS),
    Refusal("RequestAuthentication", "spec.jwtRules[*].jwksUri", "fetching keys: there is no network; give jwks"),
    Refusal("RequestAuthentication", "spec.jwtRules[*].jwks_uri", "fetching keys: there is no network; give jwks"),
    Refusal(
        "RequestAuthentication",
        "spec.jwtRules[*]",
        "discovery of an issuer's keys: there is no network; give jwks",
        _without("jwks", "jwksUri", "jwks_uri"),
    ),
    Refusal("RequestAuthentication", "spec.jwtRules[*].fromCookies", "tokens in cookies"),
    Refusal("RequestAuthentication", "spec.jwtRules[*].outputPayloadToHeader", "a token's payload as a header"),
    Refusal("RequestAuthentication", "spec.jwtRules[*].spaceDelimitedClaims", "other claims of many words than scope"),
    Refusal("RequestAuthentication", "spec.jwtRules[*].timeout", "fetching keys: there is no network; give jwks"),
    Refusal("DestinationRule", "spec.workloadSelector", "rules for chosen callers"),
    Refusal("DestinationRule", "T.outlierDetection", "outlier detection"),
    Refusal("DestinationRule", "T.loadBalancer.consistentHash", "load balancing by hash"),
    Refusal("DestinationRule", "T.loadBalancer.localityLbSetting", "load balancing by locality: there is one"),
    Refusal("DestinationRule", "T.loadBalancer.zoneAwareLbSetting", "load balancing by zone: there is one"),
    Refusal("DestinationRule", "T.loadBalancer.warmup", "warming up"),
    Refusal("DestinationRule", "T.loadBalancer.warmupDurationSecs", "warming up"),
    Refusal("DestinationRule", "T.connectionPool.tcp.tcpKeepalive", "TCP keep-alive"),
    Refusal("DestinationRule", "T.connectionPool.tcp.maxConnectionDuration", "an end for long connections"),
    Refusal("DestinationRule", "T.connectionPool.tcp.idleTimeout", "an end for idle connections"),
    Refusal("DestinationRule", "T.connectionPool.http.idleTimeout", "an end for idle connections"),
    Refusal("DestinationRule", "T.connectionPool.http.h2UpgradePolicy", "upgrades to HTTP/2", _other_than("DEFAULT")),
    Refusal("DestinationRule", "T.connectionPool.http.useClientProtocol", "the client's protocol upstream", _given),
    Refusal("DestinationRule", "T.connectionPool.http.maxRetries", "a limit of retries under way"),
    Refusal("DestinationRule", "T.connectionPool.http.maxConcurrentStreams", "a limit of streams"),
    Refusal("DestinationRule", "T.connectionPool.http.http2KeepAlive", "HTTP/2 keep-alive"),
    Refusal("DestinationRule", "T.tls.mode", "client certificates of one's own; use ISTIO_MUTUAL", _is("MUTUAL")),
    Refusal("DestinationRule", "T.tls.clientCertificate", _FILES),
    Refusal("DestinationRule", "T.tls.privateKey", _FILES),
    Refusal("DestinationRule", "T.tls.caCertificates", _FILES),
    Refusal("DestinationRule", "T.tls.caCrl", _FILES),
    Refusal("DestinationRule", "T.tls.credentialName", _FILES),
    Refusal("DestinationRule", "T.tls.insecureSkipVerify", "skipping verification", _given),
    Refusal("DestinationRule", "T.tunnel", "tunnels"),
    Refusal("DestinationRule", "T.proxyProtocol", "the PROXY protocol"),
    Refusal("DestinationRule", "T.retryBudget", "retry budgets"),
    Refusal("VirtualService", "spec.gateways", _GATEWAYS, _beyond("mesh")),
    Refusal("VirtualService", "spec.tls", "routing TLS by server name"),
    Refusal("VirtualService", "spec.http[*].match[*].gateways", _GATEWAYS, _beyond("mesh")),
    Refusal("VirtualService", "spec.http[*].match[*].scheme", "matching the scheme: in the mesh it is always http"),
    Refusal("VirtualService", "spec.http[*].match[*].name", "names of matches"),
    Refusal("VirtualService", "spec.http[*].match[*].statPrefix", "statistics of one match"),
    Refusal("VirtualService", "spec.http[*].delegate", "delegation to another VirtualService"),
    Refusal("VirtualService", "spec.http[*].corsPolicy", "CORS"),
    Refusal("VirtualService", "spec.http[*].mirror", _MIRROR),
    Refusal("VirtualService", "spec.http[*].mirrors", _MIRROR),
    Refusal("VirtualService", "spec.http[*].mirrorPercent", _MIRROR),
    Refusal("VirtualService", "spec.http[*].mirror_percent", _MIRROR),
    Refusal("VirtualService", "spec.http[*].mirrorPercentage", _MIRROR),
    Refusal("VirtualService", "spec.http[*].rewrite.uriRegexRewrite", "rewriting by regular expression"),
    Refusal("VirtualService", "spec.http[*].redirect.derivePort", "deriving a redirect's port"),
    Refusal("VirtualService", "spec.http[*].redirect.prefixRewrite", "redirecting a prefix"),
    Refusal("VirtualService", "spec.http[*].directResponse.body.bytes", "bodies of bytes; use string"),
    Refusal("VirtualService", "spec.http[*].fault.abort.grpcStatus", "aborts but by httpStatus"),
    Refusal("VirtualService", "spec.http[*].fault.abort.http2Error", "aborts but by httpStatus"),
    Refusal(
        "VirtualService",
        "spec.http[*].fault.abort",
        "aborts without httpStatus",
        _without("httpStatus", "grpcStatus", "http2Error"),
    ),
    Refusal("VirtualService", "spec.http[*].fault.delay.exponentialDelay", "delays but by fixedDelay"),
    Refusal(
        "VirtualService",
        "spec.http[*].fault.delay",
        "delays without fixedDelay",
        _without("fixedDelay", "exponentialDelay"),
    ),
    Refusal("VirtualService", "spec.http[*].fault.delay.percent", "delays by percent; use percentage"),
    Refusal("VirtualService", "spec.http[*].retries.backoff", "a pause between retries of one's own"),
    Refusal("VirtualService", "spec.http[*].retries.retryRemoteLocalities", "retries by locality: there is one"),
    Refusal(
        "VirtualService",
        "spec.http[*].retries.retryIgnorePreviousHosts",
        "retries on hosts that failed before",
        _is(False),
    ),
    Refusal("VirtualService", "spec.tcp[*].match[*].gateways", _GATEWAYS, _beyond("mesh")),
    Refusal("VirtualService", "spec.tcp[*].match[*].destinationSubnets", _SUBNETS, _given),
    Refusal("VirtualService", "spec.tcp[*].match[*].sourceSubnet", _SUBNETS, _given),
    Refusal("VirtualService", "spec.tcp[*].match[*].sourceNamespace", "routing TCP by the caller's namespace", _given),
    Refusal("ServiceEntry", "spec.workloadSelector", "pods behind a ServiceEntry; list endpoints"),
    Refusal("ServiceEntry", "spec.subjectAltNames", "names that a certificate must have; use a DestinationRule"),
    Refusal(
        "ServiceEntry",
        "spec.resolution",
        "other resolutions than NONE, STATIC and DNS",
        _other_than("NONE", "STATIC", "DNS"),
    ),
    Refusal(
        "ServiceEntry",
        "spec.ports[*].protocol",
        "protocols other than HTTP, HTTP2, GRPC, HTTPS, TLS and TCP",
        lambda value: str(value).upper() not in {"", "HTTP", "HTTP2", "GRPC", "HTTPS", "TLS", "TCP"},
    ),
    Refusal("ServiceEntry", "spec.addresses[*]", "IPv6: this lab is IPv4 only", _ipv6),
    Refusal("ServiceEntry", "spec.endpoints[*].address", "IPv6: this lab is IPv4 only", _ipv6),
    Refusal("ServiceEntry", "spec.endpoints[*].address", "Unix sockets", _begins("unix:")),
    Refusal("ServiceEntry", "spec.endpoints[*].network", "several networks: there is one"),
    Refusal("ServiceEntry", "spec.endpoints[*].locality", "localities: there is one"),
    Refusal("ServiceEntry", "spec.endpoints[*].weight", "weights of endpoints", _other_than(0, 1)),
)
"""Every field that is refused, in the order in which messages name them."""

REVISION: Final = "istio.io/rev"
"""The label by which a resource is for one control plane; refused too, in its metadata."""

REFUSED_KINDS: Final[dict[str, str]] = {
    "Gateway (networking.istio.io)": "gateways: there are sidecars only",
    "Sidecar": "configuration of single sidecars: each knows the whole mesh",
    "EnvoyFilter": "patches of Envoy's configuration",
    "WorkloadEntry": "workloads outside the cluster",
    "WorkloadGroup": "workloads outside the cluster",
    "ProxyConfig": "settings of single proxies",
    "Telemetry": "telemetry",
    "WasmPlugin": "extensions",
    "Gateway, HTTPRoute, … (gateway.networking.k8s.io)": "the Gateway API",
}
"""Kinds that a mesh has and the lab does not know: as in a cluster without their definitions."""

_POLICIES: Final = ("spec.trafficPolicy", "spec.subsets[*].trafficPolicy")


def refused(obj: Object) -> Iterator[tuple[str, str]]:
    """The (field, what is not done) of everything in a checked object that the lab does not do."""
    labels = (obj.get("metadata") or {}).get("labels") or {}
    if REVISION in labels:
        yield f"metadata.labels[{REVISION}]", "resources of one revision: every control plane takes them all"
    for refusal in REFUSALS:
        if refusal.kind == obj.get("kind"):
            for pattern in _patterns(refusal.path):
                for path, value in find(obj, pattern):
                    if refusal.when(value):
                        yield path, refusal.why


def _patterns(path: str) -> list[str]:
    if not path.startswith("T."):
        return [path]
    rest = path.removeprefix("T.")
    return [place for policy in _POLICIES for place in (f"{policy}.{rest}", f"{policy}.portLevelSettings[*].{rest}")]
