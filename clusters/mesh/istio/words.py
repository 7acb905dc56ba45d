"""Istio's names that several parts of the dialect need: labels, annotations, containers, API versions.

What belongs here: constants. What does not: anything that asks a cluster.
"""

from __future__ import annotations

from typing import Final

SECURITY: Final = "security.istio.io/v1"
NETWORKING: Final = "networking.istio.io/v1"

INJECTION: Final = "istio-injection"
REVISION: Final = "istio.io/rev"
TAG: Final = "istio.io/tag"
INJECT: Final = "sidecar.istio.io/inject"
STATUS: Final = "sidecar.istio.io/status"
NATIVE: Final = "sidecar.istio.io/nativeSidecar"

PROXY: Final = "istio-proxy"
CONTROL_PLANE: Final = "app=istiod"
DEFAULT: Final = "default"
ROOT_NAMESPACE: Final = "istio-system"
TRUST_DOMAIN: Final = "cluster.local"
VERSION_LABEL: Final = "version"
"""The label by which the world's workloads tell their version; subsets are made of it."""

IGNORED_NAMESPACES: Final = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
"""Where Istio never injects, whatever the labels say."""
