"""Every namespace has the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`, made again when they go."""

from __future__ import annotations

import asyncio

from clusters.lab.client import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, Key, Object
from clusters.lab.controllers.hub import Hub, Worker, absorb_exists, terminating

_ACCOUNT = "default"
_ROOT_CA = "kube-root-ca.crt"


class Accounts:
    """Keeps what a pod of any namespace needs to start.

    Args:
        hub: The shared caches.
        ca_pem: The authority that pods trust.
    """

    def __init__(self, hub: Hub, ca_pem: str) -> None:
        self._hub, self._ca = hub, ca_pem
        self._worker = Worker("accounts", self._reconcile)
        self._namespaces = hub.listen(NAMESPACES, self._worker.add_object)
        self._accounts = hub.listen(SERVICE_ACCOUNTS, self._told)
        self._maps = hub.listen(CONFIG_MAPS, self._told)

    def _told(self, _: str, obj: Object) -> None:
        if obj["metadata"]["name"] in {_ACCOUNT, _ROOT_CA}:
            self._worker.add(("", obj["metadata"]["namespace"]))

    async def run(self) -> None:
        """Reconcile until cancelled."""
        await self._hub.synced(NAMESPACES, SERVICE_ACCOUNTS, CONFIG_MAPS)
        await self._worker.run()

    async def _reconcile(self, place: Key) -> None:
        namespace = self._namespaces.cache.get(place)
        if namespace is None or terminating(namespace):
            return
        name = place[1]
        await asyncio.gather(self._account(name), self._root_ca(name))

    async def _account(self, namespace: str) -> None:
        if (namespace, _ACCOUNT) in self._accounts.cache:
            return
        body: Object = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": _ACCOUNT, "namespace": namespace},
        }
        await absorb_exists(self._hub.client.create(SERVICE_ACCOUNTS, body, namespace))

    async def _root_ca(self, namespace: str) -> None:
        data = {"ca.crt": self._ca}
        there = self._maps.cache.get((namespace, _ROOT_CA))
        if there is None:
            about = {"kubernetes.io/description": "The authority that signs the API server's certificate."}
            body: Object = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": _ROOT_CA, "namespace": namespace, "annotations": about},
                "data": data,
            }
            await absorb_exists(self._hub.client.create(CONFIG_MAPS, body, namespace))
        elif there.get("data") != data:
            await self._hub.client.replace(CONFIG_MAPS, {**there, "data": data})
