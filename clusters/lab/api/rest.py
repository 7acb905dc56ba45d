"""One HTTP request: who asks, for which resource, by which verb; and the answer with its status and warnings.

What belongs here: query parameters, content types, bodies. What does not: paths (`call`), what a verb does
(`operations`, `deletion`).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from clusters.lab.api import (
    auth,
    deletion,
    discovery,
    openapi,
    patch,
    protobuf,
    proxy,
    resources,
    tables,
    tokens,
    watch,
)
from clusters.lab.api.call import Call, page, parse
from clusters.lab.api.operations import Operations, WriteOptions
from clusters.lab.api.resources import ResourceType
from clusters.lab.api.schema import Decoder, parse_json
from clusters.lab.api.status import (
    Causes,
    StatusError,
    bad_request,
    invalid,
    method_not_allowed,
    no_such_path,
    unsupported_media_type,
)
from clusters.lab.api.store import Entry
from clusters.lab.pki import Authority

Object = dict[str, Any]
_JSON = "application/json"
_TYPE = ("kind", "apiVersion")
MAX_BODY = 3 * 1024 * 1024
"""Bytes of a request's body, as the real server takes them."""


class Rest:
    """Answers requests over one set of objects."""

    def __init__(self, operations: Operations, authority: Authority, catalogue: resources.Catalogue) -> None:
        self._operations, self._authority, self._catalogue = operations, authority, catalogue
        self._backend = proxy.Backend(operations, authority.node_token)

    async def close(self) -> None:
        """End what is still open towards the nodes."""
        await self._backend.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to one request; failures are Status bodies."""
        warnings: list[str] = []
        try:
            return await self._route(request, warnings)
        except StatusError as error:
            response = _json_response(error.body, error.code)
            _warn(response, warnings)
            return response

    async def _route(self, request: web.BaseRequest, warnings: list[str]) -> web.StreamResponse:
        path = request.path
        if path in auth.OPEN_PATHS or path.startswith(("/healthz/", "/readyz/", "/livez/")):
            return discovery.open_path(path)
        user = auth.authenticate(self._authority, request.headers.get("Authorization", ""))
        if path.startswith("/openapi/"):
            return openapi.answer(request, self._catalogue)
        steps = [step for step in path.split("/") if step]
        found = discovery.answer(request, steps, self._catalogue)
        if found is not None:
            return found
        call = parse(request, user, steps, warnings, self._catalogue)
        auth.authorize(user, call.verb, call.resource, call.namespace, call.name, call.subresource)
        return await self._dispatch(call)

    async def _dispatch(self, call: Call) -> web.StreamResponse:
        if call.subresource:
            return await self._subresource(call)
        handlers: dict[str, Callable[[Call], Awaitable[web.StreamResponse]]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }
        if call.verb not in call.resource.verbs:
            raise method_not_allowed()
        return await handlers[call.verb](call)

    async def _subresource(self, call: Call) -> web.StreamResponse:
        sub = call.resource.subresource(call.subresource)
        if sub is None:
            raise no_such_path()
        if call.verb not in sub.verbs:
            raise method_not_allowed()
        match call.subresource:
            case "status":
                return await {"get": self._get, "update": self._update, "patch": self._patch}[call.verb](call)
            case "finalize":
                return await self._update(call)
            case "binding":
                options = _options(call)
                self._operations.bind(call.namespace, call.name, await _body(call), options)
                return _written(call, _success(), options, 201)
            case "token":
                account = self._operations.get(call.resource, call.namespace, call.name).object
                options = _options(call)
                asked = tokens.request(self._operations, self._authority, account, await _body(call), options)
                return _written(call, asked, options, 201)
            case "exec":
                return await self._backend.exec(call.request, call.namespace, call.name)
            case "log":
                return await self._backend.log(call.request, call.namespace, call.name)
            case _:
                raise proxy.refused(call.subresource, call.name)

    # Reading ---------------------------------------------------------------------------------------------------------

    async def _get(self, call: Call) -> web.StreamResponse:
        entry = self._operations.get(call.resource, call.namespace, call.name)
        return _shaped(call, entry.object, call.shown(entry))

    def _select(self, call: Call) -> tuple[list[Entry], str]:
        """The entries that a list or deletecollection means, and the token for the next page."""
        matches = watch.predicate(call.resource, call.query)
        entries = self._operations.store.list(call.resource.qualified, call.namespace)
        if matches is not None:
            entries = [each for each in entries if matches(each.object)]
        after, limit = call.query.get("continue", ""), call.query.get("limit", "")
        if after:
            place = page(after, self._operations.store.floor)
            entries = [each for each in entries if (each.namespace, each.name) > place]
        if limit.isdigit() and 0 < int(limit) < len(entries):
            entries = entries[: int(limit)]
            last = entries[-1]
            return entries, json.dumps([self._operations.store.revision, last.namespace, last.name])
        return entries, ""

    async def _list(self, call: Call) -> web.StreamResponse:
        entries, following = self._select(call)
        meta: Object = {"resourceVersion": str(self._operations.store.revision)}
        if following:
            meta["continue"] = following
        wanted = tables.wanted(call.request.headers.get("Accept", ""))
        if wanted:
            objects = [each.object for each in entries]
            return _json_response(tables.shape(wanted, call.resource, objects, meta, call.query))
        items = b",".join(call.item(each) for each in entries)
        kind, version = f"{call.resource.kind}List", call.served or call.resource.api_version
        head = f'{{"kind":"{kind}","apiVersion":"{version}","metadata":{json.dumps(meta)},"items":['
        return web.Response(body=head.encode() + items + b"]}", content_type=_JSON)

    async def _watch(self, call: Call) -> web.StreamResponse:
        return await watch.serve(call, self._operations.store)

    # Writing ---------------------------------------------------------------------------------------------------------

    async def _create(self, call: Call) -> web.StreamResponse:
        options, body = _options(call), await _body(call)
        if call.resource == resources.TOKEN_REVIEWS:
            asked = tokens.token_review(self._operations, self._authority, body, options)
            return _written(call, asked, options, 201)
        if call.resource == resources.ACCESS_REVIEWS or call.resource == resources.SELF_REVIEWS:
            return _written(
                call, tokens.review(self._operations, call.resource, call.user, body, options), options, 201
            )
        obj = self._operations.create(call.resource, call.namespace, body, options)
        return _written(call, obj, options, 201)

    async def _update(self, call: Call) -> web.StreamResponse:
        options, body = _options(call), await _body(call)
        obj = self._operations.update(call.resource, call.namespace, call.name, call.subresource, body, options)
        return _written(call, obj, options)

    async def _patch(self, call: Call) -> web.StreamResponse:
        content_type = call.request.content_type
        if content_type == patch.APPLY_PATCH:
            text = "the lab does not do server-side apply (application/apply-patch+yaml); use client-side apply"
            raise unsupported_media_type(text)
        accepted = patch.CUSTOM_TYPES if call.resource.custom else patch.CONTENT_TYPES
        if content_type not in accepted:
            known = ", ".join(accepted)
            text = f"the body of the request was in an unknown format - accepted media types include: {known}"
            raise unsupported_media_type(text)
        options, body = _options(call), await _body(call)
        obj = self._operations.patch(
            call.resource, call.namespace, call.name, call.subresource, content_type, body, options
        )
        return _written(call, obj, options)

    async def _delete(self, call: Call) -> web.StreamResponse:
        how, options = await _delete_options(call)
        entry = self._operations.get(call.resource, call.namespace, call.name)
        return _written(call, deletion.delete(self._operations, call.resource, entry, how, options), options)

    async def _delete_collection(self, call: Call) -> web.StreamResponse:
        how, options = await _delete_options(call)
        entries, _ = self._select(call)
        for entry in entries:
            deletion.delete(self._operations, call.resource, entry, how, options)
        gone = [{key: entry.object[key] for key in entry.object if key not in _TYPE} for entry in entries]
        meta = {"resourceVersion": str(self._operations.store.revision)}
        kind = f"{call.resource.kind}List"
        body = {"kind": kind, "apiVersion": call.resource.api_version, "metadata": meta, "items": gone}
        return _written(call, body, options)


def _options(call: Call) -> WriteOptions:
    query = call.query
    dry_run, validation = query.get("dryRun", ""), query.get("fieldValidation", "") or "Warn"
    if dry_run not in {"", "All"}:
        kind = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}.get(call.verb)
        kind, causes = kind or "DeleteOptions", Causes()
        causes.unsupported("dryRun", [dry_run], ["All"])
        raise invalid(ResourceType(group="meta.k8s.io", plural="", singular="", kind=kind), "", causes.found)
    if validation not in {"Strict", "Warn", "Ignore"}:
        raise bad_request(f'Unsupported value: "{validation}": fieldValidation: "Ignore", "Strict", "Warn"')
    return WriteOptions(dry_run=dry_run == "All", validation=validation, warnings=call.warnings)


async def _body(call: Call) -> Any:
    try:
        text = await call.request.read()
    except web.HTTPRequestEntityTooLarge:
        raise StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {MAX_BODY}") from None
    kind = call.request.content_type
    if kind in {"application/yaml", "application/x-yaml"}:
        import yaml  # a tenth of the server's start, and hardly anybody sends YAML

        try:
            return call.to_stored(yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise bad_request(f"the body of the request is not YAML: {str(error).splitlines()[0]}") from None
    if kind == protobuf.CONTENT_TYPE:
        return protobuf.decode(text)
    if "cbor" in kind:
        known = f"{_JSON}, application/yaml, {protobuf.CONTENT_TYPE}"
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {known}"
        )
    return call.to_stored(parse_json(text))


async def _delete_options(call: Call) -> tuple[Object, WriteOptions]:
    how: Object = {}
    if await call.request.read():
        body = await _body(call)
        how = Decoder("DeleteOptions", "v1").decode(body if isinstance(body, dict) else {})
    query = call.query
    if query.get("gracePeriodSeconds", "").lstrip("-").isdigit():
        how.setdefault("gracePeriodSeconds", int(query["gracePeriodSeconds"]))
    if query.get("propagationPolicy"):
        how.setdefault("propagationPolicy", query["propagationPolicy"])
    options = _options(call)
    options.dry_run = options.dry_run or "All" in how.get("dryRun", [])
    return how, options


def _success() -> Object:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def _json_response(body: Object, code: int = 200) -> web.Response:
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return web.Response(body=text.encode(), status=code, content_type=_JSON)


def _shaped(call: Call, obj: Object, encoded: bytes | None = None, code: int = 200) -> web.StreamResponse:
    wanted = tables.wanted(call.request.headers.get("Accept", ""))
    if wanted and obj.get("kind") == call.resource.kind:
        meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return _json_response(tables.shape(wanted, call.resource, [obj], meta, call.query, single=True), code)
    if encoded is not None:
        return web.Response(body=encoded, status=code, content_type=_JSON)
    return _json_response(call.to_served(obj), code)


def _written(call: Call, obj: Object, options: WriteOptions, code: int = 200) -> web.StreamResponse:
    response = _shaped(call, obj, code=code)
    _warn(response, options.warnings)
    return response


def _warn(response: web.StreamResponse, warnings: list[str]) -> None:
    for each in warnings:
        text = each.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{text}"')
