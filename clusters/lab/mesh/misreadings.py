"""Mesh mutants that misread resources: each compiles its proxies soundly, from a Mesh that says something else.

What belongs here: rewrites of the typed Mesh, and putting them at their seam. What does not: mutants that compile
wrongly (`miswirings`), that forget or lag (`lapses`), their names (`mutants`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from clusters.lab.mesh.model import ROOT_NAMESPACE, Mesh, Proxy
from clusters.lab.mesh.mutation import Fault
from clusters.lab.mesh.peers import selects
from policies.istio.model import (
    AccessRule,
    Action,
    AuthorizationPolicy,
    Destination,
    DestinationRule,
    HttpMatch,
    HttpRoute,
    JwtRule,
    MtlsMode,
    Operation,
    PeerAuthentication,
    RequestAuthentication,
    Source,
    StringMatch,
    TrafficPolicy,
    VirtualService,
)

Reading = Callable[[Mesh, Proxy], Mesh]
"""What a proxy is compiled from instead."""
_T = TypeVar("_T")


def instead(reading: Reading) -> Fault:
    """Every proxy is compiled from this reading; equal readings are one object, so that they are compiled once."""
    known: list[Mesh] = []

    def seen(mesh: Mesh, proxy: Proxy) -> Mesh:
        if not known or known[0] is not mesh:
            known[:] = [mesh]
        found = reading(mesh, proxy)
        for each in known:
            if each == found:
                return each
        known.append(found)
        return found

    return Fault(mesh=seen)


def _kept(change: Callable[[_T], _T | None], found: Sequence[_T]) -> tuple[_T, ...]:
    changed = map(change, found)
    return tuple(each for each in changed if each is not None)


# PeerAuthentication ---------------------------------------------------------------------------------------------------


def on_modes(change: Callable[[PeerAuthentication], PeerAuthentication | None]) -> Fault:
    """Every PeerAuthentication is read as the change says; None: not at all."""
    return instead(
        lambda mesh, _: replace(mesh, peer_authentications=_kept(change, mesh.peer_authentications)),
    )


def _lenient(mode: MtlsMode) -> MtlsMode:
    return "PERMISSIVE" if mode == "STRICT" else mode


def strict_is_permissive(written: PeerAuthentication) -> PeerAuthentication:
    """Strict takes plaintext, too."""
    return replace(
        written,
        mode=written.mode and _lenient(written.mode),
        ports={port: _lenient(mode) for port, mode in written.ports.items()},
    )


def without_ports(written: PeerAuthentication) -> PeerAuthentication:
    """Ports have their workload's mode."""
    return replace(written, ports={})


def unset_is_permissive(written: PeerAuthentication) -> PeerAuthentication:
    """A workload that leaves its mode open takes both, whatever its namespace says."""
    return replace(written, mode="PERMISSIVE") if written.selector and not _says(written) else written


def not_of_the_mesh(written: PeerAuthentication) -> PeerAuthentication | None:
    """The root namespace's own counts for nobody else."""
    return None if written.meta.namespace == ROOT_NAMESPACE and not written.selector else written


def _says(written: PeerAuthentication) -> bool:
    return bool(written.mode) and written.mode != "UNSET"


def namespace_wins(mesh: Mesh, _: Proxy) -> Mesh:
    """Where a namespace has a mode, its workloads have none of their own."""
    spaces = {each.meta.namespace for each in mesh.peer_authentications if not each.selector and _says(each)}
    kept = (each for each in mesh.peer_authentications if not (each.selector and each.meta.namespace in spaces))
    return replace(mesh, peer_authentications=tuple(kept))


def disabled_unknown_to_callers(mesh: Mesh, proxy: Proxy) -> Mesh:
    """Only the server's own proxy knows that it takes no TLS."""

    def own(written: PeerAuthentication) -> PeerAuthentication:
        mine = (
            written.meta.namespace == proxy.namespace and written.selector and selects(written.selector, proxy.labels)
        )
        return written if mine or written.mode != "DISABLE" else replace(written, mode="PERMISSIVE")

    return replace(mesh, peer_authentications=tuple(map(own, mesh.peer_authentications)))


# DestinationRule ------------------------------------------------------------------------------------------------------


def without_client_tls(mesh: Mesh, _: Proxy) -> Mesh:
    """What a rule says of TLS counts for nothing: callers do what they would do without it."""

    def policy(written: TrafficPolicy | None) -> TrafficPolicy | None:
        if written is None:
            return None
        ports = {port: replace(each, tls=None) for port, each in written.ports.items()}
        return replace(written, tls=None, ports=ports)

    def rule(written: DestinationRule) -> DestinationRule:
        subsets = tuple(replace(each, policy=policy(each.policy)) for each in written.subsets)
        return replace(written, policy=policy(written.policy), subsets=subsets)

    return replace(mesh, destination_rules=tuple(map(rule, mesh.destination_rules)))


# AuthorizationPolicy --------------------------------------------------------------------------------------------------


def on_policies(change: Callable[[AuthorizationPolicy], AuthorizationPolicy | None]) -> Fault:
    """Every AuthorizationPolicy is read as the change says; None: not at all."""
    return instead(
        lambda mesh, _: replace(mesh, authorization_policies=_kept(change, mesh.authorization_policies)),
    )


def on_rules(change: Callable[[AccessRule], Sequence[AccessRule]]) -> Fault:
    """Every rule is read as the rules that the change makes of it."""

    def policy(written: AuthorizationPolicy) -> AuthorizationPolicy:
        if written.rules is None:
            return written
        return replace(written, rules=tuple(each for rule in written.rules for each in change(rule)))

    return on_policies(policy)


def on_sources(change: Callable[[Source], Source]) -> Fault:
    """Every source is read as the change says."""
    return on_rules(lambda rule: (replace(rule, sources=tuple(map(change, rule.sources))),))


def on_operations(change: Callable[[Operation], Operation]) -> Fault:
    """Every operation is read as the change says."""
    return on_rules(lambda rule: (replace(rule, operations=tuple(map(change, rule.operations))),))


def on_paths(change: Callable[[str], str]) -> Fault:
    """Every path is read as the change says."""
    return on_operations(
        lambda written: replace(
            written, paths=tuple(map(change, written.paths)), not_paths=tuple(map(change, written.not_paths))
        )
    )


def as_action(was: Action, becomes: Action) -> Fault:
    """One action is taken for another."""
    return on_policies(lambda written: replace(written, action=becomes) if written.action == was else written)


def without_action(action: Action) -> Fault:
    """Policies of one action count for nothing."""
    return on_policies(lambda written: None if written.action == action else written)


def nothing_is_everything(written: AuthorizationPolicy) -> AuthorizationPolicy:
    """A policy without rules allows everything instead of nothing."""
    return written if written.rules else replace(written, rules=(AccessRule(),))


def for_the_whole_namespace(written: AuthorizationPolicy) -> AuthorizationPolicy:
    """A workload's policy is its neighbours', too."""
    return replace(written, selector=None)


def not_of_the_root(written: AuthorizationPolicy) -> AuthorizationPolicy | None:
    """The root namespace's policies count for nobody else."""
    return None if written.meta.namespace == ROOT_NAMESPACE else written


def allow_first(mesh: Mesh, proxy: Proxy) -> Mesh:
    """What is allowed is not denied any more: a denial counts only for workloads that nothing is allowed for."""

    def mine(written: AuthorizationPolicy) -> bool:
        return written.meta.namespace in {proxy.namespace, ROOT_NAMESPACE} and selects(written.selector, proxy.labels)

    if not any(mine(each) and (each.action or "ALLOW") == "ALLOW" for each in mesh.authorization_policies):
        return mesh
    kept = tuple(each for each in mesh.authorization_policies if each.action != "DENY")
    return replace(mesh, authorization_policies=kept)


def parts_apart(rule: AccessRule) -> Sequence[AccessRule]:
    """Source, operation and conditions of a rule: one of them is enough."""
    parts = (
        *((AccessRule(sources=rule.sources),) if rule.sources else ()),
        *((AccessRule(operations=rule.operations),) if rule.operations else ()),
        *((AccessRule(conditions=rule.conditions),) if rule.conditions else ()),
    )
    return parts or (rule,)


def without_star(path: str) -> str:
    """A prefix is that path alone."""
    return path[:-1] if path.endswith("*") and len(path) > 1 else path


def with_star(path: str) -> str:
    """A path is everything that begins so."""
    return path if "*" in path else f"{path}*"


# RequestAuthentication ------------------------------------------------------------------------------------------------


def on_tokens(change: Callable[[JwtRule], JwtRule]) -> Fault:
    """Every token rule is read as the change says."""

    def one(written: RequestAuthentication) -> RequestAuthentication:
        return replace(written, rules=tuple(map(change, written.rules)))

    return instead(
        lambda mesh, _: replace(mesh, request_authentications=tuple(map(one, mesh.request_authentications))),
    )


# VirtualService -------------------------------------------------------------------------------------------------------


def on_services(change: Callable[[VirtualService], VirtualService]) -> Fault:
    """Every VirtualService is read as the change says."""
    return instead(
        lambda mesh, _: replace(mesh, virtual_services=tuple(map(change, mesh.virtual_services))),
    )


def on_routes(change: Callable[[HttpRoute], HttpRoute]) -> Fault:
    """Every route of HTTP is read as the change says."""
    return on_services(lambda written: replace(written, http=tuple(map(change, written.http))))


def on_matches(change: Callable[[HttpMatch], HttpMatch]) -> Fault:
    """Every match of a request is read as the change says."""
    return on_routes(lambda written: replace(written, matches=tuple(map(change, written.matches))))


def evenly(written: HttpRoute) -> HttpRoute:
    """Every destination with a weight gets the same."""
    return _weighted(written, lambda weight: 50 if weight else 0)


def leaking(written: HttpRoute) -> HttpRoute:
    """A destination of weight 0 gets a hundredth."""
    return _weighted(written, lambda weight: weight or 1)


def _weighted(written: HttpRoute, change: Callable[[int], int]) -> HttpRoute:
    def one(to: Destination) -> Destination:
        return replace(to, weight=change(to.weight or 0))

    several = len(written.destinations) > 1
    return replace(written, destinations=tuple(map(one, written.destinations))) if several else written


def last_first(written: VirtualService) -> VirtualService:
    """The last route that matches decides."""
    return replace(written, http=tuple(reversed(written.http)))


def with_a_way_out(written: VirtualService) -> VirtualService:
    """What no route takes goes to the Service as if there were no routes."""
    rest = HttpRoute(destinations=(Destination(host=written.hosts[0]),))
    return replace(written, http=(*written.http, rest)) if written.http else written


def exact_as_prefix(written: HttpMatch) -> HttpMatch:
    """An exact path is everything that begins so."""
    uri = written.uri
    return replace(written, uri=StringMatch(prefix=uri.exact)) if uri and uri.exact else written
