"""Reads a spec as a CustomResourceDefinition's schema does: unknown fields, wrong types, closed sets, what is missing.

What belongs here: the shapes of `fields`, in the words of an API server. What does not: Istio's own rules (`rules`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from policies.istio.fields import Shape, Struct, types

Object = dict[str, Any]
DURATION: Final = re.compile(r"-?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NAMES: Final = {bool: "boolean", str: "string", int: "integer", float: "number", list: "array", dict: "object"}
_WANTED: Final = {"str": "string", "dur": "string", "int": "integer", "uint": "integer", "num": "number"} | {
    "bool": "boolean",
    "enum": "string",
    "list": "array",
    "map": "object",
}
_UNCHECKED: Final = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an object.

    Attributes:
        path: The field.
        reason: Kubernetes' class: `FieldValueInvalid`, `FieldValueRequired`, …
        text: In words, as Kubernetes writes them behind the path.
    """

    path: str
    reason: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def invalid(path: str, shown: str, why: str) -> Problem:
    """The value is of the wrong form; `shown` as messages show it, quotes and all."""
    return Problem(path, "FieldValueInvalid", f"Invalid value: {shown}: {why}")


@dataclass(slots=True)
class Reading:
    """A spec as read.

    Attributes:
        clean: Known fields only, without the nulls that no schema allows.
        unknown: Paths of the fields that were dropped.
        problems: Everything wrong, in order.
        too_large: Numbers that the schema takes and Istio's own type does not.
    """

    clean: Object = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    too_large: list[int] = field(default_factory=list)


def read_spec(kind: str, spec: object) -> Reading:
    """A kind's spec, checked against its schema."""
    reading = Reading()
    if isinstance(spec, dict):
        reading.clean = _struct(types()[f"{kind}Spec"], spec, "spec", reading)
    else:
        reading.problems.append(_wrong("spec", spec, "object"))
    if any(_hides_others(each) for each in reading.problems):
        reading.problems.append(invalid("<nil>", "null", _UNCHECKED))
    return reading


def _hides_others(problem: Problem) -> bool:
    """Whether an API server leaves the definition's own rules unchecked because of it."""
    return problem.reason in {"FieldValueRequired", "FieldValueNotSupported"} or "must be of type" in problem.text


def seconds(text: str) -> float | None:
    """A duration such as `1.5s` or `1h30m` in seconds; None when it is none."""
    parts = list(DURATION.finditer(text))
    if not parts or "".join(each[0] for each in parts) != text:
        return None
    return sum(float(each[1]) * _SECONDS[each[3]] for each in parts) * (-1 if text.startswith("-") else 1)


def _kind_of(value: object) -> str:
    return "null" if value is None else next(name for kind, name in _NAMES.items() if isinstance(value, kind))


def _wrong(path: str, value: object, wanted: str) -> Problem:
    got = _kind_of(value)
    return invalid(path, f'"{got}"', f'{path} in body must be of type {wanted}: "{got}"')


def _struct(struct: Struct, value: Object, path: str, reading: Reading) -> Object:
    clean: Object = {}
    for key, inner in value.items():
        shape = struct.fields.get(key)
        if shape is None:
            reading.unknown.append(f"{path}.{key}")
        elif inner is not None:
            clean[key] = _value(shape, inner, f"{path}.{key}", reading)
        elif shape.nullable:
            clean[key] = None
    for key, shape in struct.fields.items():
        if shape.required and key not in clean:
            reading.problems.append(Problem(f"{path}.{key}", "FieldValueRequired", "Required value"))
    for group in struct.alternatives:
        given = sum(key in clean for key in group)
        if given > 1:
            why = f'"{path}" must validate one and only one schema (oneOf). Found {given} valid alternatives'
            reading.problems.append(Problem("<nil>", "FieldValueInvalid", f'Invalid value: "": {why}'))
    return clean


def _value(shape: Shape, value: object, path: str, reading: Reading) -> object:
    if shape.type == "any":
        return value
    if not _fits(shape, value):
        reading.problems.append(_wrong(path, value, _WANTED.get(shape.type, "object")))
    if shape.choices and value not in shape.choices:
        supported = ", ".join(f'"{each}"' for each in shape.choices)
        shown = f'"{value}"' if isinstance(value, str) else str(value)
        reading.problems.append(
            Problem(path, "FieldValueNotSupported", f"Unsupported value: {shown}: supported values: {supported}")
        )
    if not _fits(shape, value):
        return value
    if shape.item is not None and isinstance(value, dict):
        item = shape.item
        found = {
            str(key): _value(item, inner, f"{path}.{key}", reading)
            for key, inner in value.items()
            if inner is not None or item.nullable
        }
        _filled(shape, found, path, reading)
        return found
    if shape.item is not None and isinstance(value, list):
        _filled(shape, value, path, reading)
        return [_value(shape.item, each, f"{path}[{place}]", reading) for place, each in enumerate(value)]
    if shape.struct and isinstance(value, dict):
        return _struct(types()[shape.type], value, path, reading)
    _filled(shape, value, path, reading)
    if shape.type == "int" and isinstance(value, int) and not -(2**31) <= value < 2**31:
        reading.too_large.append(value)
    if shape.type == "uint" and isinstance(value, int) and not 0 <= value < 2**32:
        limit = "greater than or equal to 0" if value < 0 else "less than or equal to 4294967295"
        reading.problems.append(invalid(path, str(value), f"{path} in body should be {limit}"))
    return value


def _fits(shape: Shape, value: object) -> bool:
    if shape.struct:
        return isinstance(value, dict)
    wanted = _WANTED[shape.type]
    got = _kind_of(value)
    if isinstance(value, float) and value.is_integer() and wanted == "integer":
        return True
    return got == wanted or (wanted == "number" and got == "integer")


def _filled(shape: Shape, value: object, path: str, reading: Reading) -> None:
    if not shape.filled or value not in ("", [], {}):
        return
    match value:
        case str():
            reading.problems.append(invalid(path, '""', f"{path} in body should be at least 1 chars long"))
        case list():
            reading.problems.append(invalid(path, "0", f"{path} in body should have at least 1 items"))
        case _:
            reading.problems.append(invalid(path, "0", f"{path} in body should have at least 1 properties"))
