"""The lab's control plane: `python3 -m clusters.lab.mesh.istiod` in a pod of istio-system, a client of the API.

What belongs here: putting registry, authority and sessions together, and the ports of a real istiod. What does not:
any of their work.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import aiohttp

from clusters.lab.client import ApiError, Client, Informer, Object, in_cluster
from clusters.lab.mesh import roots
from clusters.lab.mesh.model import ROOT_NAMESPACE
from clusters.lab.mesh.mutation import Fault, chosen
from clusters.lab.mesh.registry import Registry
from clusters.lab.mesh.session import LIFE, Plane
from clusters.lab.mesh.sessions import PORT, Sessions, review
from clusters.lab.mesh.webhooks import DEFAULT, service_name
from flows.errors import HarnessError

DEBUG: Final = 8080
"""Where `/ready` and `/debug/syncz` are."""
PLAIN: Final = (15014, 15017)
"""Monitoring and webhooks: they take connections and have nothing to say, the API server injects by itself."""
_IDLE: Final = 10.0
"""Seconds that a connection may be silent."""


def names(revision: str) -> list[str]:
    """The DNS names of a revision's control plane."""
    service = service_name(revision)
    return [f"{service}.{ROOT_NAMESPACE}{suffix}" for suffix in (".svc", "", ".svc.cluster.local")]


class Istiod:
    """One control plane.

    Args:
        revision: Its own name among several.
        life: Seconds that proxies' certificates live.
    """

    def __init__(self, client: Client, log: Callable[[str], None], *, revision: str, life: float, fault: Fault) -> None:
        self._client, self._log = client, log
        self._revision, self._life, self._fault = revision, life, fault
        self.registry = Registry(client, self._changed, log)
        self.sessions: Sessions | None = None
        self._certificate = ""
        self._servers: list[asyncio.Server] = []
        self.ports: list[int] = []
        """Those that are taken: the debug port and the plain ones, in the end that of agents."""

    async def run(
        self, *, port: int = PORT, debug: int = DEBUG, plain: tuple[int, ...] = PLAIN, host: str = ""
    ) -> None:
        """Serve until cancelled."""
        for number, handler in ((debug, self._http), *((each, _accept) for each in plain)):
            server = await asyncio.start_server(handler, host or None, number)
            self._servers.append(server)
            self.ports.append(server.sockets[0].getsockname()[1])
        async with asyncio.TaskGroup() as group:
            for each in self.registry.informers.values():
                group.create_task(each.run())
            authority = await roots.establish(self._client)
            self._certificate = authority.roots
            keeper = roots.Roots(self._client, authority.roots, self._log)
            only = {"fieldSelector": f"metadata.name={roots.KEPT_IN}"}
            secret = Informer(self._client, roots.SECRETS, params=only, on_event=self._told(keeper))
            work: list[Coroutine[Any, Any, None]] = [
                keeper.run(),
                keeper.namespaces.run(),
                keeper.maps.run(),
                secret.run(),
            ]
            for each_of in work:
                group.create_task(each_of)
            await self.registry.wait_synced()
            plane = Plane(self.registry, authority, self._log, fault=self._fault, life=self._life)
            sessions = Sessions(plane, lambda token: review(self._client, token), names(self._revision))
            self.ports.append(await sessions.listen(port, host))
            self.sessions = sessions
            gc.collect()
            gc.freeze()
            self._log(f"revision {self._revision} serves proxies on port {self.ports[-1]}")

    @property
    def ready(self) -> bool:
        """Whether proxies are served."""
        return self.sessions is not None

    def _changed(self) -> None:
        if self.sessions:
            self.sessions.changed()

    def _told(self, keeper: roots.Roots) -> Callable[[str, Object], None]:
        """Take another authority when someone puts it into the Secret; without the Secret the known one stays."""

        def told(event: str, obj: Object) -> None:
            if event == "DELETED" or obj["metadata"].get("namespace") != ROOT_NAMESPACE:
                return
            try:
                authority = roots.authority_in(obj)
            except HarnessError as error:
                self._log(str(error))
                return
            if authority.roots == self._certificate:
                return
            self._certificate = authority.roots
            keeper.use(authority.roots)
            if self.sessions:
                self.sessions.use(authority)

        return told

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError):
            async with asyncio.timeout(_IDLE):
                head = await reader.readuntil(b"\r\n\r\n")
                status, body = self._answer(head.split(b" ", 2)[1].decode(errors="replace").partition("?")[0])
                kind = "application/json" if body.startswith("[") else "text/plain"
                text = body.encode()
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n"
                    "Connection: close\r\n\r\n".encode()
                    + text
                )
                await writer.drain()
        writer.close()

    def _answer(self, path: str) -> tuple[str, str]:
        if path == "/ready":
            return ("200 OK", "") if self.ready else ("503 Service Unavailable", "not yet\n")
        if path == "/debug/syncz":
            return "200 OK", json.dumps(self.sessions.status() if self.sessions else [])
        return "404 Not Found", f"{path} is not there; istiod of the lab has /ready and /debug/syncz\n"


async def _accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a connection; whatever is said, say nothing."""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(_IDLE):
            await reader.read()
    writer.close()


def _say(line: str) -> None:
    sys.stdout.write(f"istiod: {line}\n")
    sys.stdout.flush()


async def serve(client: Client, environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT (as PID 1 nothing else would end us).

    Raises:
        HarnessError: PILOT_CERT_LIFE is no number of seconds, the API server or the Secret give no authority.
    """
    given = environment.get("PILOT_CERT_LIFE") or str(LIFE)
    try:
        life = float(given)
    except ValueError:
        raise HarnessError(f"PILOT_CERT_LIFE is {given!r}; give seconds, like {LIFE:.0f}") from None
    async with client:
        istiod = Istiod(
            client,
            _say,
            revision=environment.get("REVISION") or DEFAULT,
            life=life,
            fault=chosen(environment.get("EASTWEST_MUTANT", "")),
        )
        task = asyncio.create_task(istiod.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            await task
        except* (ApiError, HarnessError, aiohttp.ClientError, OSError) as group:
            raise HarnessError("; ".join(str(each) for each in group.exceptions)) from group
        except* asyncio.CancelledError:
            pass


def main() -> None:
    """What the pod runs."""
    try:
        asyncio.run(serve(in_cluster("istiod"), os.environ))
    except HarnessError as error:
        raise SystemExit(f"istiod: {error}") from None


if __name__ == "__main__":
    main()
