"""Says when a lab is ready: the API server answers, the nodes are Ready, and what every cluster has is there.

With a mesh, every control plane is there too: before that, the injector's webhooks would refuse each pod.

What belongs here: the conditions of `lab up`. What does not: making them true.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Any

from clusters.lab import addresses
from clusters.lab.client import ENDPOINT_SLICES, NAMESPACES, NODES, SERVICES, Client, Informer, Object
from clusters.lab.options import LabOptions

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_SERVICE_NAME = "kubernetes.io/service-name"


def _control_planes(options: LabOptions) -> list[str]:
    """The Services, in the mesh's root namespace, that must have somebody behind them."""
    return ["istiod", *(f"istiod-{each}" for each in options.mesh_revisions)] if options.mesh == "istio" else []


def _ready_behind(slices: Iterable[Object]) -> set[tuple[str, str]]:
    """(namespace, Service) of those with a ready endpoint."""
    return {
        (each["metadata"]["namespace"], each["metadata"].get("labels", {}).get(_SERVICE_NAME, ""))
        for each in slices
        if any((one.get("conditions") or {}).get("ready") for one in each.get("endpoints") or [])
    }


def _lacking(caches: dict[str, Informer], options: LabOptions) -> str:
    """What is still missing, as words; empty when the lab is ready."""
    for kind, informer in caches.items():
        if not informer.synced.is_set():
            return f"the API server has not listed {kind}"
    for name in _NAMESPACES:
        if ("", name) not in caches["namespaces"].cache:
            return f"namespace {name} does not exist"
    if ("default", "kubernetes") not in caches["services"].cache:
        return "Service default/kubernetes does not exist"
    slices = caches["endpointslices"].cache.values()
    labels = [each["metadata"].get("labels", {}) for each in slices]
    if not any(each.get(_SERVICE_NAME) == "kubernetes" for each in labels):
        return "Service default/kubernetes has no EndpointSlice"
    for index in range(options.nodes):
        node = caches["nodes"].cache.get(("", addresses.node_name(index)))
        if node is None:
            return f"node {addresses.node_name(index)} has not registered"
        conditions = node.get("status", {}).get("conditions", [])
        if not any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
            return f"node {addresses.node_name(index)} is not Ready"
    behind = _ready_behind(slices)
    for service in _control_planes(options):
        if ("istio-system", service) not in behind:
            return (
                f"Service istio-system/{service} has no ready endpoint (`kubectl -n istio-system logs -l app=istiod`)"
            )
    return ""


async def run(client: Client, options: LabOptions, ready: Callable[[dict[str, str]], None], within: float) -> None:
    """Call `ready` with the lab's facts as soon as it is ready.

    Raises:
        SystemExit: It is not within that many seconds; the message says what is missing.
    """
    changed = asyncio.Event()
    kinds = {"namespaces": NAMESPACES, "services": SERVICES, "endpointslices": ENDPOINT_SLICES, "nodes": NODES}
    caches = {name: Informer(client, resource, on_event=lambda *_: changed.set()) for name, resource in kinds.items()}
    followers = [asyncio.create_task(each.run()) for each in caches.values()]
    marks = [asyncio.create_task(_mark(each, changed)) for each in caches.values()]
    try:
        async with asyncio.timeout(within):
            version: dict[str, Any] = await client.request("GET", "/version")
            while _lacking(caches, options):
                changed.clear()
                await changed.wait()
    except TimeoutError:
        lacking = _lacking(caches, options) or "the API server has not told its version"
        raise SystemExit(f"not ready within {within:.0f} s: {lacking}") from None
    finally:
        for task in (*followers, *marks):
            task.cancel()
        await asyncio.gather(*followers, *marks, return_exceptions=True)
    ready(
        {
            "provider": "lab",
            "kubernetes": str(version.get("gitVersion", "")),
            "kernel": os.uname().release,
            "cni": "lab",
            "nodes": str(options.nodes),
            "mutant": options.mutant,
            "addresses": options.ip_family,
        }
    )


async def _mark(informer: Informer, changed: asyncio.Event) -> None:
    await informer.synced.wait()
    changed.set()
