"""A lab with one node and what the node's tests ask of it: pods, their status, exec, logs."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp

from clusters.lab.client import NAMESPACES, PODS, SERVICE_ACCOUNTS, ApiError, Client, Object

T = TypeVar("T")
DEADLINE = 30.0


@dataclass(kw_only=True)
class Result:
    """What an exec session gave."""

    stdout: bytes = b""
    stderr: bytes = b""
    status: Object = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The command's exit code."""
        if self.status.get("status") == "Success":
            return 0
        return int(self.status["details"]["causes"][0]["message"])


class World:
    """Talks to a lab from synchronous tests."""

    def __init__(self, kubeconfig: Object, namespace: str) -> None:
        self._server = str(kubeconfig["clusters"][0]["cluster"]["server"])
        self._token = str(kubeconfig["users"][0]["user"]["token"])
        ca = base64.b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=ca)
        self.namespace = namespace
        self._names = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.client = Client(self._server, self._token, self._tls)

    def settle(self) -> None:
        """Create the namespace and wait for its ServiceAccount, without which no pod may be created."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        self.run(self.client.create(NAMESPACES, body))
        self.run(self._account())

    async def _account(self) -> None:
        listed = await self.client.list(SERVICE_ACCOUNTS, self.namespace)
        if not listed["items"]:
            since = listed["metadata"]["resourceVersion"]
            async for _ in self.client.watch(SERVICE_ACCOUNTS, since=since, namespace=self.namespace):
                return

    def close(self) -> None:
        self.run(self.client.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def run(self, work: Coroutine[Any, Any, T], deadline: float = DEADLINE) -> T:
        """The result of a coroutine."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, deadline), self._loop).result(deadline + 5)

    def pod(self, spec: Object, *, name: str = "", metadata: Object | None = None) -> str:
        """Create a pod; its name. Without containers it gets `python3` that does what `script` says."""
        name = name or f"pod-{next(self._names)}"
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace, **(metadata or {})},
            "spec": {"terminationGracePeriodSeconds": 5, **spec},
        }
        self.run(self.client.create(PODS, body, self.namespace))
        return name

    def python(self, script: str, **fields: Any) -> Object:
        """A container that runs a Python script."""
        return {"name": "main", "image": "python:3-slim", "command": ["python3", "-c", script], **fields}

    def wait(self, name: str, ready: Callable[[Object], bool], deadline: float = DEADLINE) -> Object:
        """The pod once `ready` says so of its status."""
        return self.run(self._wait(name, ready), deadline)

    async def _wait(self, name: str, ready: Callable[[Object], bool]) -> Object:
        listed = await self.client.list(PODS, self.namespace, fieldSelector=f"metadata.name={name}")
        for each in listed["items"]:
            if ready(each.get("status") or {}):
                return dict(each)
        since = listed["metadata"]["resourceVersion"]
        async for _, obj in self.client.watch(
            PODS, since=since, namespace=self.namespace, fieldSelector=f"metadata.name={name}"
        ):
            if obj["metadata"]["name"] == name and ready(obj.get("status") or {}):
                return obj
        raise AssertionError(f"the watch of {name} ended")

    def waiting(self, name: str, reason: str) -> Object:
        """The `waiting` state of the first container, once it has this reason."""
        pod = self.wait(name, lambda s: main_state(s).get("waiting", {}).get("reason") == reason)
        state: Object = main_state(pod["status"])["waiting"]
        return state

    def end(self, name: str) -> Object:
        """Delete the pod; how it was when it left the API."""
        return self.run(self._end(name))

    async def _end(self, name: str) -> Object:
        since = (await self.client.list(PODS, self.namespace))["metadata"]["resourceVersion"]
        await self.client.delete(PODS, name, self.namespace)
        async for event, obj in self.client.watch(PODS, since=since, namespace=self.namespace):
            if event == "DELETED" and obj["metadata"]["name"] == name:
                return obj
        raise AssertionError(f"the watch of {name} ended")

    def printed(self, name: str, line: str, container: str = "") -> None:
        """Return when the container has printed the line."""
        self.run(self._printed(name, line, container))

    async def _printed(self, name: str, line: str, container: str) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/log"
        params = {"follow": "true"} | ({"container": container} if container else {})
        async with self._session() as session, session.get(self._server + path, params=params) as response:
            async for each in response.content:
                if each.decode().strip() == line:
                    return
        raise AssertionError(f"{name} ended without {line!r}")

    def delete(self, name: str, grace: int | None = None) -> None:
        self.run(self.client.delete(PODS, name, self.namespace, grace=grace))

    def events(self, name: str, wanted: str) -> list[str]:
        """Messages of the pod's events of one reason, once there is one."""
        return self.run(self._events(name, wanted))

    async def _events(self, name: str, wanted: str) -> list[str]:
        path = f"/api/v1/namespaces/{self.namespace}/events"
        while True:
            items = (await self.client.request("GET", path))["items"]
            found = [e["message"] for e in items if e["involvedObject"]["name"] == name and e["reason"] == wanted]
            if found:
                return found
            await asyncio.sleep(0.05)

    def logs(self, name: str, **params: str) -> str:
        """A container's log."""
        return self.run(self._text(f"/api/v1/namespaces/{self.namespace}/pods/{name}/log", params))

    async def _text(self, path: str, params: dict[str, str]) -> str:
        async with self._session() as session, session.get(self._server + path, params=params) as response:
            text = await response.text()
            if response.status >= 400:
                raise ApiError(response.status, "", text)
            return text

    def _session(self) -> aiohttp.ClientSession:
        headers = {"Authorization": f"Bearer {self._token}"}
        return aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=self._tls))

    def exec(
        self,
        name: str,
        *command: str,
        stdin: bytes | None = None,
        tty: bool = False,
        container: str = "main",
        act: Callable[[aiohttp.ClientWebSocketResponse], Awaitable[None]] | None = None,
    ) -> Result:
        """Run a command in a container; `stdin` is sent and then half-closed."""
        return self.run(self.session(name, command, stdin=stdin, tty=tty, container=container, act=act))

    async def session(
        self,
        name: str,
        command: tuple[str, ...],
        *,
        stdin: bytes | None = None,
        tty: bool = False,
        container: str = "main",
        act: Callable[[aiohttp.ClientWebSocketResponse], Awaitable[None]] | None = None,
    ) -> Result:
        """`exec` for coroutines."""
        params = [("command", each) for each in command]
        params += [("container", container), ("stdout", "true"), ("stderr", "true"), ("tty", str(tty).lower())]
        params.append(("stdin", str(stdin is not None or act is not None).lower()))
        url = f"{self._server}/api/v1/namespaces/{self.namespace}/pods/{name}/exec"
        result = Result()
        async with (
            self._session() as session,
            session.ws_connect(url, params=params, protocols=("v5.channel.k8s.io",), max_msg_size=0) as socket,
        ):

            async def feed() -> None:
                for start in range(0, len(stdin or b""), 1 << 15):
                    await socket.send_bytes(b"\0" + (stdin or b"")[start : start + (1 << 15)])
                if stdin is not None:
                    await socket.send_bytes(b"\xff\0")
                if act is not None:
                    await act(socket)

            feeding = asyncio.create_task(feed())
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.BINARY:
                    continue
                channel, data = message.data[0], message.data[1:]
                if channel == 1:
                    result.stdout += data
                elif channel == 2:
                    result.stderr += data
                elif channel == 3:
                    result.status = json.loads(data)
            feeding.cancel()
        return result


def running(status: Object) -> bool:
    """Whether every container runs."""
    found = status.get("containerStatuses") or []
    return bool(found) and all("running" in each["state"] for each in found)


def is_ready(status: Object) -> bool:
    """Whether the pod is Ready."""
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or [])


def over(status: Object) -> bool:
    """Whether the pod has ended."""
    return status.get("phase") in {"Succeeded", "Failed"}


def main_state(status: Object) -> Object:
    """The state of the first container."""
    found = status.get("containerStatuses") or [{"state": {}}]
    state: Object = found[0]["state"]
    return state
