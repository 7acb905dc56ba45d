"""All sessions with proxies' agents: who gets one, who is told of changes, who has acknowledged what.

What belongs here: the server on 15012, hello and its proof. What does not: one session's life (`session`).
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

import aiohttp

from clusters.lab.client import ApiError, Client
from clusters.lab.mesh.ca import Authority, Issued
from clusters.lab.mesh.model import Json, Proxy
from clusters.lab.mesh.registry import WRONG
from clusters.lab.mesh.session import SILENCE, Plane, Session, receive

PORT: Final = 15012
PROTOCOL: Final = 1
AUDIENCE: Final = "istio-ca"
ARRIVAL: Final = 10.0
"""Seconds that a pod may take to become known after its agent has said that it is there."""
GAP: Final = 0.1
"""Seconds between two pushes of everything that changed, while one change follows another."""
AT_ONCE: Final = 3
"""Pushes that wait for nothing after a while without changes: somebody may look for each of a few."""
_LINE: Final = 1 << 20
"""The longest line that an agent may send."""
_USER: Final = "system:serviceaccount:"
_POD: Final = "authentication.kubernetes.io/pod-name"


class RefusedError(Exception):
    """An agent is not who it says; the message is its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Whose a token is; `pod` is empty for one that is not bound to a pod."""

    namespace: str
    account: str
    pod: str = ""


Review = Callable[[str], Awaitable[Who]]
"""Whose a token is; raises RefusedError for one that is nobody's."""


async def review(client: Client, token: str) -> Who:
    """Ask the API server whose a token is.

    Raises:
        RefusedError: It is no ServiceAccount's, or not meant for us.
        ApiError: The API server does not answer such questions.
    """
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": [AUDIENCE]},
    }
    status = (await client.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)).get("status") or {}
    user = status.get("user") or {}
    name = str(user.get("username", ""))
    if not status.get("authenticated") or AUDIENCE not in (status.get("audiences") or []):
        raise RefusedError(f"the token is not valid: {status.get('error') or f'it is not meant for {AUDIENCE}'}")
    if not name.startswith(_USER):
        raise RefusedError(f"the token is {name}'s, not a ServiceAccount's")
    namespace, _, account = name.removeprefix(_USER).partition(":")
    pods = (user.get("extra") or {}).get(_POD) or [""]
    return Who(namespace=namespace, account=account, pod=str(pods[0]))


def after_push(due: float, now: float) -> float:
    """When the next push may be made, after one now that was due before: a few at once, then one a `GAP`."""
    return max(due, now - (AT_ONCE - 1) * GAP) + GAP


class Sessions:
    """The server for agents.

    Args:
        review: Tells whose a token is.
        names: DNS names of the server.
    """

    def __init__(self, plane: Plane, review: Review, names: list[str]) -> None:
        self._plane, self._review, self._names = plane, review, names
        self._sessions: list[Session] = []
        self._news = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        _show(self._tls, plane.authority.server(names))

    async def listen(self, port: int = PORT, host: str = "") -> int:
        """Take agents until the event loop ends; the port (another one where 0 was asked for)."""
        self._server = await asyncio.start_server(self._take, host or None, port, ssl=self._tls, limit=_LINE)
        taken: int = self._server.sockets[0].getsockname()[1]
        return taken

    def changed(self) -> None:
        """Something of the registry has changed: push soon, to everybody whom it concerns."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._next), self._advance)

    def _advance(self) -> None:
        self._timer, self._next = None, after_push(self._next, asyncio.get_running_loop().time())
        try:
            self._plane.advance()
        except WRONG as error:
            self._plane.log(f"no new configuration for anybody: {error!r}")
        self._news.set()
        self._news = asyncio.Event()
        for each in self._sessions:
            each.wake()

    def use(self, authority: Authority) -> None:
        """From now on this authority signs; every agent is told."""
        self._plane.authority = authority
        _show(self._tls, authority.server(self._names))
        for each in self._sessions:
            each.renew()

    def status(self) -> list[Json]:
        """Every session as Istio's `syncz` has it; of one pod's the newest is the last."""
        return [each.status() for each in self._sessions]

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = "an agent"
        try:
            async with asyncio.timeout(SILENCE):
                hello = await receive(reader)
            name = f"{hello.get('namespace')}/{hello.get('pod')}"
            proxy = await self._admit(hello)
            life = float(hello.get("life") or 0)
            session = Session(self._plane, writer, proxy, str(hello.get("version", "")), life=life)
            await self._serve(session, reader)
        except RefusedError as error:
            self._plane.log(f"{name}: refused: {error}")
            writer.write(json.dumps({"op": "refused", "reason": str(error)}).encode() + b"\n")
        except TimeoutError:
            self._plane.log(f"{name}: the session ends, nothing was heard of it in time")
        except (ApiError, aiohttp.ClientError, OSError, *WRONG) as error:  # A message without what it must have, too.
            self._plane.log(f"{name}: the session ends: {error!r}")
        finally:
            writer.close()

    async def _serve(self, session: Session, reader: asyncio.StreamReader) -> None:
        """One session at a time for a pod: the agent's newest."""
        for each in self._sessions:
            if each.proxy.uid == session.proxy.uid:
                each.close()
        self._sessions.append(session)
        self._plane.log(f"{session.proxy.namespace}/{session.proxy.pod}: connected as {session.proxy.identity}")
        try:
            await session.live(reader)
        finally:
            self._sessions.remove(session)
            home = session.proxy.namespace
            if all(each.proxy.namespace != home for each in self._sessions):
                self._plane.forget(home)

    async def _admit(self, hello: Json) -> Proxy:
        """The proxy whose agent this is.

        Raises:
            RefusedError: It is not who it says.
            TimeoutError: Nobody knows the pod.
        """
        namespace, pod = str(hello.get("namespace", "")), str(hello.get("pod", ""))
        if hello["op"] != "hello" or hello.get("protocol") != PROTOCOL:
            raise RefusedError(f"the agent speaks protocol {hello.get('protocol')}, istiod speaks {PROTOCOL}")
        who = await self._review(str(hello.get("token", "")))
        if who.namespace != namespace or who.pod not in {"", pod}:
            raise RefusedError(f"the token is of {who.namespace}/{who.pod or who.account}, not of {namespace}/{pod}")
        proxy = await self._arrived(namespace, pod)
        if proxy.service_account != who.account:
            raise RefusedError(f"the token is {who.account}'s, the pod is {proxy.service_account}'s")
        return replace(proxy, address=proxy.address or str(hello.get("address", "")))

    async def _arrived(self, namespace: str, pod: str) -> Proxy:
        """The pod, once it is known; an agent may be here before the news of its pod."""
        async with asyncio.timeout(ARRIVAL):
            while (found := self._plane.registry.proxy(namespace, pod)) is None:
                await self._news.wait()
        return found


def _show(context: ssl.SSLContext, issued: Issued) -> None:
    """Show this certificate to whoever connects from now on; OpenSSL wants a file, and no key shall reach a disk."""
    fd = os.memfd_create("istiod-key", os.MFD_CLOEXEC)
    try:
        os.write(fd, (issued.chain + issued.key).encode())
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
