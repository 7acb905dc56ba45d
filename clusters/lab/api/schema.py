"""Reads objects as Kubernetes' decoder does: finds unknown fields, refuses wrong types, drops empty values.

What belongs here: shapes of fields. What does not: whether a value makes sense (`validation`) or defaults (`defaults`).
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from clusters.lab.api import quantity
from clusters.lab.api.fields import FIELDS
from clusters.lab.api.status import bad_request

Object = dict[str, Any]
_GO = {
    "str": "string",
    "int": "int32",
    "long": "int64",
    "bool": "bool",
    "bytes": "[]uint8",
    "time": "Time",
    "quantity": "Quantity",
}
_SCALARS = {"str", "int", "long", "bool", "num", "time", "bytes", "quantity", "intstr", "any"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a field holds.

    Attributes:
        type: A scalar's name, or a struct's, or `list` or `map` with `item` for what is inside.
        pointer: An empty value counts as given; always: it is written even when empty.
        merge: Strategic merge patch merges the list, by `merge_key` unless its elements are plain values.
    """

    type: str
    item: Shape | None = None
    pointer: bool = False
    always: bool = False
    merge: bool = False
    merge_key: str = ""
    retain: bool = False

    @property
    def struct(self) -> bool:
        """Whether `type` names a struct of the schema."""
        return self.type not in _SCALARS and self.item is None


@functools.cache
def types() -> dict[str, dict[str, Shape]]:
    """Every type of the schema with its fields."""
    found: dict[str, dict[str, Shape]] = {}
    for line in FIELDS.replace("\n  ", " ").strip().splitlines():
        name, _, rest = line.partition(": ")
        pairs = [each.split(" ", 1) for each in rest.split(", ")]
        found[name] = {field.partition("#")[0]: _shape(shape) for field, shape in pairs}
    return found


@functools.cache
def numbers(name: str) -> dict[tuple[int, ...], str]:
    """The fields of a type by their place in the protobuf encoding."""
    line = next(each for each in FIELDS.replace("\n  ", " ").splitlines() if each.startswith(f"{name}: "))
    found: dict[tuple[int, ...], str] = {}
    for each in line.partition(": ")[2].split(", "):
        field, _, place = each.split(" ", 1)[0].partition("#")
        if place or field == "metadata":
            found[tuple(int(step) for step in place.split(".")) if place else (1,)] = field
    return found


@functools.cache
def _shape(text: str) -> Shape:
    if text[0] in "[{":
        closing = text.rindex("]" if text[0] == "[" else "}")
        inner, marks = _shape(text[1:closing]), text[closing + 1 :]
        shape = Shape(type="list" if text[0] == "[" else "map", item=inner)
    else:
        end = next((place for place, letter in enumerate(text) if letter in "?!~^"), len(text))
        shape, marks = Shape(type=text[:end]), text[end:]
    if "~" in marks:
        shape = replace(shape, merge=True, merge_key=marks.partition("~")[2].rstrip("^"))
    return replace(shape, pointer="?" in marks, always="!" in marks, retain=marks.endswith("^"))


class Repeated(dict[str, Any]):
    """A JSON object in which some names stood more than once; the last one won."""

    names: tuple[str, ...] = ()


def _pairs(pairs: list[tuple[str, Any]]) -> Object:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    marked = Repeated(plain)
    marked.names = tuple(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    return marked


def parse_json(text: bytes) -> Any:
    """JSON whose repeated names are remembered for the strict check.

    Raises:
        StatusError: 400; not JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_pairs)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body of the request is not JSON: {error}") from None


@dataclass(slots=True)
class Decoder:
    """Decodes one object; `strict` collects what a strict reader refuses, in order."""

    kind: str
    version: str
    strict: list[str] = field(default_factory=list)

    def decode(self, body: Object) -> Object:
        """A fresh object with known fields only, empty values dropped.

        Raises:
            StatusError: 400; a value is of another type than its field.
        """
        return self._struct(self.kind, body, "", "")

    def metadata(self, body: object) -> Object:
        """The `metadata` of an object whose other fields are somebody else's to read.

        Raises:
            StatusError: 400; a value is of another type than its field.
        """
        return self._struct("ObjectMeta", {} if body is None else body, "metadata.", "metadata")

    def _wrong(self, value: object, owner: str, plain: str, wanted: str) -> Exception:
        got = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
        what = next((name for kind, name in got.items() if isinstance(value, kind)), "value")
        detail = f"json: cannot unmarshal {what} into Go struct field {owner}.{plain} of type {wanted}"
        return bad_request(f'{self.kind} in version "{self.version}" cannot be handled as a {self.kind}: {detail}')

    def _struct(self, name: str, value: object, path: str, plain: str) -> Object:
        known = types()[name]
        if not isinstance(value, dict):
            raise self._wrong(value, name, plain or name, f"v1.{name}")
        for each in value.names if isinstance(value, Repeated) else ():
            self.strict.append(f'duplicate field "{path}{each}"')
        clean: Object = {}
        for key, inner in value.items():
            shape = known.get(key)
            if shape is None:
                self.strict.append(f'unknown field "{path}{key}"')
                continue
            if inner is None:
                continue
            decoded = self._value(shape, inner, path + key, f"{plain}.{key}" if plain else key, name)
            if decoded in _EMPTY.get(type(decoded), ()) and not (
                shape.pointer or shape.always or shape.struct or shape.type == "any"
            ):
                continue
            clean[key] = decoded
        for key, shape in known.items():
            if shape.always and key not in clean:
                zero = self._zero(shape)
                if zero is not None:
                    clean[key] = zero
        return clean

    def _zero(self, shape: Shape) -> object:
        if shape.struct:
            return self._struct(shape.type, {}, "", "")
        return {"str": "", "int": 0, "long": 0, "bool": False, "intstr": 0}.get(shape.type)

    def _value(self, shape: Shape, value: object, path: str, plain: str, owner: str) -> object:
        item = shape.item
        if shape.type == "list" and item is not None:
            if not isinstance(value, list):
                raise self._wrong(value, owner, plain, f"[]{_go(item)}")
            return [
                self._value(item, each, f"{path}[{place}]", plain, owner)
                for place, each in enumerate(value)
                if each is not None or not item.struct
            ]
        if shape.type == "map" and item is not None:
            if not isinstance(value, dict):
                raise self._wrong(value, owner, plain, f"map[string]{_go(item)}")
            for each in value.names if isinstance(value, Repeated) else ():
                self.strict.append(f'duplicate field "{path}.{each}"')
            return {
                key: "" if inner is None else self._value(item, inner, f"{path}.{key}", plain, owner)
                for key, inner in value.items()
            }
        if shape.struct:
            return self._struct(shape.type, value, path + ".", plain)
        return self._scalar(shape.type, value, plain, owner)

    def _scalar(self, kind: str, value: object, plain: str, owner: str) -> object:
        if kind == "any":
            return value
        if kind == "quantity":
            return self._quantity(value)
        is_int = isinstance(value, int) and not isinstance(value, bool)
        fits = {
            "int": is_int,
            "long": is_int,
            "bool": isinstance(value, bool),
            "num": is_int or isinstance(value, float),
            "intstr": is_int or isinstance(value, str),
        }
        if not fits.get(kind, isinstance(value, str)):
            raise self._wrong(value, owner, plain, _GO.get(kind, "int32" if kind == "intstr" else kind))
        bits = {"int": 31, "long": 63, "intstr": 31}.get(kind, 0)
        if bits and isinstance(value, int) and not -(2**bits) <= value < 2**bits:
            raise self._wrong(value, owner, plain, _GO.get(kind, "int32"))
        if kind == "bytes" and isinstance(value, str):
            try:
                base64.b64decode(value, validate=True)
            except binascii.Error:
                raise bad_request(
                    f'{self.kind} in version "{self.version}" cannot be handled as a {self.kind}: '
                    f"illegal base64 data at input byte {_first_wrong(value)}"
                ) from None
        return value

    def _quantity(self, value: object) -> str:
        try:
            return quantity.canonical(value)
        except ValueError as error:
            raise bad_request(
                f'{self.kind} in version "{self.version}" cannot be handled as a {self.kind}: {error}'
            ) from None


def _first_wrong(text: str) -> int:
    """Where base64 stops being base64."""
    found = re.match(r"[A-Za-z0-9+/]*={0,2}", text)
    return found.end() if found else 0


_EMPTY: dict[type, tuple[object, ...]] = {str: ("",), int: (0,), bool: (False,), list: ([],), dict: ({},)}


def _go(shape: Shape) -> str:
    return f"v1.{shape.type}" if shape.struct else _GO.get(shape.type, shape.type)


def merge_lists(kind: str) -> Iterator[tuple[str, str]]:
    """The (field, merge key) pairs of a type, for the documentation and the tests."""
    return ((name, shape.merge_key) for name, shape in types()[kind].items() if shape.merge)
