"""The lab's network between nodes: one bridge, one network namespace for each node, and the routes to every pod.

What belongs here: links, addresses, routes and sysctls of the control plane and the nodes. What does not: pods (the
kubelet's), Services and policies (the node's nftables).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from clusters.lab import addresses, system
from clusters.lab.addresses import AddressPlan

BRIDGE: Final = "fabric"
"""The bridge, in the namespace of the control plane."""
NODE_LINK: Final = "eth0"
"""A node's own end of its link to the fabric."""

_ROUTER: Final = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.rp_filter": "2",
    "net.ipv4.conf.default.rp_filter": "2",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv6.conf.all.forwarding": "1",
}
"""A router with loose reverse-path checks: policies decide what passes, not the shape of the routes."""
_BRIDGED: Final = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables")
"""Where the module is loaded these send bridged packets through the control plane's hooks as well; off."""


def sysctl(name: str, value: str) -> None:
    """Set a kernel setting of the current network namespace; absent ones (no IPv6 on this kernel) are left alone.

    Raises:
        KernelError: It is there and cannot be set.
    """
    path = Path("/proc/sys") / name.replace(".", "/")
    try:
        path.write_text(value, encoding="ascii")
    except FileNotFoundError:
        return
    except OSError as error:
        raise system.KernelError(f"sysctl {name}={value}: {error.strerror}") from None


def build(nodes: int, plan: AddressPlan) -> list[int]:
    """Make the fabric around the current network namespace; a file descriptor of each node's namespace, in order."""
    for name, value in _ROUTER.items():
        sysctl(name, value)
    for name in _BRIDGED:
        sysctl(f"net.bridge.{name}", "0")
    namespaces = [system.new_network_namespace() for _ in range(nodes)]
    plain = "stp_state 0 forward_delay 0 mcast_snooping 0"
    lines = ["link set lo up", f"link add {BRIDGE} type bridge {plain}"]
    lines += [_addr(each, plan, BRIDGE) for each in plan.control_plane]
    lines.append(f"link set {BRIDGE} up")
    for index, namespace in enumerate(namespaces):
        name = addresses.node_name(index)
        peer = f"peer name {NODE_LINK} netns /proc/{os.getpid()}/fd/{namespace}"
        lines += [
            f"link add {name} type veth {peer}",
            f"link set {name} master {BRIDGE} up",
        ]
    lines += [route for index in range(nodes) for route in _routes(index, plan)]
    system.ip(lines)
    for index, namespace in enumerate(namespaces):
        system.ip(_node(index, nodes, plan), netns=namespace)
    return namespaces


def become_node(namespace: int) -> None:
    """Move this process into a node's namespace, for good, and set that namespace's kernel settings."""
    system.setns(namespace, system.CLONE_NEWNET)
    for name, value in _ROUTER.items():
        sysctl(name, value)


def _addr(address: str, plan: AddressPlan, link: str) -> str:
    """The line that gives a link an address of the fabric, to be used at once: nobody else can have it."""
    version = addresses.version(address)
    bits = plan.fabric[plan.families.index(version)].partition("/")[2]
    return f"addr add {address}/{bits} dev {link}{' nodad' if version == 6 else ''}"


def _routes(index: int, plan: AddressPlan) -> list[str]:
    """Routes of anyone on the fabric to the pods of a node, through that node."""
    pairs = zip(plan.pod_cidrs(index), plan.node_addresses(index), strict=True)
    return [f"route add {cidr} via {node}" for cidr, node in pairs]


def _node(index: int, nodes: int, plan: AddressPlan) -> list[str]:
    lines = [_addr(each, plan, NODE_LINK) for each in plan.node_addresses(index)]
    lines.append(f"link set {NODE_LINK} up")
    return lines + [route for other in range(nodes) if other != index for route in _routes(other, plan)]
