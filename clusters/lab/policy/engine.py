"""The data plane of one node: follows the API like any client, and keeps the kernel as the policies say.

What belongs here: informers, attachments, when to program. What does not: meaning (`compiler`, `services`) and text
(`transaction`). It runs inside the node's process and network namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Final, TypeAlias

from clusters.lab import mutants, system
from clusters.lab.addresses import AddressPlan
from clusters.lab.client import (
    CALICO_POLICIES,
    ENDPOINT_SLICES,
    GLOBAL_NETWORK_SETS,
    GLOBAL_POLICIES,
    NAMESPACES,
    NETWORK_POLICIES,
    NETWORK_SETS,
    PODS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Client,
    Informer,
    Object,
    Resource,
)
from clusters.lab.options import LabOptions
from clusters.lab.policy import conntrack, snapshot
from clusters.lab.policy.compiler import compile_policies
from clusters.lab.policy.mutation import World, at_once
from clusters.lab.policy.ruleset import Ruleset, merged
from clusters.lab.policy.services import compile_services
from clusters.lab.policy.snapshot import Attachment, Pod, Snapshot
from clusters.lab.policy.transaction import fresh, steps
from flows.errors import UsageError
from policies.calico import read as calico
from policies.calico.model import CalicoPolicy, NetworkSet
from policies.model import NetworkPolicy, PolicyType
from policies.read import read

SYNC_DEADLINE: Final = 30.0
"""Seconds until every informer must have its first list; the API server answers within milliseconds."""
_CALICO: Final = (CALICO_POLICIES, GLOBAL_POLICIES, NETWORK_SETS, GLOBAL_NETWORK_SETS)
_RESOURCES: Final = (PODS, NAMESPACES, NETWORK_POLICIES, SERVICES, ENDPOINT_SLICES, SERVICE_ACCOUNTS, *_CALICO)
Typed: TypeAlias = NetworkPolicy | CalicoPolicy | NetworkSet
_log = logging.getLogger(__name__)


class Dataplane:
    """NetworkPolicy and Services in force on one node.

    Args:
        client: The node's own API client.
        node_name: The node, as the API knows it.
        options: The lab's settings; `mutant` breaks the data plane on purpose.
    """

    def __init__(self, client: Client, node_name: str, options: LabOptions) -> None:
        self._mutant = mutants.get(options.mutant) if options.mutant else None
        self._plan = options.plan
        self._world = World(node=node_name, now=time.monotonic, wake=self._wake_after)
        self._dirty = asyncio.Event()
        self._lock = asyncio.Lock()
        self._informers = {each: Informer(client, each, on_event=self._changed) for each in _RESOURCES}
        self._tasks: list[asyncio.Task[None]] = []
        self._attached: dict[str, tuple[str, tuple[str, ...], Object]] = {}
        self._programmed: Ruleset | None = None
        self._ways: frozenset[conntrack.Translation] = frozenset()
        self._policies: dict[str, tuple[str, Typed]] = {}

    async def start(self) -> None:
        """Return once everything known is in force: informers synced, Services reachable, base rules loaded.

        Raises:
            TimeoutError: The API server gave no list within the deadline.
            KernelError: The kernel refused; with nft's own words.
        """
        system.ip(service_routes(self._plan))
        self._tasks = [
            asyncio.create_task(informer.run(), name=f"informer-{resource.plural}")
            for resource, informer in self._informers.items()
        ]
        with contextlib.ExitStack() as undo:
            undo.callback(self._cancel)
            async with asyncio.timeout(SYNC_DEADLINE):
                await asyncio.gather(*(each.synced.wait() for each in self._informers.values()))
            await self._program()
            undo.pop_all()

    async def run(self) -> None:
        """Keep the kernel up to date until cancelled.

        Raises:
            KernelError: The kernel refused a change and also the whole ruleset afresh.
        """
        follow = asyncio.create_task(self._follow(), name="dataplane")
        try:
            done, _ = await asyncio.wait([follow, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            follow.cancel()
            self._cancel()
            await asyncio.gather(follow, *self._tasks, return_exceptions=True)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def attach(self, pod: Object, interface: str, addresses: list[str]) -> None:
        """Return once the pod's chains are in force; call before its link is there, by which it could be reached.

        Args:
            pod: The API object; its labels count until the informer has a newer one.
            interface: The node's end of its veth; empty for a pod in the node's own network, which no policy guards.
            addresses: What it was given, primary family first.

        Raises:
            KernelError: The kernel refused; the pod is not attached.
        """
        if not interface:
            return
        uid = pod["metadata"]["uid"]
        self._attached[uid] = (interface, tuple(addresses), pod)
        try:
            await self._program()
        except system.KernelError:
            self._attached.pop(uid, None)  # the pod will not start, and must not spoil the next change
            raise

    async def detach(self, uid: str) -> None:
        """Return once nothing of the pod is left in the kernel; unknown uids are none."""
        if self._attached.pop(uid, None):
            await self._program()

    def snapshot(self) -> Snapshot:
        """What is known now; what the node itself gave its pods stands before what their status says."""
        pods: dict[str, Pod] = {}
        for obj in self._informers[PODS].cache.values():
            uid = obj["metadata"].get("uid", "")
            pods[uid] = snapshot.pod(obj, self._attached[uid][1] if uid in self._attached else ())
        attachments = []
        for uid, (interface, addresses, obj) in self._attached.items():
            pods.setdefault(uid, snapshot.pod(obj, addresses))
            attachments.append(Attachment(pod=pods[uid], interface=interface))
        typed = [
            self._typed(resource, obj)
            for resource in (NETWORK_POLICIES, *_CALICO)
            for obj in self._informers[resource].cache.values()
        ]
        return Snapshot(
            pods=tuple(pods.values()),
            namespaces={
                obj["metadata"]["name"]: obj["metadata"].get("labels") or {}
                for obj in self._informers[NAMESPACES].cache.values()
            },
            accounts={
                (obj["metadata"]["namespace"], obj["metadata"]["name"]): obj["metadata"].get("labels") or {}
                for obj in self._informers[SERVICE_ACCOUNTS].cache.values()
            },
            policies=tuple(each for each in typed if isinstance(each, NetworkPolicy)),
            calico=tuple(each for each in typed if isinstance(each, CalicoPolicy)),
            network_sets=tuple(each for each in typed if isinstance(each, NetworkSet)),
            attachments=tuple(attachments),
            services=snapshot.services(
                self._informers[SERVICES].cache.values(),
                self._informers[ENDPOINT_SLICES].cache.values(),
                self._world.node,
            ),
        )

    def _typed(self, resource: Resource, obj: Object) -> Typed:
        meta = obj["metadata"]
        uid, version = meta.get("uid", ""), meta.get("resourceVersion", "")
        held = self._policies.get(uid)
        if held and held[0] == version:
            return held[1]
        where = f"{resource.plural} {meta.get('namespace', '')}/{meta['name']}"
        typed: Typed
        try:
            typed = read(obj, where) if resource == NETWORK_POLICIES else calico.read(obj, where)
        except UsageError as error:
            # The API server admits only what can be read; should it fail to, closed is the safe side.
            _log.exception("unreadable, its pods are closed: %s", error.message)
            typed = _closing(resource, meta)
        self._policies[uid] = (version, typed)
        return typed

    def _changed(self, event: str, obj: Object) -> None:
        if event == "DELETED":
            self._policies.pop(obj["metadata"].get("uid", ""), None)
        self._dirty.set()

    def _wake_after(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._dirty.set)

    async def _follow(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self._program()

    async def _program(self) -> None:
        # A caller that is cancelled while nft runs must not leave us in doubt about what is in force.
        await asyncio.shield(asyncio.create_task(self._apply()))

    async def _apply(self) -> None:
        async with self._lock:
            known = self.snapshot()
            wanted = (
                self._mutant.around(known, self._world, compile_ruleset) if self._mutant else compile_ruleset(known)
            )
            if self._programmed is None:
                await asyncio.to_thread(system.nft, fresh(wanted))
            else:
                for step in (self._mutant.steps if self._mutant else at_once)(self._programmed, wanted):
                    await self._step(self._programmed, step)
                    self._programmed = step
            self._programmed = wanted
            ways = conntrack.translations(known.services)
            gone, self._ways = self._ways - ways, ways
            if gone:
                await self._forget(gone)

    async def _step(self, before: Ruleset, after: Ruleset) -> None:
        try:
            for script in steps(before, after):
                await asyncio.to_thread(system.nft, script)
        except system.KernelError:
            _log.exception("the kernel refused a change, programming everything afresh")
            await asyncio.to_thread(system.nft, fresh(after))

    async def _forget(self, gone: frozenset[conntrack.Translation]) -> None:
        try:
            await asyncio.to_thread(conntrack.forget, gone)
        except OSError as error:
            _log.warning("stale UDP translations stay until they time out: %s", error)


def _closing(resource: Resource, meta: Object) -> Typed:
    """What stands in for an object that cannot be read: everybody it could be about is closed."""
    name, namespace, uid = meta["name"], meta.get("namespace", ""), meta.get("uid", "")
    both = (PolicyType.INGRESS, PolicyType.EGRESS)
    if resource == NETWORK_POLICIES:
        return NetworkPolicy(name=name, namespace=namespace, uid=uid, types=both)
    if resource in {NETWORK_SETS, GLOBAL_NETWORK_SETS}:
        return NetworkSet(name=name, namespace=namespace, is_global=not namespace, uid=uid)
    return CalicoPolicy(name=name, namespace=namespace, is_global=not namespace, uid=uid, order=0.0, types=both)


def compile_ruleset(known: Snapshot) -> Ruleset:
    """Everything that should be in force on the node of the snapshot's attachments."""
    return merged((compile_policies(known), compile_services(known)))


def service_routes(plan: AddressPlan) -> list[str]:
    """Lines of `ip`: whatever goes to a Service leaves a node's own processes by a route, and is translated on it."""
    pairs = zip(plan.services, plan.control_plane, strict=True)
    return [f"route replace {services} via {gateway}" for services, gateway in pairs]
