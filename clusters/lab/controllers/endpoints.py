"""EndpointSlices: for every Service with a selector, the pods behind it, with their ports and whether they are ready.

What belongs here: which pods and ports. What does not: the Services' addresses (API server) and packets (the node).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict

from clusters.lab.client import ENDPOINT_SLICES, PODS, SERVICES, Key, Object, key
from clusters.lab.controllers.hub import Hub, Worker, absorb_gone, labels, owner, selects, terminating

MANAGER = "endpointslice-controller.k8s.io"
_SERVICE_NAME = "kubernetes.io/service-name"
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_HEADLESS = "service.kubernetes.io/headless"
_LARGEST = 100
"""Endpoints in one slice, as in a real cluster."""

Ports = tuple[tuple[str, int, str, str], ...]
"""(name, number, protocol, appProtocol) of one slice."""


class Endpoints:
    """Keeps the slices of every Service as its pods are."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._worker = Worker("endpoints", self._reconcile)
        self._services = hub.listen(SERVICES, self._worker.add_object)
        self._pods = hub.listen(PODS, self._pod_changed)
        self._slices = hub.listen(ENDPOINT_SLICES, self._slice_changed)
        self._before: dict[Key, Object] = {}

    def _pod_changed(self, event: str, pod: Object) -> None:
        """A pod concerns the Services that select it, and those that selected it before its labels changed."""
        place = key(pod)
        before = self._before.get(place, pod)
        for at, service in self._services.cache.items():
            selector = service["spec"].get("selector")
            if at[0] == place[0] and selector and (selects(selector, pod) or selects(selector, before)):
                self._worker.add(at)
        if event == "DELETED":
            self._before.pop(place, None)
        else:
            self._before[place] = pod

    def _slice_changed(self, _: str, obj: Object) -> None:
        if labels(obj).get(_MANAGED_BY) == MANAGER:
            self._worker.add((obj["metadata"]["namespace"], labels(obj).get(_SERVICE_NAME, "")))

    async def run(self) -> None:
        """Reconcile until cancelled."""
        await self._hub.synced(SERVICES, PODS, ENDPOINT_SLICES)
        await self._worker.run()

    async def _reconcile(self, place: Key) -> None:
        service = self._services.cache.get(place)
        ours = self._ours(place)
        if service is None:
            wanted: dict[str, Object] = {}
        elif not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return
        else:
            wanted = self._wanted(service)
        client, cache = self._hub.client, self._slices.cache
        for name, body in wanted.items():
            there = ours.get(name)
            if there is None:
                fresh = await client.create(ENDPOINT_SLICES, body, place[0])
            elif _differs(there, body):
                body["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
                fresh = await client.replace(ENDPOINT_SLICES, body)
            else:
                continue
            cache[key(fresh)] = fresh
        for name, obj in ours.items():
            if name not in wanted:
                await absorb_gone(client.delete(ENDPOINT_SLICES, name, place[0], uid=obj["metadata"]["uid"]))

    def _ours(self, place: Key) -> dict[str, Object]:
        return {
            name: each
            for (namespace, name), each in self._slices.cache.items()
            if namespace == place[0]
            and labels(each).get(_SERVICE_NAME) == place[1]
            and labels(each).get(_MANAGED_BY) == MANAGER
        }

    def _wanted(self, service: Object) -> dict[str, Object]:
        spec, found = service["spec"], {}
        pods = [
            pod
            for (namespace, _), pod in self._pods.cache.items()
            if namespace == service["metadata"]["namespace"]
            and selects(spec["selector"], pod)
            and pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}
        ]
        for family in spec.get("ipFamilies") or ["IPv4"]:
            groups: defaultdict[Ports, list[Object]] = defaultdict(list)
            for pod in pods:
                addresses = _addresses(pod, family)
                if addresses:
                    groups[_ports(service, pod)].append(_endpoint(service, pod, addresses))
            for ports, endpoints in (groups or {(): []}).items():
                endpoints.sort(key=lambda each: json.dumps(each["addresses"]))
                for start in range(0, max(len(endpoints), 1), _LARGEST):
                    body = _slice(service, family, ports, endpoints[start : start + _LARGEST], start)
                    found[body["metadata"]["name"]] = body
        return found


def _differs(there: Object, body: Object) -> bool:
    return labels(there) != labels(body) or any(
        (there.get(part) or []) != body[part] for part in ("endpoints", "ports")
    )


def _addresses(pod: Object, family: str) -> list[str]:
    status = pod.get("status", {})
    ips = [each["ip"] for each in status.get("podIPs") or []] or [status.get("podIP", "")]
    return [ip for ip in ips if ip and (":" in ip) == (family == "IPv6")][:1]


def _ports(service: Object, pod: Object) -> Ports:
    """The Service's ports on this pod; a named port that the pod does not have is left out."""
    found = []
    for port in service["spec"].get("ports") or []:
        protocol = port.get("protocol", "TCP")
        target = port.get("targetPort") or port["port"]
        number = target if isinstance(target, int) else _named(pod, target, protocol)
        if number:
            found.append((port.get("name", ""), number, protocol, port.get("appProtocol", "")))
    return tuple(found)


def _named(pod: Object, name: str, protocol: str) -> int:
    sidecars = [each for each in pod["spec"].get("initContainers") or [] if each.get("restartPolicy") == "Always"]
    for container in (*pod["spec"]["containers"], *sidecars):
        for port in container.get("ports") or []:
            if port.get("name") == name and port.get("protocol", "TCP") == protocol:
                return int(port["containerPort"])
    return 0


def _endpoint(service: Object, pod: Object, addresses: list[str]) -> Object:
    conditions = pod.get("status", {}).get("conditions") or []
    serving = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    ending = terminating(pod)
    meta, spec = pod["metadata"], pod["spec"]
    always = bool(service["spec"].get("publishNotReadyAddresses"))
    found: Object = {
        "addresses": addresses,
        "conditions": {"ready": always or (serving and not ending), "serving": serving, "terminating": ending},
        "targetRef": {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
    }
    if spec.get("nodeName"):
        found["nodeName"] = spec["nodeName"]
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        found["hostname"] = spec["hostname"]
    return found


def _slice(service: Object, family: str, ports: Ports, endpoints: list[Object], start: int) -> Object:
    meta = service["metadata"]
    what = json.dumps([meta["uid"], family, ports, start])
    name = f"{meta['name'][:57]}-{hashlib.sha256(what.encode()).hexdigest()[:5]}"
    own = {_SERVICE_NAME: meta["name"], _MANAGED_BY: MANAGER}
    if service["spec"].get("clusterIP") == "None":
        own[_HEADLESS] = ""
    body: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": {**labels(service), **own},
            "ownerReferences": [owner(SERVICES, service)],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": [_port(*each) for each in ports],
    }
    return body


def _port(name: str, number: int, protocol: str, application: str) -> Object:
    found: Object = {"name": name, "port": number, "protocol": protocol}
    if application:
        found["appProtocol"] = application
    return found
