"""AuthorizationPolicy as Envoy's RBAC filters, for HTTP and for raw TCP, as Istio writes them.

What belongs here: which policies are for a proxy, their order, rules. What does not: single attributes
(`attributes`), tokens (`tokens`).

One filter an action, CUSTOM before DENY before ALLOW, so that a rule's name shows in the access log
(`rbac_access_denied_matched_policy[ns[shop]-policy[deny-admin]-rule[0]]`). The lab's mesh configuration names no
external authorizer; Istio answers a CUSTOM policy whose provider it does not know by denying what it matches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from clusters.lab.mesh import attributes
from clusters.lab.mesh.attributes import Attribute
from clusters.lab.mesh.model import ROOT_NAMESPACE, Json, Mesh, Proxy
from clusters.lab.mesh.peers import selects
from policies.istio.model import AccessRule, Action, AuthorizationPolicy

_ANY: Final[Json] = {"any": True}
_NEVER: Final[Json] = {
    "permissions": [{"not_rule": {"any": True}}],
    "principals": [{"not_id": {"any": True}}],
}
_SHADOW: Final = "istio_dry_run_allow_"


def policies_for(mesh: Mesh, proxy: Proxy) -> list[AuthorizationPolicy]:
    """The policies that hold for this proxy: of its own namespace and of the root namespace, in order of creation."""
    return [
        each
        for each in mesh.authorization_policies
        if each.meta.namespace in {proxy.namespace, ROOT_NAMESPACE} and selects(each.selector, proxy.labels)
    ]


def http_custom(mesh: Mesh, proxy: Proxy) -> list[Json]:
    """HTTP filters of CUSTOM policies; Istio puts them before token validation."""
    return _http(_filters(policies_for(mesh, proxy), ("CUSTOM",), tcp=False))


def http(mesh: Mesh, proxy: Proxy) -> list[Json]:
    """HTTP filters of AUDIT, DENY and ALLOW policies, in this order, after token validation."""
    return _http(_filters(policies_for(mesh, proxy), ("AUDIT", "DENY", "ALLOW"), tcp=False))


def network(mesh: Mesh, proxy: Proxy) -> list[Json]:
    """Network filters of all actions for a raw TCP chain.

    What only HTTP knows is missing there: an ALLOW rule that asks for it allows nothing, and the other actions leave
    the attribute out, so that a DENY rule of HTTP attributes alone denies every connection (Istio warns of that).
    """
    filters = _filters(policies_for(mesh, proxy), ("CUSTOM", "AUDIT", "DENY", "ALLOW"), tcp=True)
    return [
        {
            "name": "envoy.filters.network.rbac",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC",
                **each,
                "stat_prefix": "tcp.",
            },
        }
        for each in filters
    ]


def _http(filters: Iterable[Json]) -> list[Json]:
    kind = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
    return [{"name": "envoy.filters.http.rbac", "typed_config": {"@type": kind, **each}} for each in filters]


def _filters(policies: Sequence[AuthorizationPolicy], actions: Sequence[Action], *, tcp: bool) -> list[Json]:
    return [built for action in actions for built in _filter(policies, action, tcp=tcp)]


def _filter(policies: Sequence[AuthorizationPolicy], action: Action, *, tcp: bool) -> list[Json]:
    """One filter for all policies of an action, for CUSTOM one an authorizer; none when there are no policies."""
    chosen = [each for each in policies if (each.action or "ALLOW") == action]
    providers = sorted({each.provider for each in chosen})
    groups = ([each for each in chosen if each.provider == provider] for provider in providers)
    return [_built(group, action, tcp=tcp) for group in (groups if action == "CUSTOM" else [chosen]) if group]


def _built(chosen: Sequence[AuthorizationPolicy], action: Action, *, tcp: bool) -> Json:
    entries: dict[str, Json] = {}
    for policy in chosen:
        name = f"ns[{policy.meta.namespace}]-policy[{policy.meta.name}]"
        if not policy.rules:
            entries[_name(policy, f"{name}-rule[0]")] = _NEVER
        for number, rule in enumerate(policy.rules or ()):
            entry = _entry(rule, policy, drops=action != "ALLOW", tcp=tcp)
            if entry is not None:
                entries[_name(policy, f"{name}-rule[{number}]")] = entry
    rules: Json = {"policies": entries} if entries else {}
    words = {"AUDIT": "LOG", "DENY": "DENY", "CUSTOM": "DENY"}
    if action in words:
        rules = {"action": words[action]} | rules
    return {"rules": rules} | ({} if action == "CUSTOM" else {"shadow_rules_stat_prefix": _SHADOW})


def _name(policy: AuthorizationPolicy, name: str) -> str:
    if policy.action != "CUSTOM":
        return name
    return f"istio-ext-authz-{policy.provider}-{name}-deny-due-to-bad-CUSTOM-action"


def _entry(rule: AccessRule, policy: AuthorizationPolicy, *, drops: bool, tcp: bool) -> Json | None:
    """One rule as an RBAC policy; None when it asks for what TCP has not and may not leave out."""
    conditions = [each for written in rule.conditions for each in attributes.condition(written, policy.meta)]
    who = [each for each in conditions if each.principal]
    what = [each for each in conditions if not each.principal]
    sources = [attributes.source(each, policy.meta) for each in rule.sources] or [[]]
    operations = [attributes.operation(each) for each in rule.operations] or [[]]
    permissions = [[*each, *what] for each in operations]
    principals = [[*each, *who] for each in sources]
    if tcp and not drops and any(each.http for group in (*permissions, *principals) for each in group):
        return None
    return {
        "permissions": [{"and_rules": {"rules": _terms(each, tcp=tcp)}} for each in permissions],
        "principals": [{"and_ids": {"ids": _terms(each, tcp=tcp)}} for each in principals],
    }


def _terms(group: Sequence[Attribute], *, tcp: bool) -> list[Json]:
    return [each.term for each in group if not (tcp and each.http)] or [_ANY]
