"""A pod's network: a namespace, a routed veth pair and addresses from the node's range.

What belongs here: links, addresses and routes between a pod and its node. What does not: policy (the data plane's)
and the fabric between nodes (the supervisor's).
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusters.lab import addresses, system

MTU: Final = 1500
_HOST_MAC: Final = "ee:ee:ee:ee:ee:ee"
"""The node's end of every veth; each link has two ends only, so one address serves them all."""
_SYSCTLS: Final = {
    "net/ipv4/ip_unprivileged_port_start": "0",  # as container engines do: a pod's port 80 needs no capability
    "net/ipv4/ping_group_range": "0 0",
}


def interface_name(uid: str) -> str:
    """Name of the node's end of a pod's veth; the policy engine matches packets by it."""
    return "ew" + hashlib.sha256(uid.encode()).hexdigest()[:11]


ASKED_FOR: Final = "cni.projectcalico.org/ipAddrs"
"""The annotation by which a pod asks Calico's IPAM for addresses, one of each family at most, as a JSON list."""


class AddressError(Exception):
    """A pod cannot have an address, or not the one that it asks for; the message names it and the remedy."""


def asked_for(annotations: Mapping[str, str]) -> list[str]:
    """The addresses that a pod asks for; none by default.

    Raises:
        AddressError: The annotation is no JSON list of addresses, or names two of one family.
    """
    text = annotations.get(ASKED_FOR, "")
    if not text:
        return []
    try:
        found = [ipaddress.ip_address(each) for each in json.loads(text)]
    except (ValueError, TypeError):
        raise AddressError(f'annotation {ASKED_FOR} is {text!r}; write a JSON list: ["10.244.0.9"]') from None
    if len({each.version for each in found}) < len(found):
        raise AddressError(f"annotation {ASKED_FOR} names two addresses of one family; write one of each at most")
    return [str(each) for each in found]


class AddressPool:
    """Hands out one address of each range, round robin: one that was given back rests as long as possible."""

    def __init__(self, ranges: Sequence[str]) -> None:
        self._ranges = [ipaddress.ip_network(each) for each in ranges]
        self._next = [2 for _ in ranges]
        self._taken: set[str] = set()

    def take(self, wanted: Sequence[str] = ()) -> list[str]:
        """One address of each range, in the order of the ranges.

        Args:
            wanted: Addresses that are asked for; a range for which none is gives its next one.

        Raises:
            AddressError: A range has none left, or one that is wanted is taken or of no range; nothing was taken.
        """
        chosen = {self._range_of(each): each for each in wanted}
        if taken := sorted(set(wanted) & self._taken):
            raise AddressError(f"address {taken[0]} is another pod's; delete that pod first")
        nexts = list(self._next)
        found = [chosen.get(index) or self._free(index, nexts) for index in range(len(self._ranges))]
        self._next = nexts
        self._taken.update(found)
        return found

    def _range_of(self, address: str) -> int:
        for index, network in enumerate(self._ranges):
            if ipaddress.ip_address(address) in network:
                return index
        raise AddressError(f"address {address} is not of this node's {', '.join(map(str, self._ranges))}")

    def _free(self, index: int, nexts: list[int]) -> str:
        network = self._ranges[index]
        size = min(network.num_addresses, 1 << 16)
        usable = range(2, size - 1)  # the first two and the last are never a pod's, as CNI plugins hold it
        start = nexts[index] - 2
        for step in range(len(usable)):
            offset = usable[(start + step) % len(usable)]
            address = str(network[offset])
            if address not in self._taken:
                nexts[index] = offset + 1
                return address
        raise AddressError(f"no address left in {network}; delete pods or use more nodes")

    def give_back(self, taken: Sequence[str]) -> None:
        """Make the addresses available again, after all others."""
        self._taken.difference_update(taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetwork:
    """A pod's network.

    Attributes:
        netns: File descriptor of the namespace; closed by `disconnect`.
        interface: The node's end of the veth; empty for a pod in its node's own network.
        addresses: The pod's addresses, primary family first.
    """

    netns: int
    interface: str
    addresses: list[str]


def connect(uid: str, pod_addresses: Sequence[str], node_addresses: Sequence[str]) -> PodNetwork:
    """Make a pod's namespace and link; the node can reach the pod when this returns. Blocks; run it in a worker thread.

    Raises:
        KernelError: `ip` refused; nothing is left behind.
    """
    name, mac = interface_name(uid), _pod_mac(uid)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    fresh = -1
    try:
        system.unshare(system.CLONE_NEWNET)
        try:
            fresh = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            for key, value in _SYSCTLS.items():
                Path("/proc/sys", key).write_text(value, encoding="ascii")
            system.ip(_inside(name, mac, pod_addresses, f"/proc/{os.getpid()}/fd/{home}"))
        finally:
            system.setns(home, system.CLONE_NEWNET)
        system.ip(_outside(name, mac, pod_addresses, node_addresses))
    except (OSError, system.KernelError):
        if fresh >= 0:
            os.close(fresh)  # the last reference: the namespace goes, and both ends of the link with it
        raise
    finally:
        os.close(home)
    return PodNetwork(netns=fresh, interface=name, addresses=list(pod_addresses))


def disconnect(network: PodNetwork) -> None:
    """Remove the link at once and let go of the namespace. Blocks; run it in a worker thread."""
    try:
        if network.interface:
            system.ip([f"link del {network.interface}"])
    finally:
        os.close(network.netns)


def node_network(node_addresses: Sequence[str]) -> PodNetwork:
    """The network of a pod with `hostNetwork: true`: the node's own."""
    netns = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    return PodNetwork(netns=netns, interface="", addresses=list(node_addresses))


def _pod_mac(uid: str) -> str:
    digest = hashlib.sha256(uid.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x0A, *digest[-5:]))


def _bits(address: str) -> int:
    return ipaddress.ip_address(address).max_prefixlen


def _inside(name: str, mac: str, pod_addresses: Sequence[str], node_namespace: str) -> list[str]:
    lines = [
        "link set lo up",
        (
            f"link add eth0 address {mac} mtu {MTU} type veth"
            f" peer name {name} address {_HOST_MAC} mtu {MTU} netns {node_namespace}"
        ),
        "link set eth0 up",
    ]
    for address in pod_addresses:
        version = addresses.version(address)
        gateway, six = addresses.GATEWAY[version], version == 6
        lines += [
            # Nobody else can have it, so nothing waits until that is found out.
            f"addr add {address}/{_bits(address)} dev eth0{' nodad' if six else ''}",
            f"route add {gateway} dev eth0{'' if six else ' scope link'}",
            # The neighbour is known for good: no ARP, so no first packet waits for it.
            f"neigh add {gateway} lladdr {_HOST_MAC} dev eth0 nud permanent",
            f"route add default via {gateway} dev eth0 onlink",
        ]
    return lines


def _outside(name: str, mac: str, pod_addresses: Sequence[str], node_addresses: Sequence[str]) -> list[str]:
    lines = [f"link set {name} up"]
    for address in pod_addresses:
        same = [each for each in node_addresses if (":" in each) == (":" in address)]
        source = f" src {same[0]}" if same else ""
        lines += [
            f"route replace {address}/{_bits(address)} dev {name}{source}",
            f"neigh replace {address} lladdr {mac} dev {name} nud permanent",
        ]
    return lines
