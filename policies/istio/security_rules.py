"""What Istio's webhook refuses in PeerAuthentication, AuthorizationPolicy and RequestAuthentication, in its words.

What belongs here: messages as seen at Istio 1.31. What does not: the definitions' own rules (`rules`).
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from typing import Any, Final

Object = dict[str, Any]
_SOURCES: Final = {
    "principals": "Principals",
    "requestPrincipals": "RequestPrincipals",
    "namespaces": "Namespaces",
    "serviceAccounts": "ServiceAccounts",
    "ipBlocks": "IpBlocks",
    "remoteIpBlocks": "RemoteIpBlocks",
    "notPrincipals": "NotPrincipals",
    "notRequestPrincipals": "NotRequestPrincipals",
    "notNamespaces": "NotNamespaces",
    "notServiceAccounts": "NotServiceAccounts",
    "notIpBlocks": "NotIpBlocks",
    "notRemoteIpBlocks": "NotRemoteIpBlocks",
    "trustDomains": "TrustDomains",
    "notTrustDomains": "NotTrustDomains",
}
_OPERATIONS: Final = {
    "ports": "Ports",
    "methods": "Methods",
    "hosts": "Hosts",
    "paths": "Paths",
    "notPorts": "NotPorts",
    "notMethods": "NotMethods",
    "notHosts": "NotHosts",
    "notPaths": "NotPaths",
}
_NOT_CUSTOM: Final = ("principals", "requestPrincipals", "notPrincipals", "notRequestPrincipals")
_KEYED: Final = ("request.headers", "request.auth.claims")
_PLAIN: Final = {
    "source.namespace",
    "source.principal",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "connection.sni",
}
_ADDRESSES: Final = {"source.ip", "remote.ip", "destination.ip"}
_LITERAL: Final = re.compile(r"[a-zA-Z0-9._~%!$&'()+,;=:@-]+")


def authorization_policy(spec: Object, name: str) -> list[str]:
    """What is wrong, or nothing; `name` is `NAME.NAMESPACE`."""
    return [f"invalid policy {name}: {each}" for each in _policy(spec)]


def _policy(spec: Object) -> Iterator[str]:
    action, rules = spec.get("action", "ALLOW"), spec.get("rules", [])
    provider = spec.get("provider")
    if action == "CUSTOM" and not (provider or {}).get("name"):
        yield "`provider.name` must not be empty"
        return
    if action != "CUSTOM" and provider is not None:
        yield f"`provider` must not be with non CUSTOM action, found {action}"
        return
    if action in {"DENY", "CUSTOM"} and not rules:
        yield (
            f"{action} action without `rules` is meaningless as it will never be triggered, add an empty rule `{{}}` "
            "if you want it be triggered for every request"
        )
        return
    for place, rule in enumerate(rules):
        for each in rule.get("from", []):
            yield from _source(each.get("source"), place, action)
        for each in rule.get("to", []):
            yield from _operation(each.get("operation"), place)
        for each in rule.get("when", []):
            yield from _condition(each)


def _source(source: Object | None, place: int, action: str) -> Iterator[str]:
    if source is None:
        yield f"`from.source` must not be nil, found at rule {place}"
        return
    if not any(source.get(key) for key in _SOURCES):
        yield f"`from.source` must not be empty, found at rule {place}"
        return
    for key, said in _SOURCES.items():
        values: list[str] = source.get(key, [])
        if action == "CUSTOM" and values and key in _NOT_CUSTOM:
            yield f"From.{said} is currently not supported with CUSTOM action"
        if "" in values:
            yield f"empty value not allowed, found in {said}"
        if key.endswith("IpBlocks") or key == "ipBlocks":
            for each in values:
                yield from _address(each)
        if key.lower().endswith("serviceaccounts"):
            yield from _accounts(values, said)


def _accounts(values: list[str], said: str) -> Iterator[str]:
    for each in values:
        place, slash, account = each.rpartition("/")
        if "*" in each:
            yield f"wildcard not allowed, found in {said}"
        elif "/" in place:
            yield f"expected format 'serviceAccount' or 'namespace/serviceAccount', found \"{each}\" in {said}"
        elif slash and not account:
            yield (
                "expected format 'serviceAccount' or 'namespace/serviceAccount', found empty serviceAccount "
                f'"{each}" in {said}'
            )
        elif slash and not place:
            yield (
                "expected format 'serviceAccount' or 'namespace/serviceAccount', found empty namespace "
                f'"{each}" in {said}'
            )


def _operation(operation: Object | None, place: int) -> Iterator[str]:
    if operation is None:
        yield f"`to.operation` must not be nil, found at rule {place}"
        return
    if not any(operation.get(key) for key in _OPERATIONS):
        yield f"`to.operation` must not be empty, found at rule {place}"
        return
    for key, said in _OPERATIONS.items():
        values: list[str] = operation.get(key, [])
        if "" in values:
            yield f"empty value not allowed, found in {said}"
        for each in values:
            if said.endswith("Ports"):
                yield from _port(each)
            elif said.endswith("Paths"):
                yield from _path(each, said)


def _path(path: str, said: str) -> Iterator[str]:
    if "{*}" not in path and "{**}" not in path and not {"{", "}"} & set(path):
        return
    plain = path.removeprefix("/")
    segments = plain.split("/")
    words = f"invalid or unsupported path {plain}, found in {said}."
    for place, segment in enumerate(segments):
        if segment in {"{*}", "{**}"}:
            if segment == "{**}" and any(each in {"{*}", "{**}"} for each in segments[place + 1 :]):
                yield f"{words} {{**}} is not the last operator"
                return
        elif {"{", "}"} & set(segment):
            yield f"{words} Contains '{{' or '}}' beyond a supported path template"
            return
        elif segment and not _LITERAL.fullmatch(segment):
            yield f"{words} Contains segment {segment} with invalid string literal"
            return


def _address(text: str) -> Iterator[str]:
    try:
        if "/" in text:
            ipaddress.ip_network(text, strict=False)
        else:
            ipaddress.ip_address(text)
    except ValueError:
        if "/" in text:
            yield f'bad CIDR range ({text}): netip.ParsePrefix("{text}"): prefix length out of range'
        else:
            yield f"bad IP address ({text})"


def _port(text: str) -> Iterator[str]:
    if not text.isdigit():
        yield f'bad port ({text}): strconv.ParseUint: parsing "{text}": invalid syntax'
    elif not 1 <= int(text) <= 65535:
        yield f"bad port ({text}): <nil>"


def _condition(condition: Object) -> Iterator[str]:
    key = condition["key"]
    if not key:
        yield "`key` must not be empty"
        return
    if not condition.get("values") and not condition.get("notValues"):
        yield f"at least one of `values` or `notValues` must be set for key {key}"
        return
    for field, said in (("values", "value"), ("notValues", "notValue")):
        values = condition.get(field, [])
        wrong = _attribute(key)
        for each in [wrong] if wrong else _values(key, values):
            yield f"invalid `{said}` for `key` {key}: {each}"


def _attribute(key: str) -> str:
    """Why an attribute cannot be asked for, or nothing."""
    for prefix in _KEYED:
        if key == prefix or key.startswith(f"{prefix}["):
            found = re.fullmatch(rf"{re.escape(prefix)}(\[[^\[\]]+\])+", key)
            return "" if found else f"bad key ({key}): should have format a[b]"
    if key in _PLAIN | _ADDRESSES | {"destination.port", "source.serviceAccount"} or key.startswith("experimental."):
        return ""
    if key.startswith("destination.labels"):
        return f"attribute {key} is replaced by the workload selector"
    if key in {"destination.name", "destination.namespace"}:
        return f"attribute {key} is replaced by the metadata.{key.rpartition('.')[2]}"
    if key == "destination.user":
        return f"deprecated attribute {key}: only supported in v1alpha1"
    return f"unknown attribute: {key}"


def _values(key: str, values: list[str]) -> Iterator[str]:
    for each in values:
        problems: list[str] = []
        if key in _ADDRESSES:
            problems = list(_address(each))
        elif key == "destination.port":
            problems = list(_port(each))
        elif key == "source.serviceAccount":
            yield from _accounts([each], key)
        elif not each:
            yield f"empty value not allowed, found in {key}"
        if problems:
            yield "1 error occurred:\n" + "".join(f"\t* {one}\n" for one in problems) + "\n"


def request_authentication(spec: Object) -> list[str]:
    """What is wrong, or nothing."""
    found: list[str] = []
    for rule in spec.get("jwtRules", []):
        if not rule.get("issuer") and not (rule.get("jwksUri") or rule.get("jwks_uri")):
            found.append("issuer or jwksUri must be non-empty string")
        if (keys := rule.get("jwks")) and (why := _keys_problem(keys)):
            found.append(f"jwks parse error: {why}")
    return found


_FIELDS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "oct": ("k",)}


def _keys_problem(text: str) -> str:
    """Why a text is no set of keys, or nothing."""
    try:
        found = json.loads(text)
    except ValueError as error:
        return f"failed to unmarshal JWK set: {error}"
    if not isinstance(found, dict):
        return "failed to unmarshal JWK set: not a JSON object"
    keys = found.get("keys")
    if keys is None:
        kind = str(found.get("kty", ""))
        if kind not in _FIELDS:
            return (
                f"failed to unmarshal JWK set: failed to parse sole key in key set: invalid key type from JSON ({kind})"
            )
        keys = [found]
    for place, key in enumerate(keys if isinstance(keys, list) else []):
        kind = str(key.get("kty", "")) if isinstance(key, dict) else ""
        lead = f'failed to unmarshal JWK set: failed to decode key #{place} in "keys":'
        if kind not in _FIELDS:
            return f"{lead} invalid key type from JSON ({kind})"
        for name in reversed(_FIELDS[kind]):
            if not key.get(name):
                return f"{lead} failed to unmarshal JSON into key ({kind}): required field {name} is missing"
    return ""
