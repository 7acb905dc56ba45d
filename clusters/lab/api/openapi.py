"""OpenAPI, as much as kubectl reads: v3 per group with `fieldValidation` (so that we do the validation), and v2.

The schemas come from `fields`, so `kubectl explain` works too.
"""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

from aiohttp import web

from clusters.lab.api import custom
from clusters.lab.api.discovery import GIT_VERSION
from clusters.lab.api.resources import Catalogue, ResourceType
from clusters.lab.api.schema import Shape, types
from clusters.lab.api.status import no_such_path

Object = dict[str, Any]
_SCALARS: dict[str, Object] = {
    "str": {"type": "string"},
    "int": {"type": "integer", "format": "int32"},
    "long": {"type": "integer", "format": "int64"},
    "bool": {"type": "boolean"},
    "num": {"type": "number"},
    "time": {"type": "string", "format": "date-time"},
    "bytes": {"type": "string", "format": "byte"},
    "quantity": {"type": "string"},
    "intstr": {"type": "string", "format": "int-or-string"},
    "any": {"type": "object"},
}
_WRITES = {"create": "post", "update": "put", "patch": "patch"}


def answer(request: web.BaseRequest, catalogue: Catalogue) -> web.Response:
    """The document of a path under `/openapi/`.

    Raises:
        StatusError: 404; there is none.
    """
    path = request.path.rstrip("/")
    if path == "/openapi/v2":
        return _json(_v2(catalogue))
    if path == "/openapi/v3":
        return _json(_index(catalogue))
    place = path.removeprefix("/openapi/v3/")
    for group, version in (("", "v1"), *catalogue.groups):
        if place == _place(group, version):
            return _json(_v3(group, version, catalogue))
    raise no_such_path()


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _place(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


@functools.cache
def _index(catalogue: Catalogue) -> bytes:
    paths = {}
    for group, version in (("", "v1"), *catalogue.groups):
        place = _place(group, version)
        digest = hashlib.sha256(_v3(group, version, catalogue)).hexdigest().upper()
        paths[place] = {"serverRelativeURL": f"/openapi/v3/{place}?hash={digest}"}
    return json.dumps({"paths": paths}).encode()


def _name(kind: str) -> str:
    return f"io.k8s.api.{kind}"


def _schema(shape: Shape, prefix: str) -> Object:
    if shape.item is not None:
        inner = _schema(shape.item, prefix)
        found: Object = (
            {"type": "array", "items": inner}
            if shape.type == "list"
            else {"type": "object", "additionalProperties": inner}
        )
        if shape.merge:
            found["x-kubernetes-patch-strategy"] = "merge,retainKeys" if shape.retain else "merge"
            if shape.merge_key:
                found["x-kubernetes-patch-merge-key"] = shape.merge_key
        return found
    if shape.struct:
        return {"$ref": f"{prefix}{_name(shape.type)}"}
    return dict(_SCALARS[shape.type])


@functools.cache
def _definitions(prefix: str, catalogue: Catalogue) -> dict[str, Object]:
    kinds: dict[str, list[ResourceType]] = {}
    for each in catalogue.registry:
        kinds.setdefault(custom.schema_name(each), []).append(each)
    found: dict[str, Object] = {}
    for kind, fields in types().items():
        entry: Object = {
            "description": f"{kind}, as Kubernetes 1.34 knows it.",
            "type": "object",
            "properties": {name: _schema(shape, prefix) for name, shape in fields.items()},
        }
        found[_name(kind)] = entry
    found |= custom.definitions(catalogue, f"{prefix}{_name('ObjectMeta')}")
    for name, each_of in kinds.items():
        if name in found:
            found[name] = found[name] | {"x-kubernetes-group-version-kind": [_gvk(each) for each in each_of]}
    return found


def _gvk(resource: ResourceType) -> Object:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


@functools.cache
def _v2(catalogue: Catalogue) -> bytes:
    info = {"title": "eastwest lab", "version": GIT_VERSION}
    return json.dumps(
        {
            "swagger": "2.0",
            "info": info,
            "paths": _paths(catalogue.registry),
            "definitions": _definitions("#/definitions/", catalogue),
        }
    ).encode()


@functools.cache
def _v3(group: str, version: str, catalogue: Catalogue) -> bytes:
    mine = catalogue.of(group, version)
    prefix = "#/components/schemas/"
    names = {custom.schema_name(each) for each in mine}
    return json.dumps(
        {
            "openapi": "3.0.0",
            "info": {"title": "eastwest lab", "version": GIT_VERSION},
            "paths": _paths(mine),
            "components": {"schemas": _closure(names, _definitions(prefix, catalogue))},
        }
    ).encode()


def _closure(names: set[str], definitions: dict[str, Object]) -> dict[str, Object]:
    """The definitions that the named ones lead to."""
    todo, found = list(names), dict[str, Object]()
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found[name] = definitions[name]
        for field in definitions[name].get("properties", {}).values():
            inner = field
            while isinstance(inner.get("items") or inner.get("additionalProperties"), dict):
                inner = inner.get("items") or inner["additionalProperties"]
            if "$ref" in inner:
                todo.append(inner["$ref"].rpartition("/")[2])
    return dict(sorted(found.items()))


def _paths(registry: tuple[ResourceType, ...]) -> Object:
    found: Object = {}
    parameters = [
        {"name": "dryRun", "in": "query", "schema": {"type": "string", "uniqueItems": True}},
        {"name": "fieldValidation", "in": "query", "schema": {"type": "string", "uniqueItems": True}},
    ]
    for each in registry:
        base = f"/apis/{each.group}/{each.version}" if each.group else f"/api/{each.version}"
        collection = f"{base}/namespaces/{{namespace}}/{each.plural}" if each.namespaced else f"{base}/{each.plural}"
        for verb, method in _WRITES.items():
            if verb in each.verbs:
                action = {"create": "post", "update": "put", "patch": "patch"}[verb]
                place = collection if verb == "create" else f"{collection}/{{name}}"
                found.setdefault(place, {})[method] = {
                    "operationId": f"{verb}{each.kind}",
                    "parameters": parameters,
                    "responses": {"200": {"description": "OK"}},
                    "x-kubernetes-action": action,
                    "x-kubernetes-group-version-kind": _gvk(each),
                }
    return found
