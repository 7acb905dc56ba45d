"""Istio's names that several parts of the dialect need: labels, annotations, containers, API versions.

What belongs here: constants. What does not: anything that asks a cluster.
"""

from __future__ import annotations

from typing import Final

SECURITY: Final = "security.istio.io/v1"
NETWORKING: Final = "networking.istio.io/v1"
KINDS: Final = (
    (SECURITY, "PeerAuthentication"),
    (SECURITY, "AuthorizationPolicy"),
    (SECURITY, "RequestAuthentication"),
    (NETWORKING, "DestinationRule"),
    (NETWORKING, "VirtualService"),
    (NETWORKING, "ServiceEntry"),
)
"""What behaviours are written as; any of them can deny or divert a flow."""

INJECTION: Final = "istio-injection"
REVISION: Final = "istio.io/rev"
TAG: Final = "istio.io/tag"
INJECT: Final = "sidecar.istio.io/inject"
STATUS: Final = "sidecar.istio.io/status"
NATIVE: Final = "sidecar.istio.io/nativeSidecar"
CONFIG: Final = "proxy.istio.io/config"
UNGUARDED: Final = "traffic.sidecar.istio.io/excludeInboundPorts"
UNROUTED: Final = "traffic.sidecar.istio.io/excludeOutboundPorts"
EXPORT_TO: Final = "networking.istio.io/exportTo"
REQUESTS: Final = {"cpu": "sidecar.istio.io/proxyCPU", "memory": "sidecar.istio.io/proxyMemory"}
"""Resource → the annotation that says how much of it the proxy requests; with any of them its limits are gone."""

PROXY: Final = "istio-proxy"
CONTROL_PLANE: Final = "app=istiod"
DEFAULT: Final = "default"
ROOT_NAMESPACE: Final = "istio-system"
TRUST_DOMAIN: Final = "cluster.local"
VERSION_LABEL: Final = "version"
"""The label by which the world's workloads tell their version; subsets are made of it."""

IGNORED_NAMESPACES: Final = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
"""Where Istio never injects, whatever the labels say."""
