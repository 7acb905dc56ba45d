"""Istio's JSON objects to typed resources, strictly: anything wrong is one `UsageError` line with field and remedy.

What belongs here: building what `model` describes from what `check` let through. What does not: the checks, meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast, get_args

from flows.errors import UsageError
from policies.istio.check import GROUPS, VERSIONS, check
from policies.istio.model import (
    AccessRule,
    AuthorizationPolicy,
    Condition,
    EntryEndpoint,
    EntryPort,
    JwtRule,
    Meta,
    Operation,
    PeerAuthentication,
    RequestAuthentication,
    Resolution,
    Resource,
    ServiceEntry,
    Source,
)
from policies.istio.read_traffic import destination_rule, virtual_service

Object = dict[str, Any]


def read(obj: Mapping[str, Any], source: str = "") -> Resource:
    """The resource as written.

    Args:
        obj: The object's JSON, of any version that Istio serves.
        source: Where it comes from, for messages; kind, namespace and name where empty.

    Raises:
        UsageError: Something in it is unknown, refused by Istio, or not done by the lab; one line with the remedy.
    """
    kind, version = obj.get("kind"), str(obj.get("apiVersion"))
    meta = obj.get("metadata") or {}
    place = source or f"{kind} {meta.get('namespace', '')}/{meta.get('name', '')}"
    if kind not in GROUPS:
        raise UsageError(f"{place}: field 'kind' is {kind!r}; it must be one of {', '.join(GROUPS)}")
    group = GROUPS[kind]
    served = [f"{group}/{each}" for each in VERSIONS[group]]
    if version not in served:
        raise UsageError(f"{place}: field 'apiVersion' is {version!r}; it must be {' or '.join(served)}")
    found = check(dict(obj))
    if found.unknown:
        raise UsageError(f"{place}: field '{found.unknown[0]}' is unknown to Istio; correct or remove it")
    if found.problems:
        first = found.problems[0]
        raise UsageError(f"{place}: field '{first.path}': {first.text}; correct it")
    if found.denied:
        words = " ".join(found.denied.split())
        raise UsageError(f"{place}: {words}; Istio would not take it, correct it")
    if found.undone:
        path, why = found.undone[0]
        raise UsageError(f"{place}: field '{path}': the lab does not do {why}; remove it")
    where = Meta(
        name=str(meta.get("name", "")),
        namespace=str(meta.get("namespace", "")),
        created=str(meta.get("creationTimestamp") or ""),
    )
    return _BUILD[kind](where, found.spec)


def _texts(holder: Object, key: str) -> tuple[str, ...]:
    return tuple(holder.get(key, ()))


def _selector(spec: Object) -> dict[str, str] | None:
    """None where it is not written; one without labels selects everything, as none does."""
    labels: dict[str, str] = spec.get("selector", {}).get("matchLabels", {})
    return labels or None


def _peer_authentication(meta: Meta, spec: Object) -> Resource:
    return PeerAuthentication(
        meta=meta,
        selector=_selector(spec),
        mode=spec.get("mtls", {}).get("mode"),
        ports={int(port): each.get("mode", "UNSET") for port, each in spec.get("portLevelMtls", {}).items()},
    )


def _authorization_policy(meta: Meta, spec: Object) -> Resource:
    rules = spec.get("rules")
    return AuthorizationPolicy(
        meta=meta,
        selector=_selector(spec),
        action=spec.get("action"),
        rules=None if rules is None else tuple(_access_rule(each) for each in rules),
        provider=spec.get("provider", {}).get("name", ""),
    )


def _access_rule(rule: Object) -> AccessRule:
    return AccessRule(
        sources=tuple(_source(each["source"]) for each in rule.get("from", [])),
        operations=tuple(_operation(each["operation"]) for each in rule.get("to", [])),
        conditions=tuple(
            Condition(key=each["key"], values=_texts(each, "values"), not_values=_texts(each, "notValues"))
            for each in rule.get("when", [])
        ),
    )


def _source(source: Object) -> Source:
    return Source(
        principals=_texts(source, "principals"),
        not_principals=_texts(source, "notPrincipals"),
        request_principals=_texts(source, "requestPrincipals"),
        not_request_principals=_texts(source, "notRequestPrincipals"),
        namespaces=_texts(source, "namespaces"),
        not_namespaces=_texts(source, "notNamespaces"),
        service_accounts=_texts(source, "serviceAccounts"),
        not_service_accounts=_texts(source, "notServiceAccounts"),
        ip_blocks=_texts(source, "ipBlocks"),
        not_ip_blocks=_texts(source, "notIpBlocks"),
        remote_ip_blocks=_texts(source, "remoteIpBlocks"),
        not_remote_ip_blocks=_texts(source, "notRemoteIpBlocks"),
    )


def _operation(operation: Object) -> Operation:
    return Operation(
        hosts=_texts(operation, "hosts"),
        not_hosts=_texts(operation, "notHosts"),
        ports=_texts(operation, "ports"),
        not_ports=_texts(operation, "notPorts"),
        methods=_texts(operation, "methods"),
        not_methods=_texts(operation, "notMethods"),
        paths=_texts(operation, "paths"),
        not_paths=_texts(operation, "notPaths"),
    )


def _request_authentication(meta: Meta, spec: Object) -> Resource:
    rules = tuple(_jwt_rule(each) for each in spec.get("jwtRules", []))
    return RequestAuthentication(meta=meta, selector=_selector(spec), rules=rules)


def _jwt_rule(rule: Object) -> JwtRule:
    return JwtRule(
        issuer=rule.get("issuer", ""),
        jwks=rule.get("jwks", ""),
        audiences=_texts(rule, "audiences"),
        headers=tuple((each["name"], each.get("prefix", "")) for each in rule.get("fromHeaders", [])),
        params=_texts(rule, "fromParams"),
        forward=rule.get("forwardOriginalToken", False),
        claim_to_headers=tuple((each["claim"], each["header"]) for each in rule.get("outputClaimToHeaders", [])),
    )


def _service_entry(meta: Meta, spec: Object) -> Resource:
    resolution = spec.get("resolution", "NONE")
    if resolution not in get_args(Resolution):
        raise ValueError(f"resolution {resolution} was not refused")
    return ServiceEntry(
        meta=meta,
        hosts=_texts(spec, "hosts"),
        addresses=_texts(spec, "addresses"),
        ports=tuple(
            EntryPort(
                number=int(each["number"]),
                name=each["name"],
                protocol=each.get("protocol", ""),
                target_port=each.get("targetPort"),
            )
            for each in spec.get("ports", [])
        ),
        resolution=cast("Resolution", resolution),
        endpoints=tuple(
            EntryEndpoint(
                address=each["address"],
                ports=each.get("ports", {}),
                labels=each.get("labels", {}),
                service_account=each.get("serviceAccount", ""),
            )
            for each in spec.get("endpoints", [])
        ),
        outside=spec.get("location", "MESH_EXTERNAL") == "MESH_EXTERNAL",
        exports=_texts(spec, "exportTo"),
    )


_BUILD: Final[dict[str, Callable[[Meta, Object], Resource]]] = {
    "PeerAuthentication": _peer_authentication,
    "AuthorizationPolicy": _authorization_policy,
    "RequestAuthentication": _request_authentication,
    "DestinationRule": destination_rule,
    "VirtualService": virtual_service,
    "ServiceEntry": _service_entry,
}
