"""Gives every pod a node: the one with the fewest pods among those that its rules and the nodes' taints leave.

What belongs here: which node. What does not: resources (a lab's nodes share one machine and promise none) and affinity
(the API server refuses it by name).
"""

from __future__ import annotations

import asyncio
from collections import Counter

from clusters.lab.client import NODES, PODS, ApiError, Key, Object, key
from clusters.lab.controllers.hub import Hub, Worker, selects, terminating, timestamp

NAME = "default-scheduler"


def _waiting(pod: Object) -> bool:
    spec = pod["spec"]
    ours = spec.get("schedulerName", NAME) == NAME
    return ours and not spec.get("nodeName") and not terminating(pod) and not spec.get("schedulingGates")


def _over(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def _taints(node: Object) -> list[Object]:
    """What keeps pods off a node; a cordon and a missing Ready count as the taints that real clusters make of them."""
    found = [each for each in node.get("spec", {}).get("taints") or [] if each["effect"] != "PreferNoSchedule"]
    conditions = node.get("status", {}).get("conditions", [])
    if not any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
        found.append({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"})
    if node.get("spec", {}).get("unschedulable"):
        found.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    return found


class Scheduler:
    """Binds pods to nodes, one after the other, so that each choice sees the ones before it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._worker = Worker("scheduler", self._schedule)
        self._assumed: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._events: set[asyncio.Task[None]] = set()
        self._pods = hub.listen(PODS, self._pod_changed)
        self._nodes = hub.listen(NODES, self._node_changed)

    def _pod_changed(self, event: str, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if event == "DELETED" or pod["spec"].get("nodeName"):
            self._assumed.pop(uid, None)
            self._told.pop(uid, None)
        if event != "DELETED" and _waiting(pod):
            self._worker.add(key(pod))

    def _node_changed(self, *_: object) -> None:
        for place, pod in self._pods.cache.items():
            if _waiting(pod):
                self._worker.add(place)

    async def run(self) -> None:
        """Schedule until cancelled."""
        await self._hub.synced(PODS, NODES)
        await self._worker.run()

    async def _schedule(self, place: Key) -> None:
        pod = self._pods.cache.get(place)
        if pod is None or not _waiting(pod) or pod["metadata"]["uid"] in self._assumed:
            return
        refusals: Counter[str] = Counter()
        fitting = []
        for name, node in sorted((node["metadata"]["name"], node) for node in self._nodes.cache.values()):
            reason = self._refusal(pod, node)
            if reason:
                refusals[reason] += 1
            else:
                fitting.append(name)
        if fitting:
            await self._bind(pod, min(fitting, key=lambda name: (len(self._on(name)), name)))
        else:
            await self._unschedulable(pod, refusals)

    def _node_of(self, pod: Object) -> str:
        return str(pod["spec"].get("nodeName") or self._assumed.get(pod["metadata"]["uid"], ""))

    def _on(self, node: str) -> list[Object]:
        return [each for each in self._pods.cache.values() if self._node_of(each) == node and not _over(each)]

    def _refusal(self, pod: Object, node: Object) -> str:
        """Why the pod may not run there, in a real scheduler's words; empty when it may."""
        spec = pod["spec"]
        tolerations = spec.get("tolerations") or []
        for taint in _taints(node):
            if not any(_tolerates(each, taint) for each in tolerations):
                value = taint.get("value", "")
                return f"node(s) had untolerated taint {{{taint['key']}: {value}}}"
        if not selects(spec.get("nodeSelector") or {}, node):
            return "node(s) didn't match Pod's node affinity/selector"
        return ""

    async def _bind(self, pod: Object, node: str) -> None:
        meta = pod["metadata"]
        body: Object = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self._hub.client.request("POST", PODS.path(meta["namespace"], meta["name"], "binding"), body)
        except ApiError as error:
            if error.status in {404, 409}:  # gone, or bound by someone else: the cache will tell
                return
            raise
        self._assumed[meta["uid"]] = node
        message = f"Successfully assigned {meta['namespace']}/{meta['name']} to {node}"
        self._record(pod, "Normal", "Scheduled", message)

    async def _unschedulable(self, pod: Object, refusals: Counter[str]) -> None:
        total = len(self._nodes.cache)
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(refusals.items()))
        message = f"0/{total} nodes are available: {reasons}." if total else "no nodes available to schedule pods"
        uid = pod["metadata"]["uid"]
        if self._told.get(uid) == message:
            return
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": timestamp(),
        }
        others = [each for each in pod.get("status", {}).get("conditions", []) if each["type"] != "PodScheduled"]
        status: Object = {"status": {"conditions": [*others, condition]}}
        meta = pod["metadata"]
        await self._hub.client.patch(PODS, meta["name"], status, meta["namespace"], "status")
        self._told[uid] = message
        self._record(pod, "Warning", "FailedScheduling", message)

    def _record(self, pod: Object, kind: str, reason: str, message: str) -> None:
        """Record an event without making the next pod wait for it."""
        task = asyncio.create_task(self._hub.event(pod, kind, reason, message, NAME))
        self._events.add(task)
        task.add_done_callback(self._events.discard)
