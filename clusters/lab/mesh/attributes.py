"""The attributes of an AuthorizationPolicy's rules as terms of Envoy's RBAC, spelled as Istio spells them.

What belongs here: one attribute's values → one term. What does not: rules, policies and filters (`access`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from clusters.lab.mesh.model import Json
from flows.errors import HarnessError
from policies.istio.model import Condition, Meta, Operation, Source

Term = Callable[[str], Json]
_SPIFFE: Final = "spiffe://"
_SPECIAL: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")
_CLAIMS: Final = re.compile(r"request\.auth\.claims((?:\[[^\[\]]+\])+)")
_HEADER: Final = re.compile(r"request\.headers\[([^\[\]]+)\]")
_TEMPLATE: Final = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One term of a rule.

    Attributes:
        http: Whether only HTTP knows it.
        principal: Whether it tells who calls (RBAC's principals) and not what is called (its permissions).
    """

    term: Json
    http: bool = False
    principal: bool = False


def source(written: Source, meta: Meta) -> list[Attribute]:
    """The terms of `from[].source`; all must hold."""
    account = _account_of(meta)
    return [
        *_who(written.principals, written.not_principals, _principal),
        *_who(written.request_principals, written.not_request_principals, None, _request_principals, http=True),
        *_who(written.namespaces, written.not_namespaces, _namespace),
        *_who(written.service_accounts, written.not_service_accounts, account),
        *_who(written.remote_ip_blocks, written.not_remote_ip_blocks, _block("remote_ip")),
        *_who(written.ip_blocks, written.not_ip_blocks, _block("direct_remote_ip")),
    ]


def operation(written: Operation) -> list[Attribute]:
    """The terms of `to[].operation`; all must hold."""
    return [
        *_what(written.hosts, written.not_hosts, _header(":authority", ignore_case=True), http=True),
        *_what(written.methods, written.not_methods, _header(":method"), http=True),
        *_what(written.paths, written.not_paths, _path, http=True),
        *_what(written.ports, written.not_ports, _port),
    ]


def condition(written: Condition, meta: Meta) -> list[Attribute]:
    """The terms of one of `when[]`: its values and its notValues.

    Raises:
        HarnessError: Istio knows no such key; admission should have said so.
    """
    key, yes, no = written.key, written.values, written.not_values
    header, claims = _HEADER.fullmatch(key), _CLAIMS.fullmatch(key)
    if header:
        return _who(yes, no, _header(header[1]), http=True)
    if claims:
        return _who(yes, no, None, _claim(re.findall(r"\[([^\[\]]+)\]", claims[1])), http=True)
    known: dict[str, Callable[[], list[Attribute]]] = {
        "source.ip": lambda: _who(yes, no, _block("direct_remote_ip")),
        "remote.ip": lambda: _who(yes, no, _block("remote_ip")),
        "source.namespace": lambda: _who(yes, no, _namespace),
        "source.principal": lambda: _who(yes, no, _principal),
        "source.serviceAccount": lambda: _who(yes, no, _account_of(meta)),
        "request.auth.principal": lambda: _who(yes, no, None, _request_principals, http=True),
        "request.auth.audiences": lambda: _who(yes, no, None, _claim(["aud"]), http=True),
        "request.auth.presenter": lambda: _who(yes, no, None, _claim(["azp"]), http=True),
        "destination.ip": lambda: _what(yes, no, _block("destination_ip")),
        "destination.port": lambda: _what(yes, no, _port),
        "connection.sni": lambda: _what(yes, no, lambda value: {"requested_server_name": match(value)}),
    }
    if key not in known:
        place = f"AuthorizationPolicy {meta.namespace}/{meta.name}"
        raise HarnessError(f"{place}: rules[].when[].key {key!r} is unknown; use one of {', '.join(sorted(known))}")
    return known[key]()


def match(value: str, prefix: str = "") -> Json:
    """A StringMatcher for Istio's patterns: exact, `abc*`, `*abc`, and `*` for any text that is not empty.

    Args:
        value: As it is written.
        prefix: Put before it, e.g. `spiffe://`.
    """
    if value == "*":
        return {"safe_regex": {"regex": ".+"}}
    if value.startswith("*"):
        if not prefix:
            return {"suffix": value[1:]}
        return {"safe_regex": {"regex": f"{prefix}.*{_quote(value[1:])}"}}
    if value.endswith("*"):
        return {"prefix": prefix + value[:-1]}
    return {"exact": prefix + value}


def _who(
    yes: Sequence[str],
    no: Sequence[str],
    one: Term | None,
    many: Callable[[Sequence[str]], Json] | None = None,
    *,
    http: bool = False,
) -> list[Attribute]:
    def term(values: Sequence[str]) -> Json:
        if many:
            return many(values)
        return {"or_ids": {"ids": [one(value) for value in values]}} if one else {}

    found = [term(yes)] if yes else []
    if no:
        found.append({"not_id": term(no)})
    return [Attribute(term=each, http=http, principal=True) for each in found]


def _what(yes: Sequence[str], no: Sequence[str], one: Term, *, http: bool = False) -> list[Attribute]:
    def term(values: Sequence[str]) -> Json:
        return {"or_rules": {"rules": [one(value) for value in values]}}

    found = [term(yes)] if yes else []
    if no:
        found.append({"not_rule": term(no)})
    return [Attribute(term=each, http=http) for each in found]


def _authenticated(matcher: Json) -> Json:
    return {"authenticated": {"principal_name": matcher}}


def _principal(value: str) -> Json:
    return _authenticated(match(value, _SPIFFE))


def _namespace(value: str) -> Json:
    return _authenticated({"safe_regex": {"regex": f".*/ns/{value.replace('*', '.*')}/.*"}})


def _account_of(meta: Meta) -> Term:
    def term(value: str) -> Json:
        namespace, _, account = value.rpartition("/")
        regex = f"spiffe://.+/ns/{_quote(namespace or meta.namespace)}/(.+/|)sa/{_quote(account)}(/.+)?"
        return _authenticated({"safe_regex": {"regex": regex}})

    return term


def _request_principals(values: Sequence[str]) -> Json:
    found = [_request_principal(each) for each in values]
    return found[0] if len(found) == 1 else {"or_ids": {"ids": found}}


def _request_principal(value: str) -> Json:
    """`ISSUER/SUBJECT`, split at the last slash; only the part at the asterisk is a pattern, as in Istio."""
    issuer, _, subject = value.rpartition("/") if "/" in value else (value, "", "")
    pair = ({"exact": issuer}, {"exact": subject})
    if value == "*":
        pair = (match("*"), match("*"))
    elif value.startswith("*"):
        pair = (match(issuer), {"exact": subject})
    elif value.endswith("*"):
        pair = ({"exact": issuer}, match(subject))
    ids = [_payload([key], {"string_match": each}) for key, each in zip(("iss", "sub"), pair, strict=True)]
    return {"and_ids": {"ids": ids}}


def _claim(path: Sequence[str]) -> Callable[[Sequence[str]], Json]:
    """A claim that is one of the values, or a list that has one of them."""

    def term(values: Sequence[str]) -> Json:
        matchers: list[Json] = [{"string_match": match(each)} for each in values]
        one = matchers[0] if len(matchers) == 1 else {"or_match": {"value_matchers": matchers}}
        return _payload(path, {"or_match": {"value_matchers": [{"list_match": {"one_of": one}}, one]}})

    return term


def _payload(path: Sequence[str], value: Json) -> Json:
    steps = [{"key": each} for each in ("payload", *path)]
    return {"metadata": {"filter": "envoy.filters.http.jwt_authn", "path": steps, "value": value}}


def _block(kind: str) -> Term:
    def term(value: str) -> Json:
        network = ipaddress.ip_network(value, strict=False)
        return {kind: {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}}

    return term


def _header(name: str, *, ignore_case: bool = False) -> Term:
    def term(value: str) -> Json:
        if value == "*":
            return {"header": {"name": name, "present_match": True}}
        return {"header": {"name": name, "string_match": match(value) | ({"ignore_case": True} if ignore_case else {})}}

    return term


def _path(value: str) -> Json:
    if "{*}" in value or "{**}" in value:
        template = value.replace("{**}", "**").replace("{*}", "*")
        return {
            "uri_template": {"name": "uri-template", "typed_config": {"@type": _TEMPLATE, "path_template": template}}
        }
    return {"url_path": {"path": match(value)}}


def _port(value: str) -> Json:
    return {"destination_port": int(value)}


def _quote(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)
