"""Connection limits of the inbound side: a DestinationRule's connectionPool holds for the server's own proxy too.

What belongs here: which rule is for a Service as its own namespace sees it, and the limits it sets. What does not:
everything else that a DestinationRule says, which is the caller's business (`clusters`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from clusters.lab.mesh.model import ROOT_NAMESPACE, Json, Mesh, Service
from policies.istio.model import DestinationRule, TrafficPolicy

UNLIMITED: Final = 4294967295


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The limits of one cluster; Istio's defaults."""

    connect_timeout: str = "10s"
    max_connections: int = UNLIMITED
    max_pending_requests: int = UNLIMITED
    max_requests: int = UNLIMITED
    max_requests_per_connection: int = 0

    @property
    def thresholds(self) -> Json:
        """One of a cluster's `circuit_breakers.thresholds`."""
        return {
            "max_connections": self.max_connections,
            "max_pending_requests": self.max_pending_requests,
            "max_requests": self.max_requests,
            "max_retries": UNLIMITED,
        }


def pool_of(mesh: Mesh, namespace: str, service: Service, port: int) -> Pool:
    """The limits for a Service's port in a proxy of this namespace; settings of the port replace all others."""
    rule = _rule(mesh, namespace, service)
    if rule is None or rule.policy is None:
        return Pool()
    policy: TrafficPolicy = rule.policy.ports.get(port, rule.policy)
    timeout = policy.connect_timeout
    return Pool(
        connect_timeout="10s" if timeout is None else f"{timeout:g}s",
        max_connections=policy.max_connections or UNLIMITED,
        max_pending_requests=policy.max_pending_requests or UNLIMITED,
        max_requests=policy.max_requests or UNLIMITED,
        max_requests_per_connection=policy.max_requests_per_connection or 0,
    )


def _rule(mesh: Mesh, namespace: str, service: Service) -> DestinationRule | None:
    """The rule with the most specific host, of the proxy's own namespace, else the Service's, else the root."""
    for place in dict.fromkeys((namespace, service.namespace, ROOT_NAMESPACE)):
        found = [
            each
            for each in mesh.destination_rules
            if each.meta.namespace == place and _covers(_full(each.host, place), service.host)
        ]
        if found:
            # a name before every wildcard, a longer wildcard before a shorter one, then the oldest
            return min(found, key=lambda each: (each.host.startswith("*"), -len(each.host)))
    return None


def _full(host: str, namespace: str) -> str:
    return host if "." in host or host == "*" else f"{host}.{namespace}.svc.cluster.local"


def _covers(pattern: str, host: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*") else host == pattern
