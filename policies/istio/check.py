"""Everything that is wrong with a resource, in the order in which a cluster with Istio would say it.

What belongs here: the three steps together: shape and definition, webhook, what the lab does not do. What does not:
the rules themselves, building the typed resource (`read`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from policies.istio import security_rules, traffic_rules
from policies.istio.refusals import refused
from policies.istio.rules import definition_problems, joined
from policies.istio.shapes import Problem, read_spec

Object = dict[str, Any]
GROUPS: Final = {
    "PeerAuthentication": "security.istio.io",
    "AuthorizationPolicy": "security.istio.io",
    "RequestAuthentication": "security.istio.io",
    "DestinationRule": "networking.istio.io",
    "VirtualService": "networking.istio.io",
    "ServiceEntry": "networking.istio.io",
}
"""Kind → group of everything that the lab's mesh knows."""
VERSIONS: Final = {"security.istio.io": ("v1", "v1beta1"), "networking.istio.io": ("v1", "v1beta1", "v1alpha3")}
"""The versions of a group; all have the same schema, the first is the stored one."""
_HTTP_SOURCES: Final = ("requestPrincipals", "notRequestPrincipals")
_HTTP_OPERATIONS: Final = ("hosts", "notHosts", "methods", "notMethods", "paths", "notPaths")


@dataclass(slots=True)
class Findings:
    """What a check found.

    Attributes:
        spec: With known fields only.
        unknown: Paths of unknown fields.
        problems: What the definition refuses.
        denied: What Istio's webhook refuses, as one message; empty when nothing.
        undone: (field, what) that the lab does not do.
        warnings: What Istio warns of.
    """

    spec: Object
    unknown: list[str]
    problems: list[Problem] = field(default_factory=list)
    denied: str = ""
    undone: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check(obj: Object) -> Findings:
    """Check a resource of one of `GROUPS`; a later step is only taken when the ones before found nothing."""
    kind, meta = str(obj["kind"]), obj.get("metadata") or {}
    spec = obj.get("spec")
    if spec is None and kind == "ServiceEntry":
        return Findings({}, [], [Problem("spec", "FieldValueRequired", "Required value")])
    reading = read_spec(kind, {} if spec is None else spec)
    found = Findings(reading.clean, reading.unknown, reading.problems)
    if not found.problems:
        found.problems = definition_problems(kind, found.spec)
    if found.problems:
        return found
    if reading.too_large:
        number = reading.too_large[0]
        found.denied = (
            f"error decoding configuration: json: cannot unmarshal number {number} into Go value of type int32"
        )
        return found
    found.denied = _denied(kind, found.spec, f"{meta.get('name', '')}.{meta.get('namespace', '')}")
    if not found.denied:
        found.undone = list(refused({**obj, "spec": found.spec}))
        found.warnings = _warnings(kind, found.spec)
    return found


def _denied(kind: str, spec: Object, name: str) -> str:
    counted = False
    match kind:
        case "AuthorizationPolicy":
            messages = security_rules.authorization_policy(spec, name)
            counted = any(": bad " in each for each in messages)
        case "RequestAuthentication":
            messages = security_rules.request_authentication(spec)
            counted = True
        case "DestinationRule":
            messages = traffic_rules.destination_rule(spec)
        case "VirtualService":
            messages = traffic_rules.virtual_service(spec)
            counted = any(each.startswith(("invalid tag", "HTTP fault", "attempts")) for each in messages)
        case "ServiceEntry":
            messages = traffic_rules.service_entry(spec)
            counted = any(each.startswith("invalid tag") for each in messages)
        case _:
            messages = []
    messages = list(dict.fromkeys(messages))
    return f"configuration is invalid: {joined(messages, counted=counted)}" if messages else ""


def _warnings(kind: str, spec: Object) -> list[str]:
    found = []
    if "selector" in spec and not spec["selector"].get("matchLabels"):
        found.append("workload selector specified without labels")
    if kind == "AuthorizationPolicy" and spec.get("action") == "DENY" and _http_only(spec.get("rules", [])):
        found.append(
            "configured AuthorizationPolicy will deny all traffic to TCP ports under its scope due to the use of only "
            "HTTP attributes in a DENY rule; it is recommended to explicitly specify the port"
        )
    if kind == "ServiceEntry" and not spec.get("addresses") and "*" not in str(spec["hosts"]):
        protocols = {port.get("protocol", "").upper() for port in spec.get("ports", [])}
        if protocols & {"", "TCP"}:
            found.append(
                "addresses are required for ports serving TCP (or unset) protocol when IP Autoallocation is not enabled"
            )
    if kind == "VirtualService":
        last = len(spec.get("http", [])) - 1
        for place, route in enumerate(spec.get("http", [])):
            if not route.get("match") and place != last:
                found.append(f"virtualService rule #{place + 1} not used (only the last rule can have no matches)")
    return found


def _http_only(rules: list[Object]) -> bool:
    """Whether a rule has HTTP attributes and no port."""
    for rule in rules:
        sources = [key for each in rule.get("from", []) for key in each["source"]]
        operations = [key for each in rule.get("to", []) for key in each["operation"]]
        keys = [str(each["key"]) for each in rule.get("when", [])]
        http = (
            any(key in _HTTP_SOURCES for key in sources)
            or any(key in _HTTP_OPERATIONS for key in operations)
            or any(key.startswith("request.") for key in keys)
        )
        if http and not {"ports", "notPorts"} & set(operations) and "destination.port" not in keys:
            return True
    return False
