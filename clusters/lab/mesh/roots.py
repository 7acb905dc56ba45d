"""Where the mesh's authority is kept: its Secret, as Istio names it, and its roots in every namespace.

What belongs here: these objects. What does not: keys and certificates (`ca`), who gets one (`sessions`).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Final

import aiohttp

from clusters.lab.client import CONFIG_MAPS, NAMESPACES, ApiError, Client, Informer, Object, Resource
from clusters.lab.mesh.ca import Authority
from clusters.lab.mesh.model import ROOT_NAMESPACE
from flows.errors import HarnessError

SECRETS: Final = Resource("", "v1", "secrets", "Secret")
KEPT_IN: Final = "istio-ca-secret"
"""The Secret with the authority, in the root namespace."""
CERTIFICATE, PRIVATE_KEY = "ca-cert.pem", "ca-key.pem"
ROOTS_MAP: Final = "istio-ca-root-cert"
"""The ConfigMap of every namespace that agents mount."""
ROOTS_KEY: Final = "root-cert.pem"
_LABELS: Final = {"istio.io/config": "true"}
_TRIES: Final = 5
_PAUSE: Final = 1.0
"""Seconds until what the API server refused is tried again."""


async def establish(client: Client) -> Authority:
    """The mesh's authority: the one in the Secret, or a new one that is put there, whoever else tries the same.

    Raises:
        ApiError: The API server refuses to give or to take it.
        HarnessError: What is in the Secret is no authority.
    """
    for _ in range(_TRIES):
        try:
            return authority_in(await client.get(SECRETS, KEPT_IN, ROOT_NAMESPACE))
        except ApiError as error:
            if error.status != 404:
                raise
        fresh = Authority.fresh()
        parts = {CERTIFICATE: fresh.roots, PRIVATE_KEY: fresh.key}
        body: Object = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": KEPT_IN, "namespace": ROOT_NAMESPACE},
            "type": "istio.io/ca-root",
            "data": {name: base64.b64encode(text.encode()).decode() for name, text in parts.items()},
        }
        try:
            await client.create(SECRETS, body, ROOT_NAMESPACE)
        except ApiError as error:
            if error.status != 409:
                raise
            continue
        return fresh
    raise HarnessError(f"the Secret {ROOT_NAMESPACE}/{KEPT_IN} comes and goes; let it be")


def authority_in(secret: Object) -> Authority:
    """The authority of a Secret.

    Raises:
        HarnessError: There is none in it.
    """
    data = secret.get("data") or {}
    try:
        return Authority(*(base64.b64decode(data[name]).decode() for name in (CERTIFICATE, PRIVATE_KEY)))
    except (KeyError, ValueError) as error:
        raise HarnessError(
            f"Secret {ROOT_NAMESPACE}/{KEPT_IN}: {CERTIFICATE} and {PRIVATE_KEY} are no authority ({error!r}); "
            "delete it and istiod's pod"
        ) from error


class Roots:
    """Keeps the ConfigMap with the mesh's roots in every namespace; made again and mended when someone touches it.

    Args:
        roots: What belongs in it, PEM.
        log: Told what the API server refuses.
    """

    def __init__(self, client: Client, roots: str, log: Callable[[str], None]) -> None:
        self._client, self._roots, self._log = client, roots, log
        self._changed = asyncio.Event()
        only = {"fieldSelector": f"metadata.name={ROOTS_MAP}"}
        self.namespaces = Informer(client, NAMESPACES, on_event=self._told)
        self.maps = Informer(client, CONFIG_MAPS, on_event=self._told, params=only)

    def _told(self, _event: str, _obj: Object) -> None:
        self._changed.set()

    def use(self, roots: str) -> None:
        """From now on these belong in it."""
        self._roots = roots
        self._changed.set()

    async def run(self) -> None:
        """Keep them until cancelled; the caller runs both informers."""
        await asyncio.gather(self.namespaces.synced.wait(), self.maps.synced.wait())
        while True:
            self._changed.clear()
            complete = True
            for (_, name), namespace in list(self.namespaces.cache.items()):
                if namespace.get("status", {}).get("phase") != "Terminating":
                    complete &= await self._keep(name)
            try:
                async with asyncio.timeout(None if complete else _PAUSE):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _keep(self, namespace: str) -> bool:
        """Mend one namespace; whether there is nothing left to try again."""
        there = self.maps.cache.get((namespace, ROOTS_MAP))
        data = {ROOTS_KEY: self._roots}
        if there and there.get("data") == data:
            return True
        meta = there["metadata"] if there else {"name": ROOTS_MAP, "namespace": namespace, "labels": _LABELS}
        body: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
        try:
            if there:
                await self._client.replace(CONFIG_MAPS, body)
            else:
                await self._client.create(CONFIG_MAPS, body, namespace)
        except ApiError as error:
            # Another istiod was faster, or the namespace ends: an event of it follows or is here already.
            if error.status in {404, 409} or "being terminated" in str(error):
                return True
            self._log(f"ConfigMap {namespace}/{ROOTS_MAP}: {error}")
            return False
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._log(f"ConfigMap {namespace}/{ROOTS_MAP}: {error!r}")
            return False
        return True
