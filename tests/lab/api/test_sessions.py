"""exec and log: what the API server passes between a client and a node's kubelet, played here by the test."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from clusters.lab import addresses, pki
from tests.lab.api.world import DEADLINE, Namespace, pod

PROTOCOL = "v5.channel.k8s.io"
_hosts = (f"127.0.7.{number}" for number in itertools.count(1))


class Kubelet:
    """Plays one node: answers logs with its query, and exec by echoing frames."""

    def __init__(self) -> None:
        self.asked: list[web.BaseRequest] = []
        self.closed = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request of the API server."""
        self.asked.append(request)
        if request.path.startswith("/containerLogs/"):
            return web.Response(text=f"{request.path}?{request.query_string}\n")
        socket = web.WebSocketResponse(protocols=(PROTOCOL,))
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(b"\x01" + message.data[1:])
            if message.data == b"\x00bye":
                await socket.close()
        self.closed.set()
        return socket


@asynccontextmanager
async def _node(namespace: Namespace) -> AsyncIterator[Kubelet]:
    host, kubelet = next(_hosts), Kubelet()
    runner = web.ServerRunner(web.Server(kubelet.handle))
    await runner.setup()
    await web.TCPSite(runner, host, addresses.KUBELET_PORT).start()
    name = host.replace(".", "-")
    status = {"addresses": [{"type": "InternalIP", "address": host}]}
    namespace.api.call("POST", "/api/v1/nodes", {"metadata": {"name": name}, "status": status})
    containers = [{"name": "main", "image": "i"}, {"name": "side", "image": "i"}]
    namespace.create("pods", pod("one", {"nodeName": name}))
    namespace.create("pods", pod("two", {"nodeName": name, "containers": containers}))
    try:
        yield kubelet
    finally:
        await runner.cleanup()


def _play(namespace: Namespace, scene: Callable[[Kubelet, aiohttp.ClientSession], Awaitable[None]]) -> None:
    async def run() -> None:
        headers = {"Authorization": f"Bearer {namespace.api.authority.admin_token}"}
        connector = aiohttp.TCPConnector(ssl=pki.client_tls(namespace.api.authority.ca_pem))
        async with (
            asyncio.timeout(DEADLINE),
            _node(namespace) as kubelet,
            aiohttp.ClientSession(namespace.api.url, connector=connector, headers=headers) as session,
        ):
            await scene(kubelet, session)

    asyncio.run(run())


def test_exec_carries_frames_both_ways(namespace: Namespace) -> None:
    async def scene(kubelet: Kubelet, session: aiohttp.ClientSession) -> None:
        query = "command=sh&command=-c&stdin=true&stdout=true&stderr=true"
        path = f"{namespace.path('pods', 'one', 'exec')}?{query}"
        async with session.ws_connect(path, protocols=(PROTOCOL,)) as stream:
            assert stream.protocol == PROTOCOL
            await stream.send_bytes(b"\x00hello")
            assert await stream.receive_bytes() == b"\x01hello"
            await stream.send_bytes(b"\x00bye")
            assert await stream.receive_bytes() == b"\x01bye"
            assert (await stream.receive()).type is aiohttp.WSMsgType.CLOSE
        asked = kubelet.asked[0]
        assert asked.path == f"/exec/{namespace.name}/one/main"
        assert asked.query_string == "command=sh&command=-c&input=1&output=1&error=1&tty=0"
        assert asked.headers["Authorization"] == f"Bearer {namespace.api.authority.node_token}"

    _play(namespace, scene)


def test_client_that_leaves_ends_the_session(namespace: Namespace) -> None:
    async def scene(kubelet: Kubelet, session: aiohttp.ClientSession) -> None:
        path = f"{namespace.path('pods', 'one', 'exec')}?command=sh&stdin=true"
        async with session.ws_connect(path, protocols=(PROTOCOL,)) as stream:
            await stream.send_bytes(b"\x00hello")
            await stream.receive_bytes()
        await kubelet.closed.wait()

    _play(namespace, scene)


def test_log_passes_its_options_on(namespace: Namespace) -> None:
    async def scene(_: Kubelet, session: aiohttp.ClientSession) -> None:
        query = "container=side&tailLines=5&timestamps=true&limitBytes=100"
        async with session.get(f"{namespace.path('pods', 'two', 'log')}?{query}") as answer:
            text = await answer.text()
        assert text.startswith(f"/containerLogs/{namespace.name}/two/side?")
        assert set(text.strip().partition("?")[2].split("&")) == {"tailLines=5", "timestamps=true", "limitBytes=100"}

    _play(namespace, scene)


@pytest.mark.parametrize(
    ("path", "headers", "message"),
    [
        pytest.param("two/log", {}, "a container name must be specified for pod two, choose one of: [main side]",
                     id="several-containers"),
        pytest.param("one/log?container=none", {}, "container none is not valid for pod one", id="no-such-container"),
        pytest.param("one/exec?command=sh", {"Upgrade": "SPDY/3.1", "Connection": "Upgrade"},
                     "exec over websockets needs kubectl 1.31 or later", id="spdy"),
        pytest.param("one/exec?command=sh", {}, "Upgrade request required", id="no-upgrade"),
    ],
)  # fmt: skip
def test_session_is_refused(namespace: Namespace, path: str, headers: dict[str, str], message: str) -> None:
    async def scene(_: Kubelet, session: aiohttp.ClientSession) -> None:
        async with session.get(f"{namespace.path('pods')}/{path}", headers=headers) as answer:
            body = await answer.json()
        assert (answer.status, body["reason"]) == (400, "BadRequest")
        assert message in body["message"]

    _play(namespace, scene)


def test_dead_node_is_named(namespace: Namespace) -> None:
    status = {"addresses": [{"type": "InternalIP", "address": "127.0.6.1"}]}
    namespace.api.call("POST", "/api/v1/nodes", {"metadata": {"name": "dead"}, "status": status})
    namespace.create("pods", pod("one", {"nodeName": "dead"}))
    answer = namespace.api.call("GET", namespace.path("pods", "one", "log"))
    assert answer.code == 500
    assert "error dialing backend: http://127.0.6.1:10250/containerLogs/" in answer.message
