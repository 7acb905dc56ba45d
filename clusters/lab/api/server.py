"""The API server as one coroutine: HTTPS on sockets that somebody else opened, until it is cancelled."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from clusters.lab.api.bootstrap import bootstrap
from clusters.lab.api.operations import Operations
from clusters.lab.api.resources import catalogue
from clusters.lab.api.rest import MAX_BODY, Rest
from clusters.lab.api.store import KEEP, Store
from clusters.lab.options import LabOptions
from clusters.lab.pki import Authority, server_tls

_GOODBYE = 0.5
"""Seconds that open requests (watches, above all) get when the server ends."""


async def serve(
    sockets: list[socket.socket],
    authority: Authority,
    options: LabOptions,
    *,
    ready: Callable[[], None],
    keep: int = KEEP,
) -> None:
    """Serve the API on all given listening sockets until cancelled; `ready` is called once requests are answered.

    Args:
        keep: How many changes the log keeps for watchers that come back.
    """
    store = Store(_database(options), keep=keep)
    operations = Operations(store, options.plan, mesh=options.mesh, mutant=options.mutant)
    bootstrap(operations, options.plan)
    rest = Rest(operations, authority, catalogue(options.mesh))
    server = web.Server(rest.handle, request_factory=_request, access_log=None, keepalive_timeout=3600)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_GOODBYE)
    await runner.setup()
    try:
        tls = server_tls(authority)
        for each in sockets:
            each.setblocking(False)
            await web.SockSite(runner, each, ssl_context=tls, backlog=1024).start()
        ready()
        await asyncio.Event().wait()
    finally:
        await rest.close()
        await runner.cleanup()
        store.close()


def _database(options: LabOptions) -> str:
    state = Path(options.state)
    state.mkdir(parents=True, exist_ok=True)
    return str(state / "api.sqlite")


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """A request whose body may be as large as the real server takes it."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)
