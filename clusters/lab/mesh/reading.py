"""One API object read as the mesh sees it: a pod, a Service with its endpoints, the hosts of a ServiceEntry.

What belongs here: pure functions of objects. What does not: following the API and identity of what is unchanged
(`registry`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from clusters.lab.client import Key, Object
from clusters.lab.mesh.hosts import SUFFIX
from clusters.lab.mesh.model import AppProtocol, Endpoint, Proxy, Service, ServicePort
from policies.istio.model import EntryEndpoint, EntryPort, ServiceEntry

Age = tuple[str, str, str]
"""(creation, name, namespace): Istio's order of Services."""
PodAt = Callable[[str, str, str], Proxy | None]
"""(namespace, pod name or empty, address) → the pod."""
_TLS_MODE: Final = "security.istio.io/tlsMode"
_EXPORT_TO: Final = "networking.istio.io/exportTo"
_SERVICE_NAME: Final = "kubernetes.io/service-name"
_WORDS: Final[Mapping[str, AppProtocol]] = {
    "http": "http",
    "http_proxy": "http",
    "http2": "http2",
    "grpc": "http2",
    "grpc-web": "http2",
    "tls": "tls",
    "https": "tls",
    "tcp": "tcp",
    "mongo": "tcp",
    "redis": "tcp",
    "mysql": "tcp",
}
"""Istio's words for protocols, in lower case."""
_KUBERNETES: Final[Mapping[str, AppProtocol]] = {
    "kubernetes.io/h2c": "http2",
    "kubernetes.io/ws": "http",
    "kubernetes.io/wss": "tls",
}
"""Kubernetes' own, which only an appProtocol may be."""
_SERVER_FIRST: Final = frozenset({25, 53, 3306, 27017})
"""Ports whose servers speak first: TCP unless someone says otherwise, since nothing could be told from first bytes."""


def protocol(name: str, number: int, app: str = "") -> AppProtocol:
    """What a Service's port speaks: its appProtocol decides, else its name up to the first `-`."""
    if app in _KUBERNETES:
        return _KUBERNETES[app]
    word = (app or name).lower()
    found = _WORDS["grpc-web"] if word.startswith("grpc-web") else _WORDS.get(word.partition("-")[0])
    return found or ("tcp" if number in _SERVER_FIRST else "unknown")


def proxy(pod: Object) -> Proxy:
    """A pod as far as it matters to anybody's configuration; its address is empty while it has none."""
    meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    over = status.get("phase") in {"Succeeded", "Failed"}
    return Proxy(
        namespace=meta["namespace"],
        pod=meta["name"],
        uid=meta.get("uid", ""),
        address="" if over else status.get("podIP", ""),
        service_account=spec.get("serviceAccountName") or "default",
        node=spec.get("nodeName", ""),
        labels=meta.get("labels") or {},
        annotations=meta.get("annotations") or {},
        ports={
            int(port["containerPort"]): port.get("name", "")
            for container in (*(spec.get("initContainers") or []), *(spec.get("containers") or []))
            for port in container.get("ports") or []
            if port.get("protocol", "TCP") == "TCP"
        },
    )


def owner(endpoint_slice: Object) -> Key:
    """The Service that a slice belongs to; its name is empty for none."""
    meta = endpoint_slice["metadata"]
    return meta["namespace"], (meta.get("labels") or {}).get(_SERVICE_NAME, "")


def mentions(endpoint_slice: Object, pod: Key, address: str) -> bool:
    """Whether a slice has the pod as an endpoint, by name or by address."""
    return any(
        (target.get("namespace"), target.get("name")) == pod or address in (each.get("addresses") or [])
        for each in endpoint_slice.get("endpoints") or []
        for target in [each.get("targetRef") or {}]
    )


def is_called(service: Object) -> bool:
    """Whether there is something behind the Service's name: one of type ExternalName is only a DNS alias."""
    return (service.get("spec") or {}).get("type") != "ExternalName"


def service(obj: Object, slices: Iterable[Object], pod_at: PodAt) -> tuple[Age, Service]:
    """A Service with its ready endpoints, and its place in Istio's order."""
    meta, spec = obj["metadata"], obj.get("spec") or {}
    name, namespace = meta["name"], meta["namespace"]
    addresses = [each for each in spec.get("clusterIPs") or [spec.get("clusterIP")] if each and each != "None"]
    held = sorted(slices, key=lambda each: str(each["metadata"]["name"]))
    found = Service(
        name=name,
        namespace=namespace,
        host=f"{name}.{namespace}{SUFFIX}",
        addresses=tuple(addresses),
        headless=not addresses,
        exports=tuple(each.strip() for each in (meta.get("annotations") or {}).get(_EXPORT_TO, "").split(",") if each),
        selector=spec.get("selector") or {},
        ports=tuple(
            ServicePort(
                number=int(port["port"]),
                name=port.get("name", ""),
                protocol=protocol(port.get("name", ""), int(port["port"]), port.get("appProtocol") or ""),
                target=port.get("targetPort") or "",
                endpoints=tuple(_endpoints(held, port.get("name", ""), namespace, pod_at)),
            )
            for port in spec.get("ports") or []
            if port.get("protocol", "TCP") == "TCP"
        ),
    )
    return (meta.get("creationTimestamp") or "", name, namespace), found


def _endpoints(slices: Iterable[Object], port: str, namespace: str, pod_at: PodAt) -> Iterable[Endpoint]:
    """Of a port by its name; each address once, those of pods that are not known yet left out."""
    found: dict[tuple[str, int], Endpoint] = {}
    for each in slices:
        numbers = [
            int(one["port"])
            for one in each.get("ports") or []
            if (one.get("name") or "") == port and one.get("protocol", "TCP") == "TCP" and one.get("port")
        ]
        for endpoint in each.get("endpoints") or [] if numbers else []:
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            target = endpoint.get("targetRef") or {}
            named = target.get("name", "") if target.get("kind") == "Pod" else ""
            for address in endpoint.get("addresses") or []:
                pod = pod_at(target.get("namespace") or namespace, named, address) if named else None
                pod = pod or pod_at(namespace, "", address) if not named else pod
                if named and pod is None:
                    continue
                for number in numbers:
                    found.setdefault((address, number), _endpoint(address, number, pod))
    return found.values()


def _endpoint(address: str, port: int, pod: Proxy | None) -> Endpoint:
    if pod is None:
        return Endpoint(address=address, port=port)
    return Endpoint(
        address=address,
        port=port,
        labels=pod.labels,
        meshed=pod.labels.get(_TLS_MODE) == "istio",
        namespace=pod.namespace,
        service_account=pod.service_account,
    )


def entry_services(entry: ServiceEntry) -> tuple[tuple[Age, Service], ...]:
    """The hosts of a ServiceEntry, each as a service with its endpoints."""
    meta = entry.meta
    return tuple(
        (
            (meta.created, host, meta.namespace),
            Service(
                name=host,
                namespace=meta.namespace,
                host=host,
                addresses=entry.addresses,
                external=True,
                exports=entry.exports,
                resolution=entry.resolution,
                ports=tuple(
                    ServicePort(
                        number=port.number,
                        name=port.name,
                        protocol=_WORDS.get(port.protocol.lower(), "unknown"),
                        target=port.target_port or "",
                        endpoints=tuple(_entry_endpoints(entry, host, port)),
                    )
                    for port in entry.ports
                ),
            ),
        )
        for host in entry.hosts
    )


def _entry_endpoints(entry: ServiceEntry, host: str, port: EntryPort) -> Iterable[Endpoint]:
    """Those that are written; without any, a host that DNS resolves is its own endpoint."""
    alone = entry.resolution == "DNS" and not host.startswith("*")
    for each in entry.endpoints or ((EntryEndpoint(address=host),) if alone else ()):
        yield Endpoint(
            address=each.address,
            port=each.ports.get(port.name) or port.target_port or port.number,
            labels=each.labels,
            meshed=each.labels.get(_TLS_MODE) == "istio",
            namespace=entry.meta.namespace,
            service_account=each.service_account,
        )
