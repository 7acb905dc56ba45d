"""A control plane of the shop for tests of sessions, and agents that talk with it over real TLS.

What belongs here: both sides of a session. What does not: what is held of them (`test_sessions`).
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from clusters.lab.client import AUTHORIZATION_POLICIES
from clusters.lab.mesh.ca import Authority
from clusters.lab.mesh.model import Json
from clusters.lab.mesh.mutation import SOUND, Fault
from clusters.lab.mesh.session import LIFE, Plane
from clusters.lab.mesh.sessions import RefusedError, Sessions, Who
from tests.lab.mesh.objects import Watched, endpoint, endpoint_slice, pod, resource, service

NAME = "istiod.istio-system.svc"
DEADLINE = 10.0
TURNS = 200_000
"""Of the event loop, which is some seconds."""
TOKENS = {
    "server": Who(namespace="shop", account="server", pod="server"),
    "caller": Who(namespace="shop", account="caller", pod="caller"),
    "unbound": Who(namespace="shop", account="caller"),
}
DENY = resource("rule", action="DENY", rules=[{}])


class Agent:
    """An agent's side of a session."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def say(self, **message: Any) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")
        await self._writer.drain()

    async def hello(self, name: str, token: str = "", **other: Any) -> None:
        told = {"op": "hello", "protocol": 1, "token": token or name, "namespace": "shop", "pod": name}
        await self.say(**(told | {"address": "10.244.0.5", "version": "1.40.0"} | other))

    async def hear(self, kind: str = "") -> Json:
        """The next message, of this kind; whatever else comes first is passed over."""
        async with asyncio.timeout(DEADLINE):
            while True:
                line = await self._reader.readline()
                if not line:
                    return {"op": "the end"}
                message: Json = json.loads(line)
                if kind in {"", message["op"]}:
                    return message

    async def taken(self) -> Json:
        """The next push, acknowledged."""
        push = await self.hear("push")
        await self.say(op="ack", version=push["version"])
        return push

    def leave(self) -> None:
        self._writer.close()


class Here(Watched):
    """A control plane of the shop with a server and a caller."""

    def __init__(self, fault: Fault = SOUND, life: float = LIFE) -> None:
        super().__init__()
        self.sessions: Sessions | None = None
        self.registry.pod_told("ADDED", pod("server", "10.244.0.5"))
        self.registry.pod_told("ADDED", pod("caller", "10.244.0.6"))
        self.registry.service_told("ADDED", service("server"))
        self.registry.slice_told("ADDED", endpoint_slice("server", endpoint("10.244.0.5", "server")))
        self.authority = Authority.fresh()
        self.plane = Plane(self.registry, self.authority, self.said.append, fault=fault, life=life)
        self._agents: list[Agent] = []

    def _changed(self) -> None:
        super()._changed()
        if self.sessions:
            self.sessions.changed()

    async def start(self) -> None:
        self.sessions = Sessions(self.plane, reviewed, [NAME])
        self._port = await self.sessions.listen(0, "127.0.0.1")

    async def agent(self, name: str = "", **hello: Any) -> Agent:
        """A connected agent, which has said hello when it has a name."""
        context = ssl.create_default_context(cadata=self.authority.roots)
        agent = Agent(
            *await asyncio.open_connection("127.0.0.1", self._port, ssl=context, server_hostname=NAME, limit=1 << 24)
        )
        self._agents.append(agent)
        if name:
            await agent.hello(name, **hello)
        return agent

    async def status(self, wanted: Callable[[list[Json]], bool]) -> list[Json]:
        """What `syncz` says once it says that; the event loop gets its turns until then."""
        assert self.sessions
        for _ in range(TURNS):
            if wanted(found := self.sessions.status()):
                return found
            await asyncio.sleep(0)
        raise AssertionError(f"never so: {self.sessions.status()}")

    def deny(self) -> None:
        """A policy that every listener of the shop shows."""
        self.registry.resource_told(AUTHORIZATION_POLICIES, "ADDED", DENY)

    def leave(self) -> None:
        for each in self._agents:
            each.leave()


async def reviewed(token: str) -> Who:
    if token not in TOKENS:
        raise RefusedError("the token is not valid")
    return TOKENS[token]


@asynccontextmanager
async def _here(**given: Any) -> AsyncIterator[Here]:
    here = Here(**given)
    await here.start()
    try:
        yield here
    finally:
        here.leave()


def scenario(**given: Any) -> Callable[[Callable[[Here], Awaitable[None]]], Callable[[], None]]:
    """Make a test of what is done to a control plane."""

    def decorate(play: Callable[[Here], Awaitable[None]]) -> Callable[[], None]:
        async def run() -> None:
            async with _here(**given) as here:
                await play(here)

        def test() -> None:
            asyncio.run(run())

        test.__name__, test.__doc__ = play.__name__, play.__doc__
        return test

    return decorate
