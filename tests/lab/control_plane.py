"""An API server and the controllers in the test's own event loop; the test plays the nodes."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from clusters.lab import controllers, pki
from clusters.lab.api.server import serve
from clusters.lab.client import NAMESPACES, NODES, PODS, SERVICE_ACCOUNTS, Client, Informer, Object, Resource
from clusters.lab.options import LabOptions

T = TypeVar("T")
DEADLINE = 20.0
CA = "-----BEGIN CERTIFICATE-----"


class World:
    """What a test does to the cluster and waits for in it."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def until(self, resource: Resource, wanted: Callable[[dict[str, Object]], T | None]) -> T:
        """The first true value of `wanted` over all objects of a kind, by `namespace/name`; follows changes."""
        changed = asyncio.Event()
        informer = Informer(self.client, resource, on_event=lambda *_: changed.set())
        follower = asyncio.create_task(informer.run())
        try:
            async with asyncio.timeout(DEADLINE):
                await informer.synced.wait()
                while True:
                    changed.clear()
                    found = wanted({"/".join(place).lstrip("/"): obj for place, obj in informer.cache.items()})
                    if found:
                        return found
                    await changed.wait()
        finally:
            follower.cancel()

    async def node(self, name: str, *, labels: dict[str, str] | None = None, spec: Object | None = None) -> None:
        """A node that is Ready."""
        meta = {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}}
        await self.client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec or {}})
        ready = {"type": "Ready", "status": "True", "reason": "Test", "message": ""}
        await self.client.patch(NODES, name, {"status": {"conditions": [ready]}}, "", "status")

    async def namespace(self, name: str) -> None:
        """A namespace in which pods can be made."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.client.create(NAMESPACES, body)
        await self.until(SERVICE_ACCOUNTS, lambda all_of: f"{name}/default" in all_of)

    async def pod(
        self, name: str, *, namespace: str = "test", labels: dict[str, str] | None = None, **spec: Any
    ) -> Object:
        """A pod of one container, on its way to the scheduler."""
        ports = spec.pop("ports", [])
        container = {"name": "main", "image": "python:3-slim", "ports": ports}
        body: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
            "spec": {"containers": [container], **spec},
        }
        return await self.client.create(PODS, body, namespace)

    async def run_pod(self, name: str, ip: str, *, ready: bool = True, namespace: str = "test") -> None:
        """What a kubelet reports of a pod that runs."""
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [condition]}
        await self.client.patch(PODS, name, {"status": status}, namespace, "status")

    async def node_of(self, name: str, namespace: str = "test") -> str:
        """The node that the scheduler chose."""
        return await self.until(PODS, lambda pods: str(pods[f"{namespace}/{name}"]["spec"].get("nodeName", "")))


@asynccontextmanager
async def control_plane(state: Path, **wishes: Any) -> AsyncIterator[World]:
    """A control plane with the namespace `test`, of a lab with these options; ended afterwards."""
    authority = pki.make_authority()
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    serving = asyncio.Event()
    options = LabOptions(nodes=0, state=str(state), **wishes)
    server = asyncio.create_task(serve([listener], authority, options, ready=serving.set))
    await asyncio.wait_for(serving.wait(), DEADLINE)
    async with Client(url, authority.node_token, pki.client_tls(authority.ca_pem)) as client:
        loops = asyncio.create_task(controllers.run(client, options, ca_pem=CA))
        try:
            world = World(client)
            await world.namespace("test")
            yield world
            assert not loops.done(), loops
        finally:
            loops.cancel()
            await asyncio.gather(loops, return_exceptions=True)
    server.cancel()
    await asyncio.gather(server, return_exceptions=True)


def with_control_plane(scenario: Callable[[World], Awaitable[None]], **wishes: Any) -> Callable[[Path], None]:
    """Make a test of a scenario over a fresh control plane."""

    async def play(state: Path) -> None:
        async with control_plane(state, **wishes) as world:
            await scenario(world)

    def test(tmp_path: Path) -> None:
        asyncio.run(play(tmp_path))

    # Not `functools.wraps`: pytest would follow `__wrapped__` and read the scenario's arguments instead of ours.
    for name in functools.WRAPPER_ASSIGNMENTS:
        if name != "__annotations__":
            setattr(test, name, getattr(scenario, name))
    return test
