"""Stand-ins for what is not here: an API server with canned answers, an exec endpoint, and tools on PATH."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from aiohttp import WSMsgType, web

from clusters.cluster import Cluster
from clusters.lab import pki
from clusters.lab.api.server import serve
from clusters.lab.options import LabOptions
from clusters.profile import Profile

Object = dict[str, Any]
TOKEN = "s3cret-token"


def kubeconfig(url: str, context: str = "fake") -> Object:
    """A kubeconfig of one context with a token."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
    }


def handle(content: Object, run_id: str = "run1") -> Cluster:
    """A cluster handle for a kubeconfig."""
    profile = Profile(name="test", provider="existing")
    return Cluster(profile=profile, kubeconfig=content, context=content["current-context"], run_id=run_id)


@contextlib.contextmanager
def in_thread(main: Callable[[socket.socket, Callable[[], None]], Awaitable[None]]) -> Iterator[int]:
    """Run an asyncio server on a loopback socket in a thread; yields its port once it is ready."""
    listener = socket.create_server(("127.0.0.1", 0))
    ready = threading.Event()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def noted() -> None:
        task = asyncio.current_task()
        assert task is not None
        running.append((asyncio.get_running_loop(), task))
        await main(listener, ready.set)

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(noted())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(20)
        yield listener.getsockname()[1]
    finally:
        for loop, task in running:
            loop.call_soon_threadsafe(task.cancel)
        thread.join(20)


@contextlib.contextmanager
def lab_api(folder: Path, mesh: str = "none") -> Iterator[Object]:
    """The lab's own API server, over HTTPS; yields its kubeconfig."""
    authority = pki.make_authority()

    async def main(listener: socket.socket, ready: Callable[[], None]) -> None:
        await serve([listener], authority, LabOptions(state=str(folder), mesh=mesh), ready=ready)

    with in_thread(main) as port:
        yield pki.kubeconfig(authority, f"https://127.0.0.1:{port}")


async def _exec(request: web.BaseRequest) -> web.WebSocketResponse:
    """Echo standard input; `end` ends the command with exit code 3 after words on standard error."""
    stream = web.WebSocketResponse(protocols=["v5.channel.k8s.io", "v4.channel.k8s.io"])
    await stream.prepare(request)
    async for message in stream:
        if message.type is not WSMsgType.BINARY:
            continue
        if message.data[1:] == b"end":
            status = {"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}
            await stream.send_bytes(b"\x01last")
            await stream.send_bytes(b"\x02no such thing")
            await stream.send_bytes(b"\x03" + json.dumps(status).encode())
            break
        await stream.ping(b"there?")
        await stream.send_bytes(b"\x01" + message.data[1:])
    await stream.close()
    return stream


@contextlib.contextmanager
def canned_api(
    answers: dict[str, Object], allowed: Callable[[Object], bool] = lambda _: True, seen: list[str] | None = None
) -> Iterator[str]:
    """An API server that answers GETs from a table, access reviews, and exec; yields its URL.

    Args:
        allowed: Decides an access review by its resourceAttributes.
        seen: Gets every authorization header.
    """

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if seen is not None:
            seen.append(request.headers.get("Authorization", ""))
        if request.path.endswith("/exec"):
            return await _exec(request)
        if request.path.endswith("/selfsubjectaccessreviews"):
            asked = (await request.json())["spec"]["resourceAttributes"]
            return web.json_response({"status": {"allowed": allowed(asked)}})
        if "watch" in request.query:
            await asyncio.sleep(3600)
        found = answers.get(request.path)
        if found is None:
            missing = {"code": 404, "reason": "NotFound", "message": f"{request.path} not found"}
            return web.json_response(missing, status=404)
        return web.json_response(found, status=int(found.get("code", 200)))

    async def main(listener: socket.socket, ready: Callable[[], None]) -> None:
        runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        ready()
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    with in_thread(main) as port:
        yield f"http://127.0.0.1:{port}"


def items(*objects: Object) -> Object:
    """A list of objects as the API answers it."""
    return {"metadata": {"resourceVersion": "1"}, "items": list(objects)}


def tool(folder: Path, name: str, script: str) -> Path:
    """An executable shell script on a folder of PATH; each call is noted in `calls`."""
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{folder}/calls"\n{script}\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def calls(folder: Path) -> list[str]:
    """What the tools of a folder were called with, in order."""
    noted = folder / "calls"
    return noted.read_text(encoding="utf-8").splitlines() if noted.exists() else []


def write_yaml(path: Path, content: object) -> Path:
    """A YAML file."""
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path
