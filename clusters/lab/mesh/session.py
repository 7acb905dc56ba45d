"""One agent's connection: its proxy's certificate and configuration, what it was sent and what it acknowledged.

What belongs here: one session's life after its hello, and what all sessions share. What does not: who may have one
(`sessions`), what is sent (`compile`, `ca`). The protocol is in docs/explanation/architecture.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from clusters.lab.mesh import pieces
from clusters.lab.mesh.ca import Authority
from clusters.lab.mesh.compile import Cache, compile_proxy
from clusters.lab.mesh.model import Json, Mesh, Proxy
from clusters.lab.mesh.mutation import SOUND, Delivery, Fault, Terms
from clusters.lab.mesh.registry import WRONG, Registry
from clusters.lab.mesh.template import VERSION
from clusters.lab.mesh.visibility import seen

PING: Final = 5.0
SILENCE: Final = 15.0
"""Seconds after which a session on which nothing came is given up."""
LIFE: Final = 86400.0
"""Seconds that a proxy's certificate lives, as Istio's by default."""
_SOONEST: Final = 0.5
"""Seconds between two certificates at least, however short they live."""
_KINDS: Final = {pieces.CLUSTERS: "cluster", pieces.LISTENERS: "listener", pieces.ROUTES: "route"}


@dataclass(slots=True)
class _View:
    """What the proxies of one namespace know of, and what was made of it."""

    whole: Mesh | None = None
    mesh: Mesh = field(default_factory=Mesh)
    cache: Cache = field(default_factory=Cache)
    encoder: pieces.Encoder = field(default_factory=pieces.Encoder)
    faulty: dict[int, tuple[Mesh, Cache, pieces.Encoder]] = field(default_factory=dict)


class Plane:
    """What all sessions share: the Mesh, its parts that are compiled and encoded once, the authority, versions.

    Attributes:
        version: Of what is pushed now; a number that grows with every change of anything.
        mesh: What this version is compiled from.
        authority: Who signs certificates.
    """

    def __init__(
        self,
        registry: Registry,
        authority: Authority,
        log: Callable[[str], None],
        *,
        fault: Fault = SOUND,
        life: float = LIFE,
    ) -> None:
        self.registry, self.authority, self.log, self.fault = registry, authority, log, fault
        self.version = 1
        self.mesh = registry.mesh
        self._life = life
        self._views: dict[str, _View] = {}
        self._foreign: Authority | None = None

    def advance(self) -> None:
        """Take what the registry has now as the next version."""
        self.version += 1
        self.mesh = self.registry.mesh

    def seen(self, namespace: str) -> Mesh:
        """What the proxies of a namespace know of; the same object as long as nothing of it has changed."""
        view = self._views.setdefault(namespace, _View())
        if view.whole is not self.mesh:
            view.whole, view.mesh = self.mesh, seen(self.mesh, namespace, view.mesh)
        return view.mesh

    def forget(self, namespace: str) -> None:
        """Let go of what was kept for a namespace: it has no proxy any more."""
        self._views.pop(namespace, None)

    def compiled(self, mesh: Mesh, proxy: Proxy) -> pieces.Pieces:
        """One proxy's configuration, out of what its namespace knows of.

        Raises:
            HarnessError: A resource says what the lab does not do.
        """
        view = self._views.setdefault(proxy.namespace, _View())
        given, cache, encoder = self.fault.mesh(mesh, proxy), view.cache, view.encoder
        if given is not mesh:
            if all(held[0] is not mesh for held in view.faulty.values()):
                view.faulty.clear()
            _, cache, encoder = view.faulty.setdefault(id(given), (mesh, Cache(), pieces.Encoder()))
        return encoder.pieces(given, self.fault.config(compile_proxy(given, proxy, cache), proxy))

    def issue(self, proxy: Proxy, life: float = 0.0) -> tuple[Json, float | None]:
        """The message with a new certificate, and in how many seconds the next one is due; None: never.

        Args:
            life: Seconds that the agent asks for; as with Istio it gets no more than others do. 0 leaves it to us.
        """
        terms = self.fault.issuing(Terms(identity=proxy.identity, life=min(life or self._life, self._life)), proxy)
        authority = self.authority
        if terms.foreign:
            authority = self._foreign = self._foreign or Authority.fresh()
        issued = authority.workload(terms.identity, timedelta(seconds=terms.life))
        message = {
            "op": "secret",
            "certificate": issued.chain,
            "key": issued.key,
            "roots": self.authority.roots,
            "expires": issued.expires,
        }
        return message, max(terms.life / 2, _SOONEST) if terms.renewed and terms.life > 0 else None


class Session:
    """One agent's connection, from its hello on.

    Args:
        life: Seconds that its certificates shall live; 0 leaves it to the plane.
    """

    def __init__(
        self, plane: Plane, writer: asyncio.StreamWriter, proxy: Proxy, envoy: str = "", *, life: float = 0.0
    ) -> None:
        self.proxy, self.envoy, self._life = proxy, envoy, life
        self.sent, self.acked = dict.fromkeys(_KINDS, 0), dict.fromkeys(_KINDS, 0)
        self.version_sent = self.version_acked = 0
        self.acked_at = 0.0
        self.refused = self.uncompiled = ""
        self._uncompiled_at = 0
        self._plane, self._writer = plane, writer
        self._held: pieces.Pieces = {}
        self._compiled: tuple[Mesh, Proxy] | None = None
        self._pushes, self._connected = 0, time.monotonic()
        self._dirty, self._due, self._certified = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._dirty.set()

    async def live(self, reader: asyncio.StreamReader) -> None:
        """Serve the agent until either side ends the connection."""
        work: list[Coroutine[Any, Any, None]] = [self._hear(reader), self._certify(), self._push(), self._ping()]
        tasks = [asyncio.create_task(each) for each in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """Something has changed that may be this proxy's."""
        self._dirty.set()

    def renew(self) -> None:
        """Send another certificate, of the authority that signs now."""
        self._due.set()

    def close(self) -> None:
        """End the connection."""
        self._writer.transport.abort()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        while True:
            async with asyncio.timeout(SILENCE):
                message = await receive(reader)
            if message["op"] in {"ack", "nack"}:
                self._answered(int(message["version"]), str(message.get("error", "")))

    def _answered(self, version: int, error: str) -> None:
        if error:
            self.refused = self._told(f"Envoy refused version {version}: {error}", self.refused)
            return
        self.version_acked, self.acked_at = version, time.monotonic()
        for kind, sent in self.sent.items():
            self.acked[kind] = sent if sent <= version else self.acked[kind]
        if version == self.version_sent:
            self.refused = ""

    async def _certify(self) -> None:
        """Send a certificate, and the next one when half of its life is over or another authority signs."""
        while True:
            self._due.clear()
            secret, pause = self._plane.issue(self.proxy, self._life)
            await self._send(json.dumps(secret).encode() + b"\n")
            self._certified.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._due.wait()

    async def _push(self) -> None:
        """Send what differs from what was sent, as often as something changes; the first time everything."""
        await self._certified.wait()
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            fresh = self._fresh()
            if fresh is None or not self._difference(fresh):
                continue
            delay = self._delay()
            if delay is None:
                continue
            if delay > 0:
                await asyncio.sleep(delay)
                self._dirty.clear()
                fresh = self._fresh() or fresh
            if changed := self._difference(fresh):
                await self._deliver(fresh, changed)

    async def _deliver(self, fresh: pieces.Pieces, changed: Collection[str]) -> None:
        self._held, self._pushes, self.version_sent = fresh, self._pushes + 1, self._plane.version
        for name in changed:
            self.sent[name.partition("/")[0]] = self.version_sent
        files = {name: fresh[name] for name in changed if name in fresh}
        await self._send(pieces.push(str(self.version_sent), files, [each for each in changed if each not in fresh]))

    def _difference(self, fresh: pieces.Pieces) -> list[str]:
        """The names of pieces that are not as they were sent, or no longer there."""
        gone = [name for name in self._held if name not in fresh]
        return [name for name, parts in fresh.items() if self._held.get(name) != parts] + gone

    def _delay(self) -> float | None:
        return self._plane.fault.delivery(
            Delivery(
                proxy=self.proxy,
                mesh=self._plane.mesh,
                pushes=self._pushes,
                connected=self._connected,
                now=time.monotonic(),
            )
        )

    def _fresh(self) -> pieces.Pieces | None:
        """What the proxy should have now; None when nothing of it can have changed, or it cannot be told."""
        known = self._plane.registry.proxy(self.proxy.namespace, self.proxy.pod)
        if known and known.uid == self.proxy.uid and replace(known, address=self.proxy.address) != self.proxy:
            self.proxy = replace(known, address=self.proxy.address)
        now = self._plane.seen(self.proxy.namespace), self.proxy
        if self._compiled and all(a is b for a, b in zip(now, self._compiled, strict=True)):
            return None
        try:
            found = self._plane.compiled(*now)
        except WRONG as error:
            place = f"{self.proxy.namespace}/{self.proxy.pod}"
            self.uncompiled = self._told(f"no configuration for {place}: {error!r}", self.uncompiled)
            self._compiled, self._uncompiled_at = None, self._plane.version
            return None
        self._compiled, self.uncompiled, self._uncompiled_at = now, "", 0
        return found

    def _told(self, error: str, before: str) -> str:
        """The error, after it has been logged once."""
        if error != before:
            self._plane.log(error)
        return error

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING)
            await self._send(b'{"op":"ping"}\n')

    async def _send(self, line: bytes) -> None:
        self._writer.write(line)
        await self._writer.drain()

    def status(self) -> Json:
        """As Istio's `syncz` has it, with what is our own; what could not be compiled counts as sent, not as taken."""
        least = self._uncompiled_at
        found: Json = {
            "cluster_id": "Kubernetes",
            "proxy": f"{self.proxy.pod}.{self.proxy.namespace}",
            "proxy_type": "sidecar",
            "proxy_version": self.envoy,
            "istio_version": VERSION,
        }
        for kind, name in _KINDS.items():
            found |= {f"{name}_sent": _shown(max(self.sent[kind], least)), f"{name}_acked": _shown(self.acked[kind])}
        return found | {
            "version_sent": _shown(max(self.version_sent, least)),
            "version_acked": _shown(self.version_acked),
            "error": self.uncompiled or self.refused,
            "acked_at": self.acked_at,
        }


def _shown(version: int) -> str:
    """Nothing before the first."""
    return str(version) if version else ""


async def receive(reader: asyncio.StreamReader) -> Json:
    """One message.

    Raises:
        ConnectionError: The other side has ended the connection, or says something else.
    """
    try:
        line = await reader.readline()
        if not line:
            raise ConnectionError("the agent ended the session")
        message = json.loads(line)
    except ValueError as error:
        raise ConnectionError(f"no message: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("op"), str):
        raise ConnectionError(f"no message: {line[:80]!r}")
    return message
