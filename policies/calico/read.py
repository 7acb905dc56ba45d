"""Manifests of Calico to typed policies, strictly: what is unknown or malformed is one `UsageError` line with a remedy.

What belongs here: shapes, Calico 3.28's own validity rules, and both forms: `projectcalico.org/v3`, which Calico's API
server takes, and `crd.projectcalico.org/v1`, as objects are stored. What does not: what a policy means.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from flows.errors import UsageError
from policies.calico import selectors
from policies.calico.model import (
    Accounts,
    Action,
    CalicoPolicy,
    Entity,
    NetworkSet,
    Port,
    PortRange,
    Protocol,
    Rule,
)
from policies.calico.selectors import Expression, Global
from policies.lines import Locate, documents, file_text
from policies.model import PolicyType
from policies.walk import Walk, shown

API_VERSION: Final = "projectcalico.org/v3"
STORED: Final = "crd.projectcalico.org/v1"
API_VERSIONS: Final = (API_VERSION, STORED)
POLICIES: Final = ("NetworkPolicy", "GlobalNetworkPolicy")
SETS: Final = ("NetworkSet", "GlobalNetworkSet")
TIER: Final = "default"
"""The only tier of Calico's open source at this version."""
PROTOCOLS: Final = ("TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite")
WITH_PORTS: Final = ("TCP", "UDP", "SCTP", 6, 17, 132)
UNREAD: Final = {
    "tier": "tiers other than 'default', which Calico's open source has since 3.29",
    "doNotTrack": "policies before connection tracking",
    "preDNAT": "policies before the translation of addresses",
    "applyOnForward": "policies of host endpoints for what is forwarded",
    "performanceHints": "hints to Calico's own data plane",
    "icmp": "types and codes of ICMP",
    "notICMP": "types and codes of ICMP",
    "http": "methods and paths of HTTP",
    "services": "Services as an end of a rule",
    "metadata": "annotations of a rule",
}
"""Fields that Calico has and nothing here reads, each with what it is about."""
_RANGE = re.compile(r"(\d+):(\d+)")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def is_calico(obj: Mapping[str, Any]) -> bool:
    """Whether a manifest is of Calico's API, in either form."""
    return obj.get("apiVersion") in API_VERSIONS


def read_file(path: Path) -> list[CalicoPolicy | NetworkSet]:
    """Every object of a YAML file, in order; empty documents are left out.

    Raises:
        UsageError: The file cannot be read, is not YAML, or holds something that is not a valid object of Calico.
    """
    return read_text(file_text(path), str(path))


def read_text(text: str, source: str) -> list[CalicoPolicy | NetworkSet]:
    """Every object of a YAML text; `source` names it in messages."""
    return [read(value, locate(""), locate=locate) for value, locate in documents(text, source)]


def read(obj: Mapping[str, Any], source: str, *, locate: Locate | None = None) -> CalicoPolicy | NetworkSet:
    """The policy or set as written.

    Args:
        obj: The manifest's JSON.
        source: Where it comes from, for messages and for the value's `source`.
        locate: Gives the file and line of a field path; `source` alone where absent.

    Raises:
        UsageError: Something in it is unknown, malformed or not done; one line with place, field and remedy.
    """
    return _Reader(locate or (lambda _: source)).read(obj, source)


class _Reader(Walk):
    """One manifest of Calico."""

    def read(self, obj: Mapping[str, Any], source: str) -> CalicoPolicy | NetworkSet:
        """The whole object."""
        if not isinstance(obj, dict):
            raise UsageError(f"{self._locate('')}: the document is {shown(obj)}; it must be an object of Calico")
        if not is_calico(obj):
            self._fail("apiVersion", f"is {shown(obj.get('apiVersion'))}", f"it must be {' or '.join(API_VERSIONS)}")
        kind = obj.get("kind")
        if kind not in (*POLICIES, *SETS):
            self._fail("kind", f"is {shown(kind)}", f"kinds that are read are {', '.join((*POLICIES, *SETS))}")
        top = self._fields(obj, "", ["apiVersion", "kind", "metadata", "spec"])
        return self._policy(top, kind, source) if kind in POLICIES else self._set(top, kind, source)

    def _set(self, top: dict[str, Any], kind: str, source: str) -> NetworkSet:
        meta = self._metadata(top)
        spec = self._fields(top.get("spec") or {}, "spec", ["nets"])
        nets = self._written(spec, "nets", "spec", lambda v, p: self._list(v, p, self._net))
        return NetworkSet(
            name=meta.name,
            namespace=meta.namespace,
            is_global=kind == "GlobalNetworkSet",
            uid=meta.uid,
            source=source,
            labels=meta.labels,
            nets=nets if isinstance(nets, tuple) else (),
        )

    def _policy(self, top: dict[str, Any], kind: str, source: str) -> CalicoPolicy:
        meta, is_global = self._metadata(top), kind == "GlobalNetworkPolicy"
        known = ["order", "selector", "serviceAccountSelector", "types", "ingress", "egress"]
        known += ["namespaceSelector"] if is_global else []
        more = ["tier", "performanceHints"] + (["doNotTrack", "preDNAT", "applyOnForward"] if is_global else [])
        spec = self._fields(top.get("spec") or {}, "spec", known + more)
        for name in more:
            if spec.get(name) and (name, spec[name]) != ("tier", TIER):
                self._undone(name, f"spec.{name}")
        return CalicoPolicy(
            name=self._name(meta.name),
            namespace=meta.namespace,
            is_global=is_global,
            stored=top["apiVersion"] == STORED,
            uid=meta.uid,
            created=meta.created,
            source=source,
            order=self._written(spec, "order", "spec", self._order),
            selector=self._written(spec, "selector", "spec", self._selector),
            namespaces=self._written(spec, "namespaceSelector", "spec", self._selector),
            accounts=self._written(spec, "serviceAccountSelector", "spec", self._selector),
            types=self._written(spec, "types", "spec", self._types),
            ingress=self._written(spec, "ingress", "spec", lambda v, p: self._list(v, p, self._rule)),
            egress=self._written(spec, "egress", "spec", lambda v, p: self._list(v, p, self._rule)),
        )

    def _undone(self, name: str, path: str) -> None:
        self._fail(path, f"is about {UNREAD[name]}", "this is not done here; leave it out")

    def _order(self, value: object, path: str) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            self._fail(path, f"is {shown(value)}", "it must be a number; the lower it is, the earlier it decides")
        return float(value)

    def _name(self, written: str) -> str:
        name = written.removeprefix(f"{TIER}.")
        if "." in name:
            self._fail("metadata.name", f"is {shown(written)}", "a policy's name has no '.'; use '-'")
        return name

    def _types(self, value: object, path: str) -> tuple[PolicyType, ...]:
        types = self._list(value, path, lambda v, p: self._one_of(v, p, PolicyType))
        if len(types) != len(set(types)):
            self._fail(path, "names a type twice", "keep one of them")
        return types

    def _tree(self, value: object, path: str) -> Expression:
        text = self._text(value, path)
        try:
            return selectors.parse(text)
        except UsageError as error:
            raise UsageError(
                f"{self._locate(path)}: field '{path}' is no selector of Calico: {error.message}"
            ) from None

    def _selector(self, value: object, path: str) -> Expression:
        found = self._tree(value, path)
        if Global() in selectors.leaves(found):
            self._fail(path, "says global()", "only the namespaceSelector of a rule may, and nothing beside it")
        return found

    def _spaces(self, value: object, path: str) -> Expression | None:
        if value == "":
            return None
        found = self._tree(value, path)
        return found if found == Global() else self._selector(value, path)

    def _rule(self, value: object, path: str) -> Rule:
        known = ["action", "ipVersion", "protocol", "notProtocol", "source", "destination"]
        fields = self._fields(value, path, [*known, "icmp", "notICMP", "http", "metadata"])
        for name in ("icmp", "notICMP", "http", "metadata"):
            if fields.get(name) is not None:
                self._undone(name, f"{path}.{name}")
        action = self._one_of(fields.get("action"), f"{path}.action", Action)
        rule = Rule(
            action=action,
            version=self._written(fields, "ipVersion", path, self._version),
            protocol=self._written(fields, "protocol", path, self._protocol),
            not_protocol=self._written(fields, "notProtocol", path, self._protocol),
            source=self._entity(fields.get("source"), f"{path}.source"),
            destination=self._entity(fields.get("destination"), f"{path}.destination"),
        )
        for name, entity in (("source", rule.source), ("destination", rule.destination)):
            self._one_family(rule, entity, f"{path}.{name}")
            if (entity.ports or entity.not_ports) and rule.protocol not in WITH_PORTS:
                field = "ports" if entity.ports else "notPorts"
                remedy = "give the rule `protocol: TCP`, UDP or SCTP"
                self._fail(f"{path}.{name}.{field}", "stands in a rule without a protocol that has ports", remedy)
        return rule

    def _one_family(self, rule: Rule, entity: Entity, path: str) -> None:
        for name, written in (("nets", entity.nets), ("notNets", entity.not_nets)):
            ranges = written if isinstance(written, tuple) else ()
            versions: set[int] = {ipaddress.ip_network(each, strict=False).version for each in ranges}
            if isinstance(rule.version, int):
                versions.add(rule.version)
            if len(versions) > 1:
                self._fail(f"{path}.{name}", "mixes IPv4 and IPv6", "write one rule for each family")

    def _version(self, value: object, path: str) -> int:
        if value not in (4, 6) or not isinstance(value, int):
            self._fail(path, f"is {shown(value)}", "it must be 4 or 6")
        return value

    def _protocol(self, value: object, path: str) -> Protocol:
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 255:
            return value
        if not isinstance(value, str) or value not in PROTOCOLS:
            known = f"it must be one of {', '.join(PROTOCOLS)}, or a number from 1 to 255"
            self._fail(path, f"is {shown(value)}", known)
        return value

    def _entity(self, value: object, path: str) -> Entity:
        if value is None:
            return Entity()
        known = ["nets", "notNets", "ports", "notPorts", "selector", "notSelector", "namespaceSelector"]
        fields = self._fields(value, path, [*known, "serviceAccounts", "services"])
        if fields.get("services") is not None:
            self._undone("services", f"{path}.services")
        return Entity(
            nets=self._written(fields, "nets", path, lambda v, p: self._list(v, p, self._first)),
            not_nets=self._written(fields, "notNets", path, lambda v, p: self._list(v, p, self._first)),
            ports=self._written(fields, "ports", path, lambda v, p: self._list(v, p, self._port)),
            not_ports=self._written(fields, "notPorts", path, lambda v, p: self._list(v, p, self._port)),
            selector=self._written(fields, "selector", path, self._given),
            not_selector=self._written(fields, "notSelector", path, self._given),
            namespaces=self._written(fields, "namespaceSelector", path, self._spaces),
            accounts=self._written(fields, "serviceAccounts", path, self._accounts),
        )

    def _given(self, value: object, path: str) -> Expression | None:
        """A rule's selector: an empty one is as good as none."""
        return self._selector(value, path) if value != "" else None

    def _accounts(self, value: object, path: str) -> Accounts:
        fields = self._fields(value, path, ["names", "selector"])
        return Accounts(
            names=self._written(fields, "names", path, lambda v, p: self._list(v, p, self._text)),
            selector=self._written(fields, "selector", path, self._given),
        )

    def _net(self, value: object, path: str) -> str:
        text = self._text(value, path)
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            self._fail(path, f"is {shown(value)}", "write an address or a range such as 10.0.0.0/8")
        return text

    def _first(self, value: object, path: str) -> str:
        return self._range(value, path, host_bits=False)

    def _port(self, value: object, path: str) -> Port:
        remedy = "write a number from 1 to 65535, a range such as '8000:8080', or a port's name"
        if isinstance(value, int) and not isinstance(value, bool):
            low = high = value
        elif isinstance(value, str) and (pair := _RANGE.fullmatch(value)):
            low, high = int(pair[1]), int(pair[2])
        elif isinstance(value, str) and value.isdigit():
            low = high = int(value)
        elif isinstance(value, str) and _NAME.fullmatch(value):
            return value
        else:
            self._fail(path, f"is {shown(value)}", remedy)
        if not 1 <= low <= high <= 65535:
            self._fail(path, f"is {shown(value)}", remedy)
        return PortRange(low=low, high=high)
