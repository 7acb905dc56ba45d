"""All that one node's data plane knows at one moment, as plain values: the compiler's only input.

What belongs here: reading the API's objects into values. What does not: what follows from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from clusters.lab.client import Object
from policies.calico.model import CalicoPolicy, NetworkSet
from policies.model import NetworkPolicy

Labels = Mapping[str, str]
OVER = {"Succeeded", "Failed"}
"""Phases in which a pod's address is nobody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod, as far as policy can see it.

    Attributes:
        addresses: Every address it has; empty while it is pending.
        ports: Its containers' named ports: (name, protocol in lower case, number).
        counts: Whether it can be a peer: not over, and with a network of its own.
        account: The name of its ServiceAccount.
    """

    namespace: str
    name: str
    uid: str
    labels: Labels = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    ports: tuple[tuple[str, str, int], ...] = ()
    counts: bool = True
    account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A pod of this node with the interface that its node end of the veth has."""

    pod: Pod
    interface: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One port of a Service with its ready backends (address, port).

    Attributes:
        node_port: Its number on every node; 0 where it has none.
        local: Those of the backends that run on this node.
    """

    name: str
    protocol: str
    port: int
    backends: tuple[tuple[str, int], ...] = ()
    node_port: int = 0
    local: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A Service that has cluster addresses.

    Attributes:
        keeps_source: `externalTrafficPolicy: Local`: by a node's address only that node's backends, and unmasqueraded.
    """

    namespace: str
    name: str
    addresses: tuple[str, ...]
    ports: tuple[ServicePort, ...]
    keeps_source: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is known now.

    Attributes:
        accounts: (namespace, name) of each ServiceAccount → its labels.
        calico, network_sets: Of both scopes.
    """

    pods: tuple[Pod, ...] = ()
    namespaces: Mapping[str, Labels] = field(default_factory=dict)
    accounts: Mapping[tuple[str, str], Labels] = field(default_factory=dict)
    policies: tuple[NetworkPolicy, ...] = ()
    calico: tuple[CalicoPolicy, ...] = ()
    network_sets: tuple[NetworkSet, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    services: tuple[Service, ...] = ()


def pod(obj: Object, addresses: Iterable[str] = ()) -> Pod:
    """A pod from its API object.

    Args:
        obj: The object.
        addresses: Its addresses where the node knows them before the status does.
    """
    meta, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    written = [each["ip"] for each in status.get("podIPs") or [] if each.get("ip")]
    if not written and status.get("podIP"):
        written = [status["podIP"]]
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    ports = tuple(
        (port["name"], port.get("protocol", "TCP").lower(), int(port["containerPort"]))
        for container in containers
        for port in container.get("ports") or []
        if port.get("name")
    )
    return Pod(
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        uid=meta.get("uid", ""),
        labels=meta.get("labels") or {},
        addresses=tuple(addresses) or tuple(written),
        ports=ports,
        counts=status.get("phase") not in OVER and not spec.get("hostNetwork"),
        account=spec.get("serviceAccountName") or "default",
    )


def services(objects: Iterable[Object], slices: Iterable[Object], node: str = "") -> tuple[Service, ...]:
    """Every Service with a cluster address, its backends taken from the EndpointSlices that name it.

    Args:
        node: The node whose own backends are told apart.
    """
    by_service: dict[tuple[str, str], list[Object]] = {}
    for each in slices:
        meta = each["metadata"]
        owner = (meta.get("labels") or {}).get("kubernetes.io/service-name", "")
        by_service.setdefault((meta.get("namespace", ""), owner), []).append(each)
    found = []
    for obj in objects:
        meta, spec = obj["metadata"], obj.get("spec", {})
        written = spec.get("clusterIPs") or [spec.get("clusterIP")]
        addresses = tuple(each for each in written if each and each != "None")
        if not addresses or spec.get("type") == "ExternalName":
            continue
        key = (meta.get("namespace", ""), meta["name"])
        ports = tuple(_service_port(port, by_service.get(key, []), node) for port in spec.get("ports") or [])
        keeps = spec.get("externalTrafficPolicy") == "Local"
        found.append(Service(namespace=key[0], name=key[1], addresses=addresses, ports=ports, keeps_source=keeps))
    return tuple(found)


def _service_port(port: Object, slices: Iterable[Object], node: str) -> ServicePort:
    name, protocol = port.get("name") or "", port.get("protocol", "TCP").lower()
    backends = {
        (address, int(target["port"])): endpoint.get("nodeName", "")
        for each in slices
        for target in each.get("ports") or []
        if (target.get("name") or "") == name and target.get("protocol", "TCP").lower() == protocol
        for endpoint in each.get("endpoints") or []
        if _ready(endpoint)
        for address in endpoint.get("addresses") or []
    }
    return ServicePort(
        name=name,
        protocol=protocol,
        port=int(port["port"]),
        backends=tuple(sorted(backends)),
        node_port=int(port.get("nodePort") or 0),
        local=tuple(sorted(each for each, place in backends.items() if node and place == node)),
    )


def _ready(endpoint: Object) -> bool:
    conditions = endpoint.get("conditions") or {}
    return conditions.get("ready") is not False and not conditions.get("terminating")
