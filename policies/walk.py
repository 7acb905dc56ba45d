"""Walks one manifest and knows where each field stands: what every strict reader of policies shares.

What belongs here: shapes and metadata that all kinds have. What does not: any kind's own fields (`read`,
`calico.read`).
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from flows.errors import UsageError
from policies.lines import Locate
from policies.model import ABSENT, Written

_METADATA = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "finalizers",
    "ownerReferences",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
    "selfLink",
]
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What readers keep of `metadata`; empty where it says nothing."""

    name: str
    namespace: str
    uid: str
    created: str
    labels: tuple[tuple[str, str], ...]


class Walk:
    """The shapes that manifests are made of; what is none of them is one `UsageError` line.

    Args:
        locate: Gives the file and line of a field path.
    """

    def __init__(self, locate: Locate) -> None:
        self._locate = locate

    def _fail(self, path: str, problem: str, remedy: str) -> NoReturn:
        raise UsageError(f"{self._locate(path)}: field '{path}' {problem}; {remedy}")

    def _fields(self, value: object, path: str, known: list[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._fail(path, f"is {shown(value)}", f"it must be an object with {', '.join(known)}")
        for key in value:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                place = f"{path}.{key}" if path else str(key)
                self._fail(
                    place, "is unknown", f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}"
                )
        return value

    def _written(self, fields: dict[str, Any], key: str, path: str, of: Callable[[Any, str], T | None]) -> Written[T]:
        if key not in fields:
            return ABSENT
        value = fields[key]
        return None if value is None else of(value, f"{path}.{key}")

    def _list(self, value: object, path: str, of: Callable[[Any, str], T]) -> tuple[T, ...]:
        if not isinstance(value, list):
            self._fail(path, f"is {shown(value)}", "it must be a list; begin its entries with '- '")
        return tuple(of(each, f"{path}[{index}]") for index, each in enumerate(value))

    def _text(self, value: object, path: str) -> str:
        if not isinstance(value, str):
            self._fail(path, f"is {shown(value)}", "it must be a string; quote it")
        return value

    def _range(self, value: object, path: str, *, host_bits: bool = True) -> str:
        """An address range as it is written.

        Args:
            host_bits: Whether it may be written by any address in it, or by its first one only.
        """
        text = self._text(value, path)
        try:
            ipaddress.ip_network(text, strict=not host_bits)
        except ValueError:
            valid = False
        else:
            valid = "/" in text
        if not valid:
            remedy = "write a range such as 10.0.0.0/8 or 192.0.2.1/32"
            self._fail(path, f"is {shown(value)}", remedy if host_bits else f"{remedy}, no host in it")
        return text

    def _one_of(self, value: object, path: str, kind: type[E]) -> E:
        choices = [str(each) for each in kind]
        if value not in choices:
            close = difflib.get_close_matches(str(value).capitalize(), choices, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}? " if close else ""
            self._fail(path, f"is {shown(value)}", f"{hint}it must be one of {', '.join(choices)}")
        return kind(value)

    def _metadata(self, top: Mapping[str, Any]) -> Meta:
        meta = self._fields(top.get("metadata"), "metadata", _METADATA)
        name = self._text(meta.get("name"), "metadata.name")
        if not _OBJECT_NAME.fullmatch(name):
            self._fail("metadata.name", f"is {shown(name)}", "use lower case letters, digits, '-' and '.'")
        labels = meta.get("labels") or {}
        if not isinstance(labels, dict):
            self._fail("metadata.labels", f"is {shown(labels)}", "it must be an object of label keys and values")
        return Meta(
            name=name,
            namespace=self._text(meta.get("namespace") or "", "metadata.namespace"),
            uid=self._text(meta.get("uid") or "", "metadata.uid"),
            created=str(meta.get("creationTimestamp") or ""),
            labels=tuple((str(key), self._text(each, f"metadata.labels.{key}")) for key, each in labels.items()),
        )


def shown(value: object) -> str:
    """A value as messages quote it: short, and missing where it is null."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
