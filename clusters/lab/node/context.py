"""What the parts of a node share: the node, one pod, and the patience of a pod that has to go.

What belongs here: plain holders and the data plane's contract. What does not: behaviour.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from clusters.lab.client import Client, Object
from clusters.lab.node.events import Recorder
from clusters.lab.node.network import AddressPool, PodNetwork
from clusters.lab.node.volumes import Volumes
from clusters.lab.options import LabOptions


class Dataplane(Protocol):
    """Policy and Services of one node."""

    async def start(self) -> None:
        """Return once base rules are in force."""
        ...

    async def run(self) -> None:
        """Follow the cluster until cancelled."""
        ...

    async def attach(self, pod: Object, interface: str, addresses: list[str]) -> None:
        """Put a pod's policies in force; its link is made only after this has returned."""
        ...

    async def detach(self, uid: str) -> None:
        """Forget a pod whose link is gone."""
        ...


@dataclass(kw_only=True)
class Node:
    """One node.

    Attributes:
        fetch: (kind, namespace, name) → a ConfigMap or Secret as it is now, or None.
        threads: For blocking work on pods' networks and images.
    """

    name: str
    addresses: list[str]
    client: Client
    options: LabOptions
    recorder: Recorder
    pool: AddressPool
    dataplane: Dataplane
    fetch: Callable[[str, str, str], Awaitable[Object | None]]
    threads: ThreadPoolExecutor
    folder: Path


class Patience:
    """Until when a container may take its time to end; it can only shrink."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._at = float("inf")

    def limit(self, seconds: float) -> None:
        """End within `seconds` from now, or earlier where that was said before."""
        at = time.monotonic() + max(0.0, seconds)
        if at < self._at:
            self._at = at
            self.changed.set()
            self.changed = asyncio.Event()

    @property
    def left(self) -> float:
        """Seconds left, not negative."""
        return max(0.0, self._at - time.monotonic())


@dataclass(kw_only=True)
class PodContext:
    """One pod, as its containers see it.

    Attributes:
        pod: The newest object known.
        changed: Tell the pod that a container's state changed.
        patience: How long its containers may take to end, once it has to go.
    """

    node: Node
    pod: Object
    folder: Path
    changed: Callable[[], None]
    patience: Patience = field(default_factory=Patience)
    network: PodNetwork | None = None
    volumes: Volumes | None = None

    @property
    def addresses(self) -> list[str]:
        """The pod's addresses; empty before it has a network."""
        return self.network.addresses if self.network else []

    @property
    def grace(self) -> float:
        """The pod's own grace period in seconds."""
        value = self.pod["spec"].get("terminationGracePeriodSeconds")
        return 30.0 if value is None else float(value)


async def first_of(*events: asyncio.Event, seconds: float | None = None) -> None:
    """Return when one of the events is set, or after `seconds`."""
    if any(event.is_set() for event in events):
        return
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(
            waits, timeout=None if seconds == float("inf") else seconds, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for each in waits:
            each.cancel()
