"""A small world as Kubernetes manifests, the flows that are asked in it, and both sides' reading of it.

What belongs here: plain values, and reading them with the product's own readers. What does not: making them up
(`strategies`), asking (`kernel`, `cluster`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from clusters.lab.addresses import version
from clusters.lab.policy import snapshot
from policies import oracle
from policies.calico import read as calico
from policies.calico.model import CalicoPolicy, NetworkSet
from policies.facts import as_pod
from policies.model import NetworkPolicy, Transport
from policies.read import read

Object = dict[str, Any]
PORTS = (53, 54, 55)
"""What every place listens on, TCP and UDP: a range's last number, the one before it and the one behind.

The first is one that data planes are tempted to let pass."""
OUTSIDE = "outside"
"""The place that is neither a pod nor a node."""
PROTOCOLS = (Transport.TCP, Transport.UDP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where a pod can be: it has its addresses and its node before it has a name, labels or ports.

    Attributes:
        namespace: Where the pod must live; empty where that is free.
        ports: What the pod declares, where that is not free either.
    """

    name: str
    node: int
    addresses: tuple[str, ...]
    host_network: bool = False
    namespace: str = ""
    ports: tuple[Object, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What stays the same from one world to the next.

    Attributes:
        nodes: The addresses of each node, primary family first.
        outside: Addresses of a place that is neither pod nor node; empty where there is none.
        namespaces: The namespaces' names.
        numbers: The ports that are asked.
        from_nodes: Whether nodes and the outside can ask and be asked as well.
        protocols: What a policy's port may name.
    """

    seats: tuple[Seat, ...]
    nodes: tuple[tuple[str, ...], ...]
    outside: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ("blue", "green", "red")
    numbers: tuple[int, ...] = PORTS
    from_nodes: bool = True
    protocols: tuple[str, ...] = ("UDP", "TCP", "SCTP")

    def seat(self, name: str) -> Seat:
        """The seat of this name."""
        return next(each for each in self.seats if each.name == name)

    def address(self, place: str, family: int) -> str:
        """The address of a seat, a node (`node-0`) or the outside in one family; empty where it has none."""
        if place == OUTSIDE:
            found = self.outside
        elif place.startswith("node-"):
            found = self.nodes[int(place.removeprefix("node-"))]
        else:
            found = self.seat(place).addresses
        return next((each for each in found if version(each) == family), "")

    @property
    def families(self) -> tuple[int, ...]:
        """4, 6 or both, primary first."""
        return tuple(dict.fromkeys(version(each) for each in self.nodes[0]))


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Flow:
    """One question; `source` and `target` are seats, nodes or the outside."""

    source: str
    target: str
    port: int
    protocol: Transport
    family: int

    def __str__(self) -> str:
        return f"{self.source} → {self.target}:{self.port}/{self.protocol.lower()} by IPv{self.family}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A world as its manifests; a pod's name is its seat's.

    Attributes:
        own: What of Calico's own is in force beside the policies: its policies and network sets.
        accounts: ServiceAccounts, which only those ask for.
    """

    namespaces: tuple[Object, ...]
    pods: tuple[Object, ...]
    policies: tuple[Object, ...] = ()
    own: tuple[Object, ...] = ()
    accounts: tuple[Object, ...] = ()

    def text(self) -> str:
        """All of it as YAML, for a person: what every pod has alike is left out."""
        documents = [*map(_brief_namespace, self.namespaces), *map(_brief_pod, self.pods), *self.policies]
        documents += [*self.accounts, *self.own]
        return yaml.safe_dump_all(documents, sort_keys=False, default_flow_style=None, width=120)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The scene as the oracle has it."""

    world: oracle.World
    pods: dict[str, oracle.Pod] = field(default_factory=dict)

    def decide(self, ground: Ground, flow: Flow) -> oracle.Decision:
        """What the oracle says about a flow."""

        def side(place: str) -> oracle.Side:
            return self.pods.get(place) or ground.address(place, flow.family)

        return oracle.decide(
            self.world, side(flow.source), side(flow.target), flow.port, flow.protocol, family=flow.family
        )


def pod(seat: Seat, namespace: str, labels: dict[str, str], ports: list[Object], ground: Ground) -> Object:
    """A running pod's manifest with its status, as an API server has it."""
    nodes = ground.nodes[seat.node]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": seat.name, "namespace": namespace, "uid": f"uid-{seat.name}", "labels": labels},
        "spec": {
            "nodeName": f"node-{seat.node}",
            **({"hostNetwork": True} if seat.host_network else {}),
            "containers": [{"name": "app", "ports": ports}],
        },
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": each} for each in seat.addresses],
            "hostIPs": [{"ip": each} for each in nodes],
        },
    }


def _brief_namespace(manifest: Object) -> Object:
    return {"kind": "Namespace", "metadata": manifest["metadata"]}


def _brief_pod(manifest: Object) -> Object:
    spec, ports = manifest["spec"], manifest["spec"]["containers"][0].get("ports")
    return {
        "kind": "Pod",
        "metadata": {key: manifest["metadata"][key] for key in ("name", "namespace", "labels")},
        "spec": {**spec, "containers": [{"ports": ports}]} if ports else {"nodeName": spec["nodeName"]},
        "status": {"podIPs": manifest["status"]["podIPs"]},
    }


def policies(scene: Scene) -> tuple[NetworkPolicy, ...]:
    """The scene's policies, read as strictly as anybody's; each with a uid, as an API server gives one."""
    found = (read(each, f"networkpolicy {each['metadata']['name']}") for each in scene.policies)
    return tuple(replace(each, uid=f"uid-{each.key}", created=f"{n:04}") for n, each in enumerate(found))


def for_oracle(scene: Scene) -> Readings:
    """The scene as the oracle knows it."""
    labels = {each["metadata"]["name"]: each["metadata"]["labels"] for each in scene.namespaces}
    world = oracle.World(
        policies=policies(scene),
        namespaces=labels,
        accounts=_accounts(scene),
        calico=tuple(each for each in _own(scene) if isinstance(each, CalicoPolicy)),
        network_sets=tuple(each for each in _own(scene) if isinstance(each, NetworkSet)),
    )
    return Readings(world=world, pods={each["metadata"]["name"]: as_pod(each) for each in scene.pods})


def for_lab(scene: Scene) -> snapshot.Snapshot:
    """The scene as the lab's data plane knows it, without attachments."""
    return snapshot.Snapshot(
        pods=tuple(snapshot.pod(each) for each in scene.pods),
        namespaces={each["metadata"]["name"]: each["metadata"]["labels"] for each in scene.namespaces},
        policies=policies(scene),
        accounts=_accounts(scene),
        calico=tuple(each for each in _own(scene) if isinstance(each, CalicoPolicy)),
        network_sets=tuple(each for each in _own(scene) if isinstance(each, NetworkSet)),
    )


def _own(scene: Scene) -> list[CalicoPolicy | NetworkSet]:
    found = [calico.read(each, f"Calico's {each['metadata']['name']}") for each in scene.own]
    return [replace(each, uid=f"uid-{each.key}-{n}") for n, each in enumerate(found)]


def _accounts(scene: Scene) -> dict[tuple[str, str], dict[str, str]]:
    metas = [each["metadata"] for each in scene.accounts]
    return {(meta["namespace"], meta["name"]): meta["labels"] for meta in metas}


def asked(scene: Scene, ground: Ground) -> list[Flow]:
    """All that is asked in a scene: every pair of pods, a pod and itself included, on every port by TCP and UDP.

    What comes from nodes and the outside, and goes there, is asked on fewer ports: policies see no labels there. A pod
    in a node's network stands for its node, whose address it has.
    """
    return [
        Flow(source=source, target=target, port=port, protocol=protocol, family=family)
        for family in ground.families
        for source, target, ports in _pairs(scene, ground)
        for protocol, port in ports
    ]


def _pairs(scene: Scene, ground: Ground) -> Iterator[tuple[str, str, list[tuple[Transport, int]]]]:
    every = [(protocol, port) for protocol in PROTOCOLS for port in ground.numbers]
    some = every[:1] + every[-2:-1]
    present = [each["metadata"]["name"] for each in scene.pods]
    for source in present:
        yield from ((source, target, every) for target in present)
    if not ground.from_nodes:
        return
    taken = {seat.node for seat in ground.seats if seat.host_network and seat.name in present}
    others = [f"node-{index}" for index in range(len(ground.nodes)) if index not in taken]
    for place in [*others, *([OUTSIDE] if ground.outside else [])]:
        for name in present:
            if not ground.seat(name).host_network:
                yield place, name, some
                yield name, place, some
