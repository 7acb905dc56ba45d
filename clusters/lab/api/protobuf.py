"""Reads the protobuf bodies that Go clients write (`kubectl create namespace` among them); answers are always JSON.

What belongs here: the wire format. What does not: fields and their numbers (`fields`), judging the object (`schema`).
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterator
from typing import Any

from clusters.lab.api.schema import Shape, numbers, types
from clusters.lab.api.status import bad_request

Object = dict[str, Any]
CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def decode(body: bytes) -> Object:
    """The object in a body, as its JSON would be.

    Raises:
        StatusError: 400; not such a body, or of a kind that the lab does not know.
    """
    if not body.startswith(_MAGIC):
        raise bad_request("the body of the request is not Kubernetes' protobuf: it does not begin with k8s\\x00")
    try:
        api_version, kind, raw = "", "", b""
        for number, value in _fields(body[len(_MAGIC) :]):
            if number == 1 and isinstance(value, bytes):
                said = dict(_fields(value))
                api_version, kind = _text(said.get(1, b"")), _text(said.get(2, b""))
            elif number == 2 and isinstance(value, bytes):
                raw = value
        if kind not in types():
            raise bad_request(f'no kind "{kind}" is registered for version "{api_version}"')
        return {"kind": kind, "apiVersion": api_version} | _message(kind, raw)
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise bad_request(f"the body of the request is not protobuf: {error}") from None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire, 0)
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif not size:
            raise ValueError(f"wire type {wire}")
        if at + size > len(data):
            raise ValueError("it ends too early")
        yield number, data[at : at + size]
        at += size


def _text(value: int | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else ""


def _signed(value: int | bytes) -> int:
    number = value if isinstance(value, int) else 0
    return number - (1 << 64) if number >= 1 << 63 else number


def _message(kind: str, data: bytes) -> Object:
    return _embedded(kind, data, ())


def _embedded(kind: str, data: bytes, prefix: tuple[int, ...]) -> Object:
    known, shapes = numbers(kind), types()[kind]
    found: Object = {}
    for number, value in _fields(data):
        place = (*prefix, number)
        name = known.get(place)
        if name is None:
            if isinstance(value, bytes) and any(each[: len(place)] == place for each in known):
                found |= _embedded(kind, value, place)
            continue
        shape = shapes[name]
        if shape.type == "list" and shape.item is not None:
            found.setdefault(name, []).append(_value(shape.item, value))
        elif shape.type == "map" and shape.item is not None and isinstance(value, bytes):
            pair = dict(_fields(value))
            found.setdefault(name, {})[_text(pair.get(1, b""))] = _value(shape.item, pair.get(2, b""))
        else:
            found[name] = _value(shape, value)
    return found


def _value(shape: Shape, value: int | bytes) -> Any:
    if shape.type == "list" and shape.item is not None and isinstance(value, bytes):
        return [_value(shape.item, each) for _, each in _fields(value)]
    if shape.struct:
        return _message(shape.type, value if isinstance(value, bytes) else b"")
    match shape.type:
        case "int" | "long":
            return _signed(value)
        case "bool":
            return bool(value)
        case "bytes":
            return base64.b64encode(value).decode() if isinstance(value, bytes) else ""
        case "quantity" | "intstr" | "time":
            parts = dict(_fields(value)) if isinstance(value, bytes) else {}
            return _special(shape.type, parts)
        case "any":
            return {"protobuf": True}
        case _:
            return _text(value)


def _special(kind: str, parts: dict[int, int | bytes]) -> Any:
    if kind == "quantity":
        return _text(parts.get(1, b"0")) or "0"
    if kind == "intstr":
        return _text(parts.get(3, b"")) if parts.get(1, 0) else _signed(parts.get(2, 0))
    seconds, nanos = _signed(parts.get(1, 0)), _signed(parts.get(2, 0))
    if not parts:
        return None
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    if nanos:
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{nanos // 1000:06d}Z"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
