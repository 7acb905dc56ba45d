"""Says when a lab is ready: the API server answers, the nodes are Ready, and what every cluster has is there.

What belongs here: the conditions of `lab up`. What does not: making them true.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from clusters.lab import addresses
from clusters.lab.client import ENDPOINT_SLICES, NAMESPACES, NODES, SERVICES, Client, Informer
from clusters.lab.options import LabOptions

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def _lacking(caches: dict[str, Informer], nodes: int) -> str:
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
    if not any(each.get("kubernetes.io/service-name") == "kubernetes" for each in labels):
        return "Service default/kubernetes has no EndpointSlice"
    for index in range(nodes):
        node = caches["nodes"].cache.get(("", addresses.node_name(index)))
        if node is None:
            return f"node {addresses.node_name(index)} has not registered"
        conditions = node.get("status", {}).get("conditions", [])
        if not any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
            return f"node {addresses.node_name(index)} is not Ready"
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
            while _lacking(caches, options.nodes):
                changed.clear()
                await changed.wait()
    except TimeoutError:
        lacking = _lacking(caches, options.nodes) or "the API server has not told its version"
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
            "addresses": "ipv4",
        }
    )


async def _mark(informer: Informer, changed: asyncio.Event) -> None:
    await informer.synced.wait()
    changed.set()
