"""The named sets that rules refer to, each made once a compilation: addresses of pods, ranges, named ports.

What belongs here: elements and their names. What does not: who is meant (`compiler`, `calico`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from clusters.lab.policy.ruleset import ADDRESS, NamedSet, digest, of_family
from clusters.lab.policy.snapshot import Pod, Snapshot


@dataclass(slots=True)
class Sets:
    """What one compilation has made so far, by name."""

    snapshot: Snapshot
    made: dict[str, NamedSet] = field(default_factory=dict)

    def pods(self, chosen: Callable[[Pod], bool]) -> list[Pod]:
        """The pods that can be peers and are chosen."""
        return [pod for pod in self.snapshot.pods if pod.counts and pod.addresses and chosen(pod)]

    def addresses(self, identity: object, chosen: Callable[[Pod], bool], version: int) -> str:
        """The name of the set of the chosen pods' addresses of one family; `identity` decides who is chosen."""
        name = f"peers{version}-{digest(identity)}"
        if name not in self.made:
            found = {each: "" for pod in self.pods(chosen) for each in of_family(pod.addresses, version)}
            self.made[name] = NamedSet(type=ADDRESS[version], elements=found)
        return name

    def ranges(self, identity: object, chosen: Callable[[Pod], bool], ranges: Iterable[str], version: int) -> str:
        """The same with ranges beside the addresses."""
        name = f"ranges{version}-{digest(identity)}"
        if name not in self.made:
            written = [each for pod in self.pods(chosen) for each in of_family(pod.addresses, version)]
            found = dict.fromkeys(collapsed((*written, *ranges), version), "")
            self.made[name] = NamedSet(type=ADDRESS[version], elements=found, ranges=True)
        return name

    def named_ports(
        self, identity: object, chosen: Callable[[Pod], bool], label: str, protocol: str, version: int
    ) -> str:
        """The name of the set of address, protocol and the number that each chosen pod gives the port's name."""
        name = f"ports{version}-{digest(identity, label, protocol)}"
        if name not in self.made:
            elements = {
                f"{address} . {protocol} . {number}": ""
                for pod in self.pods(chosen)
                for its_name, its_protocol, number in pod.ports
                if (its_name, its_protocol) == (label, protocol)
                for address in of_family(pod.addresses, version)
            }
            self.made[name] = NamedSet(type=f"{ADDRESS[version]} . inet_proto . inet_service", elements=elements)
        return name


def collapsed(ranges: Iterable[str], version: int = 0) -> list[str]:
    """The ranges of one family (0: of both) without overlap: nftables refuses a set whose intervals meet."""
    fours, sixes = [], []
    for each in ranges:
        network = ipaddress.ip_network(each, strict=False)
        if isinstance(network, ipaddress.IPv4Network):
            fours.append(network)
        else:
            sixes.append(network)
    found = [
        *(ipaddress.collapse_addresses(fours) if version != 6 else ()),
        *(ipaddress.collapse_addresses(sixes) if version != 4 else ()),
    ]
    return [str(each) for each in found]


def joined(ranges: Iterable[tuple[int, int]]) -> str:
    """The port ranges without overlap, in order, as the text of an anonymous set's elements."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in found)
