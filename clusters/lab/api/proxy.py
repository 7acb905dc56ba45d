"""`exec` and `log`: passed through, frame by frame and byte by byte, to the kubelet of the pod's node.

What belongs here: finding pod, container and node, and carrying bytes. What does not: what the bytes say.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from multidict import CIMultiDictProxy, MultiMapping

from clusters.lab import addresses
from clusters.lab.api import resources
from clusters.lab.api.operations import Operations
from clusters.lab.api.status import StatusError, bad_request

Object = dict[str, Any]
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
"""The websocket subprotocols of exec, preferred first."""
_LOG_OPTIONS = ("follow", "tailLines", "previous", "sinceSeconds", "sinceTime", "timestamps", "limitBytes")
_CONNECT_DEADLINE = 10.0
_TRUE = {"true", "1"}


def refused(subresource: str, name: str) -> StatusError:
    """403: a subresource that Kubernetes knows and the lab does not do."""
    text = f'pods "{name}" is forbidden: the lab does not do pods/{subresource}; use exec or log'
    return StatusError(403, "Forbidden", text, {"name": name, "kind": "pods"})


class Backend:
    """The kubelets behind the API server."""

    def __init__(self, operations: Operations, node_token: str) -> None:
        self._operations, self._token = operations, node_token
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections to the kubelets."""
        if self._session:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_DEADLINE)
            headers = {"Authorization": f"Bearer {self._token}"}
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=15)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers)
        return self._session

    def _target(self, namespace: str, name: str, container: str) -> tuple[str, str]:
        """The kubelet's base URL and the container that is meant.

        Raises:
            StatusError: No such pod, container or node; or several containers and none named.
        """
        pod = self._operations.get(resources.PODS, namespace, name).object
        container = _container(pod, container)
        node_name = pod["spec"].get("nodeName", "")
        if not node_name:
            raise bad_request(f"pod {name} does not have a host assigned")
        node = self._operations.get(resources.NODES, "", node_name).object
        found = [each["address"] for each in node["status"].get("addresses", []) if each["type"] == "InternalIP"]
        if not found:
            raise bad_request(f"node {node_name} has no InternalIP in its status; its kubelet has not reported yet")
        host = f"[{found[0]}]" if ":" in found[0] else found[0]
        return f"http://{host}:{addresses.KUBELET_PORT}", container

    async def log(self, request: web.BaseRequest, namespace: str, name: str) -> web.StreamResponse:
        """The container's log, streamed through.

        Raises:
            StatusError: It cannot be had.
        """
        base, container = self._target(namespace, name, request.query.get("container", ""))
        params = {key: request.query[key] for key in _LOG_OPTIONS if key in request.query}
        url = f"{base}/containerLogs/{quote(namespace)}/{quote(name)}/{quote(container)}"
        async with _reached(self._open().get(url, params=params), url) as upstream:
            if upstream.status >= 400:
                raise await _upstream_error(upstream)
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            response.enable_chunked_encoding()
            await response.prepare(request)
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                async for chunk in upstream.content.iter_any():
                    await response.write(chunk)
            return response

    async def exec(self, request: web.BaseRequest, namespace: str, name: str) -> web.StreamResponse:
        """An exec session between the client and the kubelet.

        Raises:
            StatusError: It cannot be opened.
        """
        query = request.query
        base, container = self._target(namespace, name, query.get("container", ""))
        _upgradable(request.headers)
        if not query.getall("command", []):
            raise bad_request("you must specify at least 1 command for the container")
        offered = {each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",")}
        protocol = next((each for each in PROTOCOLS if each in offered), "")
        if not protocol:
            raise bad_request(
                f"exec needs one of the websocket subprotocols {', '.join(PROTOCOLS)}; offered: "
                f"{', '.join(sorted(offered - {''})) or 'none'}"
            )
        url = f"{base}/exec/{quote(namespace)}/{quote(name)}/{quote(container)}"
        connecting = self._open().ws_connect(
            url, params=_exec_params(query), protocols=(protocol,), max_msg_size=0, autoping=True, compress=0
        )
        async with _reached_exec(connecting, url) as upstream:
            downstream = web.WebSocketResponse(protocols=(protocol,), max_msg_size=0, autoping=True, compress=False)
            await downstream.prepare(request)
            await _join(downstream, upstream)
            return downstream


def _exec_params(query: MultiMapping[str]) -> list[tuple[str, str]]:
    pairs = [("command", each) for each in query.getall("command", [])]
    for name, ours in (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")):
        pairs.append((ours, "1" if query.get(name, "") in _TRUE else "0"))
    return pairs


def _upgradable(headers: CIMultiDictProxy[str]) -> None:
    upgrade = headers.get("Upgrade", "").lower()
    if upgrade.startswith("spdy"):
        raise bad_request("the lab does not do SPDY; exec over websockets needs kubectl 1.31 or later")
    if upgrade != "websocket":
        raise bad_request("Upgrade request required: exec is a websocket")


def _container(pod: Object, asked: str) -> str:
    spec, name = pod["spec"], pod["metadata"]["name"]
    main = [each["name"] for each in spec["containers"]]
    early = [each["name"] for each in spec.get("initContainers", [])]
    if asked:
        if asked not in main + early:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(main) == 1:
        return str(main[0])
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
    if early:
        text += f" or one of the init containers: [{' '.join(early)}]"
    raise bad_request(text)


def _unreachable(url: str, error: Exception) -> StatusError:
    return StatusError(500, "InternalError", f"Internal error occurred: error dialing backend: {url}: {error}")


@contextlib.asynccontextmanager
async def _reached(
    pending: contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse], url: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    try:
        upstream = await pending.__aenter__()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _unreachable(url, error) from None
    try:
        yield upstream
    finally:
        upstream.close()


async def _upstream_error(upstream: aiohttp.ClientResponse) -> StatusError:
    text = (await upstream.text()).strip() or upstream.reason or ""
    reason = {400: "BadRequest", 404: "NotFound"}.get(upstream.status, "InternalError")
    return StatusError(upstream.status, reason, text)


@contextlib.asynccontextmanager
async def _reached_exec(
    pending: contextlib.AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse], url: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    try:
        async with asyncio.timeout(_CONNECT_DEADLINE):
            upstream = await pending.__aenter__()
    except aiohttp.WSServerHandshakeError as error:
        reason = {400: "BadRequest", 404: "NotFound"}.get(error.status, "InternalError")
        raise StatusError(error.status, reason, f"the node refused the session: {error.message}") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _unreachable(url, error) from None
    try:
        yield upstream
    finally:
        await upstream.close()


async def _join(downstream: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse) -> None:
    """Carry frames both ways until either side ends, then end the other with the same code."""
    inward = asyncio.ensure_future(_carry(downstream, upstream))
    outward = asyncio.ensure_future(_carry(upstream, downstream))
    try:
        await asyncio.wait({inward, outward}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (inward, outward):
            task.cancel()
        await asyncio.gather(inward, outward, return_exceptions=True)
    code = upstream.close_code or 1000
    await downstream.close(code=code if code not in {1005, 1006} else 1000)
    await upstream.close()


async def _carry(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    sink: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    with contextlib.suppress(ConnectionError, aiohttp.ClientError, RuntimeError):
        async for message in source:
            if message.type is aiohttp.WSMsgType.BINARY:
                await sink.send_bytes(message.data)
            elif message.type is aiohttp.WSMsgType.TEXT:
                await sink.send_str(message.data)
            else:
                return
