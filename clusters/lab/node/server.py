"""The node's own HTTP server: exec and logs for the API server, which shows the node's token.

What belongs here: requests and websocket frames. What does not: joining a container (`execution`), the log's format
(`logs`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from aiohttp import WSMsgType, web

from clusters.lab import addresses
from clusters.lab.client import Object
from clusters.lab.node.containers import Runner
from clusters.lab.node.execution import Execution, keep
from clusters.lab.node.joining import JoinError
from clusters.lab.node.logs import Log, Query
from clusters.lab.node.processes import PipeReader
from clusters.lab.system import KernelError

Find = Callable[[str, str, str], Runner | None]
"""(namespace, pod, container) → the container's runner."""

_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")


def exit_status(code: int) -> Object:
    """The Status object that tells a client how its command ended."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure_status(message: str) -> Object:
    """The Status object of a command that never ran."""
    text = f"Internal error occurred: error executing command in container: {message}"
    return {"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500, "message": text}


class Server:
    """Serves one node's containers.

    Args:
        token: The bearer token that opens it.
        find: Finds a container.
    """

    def __init__(self, token: str, find: Find) -> None:
        self._token, self._find = token, find
        app = web.Application(middlewares=[self._check])
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/exec/{namespace}/{pod}/{container}", self._exec)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        # A client that is gone cancels its handler, also while it waits for a full pipe.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)

    async def start(self, hosts: list[str]) -> None:
        """Listen on the node's addresses.

        Raises:
            OSError: The port is taken.
        """
        await self._runner.setup()
        for host in hosts:
            await web.TCPSite(self._runner, host, addresses.KUBELET_PORT).start()

    async def stop(self) -> None:
        """End all sessions."""
        await self._runner.cleanup()

    @web.middleware
    async def _check(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            raise web.HTTPUnauthorized(text="the node's token is missing or wrong")
        return await handler(request)

    async def _health(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    def _runner_of(self, request: web.Request) -> Runner:
        match = request.match_info
        runner = self._find(match["namespace"], match["pod"], match["container"])
        if runner is None:
            raise web.HTTPNotFound(
                text=f"container not found ({match['container']!r} of {match['namespace']}/{match['pod']})"
            )
        return runner

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        runner = self._runner_of(request)
        query = _log_query(request)
        log = self._log_of(runner, previous=_true(request, "previous"))
        if log is None:
            where = f"container {runner.name!r} in pod {request.match_info['pod']!r}"
            if _true(request, "previous"):
                raise web.HTTPBadRequest(text=f"previous terminated {where} not found")
            why = runner.state.get("waiting", {}).get("reason", "ContainerCreating")
            raise web.HTTPBadRequest(text=f"{where} is waiting to start: {why}")
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            batch = bytearray()
            async for line in log.read(query):
                batch += line
                if query.follow or len(batch) > 1 << 16:
                    await response.write(bytes(batch))
                    batch.clear()
            await response.write(bytes(batch))
            await response.write_eof()
        return response

    def _log_of(self, runner: Runner, *, previous: bool) -> Log | None:
        return runner.previous_log if previous else runner.log

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        runner = self._runner_of(request)
        socket = web.WebSocketResponse(protocols=_PROTOCOLS, max_msg_size=0, compress=False)
        await socket.prepare(request)
        tty, stdin = _true(request, "tty"), _true(request, "input")
        container = runner.container
        try:
            if container is None or container.ended.is_set():
                raise JoinError(f"container {runner.name!r} is not running", 126)
            command = request.query.getall("command", [])
            if not command:
                raise JoinError("no command given", 126)
            execution = await Execution.start(container.target, command, stdin=stdin, tty=tty)
        except (JoinError, KernelError, OSError) as error:
            await _finish(socket, failure_status(str(error)))
            return socket
        wants = {_STDOUT: _true(request, "output"), _STDERR: _true(request, "error") and not tty}
        await _session(socket, execution, wants)
        return socket


async def _session(socket: web.WebSocketResponse, execution: Execution, wants: dict[int, bool]) -> None:
    """Carry the streams until the command ends or the client is gone; then nothing of it runs any more."""
    receiving = asyncio.create_task(_receive(socket, execution))
    pumps = [asyncio.create_task(_pump(socket, execution.stdout, _STDOUT, wants=wants[_STDOUT]))]
    if execution.stderr is not None:
        pumps.append(asyncio.create_task(_pump(socket, execution.stderr, _STDERR, wants=wants[_STDERR])))

    async def to_the_end() -> None:
        await asyncio.gather(*pumps)
        await execution.process.wait()

    ending = asyncio.create_task(to_the_end())
    try:
        if wants[_STDOUT]:  # tells clients at once that the session is open, as Kubernetes does
            with contextlib.suppress(ConnectionError):
                await socket.send_bytes(bytes([_STDOUT]))
        await asyncio.wait({receiving, ending}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        # A task of its own: a client that hangs up cancels this handler, perhaps just here.
        await keep(_close(execution, [receiving, ending, *pumps]))
    await _finish(socket, exit_status(execution.code))


async def _close(execution: Execution, tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await execution.close()


async def _finish(socket: web.WebSocketResponse, status: Object) -> None:
    with contextlib.suppress(ConnectionError):
        await socket.send_bytes(bytes([_ERROR]) + json.dumps(status).encode())
        await socket.close()


async def _pump(socket: web.WebSocketResponse, reader: PipeReader, channel: int, *, wants: bool) -> None:
    head = bytes([channel])
    while chunk := await reader.read():
        if wants:
            try:
                await socket.send_bytes(head + chunk)
            except ConnectionError:
                wants = False  # the receiving side ends the session


async def _receive(socket: web.WebSocketResponse, execution: Execution) -> None:
    """Take what the client sends, until it is gone."""
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            data = message.data.encode()
        elif message.type is WSMsgType.BINARY:
            data = message.data
        else:
            return
        if not data:
            continue
        channel, payload = data[0], data[1:]
        if channel == _STDIN:
            await execution.write(payload)
        elif channel == _CLOSE and payload[:1] == bytes([_STDIN]):
            await execution.end_input()
        elif channel == _RESIZE:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                size = json.loads(payload)
                execution.resize(int(size["Width"]), int(size["Height"]))


def _true(request: web.Request, name: str) -> bool:
    return request.query.get(name, "") in {"1", "true", "True"}


def _log_query(request: web.Request) -> Query:
    def number(name: str) -> int | None:
        text = request.query.get(name, "")
        if not text:
            return None
        if not text.isdigit():
            raise web.HTTPBadRequest(text=f"{name}: {text!r} is not a whole number of at least 0")
        return int(text)

    since = 0
    seconds = number("sinceSeconds")
    if seconds is not None:
        since = time.time_ns() - seconds * 1_000_000_000
    moment = request.query.get("sinceTime", "")
    if moment:
        try:
            since = int(datetime.fromisoformat(moment).timestamp() * 1e9)
        except ValueError:
            raise web.HTTPBadRequest(text=f"sinceTime: {moment!r} is not an RFC 3339 time") from None
    return Query(
        follow=_true(request, "follow"),
        tail=number("tailLines"),
        limit=number("limitBytes"),
        since=since,
        timestamps=_true(request, "timestamps"),
    )
