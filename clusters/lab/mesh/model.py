"""What is compiled for a proxy, and what comes out: plain frozen values without any client or file.

What belongs here: values. What does not: where they come from (`registry`) and what they mean for Envoy (`compile`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from policies.istio.model import (
    AuthorizationPolicy,
    DestinationRule,
    Exports,
    PeerAuthentication,
    RequestAuthentication,
    ServiceEntry,
    VirtualService,
)

Json = dict[str, Any]
ROOT_NAMESPACE: Final = "istio-system"
TRUST_DOMAIN: Final = "cluster.local"
OUTBOUND, INBOUND, STATUS, PROBES, ADMIN, PROMETHEUS = 15001, 15006, 15021, 15020, 15000, 15090
MARK: Final = 1337
"""SO_MARK of everything that a proxy and its agent send."""
FOLDER: Final = "/etc/istio/proxy"
"""Where a proxy's files are inside its container."""

AppProtocol = Literal["http", "http2", "tcp", "tls", "unknown"]
"""What a port speaks, from its name or appProtocol as Istio reads them; `unknown` is told from the first bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """One meshed pod.

    Attributes:
        ports: Container port number → name, TCP only.
        version: The injected proxy's version label, e.g. `1.31.0`.
    """

    namespace: str
    pod: str
    uid: str
    address: str
    service_account: str
    node: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[int, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """`spiffe://cluster.local/ns/NAMESPACE/sa/ACCOUNT`."""
        return f"spiffe://{TRUST_DOMAIN}/ns/{self.namespace}/sa/{self.service_account}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One ready backend of a Service's port.

    Attributes:
        meshed: Whether it takes mutual TLS (its pod has a proxy).
    """

    address: str
    port: int
    labels: Mapping[str, str] = field(default_factory=dict)
    meshed: bool = False
    namespace: str = ""
    service_account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One TCP port of a Service.

    Attributes:
        target: `targetPort` as written, a number or a container port's name; empty for the Service's own number. A
            selected pod's own proxy goes by it, ready or not, since it has no endpoint before it is ready.
    """

    number: int
    name: str
    protocol: AppProtocol
    target: int | str = ""
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A Kubernetes Service, or a host of a ServiceEntry.

    Attributes:
        host: Full name: `server.shop.svc.cluster.local`.
        addresses: Cluster IPs; none for a headless one.
        external: Whether it comes from a ServiceEntry.
        exports: The namespaces whose proxies know of it, as `exportTo` says them.
    """

    name: str
    namespace: str
    host: str
    addresses: tuple[str, ...] = ()
    headless: bool = False
    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    resolution: str = ""
    exports: Exports = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """Everything that any proxy's configuration may depend on; resources in order of creation.

    Attributes:
        pods: Address → proxy, for source labels.
    """

    services: tuple[Service, ...] = ()
    peer_authentications: tuple[PeerAuthentication, ...] = ()
    authorization_policies: tuple[AuthorizationPolicy, ...] = ()
    request_authentications: tuple[RequestAuthentication, ...] = ()
    destination_rules: tuple[DestinationRule, ...] = ()
    virtual_services: tuple[VirtualService, ...] = ()
    service_entries: tuple[ServiceEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One proxy's configuration, as Envoy's own JSON.

    Attributes:
        listeners, clusters: In a stable order.
        routes: Name → RouteConfiguration, watched one by one.
        endpoints: Cluster name → ClusterLoadAssignment, watched one by one.
    """

    listeners: tuple[Json, ...]
    clusters: tuple[Json, ...]
    routes: Mapping[str, Json] = field(default_factory=dict)
    endpoints: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """What the inbound half contributes: the listener on 15006 and the clusters that it names."""

    listeners: tuple[Json, ...]
    clusters: tuple[Json, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """What the outbound half contributes."""

    listeners: tuple[Json, ...]
    clusters: tuple[Json, ...]
    routes: Mapping[str, Json] = field(default_factory=dict)
    endpoints: Mapping[str, Json] = field(default_factory=dict)
