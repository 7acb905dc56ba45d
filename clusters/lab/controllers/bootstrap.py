"""What every cluster has from its first second: namespaces, the Services `kubernetes` and `kube-dns`, the DNS pod.

Each is made again when someone deletes it, as a real control plane does.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from clusters.lab import addresses
from clusters.lab.addresses import AddressPlan
from clusters.lab.client import (
    ENDPOINT_SLICES,
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    SERVICES,
    ApiError,
    Key,
    Object,
    Resource,
)
from clusters.lab.controllers.hub import Hub, Worker, absorb_exists, absorb_gone, terminating

DNS_POD = "coredns-lab"
DNS_IMAGE = "eastwest/dns:lab"
_SYSTEM = "kube-system"
_HOPELESS = {400, 422}
"""Answers that no later try changes: what we ask for is wrong, and a lab without it must not look sound."""
_DNS_LABELS = {"k8s-app": "kube-dns"}


def _object(resource: Resource, name: str, namespace: str = "", **rest: Any) -> Object:
    version = f"{resource.group}/{resource.version}" if resource.group else resource.version
    meta: Object = {"name": name, "labels": rest.pop("labels", {})}
    if namespace:
        meta["namespace"] = namespace
    return {"apiVersion": version, "kind": resource.kind, "metadata": meta, **rest}


def _family(address: str) -> str:
    return f"IPv{addresses.version(address)}"


def _service(name: str, namespace: str, address: str, labels: dict[str, str], spec: Object) -> Object:
    """A Service of the primary family alone, as these two are in a real cluster."""
    cluster = {"clusterIP": address, "clusterIPs": [address], "ipFamilies": [_family(address)]}
    return _object(SERVICES, name, namespace, labels=labels, spec={"type": "ClusterIP", **cluster, **spec})


def _api_slice(ip: str) -> Object:
    return _object(
        ENDPOINT_SLICES,
        "kubernetes",
        "default",
        labels={"kubernetes.io/service-name": "kubernetes"},
        addressType=_family(ip),
        endpoints=[{"addresses": [ip], "conditions": {"ready": True, "serving": True, "terminating": False}}],
        ports=[{"name": "https", "port": addresses.API_PORT, "protocol": "TCP"}],
    )


def _dns_pod() -> Object:
    ports = [
        {"name": "dns", "containerPort": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
    ]
    container: Object = {
        "name": "dns",
        "image": DNS_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "clusters.lab.dns"],
        "ports": ports,
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1, "failureThreshold": 3},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec: Object = {
        "serviceAccountName": "coredns",
        "restartPolicy": "Always",
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
    }
    return _object(PODS, DNS_POD, _SYSTEM, labels=_DNS_LABELS, spec=spec)


def objects(plan: AddressPlan) -> list[tuple[Resource, Object]]:
    """Everything that must exist, in an order in which each thing finds what it needs."""
    spaces = ["default", _SYSTEM, "kube-public", "kube-node-lease"]
    found = [(NAMESPACES, _object(NAMESPACES, name)) for name in spaces]
    https = {"name": "https", "port": 443, "targetPort": addresses.API_PORT, "protocol": "TCP"}
    api_labels = {"component": "apiserver", "provider": "kubernetes"}
    found.append((SERVICES, _service("kubernetes", "default", plan.api_service[0], api_labels, {"ports": [https]})))
    found.append((ENDPOINT_SLICES, _api_slice(plan.control_plane[0])))
    dns_ports = [
        {"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "targetPort": 53, "protocol": "TCP"},
    ]
    dns_labels = {**_DNS_LABELS, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    dns_spec = {"selector": _DNS_LABELS, "ports": dns_ports}
    found += [
        (SERVICE_ACCOUNTS, _object(SERVICE_ACCOUNTS, "coredns", _SYSTEM)),
        (SERVICES, _service("kube-dns", _SYSTEM, plan.dns_service[0], dns_labels, dns_spec)),
        (PODS, _dns_pod()),
    ]
    return found


class Bootstrap:
    """Keeps `objects` in existence."""

    def __init__(self, hub: Hub, plan: AddressPlan) -> None:
        self._hub = hub
        self._worker = Worker("bootstrap", self._reconcile)
        self._wanted: dict[Key, tuple[Resource, Object]] = {}
        for resource, body in objects(plan):
            name = body["metadata"]["name"]
            self._wanted[(resource.plural, f"{body['metadata'].get('namespace', '')}/{name}")] = resource, body
        for resource in (NAMESPACES, SERVICES, ENDPOINT_SLICES, SERVICE_ACCOUNTS, PODS):
            hub.listen(resource, partial(self._told, resource.plural))

    def _told(self, plural: str, event: str, obj: Object) -> None:
        place = (plural, f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}")
        over = obj.get("status", {}).get("phase") in {"Failed", "Succeeded"}
        if place in self._wanted and (event == "DELETED" or over):
            self._worker.add(place)

    async def run(self) -> None:
        """Create what is missing, then keep it until cancelled."""
        await self._hub.synced(*{resource.plural: resource for resource, _ in self._wanted.values()}.values())
        for place in self._wanted:
            self._worker.add(place)
        await self._worker.run()

    async def _reconcile(self, place: Key) -> None:
        resource, body = self._wanted[place]
        namespace, _, name = place[1].partition("/")
        there = self._hub.informer(resource).cache.get((namespace, name))
        if there is not None and there.get("status", {}).get("phase") in {"Failed", "Succeeded"}:
            uid = there["metadata"]["uid"]
            await absorb_gone(self._hub.client.delete(resource, name, namespace, uid=uid, grace=0))
            return
        if there is None or terminating(there):
            try:
                await absorb_exists(self._hub.client.create(resource, body, namespace))
            except ApiError as error:
                if error.status in _HOPELESS:
                    raise RuntimeError(f"{resource.plural} {place[1]} was refused: {error}") from error
                raise
