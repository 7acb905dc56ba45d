"""What Istio 1.31 itself refuses beyond shapes, in its words: rules of its definitions, and its webhook's.

What belongs here: the two lists for each kind, and what all kinds share. What does not: shapes (`shapes`), single
kinds' webhook rules (`security_rules`, `traffic_rules`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from policies.istio.shapes import Problem, invalid, seconds

Object = dict[str, Any]
_PORT: Final = "port must be between 1-65535"
_DURATION: Final = "must be a valid duration greater than 1ms"
_DURATIONS: Final = {"timeout", "perTryTimeout", "connectTimeout", "fixedDelay", "interval", "baseEjectionTime"}
_PORT_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?")
_HEADER: Final = re.compile(r"[-_A-Za-z0-9]+")
_LABEL: Final = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
_TAG_KEY: Final = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_TAG_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def definition_problems(kind: str, spec: Object) -> list[Problem]:
    """What the kind's CustomResourceDefinition refuses in a spec of the right shape."""
    return [*_selectors(spec), *_durations(spec, "spec"), *_OF_KIND.get(kind, _nothing)(spec)]


def _nothing(_spec: Object) -> Iterator[Problem]:
    yield from ()


def _selectors(spec: Object) -> Iterator[Problem]:
    for key in ("selector", "workloadSelector"):
        here = f"spec.{key}.matchLabels"
        labels: dict[str, str] = spec.get(key, {}).get("matchLabels", {})
        if any("*" in name for name in labels):
            yield invalid(here, '"object"', "wildcard not allowed in label key match")
        if "" in labels:
            yield invalid(here, '"object"', "key must not be empty")
        for name, value in labels.items():
            if "*" in value:
                yield invalid(f"{here}[{name}]", '"string"', "wildcard not allowed in label value match")
            if len(value) > 63:
                yield invalid(f"{here}[{name}]", f'"{value}"', f"{here}.{name} in body should be at most 63 chars long")
    if sum(key in spec for key in ("selector", "targetRef", "targetRefs")) > 1:
        yield invalid("spec", '"object"', "only one of targetRefs or selector can be set")


def _durations(value: object, path: str) -> Iterator[Problem]:
    """Every duration is at least a millisecond; which fields are durations, their names tell."""
    if isinstance(value, list):
        for place, each in enumerate(value):
            yield from _durations(each, f"{path}[{place}]")
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        here = f"{path}.{key}"
        if key in _DURATIONS and isinstance(inner, str):
            span = seconds(inner)
            if span is None:
                why = f"type conversion error from 'string' to 'google.protobuf.Duration' evaluating rule: {_DURATION}"
                yield invalid(here, '"string"', why)
            elif span < 0.001:
                yield invalid(here, '"string"', _DURATION)
        elif isinstance(inner, dict | list) and key not in {"headers", "labels", "sourceLabels"}:
            yield from _durations(inner, here)


def _peer_authentication(spec: Object) -> Iterator[Problem]:
    ports = spec.get("portLevelMtls")
    if ports is None:
        return
    if not spec.get("selector", {}).get("matchLabels"):
        yield invalid("spec", '"object"', "portLevelMtls requires selector")
    for port in ports:
        if not re.fullmatch(r"[-+]?\d+", port):
            why = f"type conversion error from 'string' to 'int' evaluating rule: {_PORT}"
            yield invalid("spec.portLevelMtls", '"object"', why)
        elif not 0 < int(port) <= 65535:
            yield invalid("spec.portLevelMtls", '"object"', _PORT)


def _authorization_policy(spec: Object) -> Iterator[Problem]:
    for place, rule in enumerate(spec.get("rules", [])):
        for index, each in enumerate(rule.get("from", [])):
            source = each.get("source", {})
            accounts = {"serviceAccounts", "notServiceAccounts"} & source.keys()
            if accounts and {"principals", "notPrincipals", "namespaces", "notNamespaces"} & source.keys():
                here = f"spec.rules[{place}].from[{index}].source"
                yield invalid(here, '"object"', "Cannot set serviceAccounts with namespaces or principals")


def _request_authentication(spec: Object) -> Iterator[Problem]:
    for place, rule in enumerate(spec.get("jwtRules", [])):
        here = f"spec.jwtRules[{place}]"
        if sum(key in rule for key in ("jwks", "jwksUri", "jwks_uri")) > 1:
            yield invalid(here, '"object"', "only one of jwks or jwksUri can be set")
        for index, claim in enumerate(rule.get("outputClaimToHeaders", [])):
            path, name = f"{here}.outputClaimToHeaders[{index}].header", claim["header"]
            if not _HEADER.fullmatch(name):
                yield invalid(path, f'"{name}"', f"{path} in body should match '^[-_A-Za-z0-9]+$'")


def _service_entry(spec: Object) -> Iterator[Problem]:
    resolution, endpoints = spec.get("resolution", "NONE"), spec.get("endpoints", [])
    if "workloadSelector" in spec and "endpoints" in spec:
        yield invalid("spec", '"object"', "only one of WorkloadSelector or Endpoints can be set")
    if resolution not in {"NONE", "STATIC"} and any("/" in each for each in spec.get("addresses", [])):
        yield invalid("spec", '"object"', "CIDR addresses are allowed only for NONE/STATIC resolution types")
    if resolution == "NONE" and "endpoints" in spec:
        yield invalid("spec", '"object"', "NONE mode cannot set endpoints")
    if resolution == "DNS_ROUND_ROBIN" and len(endpoints) > 1:
        yield invalid("spec", '"object"', "DNS_ROUND_ROBIN mode cannot have multiple endpoints")
    for place, host in enumerate(spec["hosts"]):
        if host == "*":
            yield invalid(f"spec.hosts[{place}]", '"string"', "hostname cannot be wildcard")
    yield from _entry_ports(spec.get("ports", []))
    for place, each in enumerate(endpoints):
        here = f"spec.endpoints[{place}]"
        if "address" not in each and "network" not in each:
            yield invalid(here, '"object"', "Address is required")
        if not all(len(name) < 63 and _PORT_NAME.fullmatch(name) for name in each.get("ports", {})):
            yield invalid(f"{here}.ports", '"object"', "port name must be valid")
        for name, number in each.get("ports", {}).items():
            if not 0 < number <= 65535:
                yield invalid(f"{here}.ports[{name}]", '"integer"', _PORT)


def _entry_ports(ports: list[Object]) -> Iterator[Problem]:
    names: set[str] = set()
    for place, port in enumerate(ports):
        if port["name"] in names:
            text = f'Duplicate value: {{"name":"{port["name"]}"}}'
            yield Problem(f"spec.ports[{place}]", "FieldValueDuplicate", text)
        names.add(port["name"])
        for key in ("number", "targetPort"):
            if key in port and not 0 < port[key] <= 65535:
                yield invalid(f"spec.ports[{place}].{key}", '"integer"', _PORT)
    if len({port["number"] for port in ports}) < len(ports):
        yield invalid("spec.ports", '"array"', "port number cannot be duplicated")


_OF_KIND: Final = {
    "PeerAuthentication": _peer_authentication,
    "AuthorizationPolicy": _authorization_policy,
    "RequestAuthentication": _request_authentication,
    "ServiceEntry": _service_entry,
}


# What the rules of the webhook share --------------------------------------------------------------------------------


def domain_problem(host: str, *, wildcard: bool = True) -> str:
    """Why a host is no domain name for Istio, or nothing; it looks at the first label apart, and names the rest."""
    if not host:
        return "empty domain name not allowed"
    first, dot, rest = host.partition(".")
    if not (wildcard and first == "*") and not _LABEL.fullmatch(first):
        return f'domain name "{host}" invalid (label "{first}" invalid)'
    labels = rest.removesuffix(".").split(".") if dot else []
    for label in labels:
        if not _LABEL.fullmatch(label):
            return f'domain name "{rest}" invalid (label "{label}" invalid)'
    if labels and labels[-1].isdigit():
        return f'domain name "{rest}" invalid (top level domain "{labels[-1]}" cannot be all-numeric)'
    return ""


def label_problem(text: str) -> bool:
    """Whether a text is no DNS label."""
    return not _LABEL.fullmatch(text)


def tag_problems(labels: dict[str, str]) -> Iterator[str]:
    """What is wrong with labels, in Istio's words."""
    for key, value in labels.items():
        if not _TAG_KEY.fullmatch(key):
            yield f'invalid tag key: "{key}"'
        if not _TAG_VALUE.fullmatch(value):
            yield f'invalid tag value: "{value}"'


def port_problem(number: int) -> Iterator[str]:
    """Whether a number is no port, in Istio's words."""
    if not 1 <= number <= 65535:
        yield f"port number {number} must be in the range 1..65535"


def export_problems(spec: Object) -> Iterator[str]:
    """What is wrong with `exportTo`, in Istio's words."""
    places = spec.get("exportTo", [])
    for place in places:
        if place == "~":
            yield "exportTo ~ (none) is not allowed for Istio configuration objects"
        elif place not in {"*", "."} and label_problem(place):
            yield "only .,*, or a valid DNS 1123 label is allowed as exportTo entry"
    if "*" in places and len(places) > 1:
        yield "cannot have both public (*) and non-public exportTo values for a resource"


def precision_problems(value: str | None) -> Iterator[str]:
    """Durations finer than a millisecond."""
    span = seconds(value) if value else None
    if span is not None and round(span * 1e6) % 1000:
        yield "only durations to ms precision are supported"


def joined(messages: list[str], *, counted: bool) -> str:
    """Messages as Istio's webhook writes them: one alone as it is, unless its check counts."""
    if len(messages) == 1 and not counted:
        return messages[0]
    word = "error" if len(messages) == 1 else "errors"
    return f"{len(messages)} {word} occurred:\n" + "".join(f"\t* {each}\n" for each in messages) + "\n"
