"""An API server on a loopback port for tests: in a thread of its own, so that blocking clients can talk to it."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from clusters.lab import pki
from clusters.lab.api.server import serve
from clusters.lab.options import LabOptions

Object = dict[str, Any]
MERGE, STRATEGIC, JSON = (f"application/{kind}+json" for kind in ("merge-patch", "strategic-merge-patch", "json-patch"))
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
DEADLINE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server said."""

    code: int
    body: Object
    warnings: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        """The Status's message."""
        return str(self.body.get("message", ""))

    @property
    def reason(self) -> str:
        """The Status's reason."""
        return str(self.body.get("reason", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """A running API server."""

    port: int
    authority: pki.Authority
    folder: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://127.0.0.1:{self.port}"

    def connect(self) -> http.client.HTTPSConnection:
        """A connection that trusts this server alone."""
        tls = pki.client_tls(self.authority.ca_pem)
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=tls, timeout=DEADLINE)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        token: str | None = None,
        **params: str,
    ) -> Answer:
        """One request; its answer."""
        data = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
        token = self.authority.admin_token if token is None else token
        headers = {"Content-Type": content_type, "Accept": accept}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = self.connect()
        try:
            connection.request(method, f"{path}?{urlencode(params)}" if params else path, data, headers)
            response = connection.getresponse()
            text = response.read()
            warnings = response.headers.get_all("Warning") or []
        finally:
            connection.close()
        is_json = response.headers.get_content_type() == "application/json"
        return Answer(
            code=response.status, body=json.loads(text) if is_json else {"text": text.decode()}, warnings=warnings
        )

    def kubectl(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl against this server."""
        kubeconfig = self.folder / "kubeconfig"
        if not kubeconfig.exists():
            kubeconfig.write_text(json.dumps(pki.kubeconfig(self.authority, self.url)), encoding="utf-8")
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(self.folder)}
        return subprocess.run(
            [shutil.which("kubectl") or "kubectl", *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            env=environment,
        )


@contextmanager
def running(folder: Path, *, keep: int = 10_000, mesh: str = "none", ip_family: str = "ipv4") -> Iterator[Api]:
    """An API server while the block runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    authority, ready, stop = pki.make_authority(), threading.Event(), threading.Event()
    options = LabOptions(state=str(folder / "state"), mesh=mesh, ip_family=ip_family)

    async def main() -> None:
        server = asyncio.ensure_future(serve([listener], authority, options, ready=ready.set, keep=keep))
        ending = asyncio.ensure_future(asyncio.to_thread(stop.wait))
        await asyncio.wait({server, ending}, return_when=asyncio.FIRST_COMPLETED)
        server.cancel()
        with suppress(asyncio.CancelledError):
            await server

    def run() -> None:
        try:
            asyncio.run(main())
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(DEADLINE), "the API server did not get ready"
        yield Api(port=listener.getsockname()[1], authority=authority, folder=folder)
    finally:
        stop.set()
        thread.join(DEADLINE)
        listener.close()


class Watch:
    """One open watch, read event by event."""

    def __init__(self, api: Api, path: str, **params: str) -> None:
        self._connection = api.connect()
        headers = {"Authorization": f"Bearer {api.authority.admin_token}"}
        self._connection.request("GET", f"{path}?{urlencode({'watch': '1', **params})}", headers=headers)
        self._response = self._connection.getresponse()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def next(self) -> tuple[str, Object]:
        """The next event's type and object."""
        event = json.loads(self._response.readline())
        return event["type"], event["object"]

    def rest(self) -> bytes:
        """Everything until the server ends the stream."""
        return self._response.read()

    def names(self, count: int) -> list[tuple[str, str]]:
        """Type and name of the next events."""
        return [(kind, obj["metadata"]["name"]) for kind, obj in (self.next() for _ in range(count))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A namespace of a test's own, with the ServiceAccount `default`."""

    api: Api
    name: str

    def path(self, plural: str, name: str = "", subresource: str = "") -> str:
        """The path of a collection, an object or a subresource."""
        group = {"networkpolicies": "networking.k8s.io", "endpointslices": "discovery.k8s.io"}.get(plural, "")
        base = f"/apis/{group}/v1" if group else "/api/v1"
        steps = [base, "namespaces", self.name, plural, name, subresource]
        return "/".join(step for step in steps if step)

    def create(self, plural: str, body: Object, **params: str) -> Answer:
        """Create an object here."""
        return self.api.call("POST", self.path(plural), body, **params)

    def get(self, plural: str, name: str) -> Answer:
        """Read an object here."""
        return self.api.call("GET", self.path(plural, name))

    def patch(self, plural: str, name: str, body: object, content_type: str = MERGE, subresource: str = "") -> Answer:
        """Patch an object here."""
        return self.api.call("PATCH", self.path(plural, name, subresource), body, content_type=content_type)

    def delete(self, plural: str, name: str, body: object = None) -> Answer:
        """Delete an object here."""
        return self.api.call("DELETE", self.path(plural, name), body)


def pod(name: str, spec: Object | None = None, labels: dict[str, str] | None = None, **container: object) -> Object:
    """A pod with one container `main`, changed as asked."""
    main = {"name": "main", "image": "python:3-slim", **container}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {"app": name}},
        "spec": {"containers": [main], **(spec or {})},
    }


def policy(name: str, spec: Object) -> Object:
    """A NetworkPolicy."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {}, **spec},
    }


def config(name: str, **data: str) -> Object:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": name}}, "data": data}
