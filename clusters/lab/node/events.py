"""Events about pods, written beside the work: nobody waits for them, the same one again counts up.

What belongs here: the queue and the Event objects. What does not: deciding what is worth one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from datetime import UTC, datetime
from typing import Final

import aiohttp

from clusters.lab.client import EVENTS, ApiError, Client, Object

_QUEUE: Final = 1000
"""Events that may wait; a storm beyond that is dropped, as kubelet's rate limit does."""
_REMEMBERED: Final = 2000


def now() -> str:
    """The current time as Kubernetes writes it, to the second."""
    return f"{datetime.now(tz=UTC):%Y-%m-%dT%H:%M:%SZ}"


def moment(seconds: float) -> str:
    """A time of `time.time` as Kubernetes writes it."""
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"


class Recorder:
    """Writes events about pods of one node."""

    def __init__(self, client: Client, node: str) -> None:
        self._client, self._node = client, node
        self._queue: asyncio.Queue[tuple[Object, str, str, str, str]] = asyncio.Queue(_QUEUE)
        self._seen: dict[str, int] = {}

    def tell(self, pod: Object, reason: str, message: str, *, container: str = "", warning: bool = False) -> None:
        """Record an event soon; `container` names one of the pod's containers."""
        with contextlib.suppress(asyncio.QueueFull):
            self._queue.put_nowait((pod, reason, message, container, "Warning" if warning else "Normal"))

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            pod, reason, message, container, kind = await self._queue.get()
            # The pod's namespace may be on its way out, and the server with it: an event is never worth a failure.
            with contextlib.suppress(ApiError, aiohttp.ClientError, TimeoutError):
                await self._write(pod, reason, message, container, kind)

    async def _write(self, pod: Object, reason: str, message: str, container: str, kind: str) -> None:
        meta = pod["metadata"]
        place = f"spec.containers{{{container}}}" if container else ""
        digest = hashlib.sha256("\0".join((meta["uid"], reason, message, place)).encode()).hexdigest()[:16]
        name = f"{meta['name']}.{digest}"
        count = self._seen.pop(digest, 0) + 1
        self._seen[digest] = count
        while len(self._seen) > _REMEMBERED:
            self._seen.pop(next(iter(self._seen)))
        namespace = meta["namespace"]
        if count > 1:
            await self._client.patch(EVENTS, name, {"count": count, "lastTimestamp": now()}, namespace)
            return
        involved: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": namespace,
            "name": meta["name"],
            "uid": meta["uid"],
        }
        if place:
            involved["fieldPath"] = place
        stamp = now()
        event: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": "kubelet", "host": self._node},
            "reportingComponent": "kubelet",
            "reportingInstance": self._node,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "type": kind,
        }
        await self._client.create(EVENTS, event, namespace)


def age(since: float) -> float:
    """Seconds since a time of `time.time`, never negative."""
    return max(0.0, time.time() - since)
