"""The lab's address plan. Everything lives inside the lab's own network namespace, so it collides with nothing outside.

Addresses are strings of either family; every structure that holds them holds a list, primary family first.
"""

from __future__ import annotations

CONTROL_PLANE = ["172.31.0.2"]
"""Where the API server listens inside the lab (the fabric's bridge), besides the loopback socket outside."""
API_PORT = 6443
FABRIC = ["172.31.0.0/24"]
SERVICES = ["10.96.0.0/16"]
API_SERVICE = ["10.96.0.1"]
DNS_SERVICE = ["10.96.0.10"]
PODS = ["10.244.0.0/16"]
GATEWAY = ["169.254.1.1"]
"""A pod's next hop: a link-local address that its node answers for on the pod's own veth, as Calico does."""
KUBELET_PORT = 10250
CLUSTER_DOMAIN = "cluster.local"


def node_addresses(index: int) -> list[str]:
    """Addresses of node number `index` (from 0) on the fabric."""
    return [f"172.31.0.{11 + index}"]


def pod_cidrs(index: int) -> list[str]:
    """The pod ranges of node number `index` (from 0)."""
    return [f"10.244.{index}.0/24"]


def node_name(index: int) -> str:
    """Name of node number `index` (from 0), as `kubectl get nodes` shows it."""
    return f"lab-{index}"
