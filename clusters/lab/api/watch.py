"""Watches: every change after a resourceVersion, in order, as selectors let it through."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from aiohttp import web

from clusters.lab.api import selectors, tables
from clusters.lab.api.call import Call
from clusters.lab.api.resources import ResourceType
from clusters.lab.api.status import StatusError, bad_request, expired
from clusters.lab.api.store import Change, CompactedError, Entry, Store

Object = dict[str, Any]
BOOKMARK_INTERVAL = 30.0
"""Seconds between bookmarks for those who asked for them."""
_LONGEST = 1800
_BACKLOG = 4096
"""A watcher that is this many changes behind is cut off; it resumes from where it was."""


def predicate(resource: ResourceType, query: dict[str, str], name: str = "") -> selectors.Predicate | None:
    """What `labelSelector`, `fieldSelector` and a single name let through, or None for everything."""
    checks = [
        check
        for check in (
            selectors.labels(query.get("labelSelector", "")),
            selectors.fields(resource, query.get("fieldSelector", "")),
            (lambda obj: obj["metadata"]["name"] == name) if name else None,
        )
        if check is not None
    ]
    if not checks:
        return None
    return lambda obj: all(check(obj) for check in checks)


class _Stream:
    """One watcher: turns changes into lines, as they are or as Tables."""

    def __init__(self, call: Call, matches: selectors.Predicate | None) -> None:
        self._wanted = tables.wanted(call.request.headers.get("Accept", ""))
        self._query = call.query
        self._call, self._resource, self._namespace, self._matches = call, call.resource, call.namespace, matches
        self._columns = True

    def line(self, change: Change) -> bytes:
        """The event's line, or nothing when this watcher does not see the change."""
        entry, before = change.entry, change.previous
        if self._namespace and entry.namespace != self._namespace:
            return b""
        if self._matches is None:
            return self.event(change.type, entry)
        is_in = change.type != "DELETED" and self._matches(entry.object)
        was_in = before is not None and self._matches(before.object)
        if is_in:
            return self.event("MODIFIED" if was_in else "ADDED", entry)
        return self.event("DELETED", entry) if was_in else b""

    def sees(self, entry: Entry) -> bool:
        """Whether a living object belongs to the initial events."""
        return (not self._namespace or entry.namespace == self._namespace) and (
            self._matches is None or self._matches(entry.object)
        )

    def event(self, kind: str, entry: Entry) -> bytes:
        """One event."""
        body = self._call.shown(entry)
        if self._wanted:
            meta = {"resourceVersion": str(entry.revision)}
            shaped = tables.shape(self._wanted, self._resource, [entry.object], meta, self._query, single=True)
            if not self._columns and "columnDefinitions" in shaped:
                shaped["columnDefinitions"] = []
            self._columns = False
            body = json.dumps(shaped, separators=(",", ":"), ensure_ascii=False).encode()
        return b'{"type":"' + kind.encode() + b'","object":' + body + b"}\n"

    def bookmark(self, revision: int, *, initial: bool = False) -> bytes:
        """A bookmark: everything up to `revision` has been sent."""
        meta: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        version = self._call.served or self._resource.api_version
        obj: Object = {"kind": self._resource.kind, "apiVersion": version, "metadata": meta}
        if self._wanted == "Table":
            about = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
            rows = [{"cells": [], "object": about}]
            obj = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "rows": rows}
        return json.dumps({"type": "BOOKMARK", "object": obj}).encode() + b"\n"


def _error(error: StatusError) -> bytes:
    return json.dumps({"type": "ERROR", "object": error.body}).encode() + b"\n"


def _start(store: Store, resource: ResourceType, stream: _Stream, query: dict[str, str]) -> Iterator[bytes]:
    """Everything that is to be sent before live changes.

    Raises:
        StatusError: 410; the resourceVersion is no longer in the log.
    """
    since, initial = query.get("resourceVersion", ""), query.get("sendInitialEvents", "") == "true"
    if not since.isdigit() and since:
        raise bad_request(
            f'resourceVersion: Invalid value: "{since}": strconv.ParseUint: parsing "{since}": invalid syntax'
        )
    if initial or since in {"", "0"}:
        for entry in store.list(resource.qualified):
            if stream.sees(entry):
                yield stream.event("ADDED", entry)
        if initial:
            yield stream.bookmark(store.revision, initial=True)
        return
    try:
        for change in store.since(resource.qualified, int(since)):
            if line := stream.line(change):
                yield line
    except CompactedError:
        raise expired(f"too old resource version: {since} ({store.floor})") from None


async def serve(call: Call, store: Store) -> web.StreamResponse:
    """Stream events until the client leaves or the time that it named is over.

    Raises:
        StatusError: A selector or parameter cannot be read.
    """
    request, resource, query = call.request, call.resource, call.query
    if query.get("sendInitialEvents") and query.get("resourceVersionMatch") != "NotOlderThan":
        raise bad_request(
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        )
    stream = _Stream(call, predicate(resource, query, call.name))
    seconds = query.get("timeoutSeconds", "")
    lifetime = int(seconds) if seconds.isdigit() and int(seconds) else _LONGEST
    changes: asyncio.Queue[Change | None] = asyncio.Queue()

    def take(change: Change) -> None:
        changes.put_nowait(change if changes.qsize() < _BACKLOG else None)

    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    unsubscribe = store.subscribe(resource.qualified, take)
    try:
        # No await between here and the subscription: nothing is missed and nothing is sent twice.
        try:
            first = b"".join(_start(store, resource, stream, query))
            failed = False
        except StatusError as error:
            if error.code != 410:
                raise
            first, failed = _error(error), True
        await response.prepare(request)
        with suppress(ConnectionError, TimeoutError):
            await response.write(first) if first else None
            if not failed:
                async with asyncio.timeout(lifetime):
                    bookmarks = query.get("allowWatchBookmarks", "") in {"1", "true"}
                    await _follow(response, store, stream, changes, bookmarks=bookmarks)
    finally:
        unsubscribe()
    return response


async def _follow(
    response: web.StreamResponse,
    store: Store,
    stream: _Stream,
    changes: asyncio.Queue[Change | None],
    *,
    bookmarks: bool,
) -> None:
    while True:
        try:
            async with asyncio.timeout(BOOKMARK_INTERVAL):
                change = await changes.get()
        except TimeoutError:
            if bookmarks and changes.empty():
                await response.write(stream.bookmark(store.revision))
            continue
        lines: list[bytes] = []
        while change is not None:
            lines.append(stream.line(change))
            if changes.empty():
                break
            change = changes.get_nowait()
        if text := b"".join(lines):
            await response.write(text)
        if change is None:
            return
