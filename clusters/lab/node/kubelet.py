"""The node's agent: registers the node, runs the pods that are bound to it, reports on them.

What belongs here: the node object, which pods there are, what they share. What does not: one pod's life (`pod`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import aiohttp

from clusters.lab import addresses
from clusters.lab.client import CONFIG_MAPS, NODES, PODS, ApiError, Client, Informer, Object, Resource
from clusters.lab.node.containers import Runner
from clusters.lab.node.context import Dataplane, Node
from clusters.lab.node.events import Recorder, now
from clusters.lab.node.network import AddressPool
from clusters.lab.node.pod import PodWorker
from clusters.lab.node.server import Server
from clusters.lab.options import LabOptions
from clusters.lab.policy import engine

SECRETS: Final = Resource("", "v1", "secrets", "Secret")
_SOURCES: Final = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS}
_REGISTER_DEADLINE: Final = 30.0
"""Seconds until the API server must have taken the node."""
_HEARTBEAT: Final = 300.0
"""Seconds between reports of an unchanged node, as kubelet's own."""
_THREADS: Final = 4
_MAX_PODS: Final = 110

_log = logging.getLogger(__name__)
DataplaneMaker = Callable[[Client, str, LabOptions], Dataplane]


async def run(
    client: Client, index: int, options: LabOptions, *, make_dataplane: DataplaneMaker = engine.Dataplane
) -> None:
    """Be node number `index` until cancelled.

    Args:
        make_dataplane: Makes policy and Services; tests give a double.

    Raises:
        TimeoutError: The API server did not take the node within the deadline.
    """
    kubelet = Kubelet(client, index, options, make_dataplane)
    await kubelet.run()


class Kubelet:
    """One node."""

    def __init__(self, client: Client, index: int, options: LabOptions, make_dataplane: DataplaneMaker) -> None:
        name = addresses.node_name(index)
        self._client, self._cidrs = client, options.plan.pod_cidrs(index)
        self._workers: dict[str, PodWorker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._node = Node(
            name=name,
            addresses=options.plan.node_addresses(index),
            client=client,
            options=options,
            recorder=Recorder(client, name),
            pool=AddressPool(self._cidrs),
            dataplane=make_dataplane(client, name, options),
            fetch=self._fetch,
            threads=ThreadPoolExecutor(_THREADS, thread_name_prefix="node"),
            folder=Path(options.state, "nodes", name),
        )

    async def run(self) -> None:
        """Register, then follow the pods until cancelled."""
        node = self._node
        os.umask(0o022)  # what pods see of their volumes are this process's own files
        node.folder.mkdir(parents=True, exist_ok=True)
        server = Server(self._client.token, self._find)
        await server.start(node.addresses)
        try:
            await node.dataplane.start()
            await self._register()
            informer = Informer(
                self._client, PODS, on_event=self._take, params={"fieldSelector": f"spec.nodeName={node.name}"}
            )
            async with asyncio.TaskGroup() as group:
                group.create_task(node.dataplane.run())
                group.create_task(node.recorder.run())
                group.create_task(informer.run())
                group.create_task(self._heartbeat())
        finally:
            for task in [*self._tasks, *self._watches.values()]:
                task.cancel()
            await server.stop()
            node.threads.shutdown(wait=False, cancel_futures=True)

    def _find(self, namespace: str, pod: str, container: str) -> Runner | None:
        for worker in reversed(list(self._workers.values())):  # a namesake that is still ending comes later
            meta = worker.context.pod["metadata"]
            if (meta["namespace"], meta["name"]) == (namespace, pod) and container in worker.runners:
                return worker.runners[container]
        return None

    async def _fetch(self, kind: str, namespace: str, name: str) -> Object | None:
        """A ConfigMap or Secret as it is now; from here on its changes reach the pods that use it."""
        if kind not in self._watches:
            informer = Informer(self._client, _SOURCES[kind], on_event=lambda _, obj: self._source_changed(kind, obj))
            self._watches[kind] = asyncio.create_task(informer.run())
        try:
            return await self._client.get(_SOURCES[kind], name, namespace)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _source_changed(self, kind: str, obj: Object) -> None:
        meta = obj["metadata"]
        for worker in self._workers.values():
            same = worker.context.pod["metadata"]["namespace"] == meta["namespace"]
            if same and (kind, meta["name"]) in worker.names:
                worker.refresh()

    def _take(self, event: str, pod: Object) -> None:
        """React to what the API server tells about a pod of this node."""
        meta = pod["metadata"]
        worker = self._workers.get(meta["uid"])
        if event == "DELETED":
            if worker is not None:
                worker.stop(0, gone=True)
            return
        if worker is not None:
            worker.update(pod)
            return
        for other in self._workers.values():  # a namesake that the watch missed the end of
            theirs = other.context.pod["metadata"]
            if (theirs["namespace"], theirs["name"]) == (meta["namespace"], meta["name"]):
                other.stop(0, gone=True)
        if pod.get("status", {}).get("phase") in {"Succeeded", "Failed"} and not meta.get("deletionTimestamp"):
            return
        worker = self._workers[meta["uid"]] = PodWorker(self._node, pod)
        if meta.get("deletionTimestamp"):
            worker.update(pod)
        task = asyncio.create_task(self._mind(worker), name=f"pod-{meta['name']}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _mind(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        except Exception:
            _log.exception("pod %s: the kubelet failed", worker.uid)
            raise
        finally:
            self._workers.pop(worker.uid, None)

    async def _register(self) -> None:
        """Create the Node object (or take over one of the same name) and report it ready."""
        name = self._node.name
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": _architecture(),
            "eastwest.dev/lab": "true",
        }
        body: Object = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "spec": {"podCIDR": self._cidrs[0], "podCIDRs": self._cidrs},
        }
        async with asyncio.timeout(_REGISTER_DEADLINE):
            while True:
                try:
                    await self._client.create(NODES, body)
                except ApiError as error:
                    if error.reason != "AlreadyExists":
                        raise
                    await self._client.patch(NODES, name, {"metadata": {"labels": labels}, "spec": body["spec"]})
                except (aiohttp.ClientError, TimeoutError):
                    await asyncio.sleep(0.05)
                    continue
                await self._client.patch(NODES, name, {"status": self._status()}, subresource="status")
                return

    def _status(self) -> Object:
        node = self._node
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        capacity = {"cpu": str(os.cpu_count() or 1), "memory": f"{memory // 1024}Ki", "pods": str(_MAX_PODS)}
        stamp = now()

        def condition(kind: str, status: str, reason: str, message: str) -> Object:
            return {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": stamp,
                "lastTransitionTime": stamp,
            }

        return {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [{"type": "InternalIP", "address": each} for each in node.addresses]
            + [{"type": "Hostname", "address": node.name}],
            "conditions": [
                condition(
                    "MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"
                ),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                condition("Ready", "True", "KubeletReady", "the lab's kubelet is posting ready status"),
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": addresses.KUBELET_PORT}},
            "nodeInfo": _node_info(),
        }

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT)
            try:
                await self._client.patch(NODES, self._node.name, {"status": self._status()}, subresource="status")
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                _log.warning("node %s: heartbeat: %s", self._node.name, error)


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _node_info() -> Object:
    return {
        "architecture": _architecture(),
        "operatingSystem": "linux",
        "kernelVersion": platform.release(),
        "osImage": f"eastwest lab (Python {sys.version.split()[0]})",
        "containerRuntimeVersion": "bubblewrap://lab",
        "kubeletVersion": "v1.34.0",
        "kubeProxyVersion": "",
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
    }
