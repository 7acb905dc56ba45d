"""Deletes what outlived its owners: an object all of whose ownerReferences name objects that are gone."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial

from clusters.lab.client import ApiError, Key, Object, Resource, key
from clusters.lab.controllers.hub import FAULTS, Hub, Worker, absorb_gone, discover, terminating

_LEFT_ALONE = {"events", "leases"}
"""Kinds that nobody owns and that change all the time."""


class Garbage:
    """Background deletion, as kube-controller-manager's garbage collector does it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._kinds: dict[str, Resource] = {}
        self._workers: dict[str, Worker] = {}
        self._dependents: defaultdict[str, set[tuple[str, Key]]] = defaultdict(set)
        self._alive: set[str] = set()

    async def run(self) -> None:
        """Collect until cancelled."""
        kinds = await self._all_kinds()
        async with asyncio.TaskGroup() as group:
            for kind in kinds:
                worker = Worker(f"garbage {kind.plural}", partial(self._collect, kind))
                self._kinds[kind.kind], self._workers[kind.kind] = kind, worker
                self._hub.listen(kind, partial(self._changed, kind))
            await self._hub.synced(*kinds)
            for worker in self._workers.values():
                group.create_task(worker.run())

    async def _all_kinds(self) -> list[Resource]:
        pause = 0.05
        while True:
            try:
                found = await discover(self._hub.client, verb="watch")
            except FAULTS:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
            else:
                return [each for each in found if each.plural not in _LEFT_ALONE]

    def _changed(self, kind: Resource, event: str, obj: Object) -> None:
        """Keep who owns whom, and look at those whose owner went."""
        uid, references = obj["metadata"]["uid"], obj["metadata"].get("ownerReferences") or []
        place = (kind.kind, key(obj))
        if event == "DELETED":
            self._alive.discard(uid)
            for each in references:
                self._dependents[each["uid"]].discard(place)
            for dependent, at in self._dependents.pop(uid, set()):
                self._workers[dependent].add(at)
            return
        self._alive.add(uid)
        for each in references:
            self._dependents[each["uid"]].add(place)
        if references:
            self._workers[kind.kind].add(key(obj))

    async def _collect(self, kind: Resource, place: Key) -> None:
        """Delete the object if none of its owners lives; before that the server is asked, not the cache."""
        obj = self._hub.informer(kind).cache.get(place)
        if obj is None or terminating(obj):
            return
        references = obj["metadata"].get("ownerReferences") or []
        if not references or any(each["uid"] in self._alive for each in references):
            return
        for each in references:
            if await self._lives(each, place[0]):
                return
        uid = obj["metadata"]["uid"]
        await absorb_gone(self._hub.client.delete(kind, place[1], place[0], uid=uid))

    async def _lives(self, reference: Object, namespace: str) -> bool:
        """Whether the owner exists; one of a kind that the lab does not have counts as alive."""
        kind = self._kinds.get(reference["kind"])
        if kind is None:
            return True
        try:
            found = await self._hub.client.get(kind, reference["name"], namespace if kind.namespaced else "")
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return bool(found["metadata"]["uid"] == reference["uid"])
