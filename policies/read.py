"""Manifests to typed policies, strictly: what is unknown or malformed is one `UsageError` line with field and remedy.

What belongs here: shapes and the API server's own validity rules. What does not: what a policy means, and YAML's lines
(`lines`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.errors import UsageError
from policies.lines import Locate, documents, file_text
from policies.model import (
    Expression,
    IpBlock,
    NetworkPolicy,
    Operator,
    Peer,
    PolicyType,
    Port,
    Rule,
    Selector,
    Transport,
    Written,
)
from policies.walk import Walk, shown

API_VERSION = "networking.k8s.io/v1"
KIND = "NetworkPolicy"
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = re.compile(rf"([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}")
_LABEL_VALUE = re.compile(rf"({_NAME})?")
_PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")


def read_file(path: Path) -> list[NetworkPolicy]:
    """Every policy of a YAML file, in order; empty documents are left out.

    Raises:
        UsageError: The file cannot be read, is not YAML, or holds something that is not a valid NetworkPolicy.
    """
    return read_text(file_text(path), str(path))


def read_text(text: str, source: str) -> list[NetworkPolicy]:
    """Every policy of a YAML text; `source` names it in messages."""
    return [read(value, locate(""), locate=locate) for value, locate in documents(text, source)]


def read(obj: Mapping[str, Any], source: str, *, locate: Locate | None = None) -> NetworkPolicy:
    """The policy as written.

    Args:
        obj: The manifest's JSON.
        source: Where it comes from, for messages and for `NetworkPolicy.source`.
        locate: Gives the file and line of a field path; `source` alone where absent.

    Raises:
        UsageError: Something in it is unknown or malformed; one line with place, field and remedy.
    """
    return _Reader(locate or (lambda _: source)).policy(obj, source)


class _Reader(Walk):
    """Walks one manifest and knows where each field stands."""

    def policy(self, obj: Mapping[str, Any], source: str) -> NetworkPolicy:
        """The whole object."""
        if not isinstance(obj, dict):
            raise UsageError(f"{self._locate('')}: the document is {shown(obj)}; it must be a {KIND} object")
        for key, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
            if obj.get(key) != wanted:
                self._fail(key, f"is {shown(obj.get(key))}", f"it must be {wanted}")
        top = self._fields(obj, "", ["apiVersion", "kind", "metadata", "spec", "status"])
        meta = self._metadata(top)
        spec = self._fields(top.get("spec"), "spec", ["podSelector", "policyTypes", "ingress", "egress"])
        return NetworkPolicy(
            name=meta.name,
            namespace=meta.namespace,
            uid=meta.uid,
            created=meta.created,
            source=source,
            pods=self._written(spec, "podSelector", "spec", self._selector),
            types=self._written(
                spec,
                "policyTypes",
                "spec",
                lambda value, path: self._list(value, path, lambda v, p: self._one_of(v, p, PolicyType)),
            ),
            ingress=self._written(spec, "ingress", "spec", lambda v, p: self._list(v, p, self._ingress)),
            egress=self._written(spec, "egress", "spec", lambda v, p: self._list(v, p, self._egress)),
        )

    def _ingress(self, value: object, path: str) -> Rule:
        return self._rule(value, path, "from")

    def _egress(self, value: object, path: str) -> Rule:
        return self._rule(value, path, "to")

    def _rule(self, value: object, path: str, peers: str) -> Rule:
        fields = self._fields(value, path, [peers, "ports"])
        return Rule(
            peers=self._written(fields, peers, path, lambda v, p: self._list(v, p, self._peer)),
            ports=self._written(fields, "ports", path, lambda v, p: self._list(v, p, self._port)),
        )

    def _peer(self, value: object, path: str) -> Peer:
        known = ["podSelector", "namespaceSelector", "ipBlock"]
        fields = self._fields(value, path, known)
        given = [key for key in known if fields.get(key) is not None]
        if not given:
            self._fail(path, "is empty", f"give one of {', '.join(known)}; leave the list out to mean everybody")
        if "ipBlock" in given and len(given) > 1:
            self._fail(f"{path}.ipBlock", f"stands beside {given[0]}", "make the ipBlock a peer of its own")
        return Peer(
            pods=self._written(fields, "podSelector", path, self._selector),
            namespaces=self._written(fields, "namespaceSelector", path, self._selector),
            block=self._written(fields, "ipBlock", path, self._block),
        )

    def _port(self, value: object, path: str) -> Port:
        fields = self._fields(value, path, ["port", "endPort", "protocol"])
        port: Written[int | str] = self._written(fields, "port", path, self._port_value)
        end = self._written(fields, "endPort", path, self._number)
        if isinstance(end, int):
            if not isinstance(port, int):
                self._fail(f"{path}.endPort", "stands without a numeric port", "give the first number as 'port'")
            if end < port:
                self._fail(f"{path}.endPort", f"is {end}, below port {port}", "it must not be smaller than 'port'")
        protocol = self._written(fields, "protocol", path, lambda v, p: self._one_of(v, p, Transport))
        return Port(port=port, end=end, protocol=protocol)

    def _number(self, value: object, path: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
            self._fail(path, f"is {shown(value)}", "it must be a number from 1 to 65535")
        return value

    def _port_value(self, value: object, path: str) -> int | str:
        if not isinstance(value, str):
            return self._number(value, path)
        if not _PORT_NAME.fullmatch(value):
            self._fail(
                path,
                f"is {shown(value)}",
                "a name has at most 15 of a-z, 0-9 and '-' with a letter; write a number without quotes",
            )
        return value

    def _selector(self, value: object, path: str) -> Selector:
        fields = self._fields(value, path, ["matchLabels", "matchExpressions"])
        return Selector(
            labels=self._written(fields, "matchLabels", path, self._labels),
            expressions=self._written(
                fields, "matchExpressions", path, lambda v, p: self._list(v, p, self._expression)
            ),
        )

    def _labels(self, value: object, path: str) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, dict):
            self._fail(path, f"is {shown(value)}", "it must be an object of label keys and values")
        return tuple((self._key(key, path), self._value(each, f"{path}.{key}")) for key, each in value.items())

    def _key(self, value: object, path: str) -> str:
        if not isinstance(value, str) or not _LABEL_KEY.fullmatch(value):
            self._fail(path, f"has the label key {shown(value)}", "a key is [prefix/]name of at most 63 characters")
        return value

    def _value(self, value: object, path: str) -> str:
        if not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
            self._fail(path, f"is {shown(value)}", "a label's value is a string of at most 63 characters; quote it")
        return value

    def _expression(self, value: object, path: str) -> Expression:
        fields = self._fields(value, path, ["key", "operator", "values"])
        key = self._key(fields.get("key"), f"{path}.key")
        operator = self._one_of(fields.get("operator"), f"{path}.operator", Operator)
        values = self._written(fields, "values", path, lambda v, p: self._list(v, p, self._value))
        some = isinstance(values, tuple) and bool(values)
        if operator in {Operator.IN, Operator.NOT_IN} and not some:
            self._fail(f"{path}.values", "is empty", f"{operator} needs at least one value")
        if operator in {Operator.EXISTS, Operator.DOES_NOT_EXIST} and some:
            self._fail(f"{path}.values", "is given", f"{operator} takes no values; remove them")
        return Expression(key=key, operator=operator, values=values)

    def _block(self, value: object, path: str) -> IpBlock:
        fields = self._fields(value, path, ["cidr", "except"])
        cidr = self._range(fields.get("cidr"), f"{path}.cidr")
        whole = ipaddress.ip_network(cidr, strict=False)

        def inside(each: object, where: str) -> str:
            text = self._range(each, where)
            hole = ipaddress.ip_network(text, strict=False)
            nested = (
                hole.version == whole.version and hole.prefixlen > whole.prefixlen and hole.network_address in whole
            )
            if not nested:
                self._fail(where, f"is {text}, not strictly within {cidr}", "name a smaller range inside 'cidr'")
            return text

        return IpBlock(cidr=cidr, excepts=self._written(fields, "except", path, lambda v, p: self._list(v, p, inside)))
