"""Services on nftables: cluster addresses to ready backends, and an honest refusal where there are none.

What belongs here: the Services' part of the table, pure. What does not: policy. The policies' chains stand before these
in the filter hooks and see the backend, because addresses are translated in prerouting.

A port without ready backends, and a port that the Service does not have, is rejected with *port unreachable*, as
kube-proxy does in its nftables mode; an address of the range that no Service has goes nowhere.
"""

from __future__ import annotations

import ipaddress

from clusters.lab.addresses import EVERY
from clusters.lab.policy.ruleset import ADDRESS, FAMILIES, IP, Chain, NamedSet, Ruleset, digest, family, of_family
from clusters.lab.policy.snapshot import Snapshot

REJECT = "reject with icmpx port-unreachable"


def compile_services(snapshot: Snapshot) -> Ruleset:
    """The Services' part of the table; it refers to the hairpin sets of the policies' part."""
    sets = {}
    chains: dict[str, Chain] = {}
    for version in FAMILIES:
        jumps: dict[str, str] = {}
        known: dict[str, str] = {}
        for service in snapshot.services:
            for address in of_family(service.addresses, version):
                known[address] = ""
                for port in service.ports:
                    backends = [each for each in port.backends if family(each[0]) == version]
                    if backends:
                        mark = digest(service.namespace, service.name, port.protocol, port.port)
                        name = f"service{version}-{mark}"
                        chains[name] = Chain(rules=(_translate(version, port.protocol, backends),))
                        jumps[f"{address} . {port.protocol} . {port.port}"] = f"goto {name}"
        kind = f"{ADDRESS[version]} . inet_proto . inet_service : verdict"
        sets[f"services{version}"] = NamedSet(type=kind, elements=jumps)
        sets[f"cluster-ips{version}"] = NamedSet(type=ADDRESS[version], elements=known)
    chains.update(_base())
    return Ruleset(sets=sets, chains=chains)


def _translate(version: int, protocol: str, backends: list[tuple[str, int]]) -> str:
    to = f"meta l4proto {protocol} dnat {IP[version]} to"
    if len(backends) == 1:
        address, port = backends[0]
        return f"{to} {f'[{address}]' if version == 6 else address}:{port}"
    pairs = ", ".join(f"{index} : {address} . {port}" for index, (address, port) in enumerate(backends))
    return f"{to} numgen random mod {len(backends)} map {{ {pairs} }}"


def _base() -> dict[str, Chain]:
    translate = tuple(f"{IP[each]} daddr . meta l4proto . th dport vmap @services{each}" for each in FAMILIES)
    refuse = tuple(f"{IP[each]} daddr @cluster-ips{each} {REJECT}" for each in FAMILIES)
    nowhere = tuple(f"{IP[ipaddress.ip_network(each).version]} daddr {each} drop" for each in EVERY.services)
    return {
        "nat-prerouting": Chain(hook="type nat hook prerouting priority -100", rules=translate),
        "nat-output": Chain(hook="type nat hook output priority -100", rules=translate),
        "nat-postrouting": Chain(
            hook="type nat hook postrouting priority 100",
            rules=tuple(f"{IP[each]} saddr . {IP[each]} daddr @hairpin{each} masquerade" for each in FAMILIES),
        ),
        "services-forward": Chain(hook="type filter hook forward priority 0", rules=(*refuse, *nowhere)),
        "services-output": Chain(hook="type filter hook output priority 0", rules=(*refuse, *nowhere)),
    }
