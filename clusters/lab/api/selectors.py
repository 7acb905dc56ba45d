"""Label and field selectors: from a query's text to a predicate over an object."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from clusters.lab.api.names import label_key_problem, label_value_problem
from clusters.lab.api.resources import EVENTS, NODES, PODS, SECRETS, SERVICES, ResourceType
from clusters.lab.api.status import bad_request

Object = dict[str, Any]
Predicate = Callable[[Object], bool]

_FIELDS: dict[str, tuple[str, ...]] = {
    PODS.plural: (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    EVENTS.plural: (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    NODES.plural: ("spec.unschedulable",),
    SECRETS.plural: ("type",),
    SERVICES.plural: ("spec.clusterIP", "spec.type"),
    "namespaces": ("status.phase",),
}
_SET = re.compile(r"^(?P<key>[^\s!=,()]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUALS = re.compile(r"^(?P<key>[^\s!=,()<>]+)\s*(?P<op>==|!=|=|<|>)\s*(?P<value>[^\s!=,()]*)$")


def _requirements(text: str) -> list[str]:
    """The comma-separated parts, commas inside parentheses kept."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", text) if part.strip()]


def labels(text: str) -> Predicate | None:
    """The predicate of a label selector, or None when it selects everything.

    Raises:
        StatusError: 400; it cannot be read.
    """
    checks = [_label_check(part) for part in _requirements(text)]
    if not checks:
        return None

    def holds(obj: Object) -> bool:
        found: dict[str, str] = obj["metadata"].get("labels") or {}
        return all(check(found) for check in checks)

    return holds


def _label_check(part: str) -> Callable[[dict[str, str]], bool]:
    if found := _SET.match(part):
        values = {each.strip() for each in found["values"].split(",")}
        key, wanted = _label(found["key"], *values), found["op"] == "in"
        return lambda labels: (labels.get(key) in values) if wanted else (labels.get(key) not in values)
    if found := _EQUALS.match(part):
        value, operator = found["value"], found["op"]
        key = _label(found["key"], *(() if operator in "<>" else (value,)))
        if operator in {"<", ">"}:
            if not re.fullmatch(r"-?\d+", value):
                raise bad_request(
                    f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": '
                    "for 'Gt', 'Lt' operators, the value must be an integer"
                )
            return lambda labels: _compares(labels.get(key), operator, int(value))
        return lambda labels: (labels.get(key) == value) is (operator != "!=")
    if re.fullmatch(r"![^\s!=,()]+", part):
        key = _label(part[1:])
        return lambda labels: key not in labels
    if re.fullmatch(r"[^\s!=,()<>]+", part):
        key = _label(part)
        return lambda labels: key in labels
    if found := re.match(r"^[^\s!=,()<>]+\s*(==|!=|=)\s*[^\s!=,()]*(?P<rest>[!=,()])", part):
        raise bad_request(f"found '{found['rest']}', expected: ',' or 'end of string'")
    strange = part.split(None, 1)[-1]
    raise bad_request(f"unable to parse requirement: found '{strange}', expected: in, notin, =, ==, !=, gt, lt")


def _label(key: str, *values: str) -> str:
    if problem := label_key_problem(key):
        raise bad_request(f'unable to parse requirement: key: Invalid value: "{key}": {problem}')
    for value in values:
        if problem := label_value_problem(value):
            raise bad_request(f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": {problem}')
    return key


def _compares(value: str | None, operator: str, limit: int) -> bool:
    if value is None or not re.fullmatch(r"-?\d+", value):
        return False
    return int(value) > limit if operator == ">" else int(value) < limit


def fields(resource: ResourceType, text: str) -> Predicate | None:
    """The predicate of a field selector, or None when it selects everything.

    Raises:
        StatusError: 400; it cannot be read, or the kind has no such selectable field.
    """
    checks: list[tuple[tuple[str, ...], str, bool]] = []
    for part in _requirements(text):
        found = re.match(r"^([\w.]+)\s*(==|!=|=)\s*(.*)$", part)
        if not found:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        known = ("metadata.name", *(("metadata.namespace",) if resource.namespaced else ()))
        if found[1] not in (*known, *_FIELDS.get(resource.plural, ())):
            raise bad_request(f"field label not supported: {found[1]}")
        checks.append((tuple(found[1].split(".")), found[3], found[2] != "!="))
    if not checks:
        return None
    return lambda obj: all((_at(obj, path) == value) is wanted for path, value, wanted in checks)


def _at(obj: Object, path: tuple[str, ...]) -> str:
    value: object = obj
    if path == ("source",):
        path = ("source", "component")
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "false" if path[-1] in {"unschedulable", "hostNetwork"} else ""
    return str(value)
