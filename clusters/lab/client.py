"""The lab's own API client: nodes, DNS and controllers list and watch with it, like any client out there.

What belongs here: requests, errors, the informer. What does not: what anybody does with the objects.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import aiohttp

Object = dict[str, Any]
"""A Kubernetes object as JSON."""
CREDENTIALS: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has what its ServiceAccount is known by."""


class ApiError(Exception):
    """The API server said no.

    Attributes:
        status: The HTTP status; reason: the Status object's reason (`NotFound`, `Conflict`, …).
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status, self.reason = status, reason


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the API: `Resource("", "v1", "pods", "Pod")`."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection or of one object."""
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if self.namespaced and namespace:
            base += f"/namespaces/{namespace}"
        return "/".join(part for part in (base, self.plural, name, subresource) if part)


PODS = Resource("", "v1", "pods", "Pod")
SERVICES = Resource("", "v1", "services", "Service")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
EVENTS = Resource("", "v1", "events", "Event")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
CALICO_POLICIES = Resource("projectcalico.org", "v3", "networkpolicies", "NetworkPolicy")
GLOBAL_POLICIES = Resource("projectcalico.org", "v3", "globalnetworkpolicies", "GlobalNetworkPolicy", namespaced=False)
NETWORK_SETS = Resource("projectcalico.org", "v3", "networksets", "NetworkSet")
GLOBAL_NETWORK_SETS = Resource("projectcalico.org", "v3", "globalnetworksets", "GlobalNetworkSet", namespaced=False)
PEER_AUTHENTICATIONS = Resource("security.istio.io", "v1", "peerauthentications", "PeerAuthentication")
AUTHORIZATION_POLICIES = Resource("security.istio.io", "v1", "authorizationpolicies", "AuthorizationPolicy")
REQUEST_AUTHENTICATIONS = Resource("security.istio.io", "v1", "requestauthentications", "RequestAuthentication")
DESTINATION_RULES = Resource("networking.istio.io", "v1", "destinationrules", "DestinationRule")
VIRTUAL_SERVICES = Resource("networking.istio.io", "v1", "virtualservices", "VirtualService")
SERVICE_ENTRIES = Resource("networking.istio.io", "v1", "serviceentries", "ServiceEntry")
MUTATING_WEBHOOKS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    namespaced=False,
)


class Client:
    """Requests to one API server with one token; close it when done (`async with`)."""

    def __init__(self, url: str, token: str, tls: ssl.SSLContext) -> None:
        self._url, self._token, self._tls = url, token, tls
        self._session: aiohttp.ClientSession | None = None

    @property
    def token(self) -> str:
        """The bearer token; a node's server lets in whoever shows the same one."""
        return self._token

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
            headers = {"Authorization": f"Bearer {self._token}"}
            self._session = aiohttp.ClientSession(
                self._url,
                connector=connector,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            )
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        params: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """One request; the answer's JSON.

        Raises:
            ApiError: The server answered with a failure.
        """
        data = None if body is None else json.dumps(body)
        async with (
            asyncio.timeout(15),
            self._open().request(
                method, path, params=params, data=data, headers={"Content-Type": content_type}
            ) as response,
        ):
            answer: Object = json.loads(await response.text() or "{}")
            if response.status >= 400:
                raise ApiError(response.status, str(answer.get("reason", "")), str(answer.get("message", answer)))
            return answer

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """One object."""
        return await self.request("GET", resource.path(namespace, name))

    async def list(self, resource: Resource, namespace: str = "", **params: str) -> Object:
        """The collection, with `metadata.resourceVersion` to watch from."""
        return await self.request("GET", resource.path(namespace), params=params)

    async def create(self, resource: Resource, body: Object, namespace: str = "") -> Object:
        """The object as created."""
        return await self.request("POST", resource.path(namespace), body)

    async def replace(self, resource: Resource, body: Object) -> Object:
        """The object as replaced; its resourceVersion must be current."""
        meta = body["metadata"]
        return await self.request("PUT", resource.path(meta.get("namespace", ""), meta["name"]), body)

    async def patch(
        self, resource: Resource, name: str, patch: Object, namespace: str = "", subresource: str = ""
    ) -> Object:
        """A JSON merge patch; `subresource="status"` writes the status."""
        return await self.request(
            "PATCH", resource.path(namespace, name, subresource), patch, content_type="application/merge-patch+json"
        )

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", *, uid: str = "", grace: int | None = None
    ) -> Object:
        """Delete one object; `uid` as a precondition so that a successor of the same name is spared."""
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            body["preconditions"] = {"uid": uid}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        return await self.request("DELETE", resource.path(namespace, name), body)

    async def watch(
        self, resource: Resource, *, since: str, namespace: str = "", **params: str
    ) -> AsyncIterator[tuple[str, Object]]:
        """Events after a resourceVersion: (`ADDED`|`MODIFIED`|`DELETED`|`BOOKMARK`, object), until the stream ends.

        Raises:
            ApiError: The resourceVersion is too old (410), list again.
        """
        query = {"watch": "1", "resourceVersion": since, "allowWatchBookmarks": "true", **params}
        async with self._open().get(resource.path(namespace), params=query) as response:
            if response.status >= 400:
                raise ApiError(response.status, "", await response.text())
            buffer = b""
            async for chunk in response.content.iter_any():
                buffer += chunk
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    if line.strip():
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise ApiError(
                                int(event["object"].get("code", 500)),
                                str(event["object"].get("reason", "")),
                                str(event["object"].get("message", "")),
                            )
                        yield event["type"], event["object"]


def in_cluster(program: str) -> Client:
    """A client with what every pod has: the API's address in the environment, token and CA in the mounted Secret.

    Args:
        program: Who asks, for the message.

    Raises:
        SystemExit: Something of that is missing; the message names it.
    """
    try:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        token = (CREDENTIALS / "token").read_text(encoding="ascii").strip()
        tls = ssl.create_default_context(cafile=str(CREDENTIALS / "ca.crt"))
    except KeyError as error:
        raise SystemExit(f"{program}: {error.args[0]} is not set; run this in a pod with a ServiceAccount") from None
    except OSError as error:
        raise SystemExit(f"{program}: {CREDENTIALS}: {error}; run this in a pod with a ServiceAccount") from None
    return Client(f"https://{f'[{host}]' if ':' in host else host}:{port}", token, tls)


Key = tuple[str, str]
"""(namespace, name); the namespace is empty for cluster-wide kinds."""


def key(obj: Object) -> Key:
    """The object's place in an informer's cache."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


class Informer:
    """A cache of one resource that follows the API server: list, then watch, and again when the stream ends.

    Args:
        on_event: Called in the event loop for each change, after the cache has it: (type, object).
        params: Query parameters, such as `fieldSelector="spec.nodeName=lab-0"`.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        on_event: Callable[[str, Object], None] | None = None,
        params: dict[str, str] | None = None,
    ) -> None:
        self.cache: dict[Key, Object] = {}
        self.synced = asyncio.Event()
        self._client, self._resource, self._on_event, self._params = client, resource, on_event, params or {}

    def _tell(self, event: str, obj: Object) -> None:
        if self._on_event:
            self._on_event(event, obj)

    async def run(self) -> None:
        """Follow until cancelled; a broken connection is made again after a pause of at most one second."""
        pause = 0.05
        while True:
            with contextlib.suppress(aiohttp.ClientError, ApiError, TimeoutError, OSError):
                since = await self._relist()
                self.synced.set()
                pause = 0.05
                async for event, obj in self._client.watch(self._resource, since=since, **self._params):
                    self._take(event, obj)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def _relist(self) -> str:
        answer = await self._client.list(self._resource, **self._params)
        fresh = {key(each): each for each in answer["items"]}
        for gone in [each for place, each in self.cache.items() if place not in fresh]:
            del self.cache[key(gone)]
            self._tell("DELETED", gone)
        for place, obj in fresh.items():
            before = self.cache.get(place)
            if before is None or before["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self.cache[place] = obj
                self._tell("ADDED" if before is None else "MODIFIED", obj)
        return str(answer["metadata"]["resourceVersion"])

    def _take(self, event: str, obj: Object) -> None:
        if event == "BOOKMARK":
            return
        if event == "DELETED":
            self.cache.pop(key(obj), None)
        else:
            self.cache[key(obj)] = obj
        self._tell(event, obj)
