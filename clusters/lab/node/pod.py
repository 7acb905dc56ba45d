"""One pod's life: network, volumes, init containers, containers, status, end.

What belongs here: the order of things. What does not: what a container does (`containers`), HTTP (`server`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import aiohttp

from clusters.lab.client import PODS, ApiError, Object
from clusters.lab.node import mounts, network, status
from clusters.lab.node.containers import Runner
from clusters.lab.node.context import Node, PodContext, first_of
from clusters.lab.node.events import now
from clusters.lab.node.volumes import MountError, Volumes, references
from clusters.lab.system import KernelError

T = TypeVar("T")
_log = logging.getLogger(__name__)
_SANDBOX_RETRY = 1.0
"""Seconds until a network or a volume that could not be made is tried again."""
_REFUSED = ("hostPID", "hostIPC", "shareProcessNamespace")


class PodWorker:
    """Runs one pod, from the moment the node sees it until it is gone from the API.

    Attributes:
        runners: Its containers by name, init containers first.
    """

    def __init__(self, node: Node, pod: Object) -> None:
        self.uid = str(pod["metadata"]["uid"])
        self._node = node
        self.context = PodContext(node=node, pod=pod, folder=node.folder / "pods" / self.uid, changed=self._touch)
        self._dirty, self._stop, self._stale = asyncio.Event(), asyncio.Event(), asyncio.Event()
        spec = pod["spec"]
        self._inits = [
            Runner(self.context, each, "sidecar" if each.get("restartPolicy") == "Always" else "init")
            for each in spec.get("initContainers") or []
        ]
        self._mains = [Runner(self.context, each, "main") for each in spec["containers"]]
        if not self._inits:
            for each in self._mains:
                each.state = {"waiting": {"reason": "ContainerCreating"}}
        self.runners = {each.name: each for each in [*self._inits, *self._mains]}
        self._gone = False
        self._started = now()
        self._posted: Object = {}
        self._addresses: list[str] = []
        self._kept: list[str] = []
        self._connecting: asyncio.Task[None] | None = None
        self._lives: dict[str, asyncio.Task[None]] = {}

    def _touch(self) -> None:
        self._dirty.set()

    @property
    def names(self) -> set[tuple[str, str]]:
        """The ConfigMaps and Secrets that its volumes follow."""
        return references(self.context.pod)

    def update(self, pod: Object) -> None:
        """Take the newest object: labels, and whether it has to go."""
        before, self.context.pod = self.context.pod, pod
        meta, old = pod["metadata"], before["metadata"]
        if any(meta.get(each) != old.get(each) for each in ("labels", "annotations")):
            self._stale.set()
        if pod["spec"].get("readinessGates"):
            self._dirty.set()
        if meta.get("deletionTimestamp"):
            grace = meta.get("deletionGracePeriodSeconds")
            self.stop(self.context.grace if grace is None else float(grace))

    def refresh(self) -> None:
        """Read again what its volumes come from."""
        self._stale.set()

    def stop(self, grace: float, *, gone: bool = False) -> None:
        """End it within `grace` seconds; `gone`: the API has already forgotten it."""
        self._gone = self._gone or gone
        self.context.patience.limit(grace)
        self._stop.set()

    async def run(self) -> None:
        """The pod's whole life."""
        reporting = asyncio.create_task(self._report())
        self._dirty.set()
        try:
            life = asyncio.create_task(self._live())
            stop = asyncio.create_task(self._stop.wait())
            await asyncio.wait({life, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not self._stop.is_set():
                await life
                await self._let_go()
                await stop
            life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await life
            await self._end_containers()
            await self._let_go()
        finally:
            reporting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reporting
        await self._forget()

    async def _live(self) -> None:
        """Set up and run until every container is done."""
        self._connecting = asyncio.create_task(self._connect())
        await asyncio.shield(self._connecting)
        await self._set_up()
        keeping = asyncio.create_task(self._keep_volumes())
        try:
            if not await self._initialize():
                return
            for each in self._mains:
                if "waiting" in each.state:
                    each.state = {"waiting": {"reason": "ContainerCreating"}}
                self._begin(each)
                if "postStart" in (each.spec.get("lifecycle") or {}):  # as kubelet, which starts one after the other
                    await each.settled.wait()
            for each in self._mains:
                await each.done.wait()
            await self._end_sidecars()
        finally:
            keeping.cancel()

    def _begin(self, runner: Runner) -> None:
        if runner.name not in self._lives:
            self._lives[runner.name] = asyncio.create_task(runner.run(), name=f"{self.uid}/{runner.name}")

    async def _connect(self) -> None:
        """Give the pod its network, with its policies in force; tried again until it works or the pod has to go."""
        node, pod = self._node, self.context.pod
        while not self._stop.is_set():
            taken: list[str] = []
            try:
                refused = [each for each in _REFUSED if pod["spec"].get(each)]
                if refused:
                    raise KernelError(f"the lab does not offer {', '.join(refused)}")
                if pod["spec"].get("hostNetwork"):
                    self.context.network = network.node_network(node.addresses)
                    self._addresses = list(node.addresses)
                    return
                taken = node.pool.take(network.asked_for(pod["metadata"].get("annotations") or {}))
                # Policies first: from the moment that its link is there the pod's kernel answers whoever calls it.
                await node.dataplane.attach(pod, network.interface_name(self.uid), taken)
                made = await self._in_thread(partial(network.connect, self.uid, taken, node.addresses))
            except (KernelError, OSError, network.AddressError) as error:
                await node.dataplane.detach(self.uid)
                node.pool.give_back(taken)
                words = f"Failed to create pod sandbox: {error}"
                node.recorder.tell(pod, "FailedCreatePodSandBox", words, warning=True)
                _log.warning("pod %s: %s", self.uid, words)
                await first_of(self._stop, seconds=_SANDBOX_RETRY)
                continue
            self.context.network, self._addresses = made, list(made.addresses)
            return

    async def _set_up(self) -> None:
        context, node = self.context, self._node
        dns = context.node.options.plan.dns_service[0]
        mounts.write_pod_files(context.pod, context.folder, context.addresses, dns)
        namespace = context.pod["metadata"]["namespace"]

        async def fetch(kind: str, name: str) -> Object | None:
            return await node.fetch(kind, namespace, name)

        volumes = Volumes(node.client, fetch, context.folder, (context.addresses, node.addresses))
        while True:
            self._stale.clear()
            try:
                await volumes.prepare(context.pod)
            except (MountError, ApiError, aiohttp.ClientError, TimeoutError) as error:
                node.recorder.tell(context.pod, "FailedMount", str(error) or type(error).__name__, warning=True)
                await first_of(self._stale, seconds=_SANDBOX_RETRY)
                continue
            context.volumes = volumes
            return

    async def _keep_volumes(self) -> None:
        """Bring volumes up to date when a source changed or a token is due."""
        while True:
            volumes = self.context.volumes
            due = float("inf") if volumes is None else max(0.0, volumes.renewal - time.time())
            await first_of(self._stale, seconds=due)
            self._stale.clear()
            if volumes is not None:
                try:
                    await volumes.refresh(self.context.pod)
                except (ApiError, aiohttp.ClientError, TimeoutError):
                    await asyncio.sleep(_SANDBOX_RETRY)
                    self._stale.set()

    async def _initialize(self) -> bool:
        """Run the init containers in order; False when one failed for good."""
        for each in self._inits:
            each.state = {"waiting": {"reason": "ContainerCreating"}} if "waiting" in each.state else each.state
            self._begin(each)
            if each.role == "sidecar":
                await each.up.wait()
                continue
            await each.done.wait()
            if each.exit_code != 0:
                await self._end_sidecars()
                return False
        return True

    async def _end_sidecars(self) -> None:
        self.context.patience.limit(self.context.grace)
        for each in reversed([each for each in self._inits if each.role == "sidecar"]):
            await self._end(each)

    async def _end(self, runner: Runner) -> None:
        runner.stop()
        task = self._lives.get(runner.name)
        if task is not None:
            await task

    async def _end_containers(self) -> None:
        plain = [*self._mains, *(each for each in self._inits if each.role == "init")]
        await asyncio.gather(*(self._end(each) for each in plain))
        await self._end_sidecars()

    async def _let_go(self) -> None:
        """Take the network away.

        The addresses are given to no other pod while the API still has them beside this one's labels, unless the pod
        ended by itself: one that is over is nobody's peer.
        """
        if self._connecting is not None:
            await self._connecting
        made, self.context.network = self.context.network, None
        if made is None:
            return
        await self._disconnect(made)
        if made.interface:
            await self._node.dataplane.detach(self.uid)
            if self._stop.is_set():
                self._kept = made.addresses
            else:
                self._node.pool.give_back(made.addresses)

    async def _disconnect(self, made: network.PodNetwork) -> None:
        try:
            await self._in_thread(partial(network.disconnect, made))
        except KernelError as error:
            _log.warning("pod %s: %s", self.uid, error)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._node.threads, work)

    async def _report(self) -> None:
        """Post the status whenever it changed, as one patch for all that changed meanwhile."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if not await self._post():
                await asyncio.sleep(0.2)
                self._dirty.set()

    async def _post(self) -> bool:
        """Post the status if it differs from the last one; False when the server could not be asked."""
        if self._gone:
            return True
        pod = self.context.pod
        wanted = status.build(
            pod,
            self._inits,
            self._mains,
            addresses=self._addresses,
            node_addresses=self._node.addresses,
            started=self._started,
            now=now(),
            previous=self._posted,
        )
        if wanted == self._posted:
            return True
        meta = pod["metadata"]
        try:
            patch = {"metadata": {"uid": self.uid}, "status": wanted}
            await self._node.client.patch(PODS, meta["name"], patch, meta["namespace"], "status")
        except ApiError as error:
            if error.status in {404, 409}:
                self.stop(0, gone=True)
                return True
            _log.warning("pod %s/%s: status: %s", meta["namespace"], meta["name"], error)
            return False
        except (aiohttp.ClientError, TimeoutError):
            return False
        self._posted = wanted
        return True

    async def _forget(self) -> None:
        """Post the last state, remove the pod from the API and its files from the machine."""
        meta = self.context.pod["metadata"]
        await self._post()
        while not self._gone:
            try:
                await self._node.client.delete(PODS, meta["name"], meta["namespace"], uid=self.uid, grace=0)
                break
            except ApiError as error:
                if error.status in {404, 409}:
                    break
                _log.warning("pod %s/%s: delete: %s", meta["namespace"], meta["name"], error)
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.2)
        self._node.pool.give_back(self._kept)
        for each in self.runners.values():
            for log in (each.log, each.previous_log):
                if log is not None:
                    log.remove()
        shutil.rmtree(self.context.folder, ignore_errors=True)
