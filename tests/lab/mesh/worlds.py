"""Small meshes for tests of the inbound half: one pod `server` of namespace `shop`, ports as the test wants them."""

from __future__ import annotations

from collections.abc import Mapping

from clusters.lab.mesh.model import AppProtocol, Endpoint, Proxy, Service, ServicePort
from policies.istio.model import AccessRule, Action, AuthorizationPolicy, Condition, Meta, Operation, Source

ADDRESS = "10.244.0.5"
SERVER = Proxy(
    namespace="shop",
    pod="server",
    uid="u",
    address=ADDRESS,
    service_account="server",
    labels={"app": "server", "version": "v1"},
)
CALLER = "spiffe://cluster.local/ns/shop/sa/caller"


def meta(name: str = "rule", namespace: str = "shop", created: str = "2026-01-01T00:00:00Z") -> Meta:
    return Meta(name=name, namespace=namespace, created=created)


def service(ports: Mapping[int, AppProtocol], name: str = "server", first: int = 0) -> Service:
    """A Service whose port numbers are its targets', or count from `first`."""
    return Service(
        name=name,
        namespace="shop",
        host=f"{name}.shop.svc.cluster.local",
        ports=tuple(
            ServicePort(
                number=first + index if first else target,
                name=f"p{target}",
                protocol=protocol,
                endpoints=(Endpoint(address=ADDRESS, port=target),),
            )
            for index, (target, protocol) in enumerate(ports.items())
        ),
    )


def policy(
    *rules: AccessRule, name: str = "rule", action: Action = "ALLOW", namespace: str = "shop", provider: str = ""
) -> AuthorizationPolicy:
    """A policy for everybody in its namespace."""
    return AuthorizationPolicy(meta=meta(name, namespace), action=action, rules=rules, provider=provider)


def rule(source: Source | None = None, operation: Operation | None = None, *conditions: Condition) -> AccessRule:
    """One rule with at most one source and one operation."""
    return AccessRule(
        sources=(source,) if source else (), operations=(operation,) if operation else (), conditions=conditions
    )
