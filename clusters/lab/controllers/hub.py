"""What controllers share: one cache of each kind, work queues that retry, events.

What belongs here: plumbing that knows no kind. What does not: decisions.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp

from clusters.lab.client import EVENTS, ApiError, Client, Informer, Key, Object, Resource, key

_log = logging.getLogger(__name__)
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0

FAULTS = (ApiError, aiohttp.ClientError, TimeoutError, OSError)
"""What a request may end with and a later try may heal."""

Listener = Callable[[str, Object], None]


class Hub:
    """One informer for each kind that some controller asked for."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._informers: dict[str, Informer] = {}
        self._listeners: defaultdict[str, list[Listener]] = defaultdict(list)
        self._tasks: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()
        self._started = False

    def informer(self, resource: Resource) -> Informer:
        """The shared cache of a kind; the first who asks makes it."""
        path = resource.path()
        if path not in self._informers:
            informer = Informer(self.client, resource, on_event=lambda event, obj: self._tell(path, event, obj))
            self._informers[path] = informer
            if self._started:
                self._follow(informer)
        return self._informers[path]

    def listen(self, resource: Resource, listener: Listener) -> Informer:
        """The shared cache of a kind; `listener` hears of all that is there and of every change."""
        informer = self.informer(resource)
        self._listeners[resource.path()].append(listener)
        for obj in list(informer.cache.values()):
            listener("ADDED", obj)
        return informer

    def _tell(self, path: str, event: str, obj: Object) -> None:
        for listener in self._listeners[path]:
            listener(event, obj)

    def _follow(self, informer: Informer) -> None:
        self._tasks.put_nowait(asyncio.create_task(informer.run()))

    async def run(self) -> None:
        """Follow every kind until cancelled; a fault inside a listener ends it."""
        self._started = True
        for informer in list(self._informers.values()):
            self._follow(informer)
        async with asyncio.TaskGroup() as group:
            while True:
                task = await self._tasks.get()
                group.create_task(_join(task))

    async def synced(self, *resources: Resource) -> None:
        """Return once the caches of these kinds hold what the API server holds."""
        for resource in resources:
            await self.informer(resource).synced.wait()

    async def event(self, obj: Object, kind: str, reason: str, message: str, component: str) -> None:
        """Record an Event about an object; `kind` is `Normal` or `Warning`. A lost event is only logged."""
        meta = obj["metadata"]
        now = timestamp()
        namespace = meta.get("namespace", "") or "default"
        body: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.{time.time_ns():x}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": obj.get("apiVersion", "v1"),
                "kind": obj.get("kind", "Pod"),
                "name": meta["name"],
                "namespace": meta.get("namespace", ""),
                "uid": meta.get("uid", ""),
                "resourceVersion": meta.get("resourceVersion", ""),
            },
            "reason": reason,
            "message": message,
            "type": kind,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": component},
            "reportingComponent": component,
            "reportingInstance": "",
        }
        try:
            await self.client.create(EVENTS, body, namespace)
        except FAULTS as error:
            _log.warning("event %s about %s was lost: %s", reason, meta["name"], error)


async def _join(task: asyncio.Task[None]) -> None:
    await task


class Worker:
    """A queue of keys and one task that reconciles them: once however often it was added, again if it failed."""

    def __init__(self, name: str, reconcile: Callable[[Key], Awaitable[None]]) -> None:
        self._name, self._reconcile = name, reconcile
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._pauses: dict[Key, float] = {}

    def add(self, place: Key) -> None:
        """Reconcile this key soon."""
        if place not in self._waiting:
            self._waiting.add(place)
            self._queue.put_nowait(place)

    def add_later(self, place: Key) -> None:
        """Reconcile this key after a pause that doubles, up to a second, until `done`."""
        pause = self._pauses.get(place, _FIRST_PAUSE)
        self._pauses[place] = min(pause * 2, _LONGEST_PAUSE)
        asyncio.get_running_loop().call_later(pause, self.add, place)

    def add_object(self, _: str, obj: Object) -> None:
        """A listener that adds the object's own key."""
        self.add(key(obj))

    async def run(self) -> None:
        """Reconcile until cancelled."""
        while True:
            place = await self._queue.get()
            self._waiting.discard(place)
            try:
                await self._reconcile(place)
            except FAULTS as error:
                level = logging.INFO if place in self._pauses else logging.WARNING
                _log.log(level, "%s %s: %s; trying again", self._name, "/".join(place), error)
                self.add_later(place)
            else:
                self._pauses.pop(place, None)


def timestamp() -> str:
    """Now, as Kubernetes writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def owner(resource: Resource, obj: Object) -> dict[str, Any]:
    """The ownerReference by which a controller's creation names its owner (items of a list do not tell their kind)."""
    return {
        "apiVersion": f"{resource.group}/{resource.version}" if resource.group else resource.version,
        "kind": resource.kind,
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def labels(obj: Object) -> dict[str, str]:
    """An object's labels; empty when it has none."""
    found: dict[str, str] = obj["metadata"].get("labels") or {}
    return found


def selects(wanted: Mapping[str, str], obj: Object) -> bool:
    """Whether an object has every wanted label with that value (a Service's `selector`, a pod's `nodeSelector`)."""
    found = labels(obj)
    return all(found.get(name) == value for name, value in wanted.items())


def terminating(obj: Object) -> bool:
    """Whether its deletion has begun."""
    return bool(obj["metadata"].get("deletionTimestamp"))


async def absorb_exists(request: Awaitable[Object]) -> None:
    """Await a creation; that the object is there already is as good."""
    try:
        await request
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise


async def absorb_gone(request: Awaitable[Object]) -> None:
    """Await a deletion; that the object is gone, or another one by now, is as good."""
    try:
        await request
    except ApiError as error:
        if error.status not in {404, 409}:
            raise


async def discover(client: Client, *, verb: str) -> list[Resource]:
    """The resources of the API that have this verb, as its discovery documents tell them."""
    groups = await client.request("GET", "/apis")
    versions = [("", "v1"), *((each["name"], each["preferredVersion"]["version"]) for each in groups["groups"])]
    found = []
    for group, version in versions:
        answer = await client.request("GET", f"/apis/{group}/{version}" if group else f"/api/{version}")
        found += [
            Resource(group, version, each["name"], each["kind"], namespaced=each["namespaced"])
            for each in answer["resources"]
            if "/" not in each["name"] and verb in each["verbs"]
        ]
    return found
