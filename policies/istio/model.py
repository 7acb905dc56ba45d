"""Istio's resources as written: what is absent stays absent, defaults and merging belong to whoever gives them meaning.

What belongs here: plain frozen values, one class a kind. What does not: reading YAML (`read`), meaning (the lab's
compiler, the oracle).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MtlsMode = Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]
Action = Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"]
TlsMode = Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]
Balancer = Literal["UNSPECIFIED", "ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "PASSTHROUGH", "LEAST_CONN"]
Resolution = Literal["NONE", "STATIC", "DNS"]
Labels = Mapping[str, str]
Exports = tuple[str, ...]
"""`exportTo` as written: namespaces, `.` for its own, `*` or nothing for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Where an object is and when it came; `created` is RFC 3339, so it sorts as text."""

    name: str
    namespace: str
    created: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAuthentication:
    """`selector` None: the whole namespace, or the whole mesh in the root namespace; `mode` None: not written."""

    meta: Meta
    selector: Labels | None = None
    mode: MtlsMode | None = None
    ports: Mapping[int, MtlsMode] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """`rules[].from[].source`."""

    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    not_service_accounts: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    not_remote_ip_blocks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`rules[].to[].operation`; ports are text, as they are written."""

    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    not_ports: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """`rules[].when[]`."""

    key: str
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """One of `rules[]`; empty parts match everything."""

    sources: tuple[Source, ...] = ()
    operations: tuple[Operation, ...] = ()
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationPolicy:
    """`action` None: not written (ALLOW); `rules` None: not written (matches nothing)."""

    meta: Meta
    selector: Labels | None = None
    action: Action | None = None
    rules: tuple[AccessRule, ...] | None = None
    provider: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtRule:
    """`jwtRules[]`; `headers` are `(name, prefix)`."""

    issuer: str
    jwks: str
    audiences: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    params: tuple[str, ...] = ()
    forward: bool = False
    claim_to_headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAuthentication:
    """Which tokens are valid for the pods it selects."""

    meta: Meta
    selector: Labels | None = None
    rules: tuple[JwtRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPolicy:
    """`trafficPolicy`; None: not written. `ports` are `portLevelSettings`; `sni` and `san` belong to `tls`."""

    tls: TlsMode | None = None
    sni: str = ""
    subject_alt_names: tuple[str, ...] = ()
    balancer: Balancer | None = None
    max_connections: int | None = None
    max_pending_requests: int | None = None
    max_requests: int | None = None
    max_requests_per_connection: int | None = None
    connect_timeout: float | None = None
    ports: Mapping[int, TrafficPolicy] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """A named part of a service's pods."""

    name: str
    labels: Labels = field(default_factory=dict)
    policy: TrafficPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationRule:
    """How callers' proxies treat a host; `host` as written (short, full or a wildcard)."""

    meta: Meta
    host: str
    policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    exports: Exports = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StringMatch:
    """Exactly one of exact, prefix and regex; all empty means "is present"."""

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpMatch:
    """`http[].match[]`."""

    uri: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: tuple[tuple[str, StringMatch], ...] = ()
    without_headers: tuple[tuple[str, StringMatch], ...] = ()
    query: tuple[tuple[str, StringMatch], ...] = ()
    port: int | None = None
    source_labels: Labels = field(default_factory=dict)
    source_namespace: str = ""
    ignore_uri_case: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderChanges:
    """`headers.request` and `headers.response` of a route or of one destination."""

    set_request: tuple[tuple[str, str], ...] = ()
    add_request: tuple[tuple[str, str], ...] = ()
    remove_request: tuple[str, ...] = ()
    set_response: tuple[tuple[str, str], ...] = ()
    add_response: tuple[tuple[str, str], ...] = ()
    remove_response: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """`route[]`: host as written; `weight` None: not written."""

    host: str
    subset: str = ""
    port: int | None = None
    weight: int | None = None
    headers: HeaderChanges = field(default_factory=HeaderChanges)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """`redirect`; `code` defaults to 301 in Istio."""

    uri: str = ""
    authority: str = ""
    scheme: str = ""
    port: int | None = None
    code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRoute:
    """One of `http[]`; `attempts` None: not written. A fault without a percentage is injected into nothing."""

    name: str = ""
    matches: tuple[HttpMatch, ...] = ()
    destinations: tuple[Destination, ...] = ()
    redirect: Redirect | None = None
    direct_response: tuple[int, str] | None = None
    rewrite_uri: str = ""
    rewrite_authority: str = ""
    headers: HeaderChanges = field(default_factory=HeaderChanges)
    abort_status: int | None = None
    abort_percent: float = 0.0
    delay: float | None = None
    delay_percent: float = 0.0
    timeout: float | None = None
    attempts: int | None = None
    per_try_timeout: float | None = None
    retry_on: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpRoute:
    """One of `tcp[]`; `ports` and `source_labels` of its matches, empty: all."""

    ports: tuple[int, ...] = ()
    source_labels: Labels = field(default_factory=dict)
    destinations: tuple[Destination, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualService:
    """How calls to its hosts are routed; hosts as written."""

    meta: Meta
    hosts: tuple[str, ...]
    http: tuple[HttpRoute, ...] = ()
    tcp: tuple[TcpRoute, ...] = ()
    exports: Exports = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPort:
    """`ports[]` of a ServiceEntry."""

    number: int
    name: str
    protocol: str
    target_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryEndpoint:
    """`endpoints[]` of a ServiceEntry; `ports` by port name."""

    address: str
    ports: Mapping[str, int] = field(default_factory=dict)
    labels: Labels = field(default_factory=dict)
    service_account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """Hosts that Kubernetes does not know."""

    meta: Meta
    hosts: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    ports: tuple[EntryPort, ...] = ()
    resolution: Resolution = "NONE"
    endpoints: tuple[EntryEndpoint, ...] = ()
    outside: bool = True
    """`location: MESH_EXTERNAL`, which is also the default."""
    exports: Exports = ()


Resource = (
    PeerAuthentication | AuthorizationPolicy | RequestAuthentication | DestinationRule | VirtualService | ServiceEntry
)
