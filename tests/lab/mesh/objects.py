"""API objects as an informer of the lab's istiod has them, small, for tests."""

from __future__ import annotations

import ssl
from typing import Any

from clusters.lab.client import Client, Object
from clusters.lab.mesh.registry import Registry


def pod(name: str, address: str = "", *, namespace: str = "shop", meshed: bool = True, **rest: Any) -> Object:
    """A pod of the app of its own name, with its own ServiceAccount."""
    labels = {"app": name, **({"security.istio.io/tlsMode": "istio"} if meshed else {})}
    ports = [{"containerPort": 8080, "name": "web"}, {"containerPort": 53, "name": "dns", "protocol": "UDP"}]
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-of-{name}", "labels": labels},
        "spec": {"serviceAccountName": name, "nodeName": "lab-0", "containers": [{"name": "main", "ports": ports}]},
        "status": {"phase": "Running", **({"podIP": address} if address else {}), **rest},
    }


def service(name: str, *ports: Object, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> Object:
    """A Service for the app of its own name."""
    return {
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": created},
        "spec": {
            "selector": {"app": name},
            "clusterIP": "10.96.0.7",
            "clusterIPs": ["10.96.0.7"],
            "ports": list(ports) or [{"name": "http", "port": 80, "targetPort": 8080}],
            **spec,
        },
    }


def endpoint(address: str, pod_name: str = "", *, ready: bool = True) -> Object:
    """One endpoint of a slice."""
    target = {"targetRef": {"kind": "Pod", "namespace": "shop", "name": pod_name}} if pod_name else {}
    return {"addresses": [address], "conditions": {"ready": ready}, **target}


def endpoint_slice(owner: str, *endpoints: Object, port: int = 8080, name: str = "http") -> Object:
    """The slice of a Service."""
    labels = {"kubernetes.io/service-name": owner}
    return {
        "metadata": {"name": f"{owner}-abc", "namespace": "shop", "labels": labels},
        "ports": [{"name": name, "port": port, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


def resource(name: str, created: str = "2026-01-01T00:00:00Z", namespace: str = "shop", **spec: Any) -> Object:
    """An object of one of Istio's kinds, without kind and version, as items of a list may be."""
    meta = {"name": name, "namespace": namespace, "creationTimestamp": created}
    return {"metadata": meta, "spec": spec}


class Watched:
    """A registry that is told by the test, with all that it said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.changes = 0
        client = Client("https://nowhere.invalid", "", ssl.create_default_context())
        self.registry = Registry(client, self._changed, self.said.append)
        for each in self.registry.informers.values():
            each.synced.set()

    def _changed(self) -> None:
        self.changes += 1
