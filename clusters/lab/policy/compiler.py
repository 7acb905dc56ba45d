"""NetworkPolicy v1 to nftables: a snapshot of the cluster to the chains, sets and maps of one node. Pure.

What belongs here: the meaning of policies in the lab, inference and defaults included. What does not: shapes
(`policies`), Services (`services`), the kernel (`engine`).

One chain for each local pod and direction in which a policy isolates it: a rule that allows returns to the base chain,
which goes on to the other direction; what no rule allowed is dropped at the end. A pod that nothing isolates has no
chain. Peers stand in named sets, one for each distinct selector, so that a peer that comes, goes or is relabelled
changes elements and no rule.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from clusters.lab.policy.ruleset import (
    ADDRESS,
    FAMILIES,
    IP,
    Chain,
    NamedSet,
    Ruleset,
    digest,
    family,
    of_family,
)
from clusters.lab.policy.snapshot import Attachment, Labels, Pod, Snapshot
from policies.model import (
    Expression,
    IpBlock,
    NetworkPolicy,
    Operator,
    Peer,
    PolicyType,
    Port,
    Rule,
    Selector,
    Transport,
    Written,
)

ESTABLISHED = "ct state established,related accept"
DROP = "counter drop"
ALLOW = "return"
_NEIGHBOURS = "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept"


def matches(selector: Written[Selector], labels: Labels) -> bool:
    """Whether the selector picks these labels; one that is absent, null or empty picks everything."""
    if not isinstance(selector, Selector):
        return True
    wanted = selector.labels if isinstance(selector.labels, tuple) else ()
    expressions = selector.expressions if isinstance(selector.expressions, tuple) else ()
    return all(labels.get(key) == value for key, value in wanted) and all(_holds(each, labels) for each in expressions)


def _holds(expression: Expression, labels: Labels) -> bool:
    values = expression.values if isinstance(expression.values, tuple) else ()
    value = labels.get(expression.key)
    match expression.operator:
        case Operator.IN:
            return value is not None and value in values
        case Operator.NOT_IN:
            return value is None or value not in values
        case Operator.EXISTS:
            return value is not None
        case Operator.DOES_NOT_EXIST:
            return value is None


def selects(policy: NetworkPolicy, pod: Pod) -> bool:
    """Whether the policy applies to the pod."""
    return pod.namespace == policy.namespace and matches(policy.pods, pod.labels)


def directions(policy: NetworkPolicy) -> set[PolicyType]:
    """The directions in which the policy isolates; inferred as the API server does where none are written."""
    if isinstance(policy.types, tuple) and policy.types:
        return set(policy.types)
    return {PolicyType.INGRESS, PolicyType.EGRESS} if policy.egress else {PolicyType.INGRESS}


def is_peer(peer: Peer, namespace: str, pod: Pod, snapshot: Snapshot) -> bool:
    """Whether a pod is what a peer of a policy in `namespace` describes by its selectors."""
    if isinstance(peer.namespaces, Selector):
        if not matches(peer.namespaces, snapshot.namespaces.get(pod.namespace, {})):
            return False
    elif pod.namespace != namespace:
        return False
    return matches(peer.pods, pod.labels)


def compile_policies(snapshot: Snapshot) -> Ruleset:
    """The policies' part of the table."""
    return _Compiler(snapshot).compile()


@dataclass(slots=True)
class _Compiler:
    """One compilation; collects the sets that its rules refer to."""

    snapshot: Snapshot
    sets: dict[str, NamedSet] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)

    def compile(self) -> Ruleset:
        jumps: dict[PolicyType, dict[str, str]] = {each: {} for each in PolicyType}
        for attachment in self.snapshot.attachments:
            policies = [each for each in self.snapshot.policies if selects(each, attachment.pod)]
            for direction in PolicyType:
                deciding = [each for each in policies if direction in directions(each)]
                if deciding:
                    name = chain_name(direction, attachment)
                    self.chains[name] = Chain(rules=self._chain(direction, attachment.pod, deciding))
                    jumps[direction][f'"{attachment.interface}"'] = f"jump {name}"
        own = [each.pod.addresses for each in self.snapshot.attachments]
        for version in FAMILIES:
            pairs = {f"{each} . {each}": "" for some in own for each in of_family(some, version)}
            kind = f"{ADDRESS[version]} . {ADDRESS[version]}"
            self.sets[f"hairpin{version}"] = NamedSet(type=kind, elements=pairs)
        for direction, elements in jumps.items():
            self.sets[direction.lower()] = NamedSet(type="ifname : verdict", elements=elements)
        self.chains.update(_base())
        return Ruleset(sets=self.sets, chains=self.chains)

    def _chain(self, direction: PolicyType, pod: Pod, policies: Iterable[NetworkPolicy]) -> tuple[str, ...]:
        versions = sorted({family(each) for each in pod.addresses}) or [4]
        lines: dict[str, None] = {}
        for policy in policies:
            rules = policy.ingress if direction is PolicyType.INGRESS else policy.egress
            for index, rule in enumerate(rules if isinstance(rules, tuple) else ()):
                label = f"{policy.key} {direction.lower()}[{index}]"[:120]
                for version in versions:
                    side = _Side(self, direction, pod, policy.namespace, version)
                    lines.update(dict.fromkeys(f'{each}{ALLOW} comment "{label}"' for each in side.allows(rule)))
        return (*lines, DROP)

    def peers(self, peer: Peer | None, namespace: str) -> list[Pod]:
        """The pods that a peer describes; all of them for None."""
        return [
            pod
            for pod in self.snapshot.pods
            if pod.counts and pod.addresses and (peer is None or is_peer(peer, namespace, pod, self.snapshot))
        ]


@dataclass(frozen=True, slots=True)
class _Side:
    """One direction of one pod in one family: where rules become text."""

    compiler: _Compiler
    direction: PolicyType
    pod: Pod
    namespace: str
    version: int

    @property
    def _far(self) -> str:
        return f"{IP[self.version]} {'saddr' if self.direction is PolicyType.INGRESS else 'daddr'}"

    def allows(self, rule: Rule) -> list[str]:
        """The matches (each with a blank behind it, or empty) that the rule allows."""
        ports = rule.ports if isinstance(rule.ports, tuple) else ()
        peers: Sequence[Peer | None] = rule.peers if isinstance(rule.peers, tuple) and rule.peers else (None,)
        found = []
        for peer in peers:
            where = self._peer(peer)
            if where is None:
                continue
            if not ports:
                found.append(where)
            found += [where + each for each in self._numbers(ports)]
            if self.direction is PolicyType.EGRESS:
                found += [self._named(peer, where, each) for each in ports if isinstance(each.port, str)]
        return found

    def _peer(self, peer: Peer | None) -> str | None:
        if peer is None:
            return ""
        if isinstance(peer.block, IpBlock):
            return self._block(peer.block)
        name = f"peers{self.version}-{digest(self._identity(peer))}"
        if name not in self.compiler.sets:
            pods = self.compiler.peers(peer, self.namespace)
            addresses = {each: "" for pod in pods for each in of_family(pod.addresses, self.version)}
            self.compiler.sets[name] = NamedSet(type=ADDRESS[self.version], elements=addresses)
        return f"{self._far} @{name} "

    def _identity(self, peer: Peer | None) -> object:
        """What decides who the peer is; the policy's namespace only where no namespaceSelector is written."""
        if peer is None or isinstance(peer.block, IpBlock):
            return None
        return peer, "" if isinstance(peer.namespaces, Selector) else self.namespace

    def _block(self, block: IpBlock) -> str | None:
        whole = ipaddress.ip_network(block.cidr, strict=False)
        if whole.version != self.version:
            return None
        text = f"{self._far} {whole} "
        holes = _collapsed(block.excepts if isinstance(block.excepts, tuple) else ())
        return f"{text}{self._far} != {{ {', '.join(holes)} }} " if holes else text

    def _numbers(self, ports: Iterable[Port]) -> list[str]:
        """Numbers and whole protocols; on ingress also names, which this pod itself resolves."""
        ranges: dict[str, list[tuple[int, int]]] = {}
        whole = []
        for port in ports:
            protocol = protocol_of(port)
            if isinstance(port.port, int):
                ranges.setdefault(protocol, []).append(
                    (port.port, port.end if isinstance(port.end, int) else port.port)
                )
            elif not isinstance(port.port, str):
                whole.append(protocol)
            elif self.direction is PolicyType.INGRESS:
                mine = [(n, n) for name, proto, n in self.pod.ports if (name, proto) == (port.port, protocol)]
                ranges.setdefault(protocol, []).extend(mine)
        found = [f"meta l4proto {each} " for each in dict.fromkeys(whole)]
        for protocol, some in ranges.items():
            if some:
                text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in _joined(some))
                found.append(f"meta l4proto {protocol} th dport {{ {text} }} ")
        return found

    def _named(self, peer: Peer | None, where: str, port: Port) -> str:
        """A named port on egress means, for each destination pod, the number that this pod gives the name."""
        protocol = protocol_of(port)
        name = f"ports{self.version}-{digest(self._identity(peer), port.port, protocol)}"
        if name not in self.compiler.sets:
            selectors = None if peer is None or isinstance(peer.block, IpBlock) else peer
            elements = {
                f"{address} . {protocol} . {number}": ""
                for pod in self.compiler.peers(selectors, self.namespace)
                for label, proto, number in pod.ports
                if (label, proto) == (port.port, protocol)
                for address in of_family(pod.addresses, self.version)
            }
            kind = f"{ADDRESS[self.version]} . inet_proto . inet_service"
            self.compiler.sets[name] = NamedSet(type=kind, elements=elements)
        block = where if peer is not None and isinstance(peer.block, IpBlock) else ""
        return f"{block}{IP[self.version]} daddr . meta l4proto . th dport @{name} "


def protocol_of(port: Port) -> str:
    """The protocol as nftables names it; TCP where none is written."""
    return (port.protocol if isinstance(port.protocol, Transport) else Transport.TCP).lower()


def chain_name(direction: PolicyType, attachment: Attachment) -> str:
    """The chain of a pod's direction."""
    return f"{direction.lower()}-{attachment.pod.uid}"


def _base() -> dict[str, Chain]:
    hairpin = tuple(f"{IP[each]} saddr . {IP[each]} daddr @hairpin{each} accept" for each in FAMILIES)
    return {
        "policy-forward": Chain(
            hook="type filter hook forward priority -10",
            rules=(ESTABLISHED, *hairpin, "iifname vmap @egress", "oifname vmap @ingress"),
        ),
        "policy-input": Chain(
            hook="type filter hook input priority -10", rules=(ESTABLISHED, _NEIGHBOURS, "iifname vmap @egress")
        ),
    }


def _collapsed(ranges: Iterable[str]) -> list[str]:
    """The ranges without overlap: nftables refuses a set whose intervals meet."""
    fours, sixes = [], []
    for each in ranges:
        network = ipaddress.ip_network(each, strict=False)
        if isinstance(network, ipaddress.IPv4Network):
            fours.append(network)
        else:
            sixes.append(network)
    return [str(each) for each in (*ipaddress.collapse_addresses(fours), *ipaddress.collapse_addresses(sixes))]


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The port ranges without overlap, in order."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return joined
