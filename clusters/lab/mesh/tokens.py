"""RequestAuthentication as Envoy's jwt_authn filter: bad tokens are refused, a request without one passes.

What belongs here: which rules are for a proxy and what they make of a token. What does not: who may do what with its
claims (`access`); they are in the filter's metadata under `payload`.
"""

from __future__ import annotations

from clusters.lab.mesh.model import ROOT_NAMESPACE, Json, Mesh, Proxy
from clusters.lab.mesh.peers import selects
from policies.istio.model import JwtRule

_MISSING: Json = {"allow_missing": {}}


def rules_for(mesh: Mesh, proxy: Proxy) -> list[JwtRule]:
    """All token rules that hold for this proxy, by issuer."""
    found = [
        rule
        for each in mesh.request_authentications
        if each.meta.namespace in {proxy.namespace, ROOT_NAMESPACE} and selects(each.selector, proxy.labels)
        for rule in each.rules
    ]
    return sorted(found, key=lambda rule: rule.issuer)


def http(mesh: Mesh, proxy: Proxy) -> list[Json]:
    """The filter that validates tokens; none when no rule is for this proxy."""
    rules = rules_for(mesh, proxy)
    if not rules:
        return []
    providers = {f"origins-{number}": _provider(rule) for number, rule in enumerate(rules)}
    return [
        {
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
                "providers": providers,
                "rules": [{"match": {"prefix": "/"}, "requires": _requirement(list(providers))}],
                "bypass_cors_preflight": True,
            },
        }
    ]


def _provider(rule: JwtRule) -> Json:
    provider: Json = {
        "issuer": rule.issuer,
        "local_jwks": {"inline_string": rule.jwks},
        "payload_in_metadata": "payload",
        # `scope: "a b"` is a list to policies
        "normalize_payload_in_metadata": {"space_delimited_claims": ["permission", "scope"]},
    }
    if rule.audiences:
        provider["audiences"] = list(rule.audiences)
    if rule.forward:
        provider["forward"] = True
    if rule.headers:
        provider["from_headers"] = [
            {"name": name} | ({"value_prefix": prefix} if prefix else {}) for name, prefix in rule.headers
        ]
    if rule.params:
        provider["from_params"] = list(rule.params)
    if rule.claim_to_headers:
        provider["claim_to_headers"] = [
            {"header_name": header, "claim_name": claim} for header, claim in rule.claim_to_headers
        ]
    return provider


def _requirement(providers: list[str]) -> Json:
    """Any provider's token, or no token where that provider looks for one."""
    names: list[Json] = [{"provider_name": each} for each in providers]
    if len(names) == 1:
        return _any([*names, _MISSING])
    return _any([*names, {"requires_all": {"requirements": [_any([each, _MISSING]) for each in names]}}])


def _any(requirements: list[Json]) -> Json:
    return {"requires_any": {"requirements": requirements}}
