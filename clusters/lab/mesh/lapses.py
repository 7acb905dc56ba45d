"""Mesh mutants that forget, lag or miss one proxy of many: each was right once, or is right elsewhere.

What belongs here: faults with a memory, and faults of issuing and delivering. What does not: misreadings
(`misreadings`), wrong configurations (`miswirings`), their names (`mutants`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from clusters.lab.mesh.misreadings import instead
from clusters.lab.mesh.miswirings import any_server, clusters
from clusters.lab.mesh.model import ROOT_NAMESPACE, TRUST_DOMAIN, Mesh, Proxy
from clusters.lab.mesh.mutation import Delivery, Fault, Terms

DELAY: Final = 30.0
"""Seconds by which the slow mutant is late; no suite waits that long for a policy."""
_RULES: Final = (
    "peer_authentications",
    "authorization_policies",
    "request_authentications",
    "destination_rules",
    "virtual_services",
)


def remembering(update: Callable[[dict[Any, Any], tuple[Any, ...]], tuple[Any, ...]]) -> Fault:
    """Every kind of resource is read with a memory of its own, which the update keeps; once a change, not a proxy."""
    memories: dict[tuple[str, str], dict[Any, Any]] = {}
    last: dict[str, tuple[Mesh, Mesh]] = {}

    def reading(mesh: Mesh, proxy: Proxy) -> Mesh:
        home = proxy.namespace  # each namespace knows of a part of the whole, and has a memory of its own
        if home not in last or last[home][0] is not mesh:
            seen = {name: update(memories.setdefault((home, name), {}), getattr(mesh, name)) for name in _RULES}
            last[home] = mesh, replace(mesh, **seen)
        return last[home][1]

    return instead(reading)


def _place(resource: Any) -> tuple[str, str]:
    return resource.meta.namespace, resource.meta.name


def undying(memory: dict[Any, Any], now: tuple[Any, ...]) -> tuple[Any, ...]:
    """What was deleted stays as it was."""
    memory.update({_place(each): each for each in now})
    return tuple(memory.values())


def as_born(memory: dict[Any, Any], now: tuple[Any, ...]) -> tuple[Any, ...]:
    """What was changed stays as it was made, until it is deleted."""
    alive = {_place(each) for each in now}
    for gone in set(memory) - alive:
        del memory[gone]
    return tuple(memory.setdefault(_place(each), each) for each in now)


def keys_of_birth() -> Fault:
    """An issuer's keys are those that it had first."""
    first: dict[tuple[str, str, str], str] = {}

    def reading(mesh: Mesh, _: Proxy) -> Mesh:
        cached = tuple(
            replace(
                each,
                rules=tuple(
                    replace(rule, jwks=first.setdefault((*_place(each), rule.issuer), rule.jwks)) for rule in each.rules
                ),
            )
            for each in mesh.request_authentications
        )
        return replace(mesh, request_authentications=cached)

    return instead(reading)


def one_is_stale(delivery: Delivery) -> float | None:
    """In every namespace with several one proxy, the last by its account's name, keeps what it was sent first."""
    mine = delivery.proxy.namespace
    accounts = {
        each.service_account
        for service in delivery.mesh.services
        for port in service.ports
        for each in port.endpoints
        if each.meshed and each.namespace == mine
    }
    stale = len(accounts) > 1 and delivery.proxy.service_account == max(accounts)
    return None if delivery.pushes and stale else 0.0


def late() -> Fault:
    """Rules, new, changed or gone, are sent late; everything else is not."""
    sent: dict[str, tuple[Any, ...]] = {}

    def delivery(about: Delivery) -> float:
        rules = tuple(getattr(about.mesh, name) for name in _RULES)
        known = sent.setdefault(about.proxy.uid, rules)
        sent[about.proxy.uid] = rules
        return 0.0 if known == rules else DELAY

    return Fault(delivery=delivery)


def of_the_node(terms: Terms, proxy: Proxy) -> Terms:
    """A proxy is who its node is."""
    return replace(terms, identity=f"spiffe://{TRUST_DOMAIN}/ns/{ROOT_NAMESPACE}/sa/{proxy.node}")


def nodes_identities() -> Fault:
    """Proxies have their node's identity, and callers do not mind."""
    return replace(clusters(any_server), issuing=of_the_node)


def never_renewed(terms: Terms, _: Proxy) -> Terms:
    """A certificate is not followed by another one."""
    return replace(terms, renewed=False)
