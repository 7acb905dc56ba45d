"""Names of hosts, and which rule or route is for which of them, as Istio looks them up.

What belongs here: resolution and precedence. What does not: what rules and routes mean for Envoy (`clusters`,
`routes`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from clusters.lab.mesh.model import ROOT_NAMESPACE, Mesh, Service, ServicePort
from policies.istio.model import DestinationRule, Meta, Subset, TrafficPolicy, VirtualService

SUFFIX: Final = ".svc.cluster.local"
HTTP: Final = frozenset({"http", "http2", "unknown"})
"""Protocols whose requests are routed; `unknown` when the first bytes are HTTP."""
_Any = TypeVar("_Any")


def resolve(host: str, namespace: str) -> str:
    """The full name of a host as a resource of that namespace writes it; only a name without a dot is short."""
    return host if "." in host or host.startswith("*") else f"{host}.{namespace}{SUFFIX}"


def matches(pattern: str, host: str) -> bool:
    """Whether a host, or every host of a wildcard, is meant by an exact name or a wildcard."""
    return host.removeprefix("*").endswith(pattern[1:]) if pattern.startswith("*") else pattern == host


def most_specific(host: str, choices: Mapping[str, _Any]) -> _Any | None:
    """What is filed under the host itself, else under the longest wildcard that means it."""
    if host in choices:
        return choices[host]
    wildcards = [each for each in choices if each.startswith("*") and matches(each, host)]
    return choices[max(wildcards, key=len)] if wildcards else None


def full_names(service: Service, namespace: str) -> list[str]:
    """Every name by which a client of that namespace may call the service, the full one first."""
    names = [service.host, f"{service.host}."]
    if not service.external and service.host.endswith(SUFFIX):
        short, home = service.name, f"{service.name}.{service.namespace}"
        names += [short, f"{home}.svc", home] if service.namespace == namespace else [home, f"{home}.svc"]
    if service.headless:
        names += [f"*.{name}" for name in names]
    # A ServiceEntry with several addresses is one service for each of them in Istio, and the last one names the host.
    addresses = service.addresses[-1:] if service.external else service.addresses
    return names + [f"[{each}]" if ":" in each else each for each in addresses if "/" not in each]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """All DestinationRules of one namespace for one host, merged: the first to say something wins.

    Attributes:
        source: The oldest of them, for config dumps.
    """

    source: Meta
    policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """A VirtualService with its hosts in full."""

    written: VirtualService
    hosts: tuple[str, ...]


class Names:
    """What a Mesh has under which name; made once for a Mesh."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.routes = tuple(
            Route(written=each, hosts=tuple(resolve(host, each.meta.namespace) for host in each.hosts))
            for each in sorted(mesh.virtual_services, key=_age)
        )
        """Oldest first."""
        self.source_keys = frozenset(
            key
            for each in mesh.virtual_services
            for labels in (
                *(match.source_labels for http in each.http for match in http.matches),
                *(tcp.source_labels for tcp in each.tcp),
            )
            for key in labels
        )
        """The labels of a client that make any difference to its routes."""
        self._rules = _merged(mesh.destination_rules)
        self._outside = {
            (entry.meta.namespace, host) for entry in mesh.service_entries if entry.outside for host in entry.hosts
        }
        first: dict[str, Route] = {}
        for route in self.routes:
            for host in route.hosts:
                first.setdefault(host, route)
        self._first = first
        self._of_host: dict[str, tuple[Route, ...]] = {}

    def rule(self, service: Service, namespace: str) -> Rule | None:
        """The rule by which clients of a namespace treat a service: of their own, its own or the root namespace."""
        for home in (namespace, service.namespace, ROOT_NAMESPACE):
            found = most_specific(service.host, self._rules.get(home, {}))
            if found:
                return found
        return None

    def outside(self, service: Service) -> bool:
        """Whether the service is no part of the mesh, so that its endpoints are never offered the mesh's own TLS."""
        return (service.namespace, service.host) in self._outside

    def routes_of(self, host: str) -> tuple[Route, ...]:
        """The VirtualServices that may route requests to a host, oldest first.

        Those that name it; where nobody does, the oldest one with the longest wildcard.
        """
        if host not in self._of_host:
            exact = tuple(each for each in self.routes if host in each.hosts)
            wildcard = None if exact else most_specific(host, self._first)
            self._of_host[host] = exact or ((wildcard,) if wildcard else ())
        return self._of_host[host]

    def visible(self, namespace: str) -> tuple[Service, ...]:
        """Services as clients of the namespace see them, one for each host: their own first, then the oldest."""
        seen: dict[str, Service] = {}
        for service in self.mesh.services:
            known = seen.get(service.host)
            if known is None or (service.namespace == namespace != known.namespace):
                seen[service.host] = service
            elif service.namespace == known.namespace:
                seen[service.host] = replace(known, ports=(*known.ports, *_new_ports(known, service.ports)))
        return tuple(seen.values())


def _new_ports(known: Service, ports: Iterable[ServicePort]) -> list[ServicePort]:
    numbers = {port.number for port in known.ports}
    return [port for port in ports if port.number not in numbers]


def _merged(rules: Sequence[DestinationRule]) -> Mapping[str, Mapping[str, Rule]]:
    found: dict[str, dict[str, Rule]] = {}
    for each in sorted(rules, key=_age):
        home = found.setdefault(each.meta.namespace, {})
        host = resolve(each.host, each.meta.namespace)
        first = home.get(host)
        if first is None:
            home[host] = Rule(source=each.meta, policy=each.policy, subsets=each.subsets)
            continue
        names = {subset.name for subset in first.subsets}
        more = tuple(subset for subset in each.subsets if subset.name not in names)
        home[host] = replace(first, policy=first.policy or each.policy, subsets=(*first.subsets, *more))
    return found


def _age(resource: DestinationRule | VirtualService) -> tuple[str, str, str]:
    return resource.meta.created, resource.meta.name, resource.meta.namespace
