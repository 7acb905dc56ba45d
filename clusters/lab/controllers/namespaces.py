"""Empties namespaces that are being deleted, waits for their pods to end gracefully, then lets them go."""

from __future__ import annotations

import asyncio

from clusters.lab.client import NAMESPACES, PODS, Key, Object
from clusters.lab.controllers.hub import Hub, Worker, absorb_gone, discover, terminating


class Namespaces:
    """Ends namespaces whose deletion has begun."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._worker = Worker("namespaces", self._reconcile)
        self._namespaces = hub.listen(NAMESPACES, self._namespace_changed)
        self._pods = hub.listen(PODS, self._pod_changed)

    def _namespace_changed(self, event: str, namespace: Object) -> None:
        if event != "DELETED" and terminating(namespace):
            self._worker.add(("", namespace["metadata"]["name"]))

    def _pod_changed(self, event: str, pod: Object) -> None:
        place = ("", pod["metadata"]["namespace"])
        namespace = self._namespaces.cache.get(place)
        if event == "DELETED" and namespace is not None and terminating(namespace):
            self._worker.add(place)

    async def run(self) -> None:
        """Reconcile until cancelled."""
        await self._hub.synced(NAMESPACES, PODS)
        await self._worker.run()

    async def _reconcile(self, place: Key) -> None:
        namespace = self._namespaces.cache.get(place)
        if namespace is None or not terminating(namespace):
            return
        name = place[1]
        client = self._hub.client
        kinds = [each for each in await discover(client, verb="list") if each.namespaced]
        contents = await asyncio.gather(*(client.list(kind, name) for kind in kinds))
        ends = []
        left = 0
        for kind, content in zip(kinds, contents, strict=True):
            for obj in content["items"]:
                left += 1
                if not terminating(obj):
                    meta = obj["metadata"]
                    ends.append(absorb_gone(client.delete(kind, meta["name"], name, uid=meta["uid"])))
        await asyncio.gather(*ends)
        if left:
            # What went at once is gone on the next look; pods tell when they are, finalizers do not.
            self._worker.add_later(place)
            return
        finalizers = [each for each in namespace["spec"].get("finalizers", []) if each != "kubernetes"]
        body: Object = {
            **namespace,
            "apiVersion": "v1",
            "kind": "Namespace",
            "spec": {**namespace["spec"], "finalizers": finalizers},
        }
        await absorb_gone(client.request("PUT", NAMESPACES.path("", name, "finalize"), body))
