"""PeerAuthentication's meaning: what a workload's proxy takes on which port.

What belongs here: precedence and inheritance. What does not: the filter chains that follow from it (`inbound`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from clusters.lab.mesh.model import ROOT_NAMESPACE, Mesh
from policies.istio.model import Labels, PeerAuthentication

Mode = Literal["STRICT", "PERMISSIVE", "DISABLE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """What one workload takes; `ports` are only those that a port-level setting names."""

    default: Mode = "PERMISSIVE"
    ports: Mapping[int, Mode] = field(default_factory=dict)

    def of(self, port: int) -> Mode:
        """The mode on a port of the workload."""
        return self.ports.get(port, self.default)


def selects(selector: Labels | None, labels: Labels) -> bool:
    """Whether a resource's selector picks a workload with these labels; none picks every workload."""
    return not selector or all(labels.get(key) == value for key, value in selector.items())


def modes(mesh: Mesh, namespace: str, labels: Labels) -> Modes:
    """What the workload's proxy takes: port before workload before namespace before mesh, oldest first at one level.

    One with a selector is for workloads of its own namespace alone, in the root namespace too.
    """
    levels: dict[str, PeerAuthentication] = {}
    for each in mesh.peer_authentications:
        if each.selector:
            level = "workload" if each.meta.namespace == namespace and selects(each.selector, labels) else ""
        elif each.meta.namespace == ROOT_NAMESPACE:
            level = "mesh"
        else:
            level = "namespace" if each.meta.namespace == namespace else ""
        if level and (level not in levels or _age(each) < _age(levels[level])):
            levels[level] = each
    default: Mode = "PERMISSIVE"
    for level in ("mesh", "namespace", "workload"):
        found = levels.get(level)
        if found and found.mode and found.mode != "UNSET":
            default = found.mode
    ports = levels["workload"].ports if "workload" in levels else {}
    return Modes(default=default, ports={port: default if mode == "UNSET" else mode for port, mode in ports.items()})


def _age(policy: PeerAuthentication) -> tuple[str, str]:
    return policy.meta.created, policy.meta.name
