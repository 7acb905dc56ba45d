"""The lab's address plan. Everything lives inside the lab's own network namespace, so it collides with nothing outside.

Addresses are strings of either family; every structure that holds them holds a tuple or list, primary family first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

API_PORT: Final = 6443
KUBELET_PORT: Final = 10250
CLUSTER_DOMAIN: Final = "cluster.local"
GATEWAY: Final = {4: "169.254.1.1", 6: "fe80::ecee:eeff:feee:eeee"}
"""A pod's next hop by family: a link-local address that its node answers for on the pod's own veth, as Calico does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPlan:
    """Who has which addresses in a lab of certain families; every tuple has one entry a family, primary first.

    Attributes:
        families: 4, 6 or both.
        control_plane: Where the API server listens inside the lab (the fabric's bridge), besides the loopback socket
            outside.
    """

    families: tuple[int, ...]
    control_plane: tuple[str, ...]
    fabric: tuple[str, ...]
    services: tuple[str, ...]
    api_service: tuple[str, ...]
    dns_service: tuple[str, ...]
    pods: tuple[str, ...]

    def node_addresses(self, index: int) -> list[str]:
        """Addresses of node number `index` (from 0) on the fabric."""
        return [{4: f"172.31.0.{11 + index}", 6: f"fd00:172:31::{11 + index:x}"}[each] for each in self.families]

    def pod_cidrs(self, index: int) -> list[str]:
        """The pod ranges of node number `index` (from 0)."""
        return [{4: f"10.244.{index}.0/24", 6: f"fd00:10:244:{index:x}::/64"}[each] for each in self.families]


_PARTS: Final = {
    4: {
        "control_plane": "172.31.0.2",
        "fabric": "172.31.0.0/24",
        "services": "10.96.0.0/16",
        "api_service": "10.96.0.1",
        "dns_service": "10.96.0.10",
        "pods": "10.244.0.0/16",
    },
    6: {
        "control_plane": "fd00:172:31::2",
        "fabric": "fd00:172:31::/64",
        "services": "fd00:10:96::/112",
        "api_service": "fd00:10:96::1",
        "dns_service": "fd00:10:96::a",
        "pods": "fd00:10:244::/48",
    },
}
FAMILIES: Final[dict[str, tuple[int, ...]]] = {"ipv4": (4,), "ipv6": (6,), "dual": (4, 6)}
"""What `--ip-family` may be, each with its families, primary first."""


def plan(ip_family: str) -> AddressPlan:
    """The plan of a lab with this `--ip-family`; a dual-stack lab's primary family is IPv4."""
    families = FAMILIES[ip_family]
    parts = {part: tuple(_PARTS[each][part] for each in families) for part in _PARTS[4]}
    return AddressPlan(families=families, **parts)


EVERY: Final = plan("dual")
"""All that any lab may have: for certificates, and for rules that may name what is not there."""


def version(address: str) -> int:
    """4 or 6, of an address or a range that is known to be one."""
    return 6 if ":" in address else 4


def node_name(index: int) -> str:
    """Name of node number `index` (from 0), as `kubectl get nodes` shows it."""
    return f"lab-{index}"
