"""Who is there: the ready pods with what they serve, in classes of pods that no policy can tell apart.

What belongs here: reading pods. What does not: fetching them and asking (`measure`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from clusters.marks import MANAGED_BY, MANAGER, WORKLOAD
from clusters.resources import ready
from flows.errors import UsageError
from policies import oracle
from policies.facts import as_pod
from policies.model import Transport

Object = dict[str, Any]
_PORT: Final = re.compile(r"(?P<number>[0-9]{1,5})(/(?P<protocol>tcp|udp))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A port that pods are asked on."""

    number: int
    protocol: Transport = Transport.TCP

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol.lower()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """One ready pod.

    Attributes:
        seen: What policies can know of it.
        ports: Those that its containers declare.
        containers: Those that run, the default one first: where a visitor may be let in.
        ours: It runs an agent of ours, so an answer proves who answered.
    """

    seen: oracle.Pod
    uid: str = ""
    node: str = ""
    ports: tuple[Port, ...] = ()
    containers: tuple[str, ...] = ()
    ours: bool = False

    @property
    def name(self) -> str:
        """`namespace/pod`."""
        return self.seen.key

    def address(self, family: int) -> str:
        """Its address of a family, or empty."""
        return next((each for each in self.seen.addresses if (":" in each) == (family == 6)), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """Pods of equal namespace, labels and ports, the first of which is asked for all.

    Attributes:
        ports: What it is asked on.
    """

    members: tuple[Resident, ...]
    ports: tuple[Port, ...] = ()

    @property
    def one(self) -> Resident:
        """The representative."""
        return self.members[0]

    @property
    def name(self) -> str:
        """The representative's name, with how many it stands for."""
        return self.one.name if len(self.members) == 1 else f"{self.one.name} (×{len(self.members)})"

    def answering(self, source: Class) -> Resident | None:
        """Who of it is asked by a source: of its own class another one; None where that is the source alone."""
        if source.one.name != self.one.name:
            return self.one
        return self.members[1] if len(self.members) > 1 else None


def port(text: str) -> Port:
    """A port as `--port` has it: `8080`, `53/udp`.

    Raises:
        UsageError: It is none.
    """
    match = _PORT.fullmatch(text)
    if match is None or not 1 <= int(match["number"]) <= 65535:
        raise UsageError(f"--port {text!r}: write a number from 1 to 65535, for UDP as 53/udp")
    return Port(int(match["number"]), Transport((match["protocol"] or "tcp").upper()))


def take(pods: Iterable[Object]) -> tuple[list[Resident], list[str]]:
    """The ready pods in order of their names, and a line for each other one that is not just over."""
    residents, lines = [], []
    for pod in sorted(pods, key=lambda each: (each["metadata"]["namespace"], each["metadata"]["name"])):
        name, status = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}", pod.get("status") or {}
        if status.get("phase") in {"Succeeded", "Failed"}:
            continue
        if not ready(pod):
            lines.append(f"{name}: not ready, so neither asked nor asking")
            continue
        residents.append(_resident(pod))
    return residents, lines


def classes(residents: Sequence[Resident], further: Sequence[Port], *, every_pod: bool) -> list[Class]:
    """The classes in order of their first pods' names.

    Args:
        further: Ports that everybody is asked on.
        every_pod: Each pod is a class of its own.
    """
    found: dict[object, list[Resident]] = {}
    for each in residents:
        found.setdefault(each.name if every_pod else _alike(each), []).append(each)
    return [
        Class(members=tuple(members), ports=tuple(sorted({*members[0].ports, *further}))) for members in found.values()
    ]


def _alike(each: Resident) -> object:
    """Equal for pods that no policy, and no address, tells apart."""
    seen = each.seen
    named = tuple((port.name, port.number, port.protocol) for port in seen.ports)
    families = (bool(each.address(4)), bool(each.address(6)))
    labels = tuple(sorted(seen.labels.items()))
    return seen.namespace, labels, each.ports, named, families, seen.host_network, each.ours


def _resident(pod: Object) -> Resident:
    meta, spec, status = pod["metadata"], pod["spec"], pod["status"]
    labels = meta.get("labels") or {}
    running = {each["name"] for each in status.get("containerStatuses") or [] if "running" in (each.get("state") or {})}
    containers = [each["name"] for each in spec.get("containers") or [] if each["name"] in running]
    first = (meta.get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    lasting = [each for each in spec.get("initContainers") or [] if each.get("restartPolicy") == "Always"]
    ports = {
        Port(each["containerPort"], Transport(each.get("protocol", "TCP")))
        for container in [*(spec.get("containers") or []), *lasting]
        for each in container.get("ports") or []
    }
    return Resident(
        seen=as_pod(pod),
        uid=str(meta.get("uid", "")),
        node=str(spec.get("nodeName", "")),
        ports=tuple(sorted(ports)),
        containers=tuple(sorted(containers, key=lambda name: name != first)),
        ours=labels.get(MANAGED_BY) == MANAGER and WORKLOAD in labels,
    )
