"""Syntax of names, labels and ports, with Kubernetes' own sentences for what is wrong."""

from __future__ import annotations

import re
from typing import Any

from clusters.lab.api.status import Causes

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")

LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
DNS1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
PORT_RANGE = "must be between 1 and 65535, inclusive"


def dns_label_problem(value: str) -> str:
    """What is wrong with a DNS-1123 label, or nothing."""
    if len(value) > 63:
        return "must be no more than 63 characters"
    return "" if _LABEL.fullmatch(value) else LABEL_TEXT


def dns1035_problem(value: str) -> str:
    """What is wrong with a DNS-1035 label (a Service's name), or nothing."""
    if len(value) > 63:
        return "must be no more than 63 characters"
    return "" if _LABEL.fullmatch(value) and value[0].isalpha() else DNS1035_TEXT


def subdomain_problem(value: str) -> str:
    """What is wrong with a DNS-1123 subdomain (most names), or nothing."""
    if len(value) > 253:
        return "must be no more than 253 characters"
    return "" if _SUBDOMAIN.fullmatch(value) else SUBDOMAIN_TEXT


def label_key_problem(key: str) -> str:
    """What is wrong with a label's or annotation's key, or nothing."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return (
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')"
        )
    if slash and not prefix:
        return "prefix part must be non-empty"
    if prefix and (problem := subdomain_problem(prefix)):
        return f"prefix part {problem}"
    if not name:
        return f"name part must be non-empty; {_NAME_PART}"
    if len(name) > 63:
        return "name part must be no more than 63 characters"
    return "" if _QUALIFIED.fullmatch(name) else _NAME_PART


def label_value_problem(value: str) -> str:
    """What is wrong with a label's value, or nothing."""
    if len(value) > 63:
        return "must be no more than 63 characters"
    return "" if not value or _QUALIFIED.fullmatch(value) else _LABEL_VALUE


def port_name_problems(name: str) -> list[str]:
    """Everything that is wrong with a port's name (IANA_SVC_NAME)."""
    rules = (
        (len(name) <= 15, "must be no more than 15 characters"),
        (
            re.fullmatch(r"[-a-z0-9]+", name),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (re.search(r"[a-z]", name), "must contain at least one letter (a-z)"),
        ("--" not in name, "must not contain consecutive hyphens"),
        (name[:1] != "-" and name[-1:] != "-", "must not begin or end with a hyphen"),
    )
    return [problem for holds, problem in rules if not holds]


def env_name_problem(name: str) -> str:
    """What is wrong with an environment variable's name, or nothing."""
    if not name or "=" in name or not name.isprintable():
        return "a valid environment variable name must consist only of printable ASCII characters other than '='"
    return ""


def config_key_problem(key: str) -> str:
    """What is wrong with a ConfigMap's or Secret's key, or nothing."""
    if len(key) > 253:
        return "must be no more than 253 characters"
    if key in {".", ".."} or key.startswith(".."):
        return f"must not be '{key}'" if key in {".", ".."} else "must not start with '..'"
    if not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
        return (
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
            "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        )
    return ""


def check_labels(causes: Causes, found: dict[str, Any], path: str) -> None:
    """Every label's key and value."""
    for key, value in found.items():
        if problem := label_key_problem(key):
            causes.invalid(path, key, problem)
        if problem := label_value_problem(value):
            causes.invalid(path, value, problem)


def check_selector(causes: Causes, selector: dict[str, Any], path: str) -> None:
    """A LabelSelector's labels and expressions."""
    check_labels(causes, selector.get("matchLabels", {}), f"{path}.matchLabels")
    for place, each in enumerate(selector.get("matchExpressions", [])):
        here, operator, values = f"{path}.matchExpressions[{place}]", each.get("operator", ""), each.get("values", [])
        if operator in {"In", "NotIn"} and not values:
            causes.required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in {"Exists", "DoesNotExist"} and values:
            causes.forbidden(f"{here}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        elif operator not in {"In", "NotIn", "Exists", "DoesNotExist"}:
            causes.invalid(f"{here}.operator", operator, "not a valid selector operator")
        if problem := label_key_problem(each.get("key", "")):
            causes.invalid(f"{here}.key", each.get("key", ""), problem)
        for index, value in enumerate(values):
            if problem := label_value_problem(value):
                causes.invalid(f"{here}.values[{index}]", value, problem)


def check_port(causes: Causes, port: object, path: str) -> None:
    """A port by number (1 to 65535) or by name."""
    if isinstance(port, str):
        for problem in port_name_problems(port):
            causes.invalid(path, port, problem)
    elif not isinstance(port, int) or not 1 <= port <= 65535:
        causes.invalid(path, port, PORT_RANGE)
