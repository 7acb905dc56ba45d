"""The three patches of Kubernetes: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch.

What belongs here: patched JSON from JSON. What does not: whether the result is a good object.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from clusters.lab.api.schema import Shape, types
from clusters.lab.api.status import StatusError, bad_request

Object = dict[str, Any]
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
CONTENT_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)
CUSTOM_TYPES = (JSON_PATCH, MERGE_PATCH)
"""What kinds of a CustomResourceDefinition take: nobody has told how their lists merge."""

_ORDER, _DELETE, _RETAIN, _DIRECTIVE = "$setElementOrder/", "$deleteFromPrimitiveList/", "$retainKeys", "$patch"


def apply(content_type: str, kind: str, original: Object, patch: Any) -> Object:
    """The patched object; `original` may be changed on the way.

    Raises:
        StatusError: 400 or 422; the patch cannot be read or does not fit.
    """
    if content_type == JSON_PATCH:
        if not isinstance(patch, list):
            raise bad_request("error decoding patch: a JSON patch is a list of operations")
        return json_patch(original, patch)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: a merge patch is an object")
    if content_type == MERGE_PATCH:
        return cast("Object", merge(original, patch))
    return strategic(kind, original, patch)


def merge(original: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged: Object = dict(original) if isinstance(original, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


# JSON patch ----------------------------------------------------------------------------------------------------------


def _unfit() -> StatusError:
    return StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def json_patch(original: Object, operations: list[Any]) -> Object:
    """RFC 6902: all operations in order, or none."""
    root: Any = {"": original}
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise bad_request("error decoding patch: an operation needs `op` and `path`")
        name, path = operation.get("op"), _pointer(operation["path"])
        if name in {"add", "replace", "test"} and "value" not in operation:
            raise _unfit()
        if name == "test":
            if _read(root, path) != operation["value"]:
                raise _unfit()
        elif name == "remove":
            _change(root, path, None, "remove")
        elif name in {"add", "replace"}:
            _change(root, path, operation["value"], name)
        elif name in {"copy", "move"}:
            source = _pointer(str(operation.get("from", "")))
            value = json.loads(json.dumps(_read(root, source)))
            if name == "move":
                _change(root, source, None, "remove")
            _change(root, path, value, "add")
        else:
            raise _unfit()
    return cast("Object", root[""])


def _pointer(path: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")]


def _read(root: Any, path: list[str]) -> Any:
    value = root
    for step in path:
        try:
            value = value[_index(value, step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, TypeError, ValueError):
            raise _unfit() from None
    return value


def _index(values: list[Any], step: str) -> int:
    place = int(step)
    if place < 0 and -place > len(values):
        raise IndexError(step)
    return place


def _change(root: Any, path: list[str], value: Any, how: str) -> None:
    parent, last = _read(root, path[:-1]), path[-1]
    try:
        if isinstance(parent, list):
            if how == "add":
                place = len(parent) if last == "-" else _index(parent, last)
                if place > len(parent):
                    raise IndexError(last)
                parent.insert(place, value)
            elif how == "replace":
                parent[_index(parent, last)] = value
            else:
                del parent[_index(parent, last)]
        elif how == "remove":
            del parent[last]
        elif how == "replace" and last not in parent:
            raise KeyError(last)
        else:
            parent[last] = value
    except (KeyError, IndexError, TypeError, ValueError):
        raise _unfit() from None


# Strategic merge patch -----------------------------------------------------------------------------------------------


def strategic(kind: str, original: Object, patch: Object) -> Object:
    """Kubernetes' own patch: lists merge by their key, `$patch`, `$setElementOrder`, `$retainKeys` steer it."""
    return _merge_map(types()[kind], original, patch)


def _merge_map(known: dict[str, Shape] | None, original: Object, patch: Object) -> Object:
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return cast("Object", _without_directives(patch))
    if directive == "delete":
        return {}
    if directive not in {None, "merge"}:
        raise bad_request(f"Unknown patch type found: {directive}")
    merged = dict(original)
    if retained := patch.get(_RETAIN):
        if not isinstance(retained, list):
            raise bad_request("invalid patch format of retainKeys: it must be a list")
        merged = {key: value for key, value in merged.items() if key in retained}
    for key in (each for each in patch if each.startswith(_DELETE)):
        name = key.removeprefix(_DELETE)
        merged[name] = [value for value in merged.get(name, []) if value not in patch[key]]
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        shape = known.get(key) if known is not None else None
        before, order = merged.get(key), patch.get(_ORDER + key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            inner = types()[shape.type] if shape is not None and shape.struct else None
            merged[key] = _merge_map(inner, before if isinstance(before, dict) else {}, value)
        elif isinstance(value, list) and shape is not None and shape.merge:
            merged[key] = _merge_list(shape, before if isinstance(before, list) else [], value, order)
        else:
            merged[key] = _without_directives(value)
    for key in (each for each in patch if each.startswith(_ORDER)):
        name = key.removeprefix(_ORDER)
        shape = known.get(name) if known is not None else None
        if name not in patch and isinstance(merged.get(name), list) and shape is not None:
            merged[name] = _ordered(_key_of(shape), merged[name], merged[name], patch[key])
    return merged


def _key_of(shape: Shape) -> Callable[[Any], Any]:
    if not shape.merge_key:
        return lambda value: value
    return lambda value: value.get(shape.merge_key) if isinstance(value, dict) else None


def _merge_list(shape: Shape, original: list[Any], patch: list[Any], order: list[Any] | None) -> list[Any]:
    if not shape.merge_key:
        values = [*original, *(each for each in patch if each not in original)]
        return _ordered(_key_of(shape), original, list(dict.fromkeys(values)), patch if order is None else order)
    name, inner = shape.merge_key, types()[shape.item.type] if shape.item is not None else None
    plain = [each for each in patch if isinstance(each, dict) and _DIRECTIVE not in each]
    if any(isinstance(each, dict) and each.get(_DIRECTIVE) == "replace" for each in patch):
        return [_without_directives(each) for each in plain]
    result = list(original)
    for each in patch:
        if not isinstance(each, dict):
            raise bad_request("cannot use strategic merge patch: a list of objects was expected")
        directive = each.get(_DIRECTIVE)
        if name not in each:
            raise bad_request(f"map: {json.dumps(each)} does not contain declared merge key: {name}")
        places = [at for at, old in enumerate(result) if isinstance(old, dict) and old.get(name) == each[name]]
        if directive == "delete":
            result = [old for at, old in enumerate(result) if at not in places]
        elif places:
            result[places[0]] = _merge_map(inner, result[places[0]], each)
        else:
            result.append(_merge_map(inner, {}, each))
    # Without an order of its own the patch's list is the order: new elements come before what only the server has.
    return _ordered(_key_of(shape), original, result, plain if order is None else order)


def _ordered(key: Callable[[Any], Any], original: list[Any], merged: list[Any], order: list[Any]) -> list[Any]:
    """The merged list in the wanted order; what only the server has keeps its place relative to the server's order."""
    # `$setElementOrder` of objects lists them by their key alone, of plain values by the value.
    wanted = [key(each) for each in order]
    server = [key(each) for each in original]
    listed = sorted((each for each in merged if key(each) in wanted), key=lambda each: wanted.index(key(each)))
    rest = [each for each in merged if key(each) not in wanted]
    result: list[Any] = []
    while listed and rest:
        first = key(listed[0])
        rest_is_earlier = (
            first in server and key(rest[0]) in server and server.index(key(rest[0])) < server.index(first)
        )
        result.append(rest.pop(0) if rest_is_earlier else listed.pop(0))
    return [*result, *listed, *rest]


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_directives(inner)
            for key, inner in value.items()
            if inner is not None and not key.startswith("$")
        }
    if isinstance(value, list):
        return [_without_directives(each) for each in value if not (isinstance(each, dict) and _DIRECTIVE in each)]
    return value
