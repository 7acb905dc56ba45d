"""Services on nftables: cluster addresses to ready backends, and an honest refusal where there are none.

What belongs here: the Services' part of the table, pure. What does not: policy. The policies' chains stand before these
in the filter hooks and see the backend, because addresses are translated in prerouting.

A port without ready backends, and a port that the Service does not have, is rejected with *port unreachable*, as
kube-proxy does in its nftables mode; an address of the range that no Service has goes nowhere.

By a node's address (`nodePort`) it is as with kube-proxy, too, seen with Calico on a real cluster: with
`externalTrafficPolicy: Cluster` every caller is masqueraded, so the backend sees a node; with `Local` a pod that dials
its own node gets any backend and keeps its address, everybody else only the node's own backends, or silence where it
has none. What a pod sends out of the pods' range bears its node's address, as with most network plugins.
"""

from __future__ import annotations

from clusters.lab.addresses import EVERY
from clusters.lab.addresses import version as family
from clusters.lab.policy.ruleset import ADDRESS, FAMILIES, IP, Chain, NamedSet, Ruleset, digest, of_family
from clusters.lab.policy.snapshot import Service, ServicePort, Snapshot

REJECT = "reject with icmpx port-unreachable"
_REFUSED = "node-port-refused"
MASQUERADED = "meta mark and 0x4000 == 0x4000"
"""What a chain of a node port marks is masqueraded once it leaves (kube-proxy's own mark)."""
_ON_NODE = {
    4: "ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport",
    6: "ip6 daddr != ::1 fib daddr type local meta l4proto . th dport",
}
"""A packet to an address of the node itself, by its protocol and port."""
_MARK = "meta mark set meta mark or 0x4000"


def compile_services(snapshot: Snapshot) -> Ruleset:
    """The Services' part of the table; it refers to the hairpin sets of the policies' part."""
    sets = {}
    chains: dict[str, Chain] = {}
    for version in FAMILIES:
        jumps: dict[str, str] = {}
        known: dict[str, str] = {}
        outward: dict[str, str] = {}
        shut: dict[str, str] = {}
        for service in snapshot.services:
            for port in service.ports if of_family(service.addresses, version) else ():
                if port.node_port:
                    place = f"{port.protocol} . {port.node_port}"
                    name, rules, closed = _node_port(version, service, port)
                    chains[name], outward[place] = Chain(rules=rules), f"goto {name}"
                    if closed:
                        shut[place] = closed
            for address in of_family(service.addresses, version):
                known[address] = ""
                for port in service.ports:
                    backends = [each for each in port.backends if family(each[0]) == version]
                    if backends:
                        name = _chain_name(version, service, port)
                        chains[name] = Chain(rules=(_translate(version, port.protocol, backends),))
                        jumps[f"{address} . {port.protocol} . {port.port}"] = f"goto {name}"
        kind = f"{ADDRESS[version]} . inet_proto . inet_service : verdict"
        sets[f"services{version}"] = NamedSet(type=kind, elements=jumps)
        sets[f"cluster-ips{version}"] = NamedSet(type=ADDRESS[version], elements=known)
        sets[f"node-ports{version}"] = NamedSet(type="inet_proto . inet_service : verdict", elements=outward)
        sets[f"shut-ports{version}"] = NamedSet(type="inet_proto . inet_service : verdict", elements=shut)
    chains.update(_base())
    return Ruleset(sets=sets, chains=chains)


def _chain_name(version: int, service: Service, port: ServicePort, kind: str = "service") -> str:
    return f"{kind}{version}-{digest(service.namespace, service.name, port.protocol, port.port)}"


def _node_port(version: int, service: Service, port: ServicePort) -> tuple[str, tuple[str, ...], str]:
    """The chain of a node port: its name, its rules, and the end of what they leave untranslated."""
    everybody = [each for each in port.backends if family(each[0]) == version]
    mine = [each for each in port.local if family(each[0]) == version]
    name = _chain_name(version, service, port, "node-port")
    if not everybody:
        return name, (), f"goto {_REFUSED}"
    if not service.keeps_source:
        return name, (_MARK, _translate(version, port.protocol, everybody)), ""
    anyone = f"goto {_chain_name(version, service, port)}"
    own = (f"{IP[version]} saddr {each} {anyone}" for each in EVERY.pods if family(each) == version)
    rules = (*own, f"fib saddr type local {_MARK} {anyone}")
    return (name, (*rules, _translate(version, port.protocol, mine)), "") if mine else (name, rules, "drop")


def _translate(version: int, protocol: str, backends: list[tuple[str, int]]) -> str:
    to = f"meta l4proto {protocol} dnat {IP[version]} to"
    if len(backends) == 1:
        address, port = backends[0]
        return f"{to} {f'[{address}]' if version == 6 else address}:{port}"
    pairs = ", ".join(f"{index} : {address} . {port}" for index, (address, port) in enumerate(backends))
    return f"{to} numgen random mod {len(backends)} map {{ {pairs} }}"


def _outward_pods() -> tuple[str, ...]:
    """Pods' traffic to what is no pod leaves with the node's address."""
    ranges = [(IP[family(each)], each) for each in EVERY.pods]
    return tuple(f"{ip} saddr {each} {ip} daddr != {each} masquerade" for ip, each in ranges)


def _base() -> dict[str, Chain]:
    translate = (
        *(f"{IP[each]} daddr . meta l4proto . th dport vmap @services{each}" for each in FAMILIES),
        *(f"{_ON_NODE[each]} vmap @node-ports{each}" for each in FAMILIES),
    )
    refuse = tuple(f"{IP[each]} daddr @cluster-ips{each} {REJECT}" for each in FAMILIES)
    nowhere = tuple(f"{IP[family(each)]} daddr {each} drop" for each in EVERY.services)
    return {
        "nat-prerouting": Chain(hook="type nat hook prerouting priority -100", rules=translate),
        "nat-output": Chain(hook="type nat hook output priority -100", rules=translate),
        "nat-postrouting": Chain(
            hook="type nat hook postrouting priority 100",
            rules=(
                *(f"{IP[each]} saddr . {IP[each]} daddr @hairpin{each} masquerade" for each in FAMILIES),
                f"{MASQUERADED} masquerade",
                *_outward_pods(),
            ),
        ),
        _REFUSED: Chain(rules=(REJECT,)),
        "services-input": Chain(
            hook="type filter hook input priority 0",
            rules=tuple(f"{_ON_NODE[each]} vmap @shut-ports{each}" for each in FAMILIES),
        ),
        "services-forward": Chain(hook="type filter hook forward priority 0", rules=(*refuse, *nowhere)),
        "services-output": Chain(hook="type filter hook output priority 0", rules=(*refuse, *nowhere)),
    }
