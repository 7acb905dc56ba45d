"""Policies to nftables: a snapshot of the cluster to the chains, sets and maps of one node. Pure.

What belongs here: the meaning of NetworkPolicy v1 in the lab, inference and defaults included, and the one order in
which it stands with Calico's own policies. What does not: theirs (`calico`), shapes (`policies`), Services
(`services`), the kernel (`engine`).

One chain for each direction and each list of rules that a local pod has in it: a rule that allows returns to the base
chain, which goes on to the other direction; what no rule allowed is dropped at the end. Pods with the same rules share
a chain, and one whose rules change goes over to another; a pod that no policy is about has none. Peers stand in named
sets, one for each distinct selector, so that a peer that comes, goes or is relabelled changes elements and no rule.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from clusters.lab.addresses import version as family
from clusters.lab.policy import calico
from clusters.lab.policy.ruleset import (
    ADDRESS,
    ALLOW,
    DROP,
    FAMILIES,
    IP,
    Chain,
    NamedSet,
    Ruleset,
    digest,
    of_family,
)
from clusters.lab.policy.sets import Sets, collapsed, joined
from clusters.lab.policy.snapshot import Labels, Pod, Snapshot
from policies.calico.model import CalicoPolicy
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
ORDER = 1000.0
"""Where Calico puts the policies of Kubernetes among its own."""
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
    return _Compiler(snapshot, Sets(snapshot), calico.Labelled(snapshot)).compile()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deciding:
    """One policy that is about a pod in a direction: what sorts it, and its rules for these families."""

    order: tuple[float, str]
    lines: Callable[[Sequence[int]], Iterable[str]]


@dataclass(frozen=True, slots=True)
class _Compiler:
    """One compilation; collects the chains, and the sets that their rules refer to."""

    snapshot: Snapshot
    sets: Sets
    seen: calico.Labelled
    chains: dict[str, Chain] = field(default_factory=dict)
    named: dict[tuple[object, ...], str] = field(default_factory=dict)

    def compile(self) -> Ruleset:
        jumps: dict[PolicyType, dict[str, str]] = {each: {} for each in PolicyType}
        for attachment in self.snapshot.attachments:
            pod = attachment.pod
            theirs = [each for each in self.snapshot.policies if selects(each, pod)]
            own = [each for each in self.snapshot.calico if self.seen.applies(each, pod)]
            for direction in PolicyType:
                name = self._chain(
                    direction,
                    pod,
                    [each for each in theirs if direction in directions(each)],
                    [each for each in own if direction in calico.directions(each)],
                )
                if name:
                    jumps[direction][f'"{attachment.interface}"'] = f"jump {name}"
        own_addresses = [each.pod.addresses for each in self.snapshot.attachments]
        made = self.sets.made
        for version in FAMILIES:
            pairs = {f"{each} . {each}": "" for some in own_addresses for each in of_family(some, version)}
            kind = f"{ADDRESS[version]} . {ADDRESS[version]}"
            made[f"hairpin{version}"] = NamedSet(type=kind, elements=pairs)
        for direction, elements in jumps.items():
            made[direction.lower()] = NamedSet(type="ifname : verdict", elements=elements)
        self.chains.update(_base())
        return Ruleset(sets=made, chains=self.chains)

    def _chain(
        self, direction: PolicyType, pod: Pod, theirs: Sequence[NetworkPolicy], own: Sequence[CalicoPolicy]
    ) -> str:
        """The name of the chain that these policies make for the pod; empty when there are none."""
        if not theirs and not own:
            return ""
        versions = tuple(sorted({family(each) for each in pod.addresses}) or [4])
        # All that a chain can depend on, so that pods alike are compiled once.
        alike = (direction, versions, pod.ports, *map(id, theirs), *map(id, own))
        if alike not in self.named:
            deciding = [self._kubernetes(each, direction, pod) for each in theirs]
            deciding += [self._calico(each, direction) for each in own]
            chain = Chain(rules=_rules(versions, deciding))
            self.named[alike] = chain_name(direction, chain)
            self.chains[self.named[alike]] = chain
        return self.named[alike]

    def _kubernetes(self, policy: NetworkPolicy, direction: PolicyType, pod: Pod) -> _Deciding:
        rules = policy.ingress if direction is PolicyType.INGRESS else policy.egress

        def lines(versions: Sequence[int]) -> Iterable[str]:
            sides = [_Side(self.sets, direction, pod, policy.namespace, version) for version in versions]
            for index, rule in enumerate(rules if isinstance(rules, tuple) else ()):
                label = f"{policy.key} {direction.lower()}[{index}]"[:120]
                yield from (f'{each}{ALLOW} comment "{label}"' for side in sides for each in side.allows(rule))

        return _Deciding(order=(ORDER, f"{policy.namespace}/knp.default.{policy.name}"), lines=lines)

    def _calico(self, policy: CalicoPolicy, direction: PolicyType) -> _Deciding:
        return _Deciding(
            order=calico.order(policy),
            lines=lambda versions: calico.lines(self.sets, self.seen, policy, direction, versions),
        )


def _rules(versions: Sequence[int], policies: Iterable[_Deciding]) -> tuple[str, ...]:
    """The rules of all policies, the first to decide first; each packet meets those of its own family only."""
    lines: dict[str, None] = {}
    for policy in sorted(policies, key=lambda each: each.order):
        lines.update(dict.fromkeys(policy.lines(versions)))
    return (*lines, DROP)


@dataclass(frozen=True, slots=True)
class _Side:
    """One direction of one pod in one family: where rules become text."""

    sets: Sets
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
        name = self.sets.addresses(self._identity(peer), self._chosen(peer), self.version)
        return f"{self._far} @{name} "

    def _chosen(self, peer: Peer | None) -> Callable[[Pod], bool]:
        """Who a peer is by its selectors; everybody for None."""
        snapshot = self.sets.snapshot
        return lambda pod: peer is None or is_peer(peer, self.namespace, pod, snapshot)

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
        holes = collapsed(block.excepts if isinstance(block.excepts, tuple) else ())
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
                found.append(f"meta l4proto {protocol} th dport {{ {joined(some)} }} ")
        return found

    def _named(self, peer: Peer | None, where: str, port: Port) -> str:
        """A named port on egress means, for each destination pod, the number that this pod gives the name."""
        protocol = protocol_of(port)
        selectors = None if peer is None or isinstance(peer.block, IpBlock) else peer
        name = self.sets.named_ports(
            self._identity(peer), self._chosen(selectors), str(port.port), protocol, self.version
        )
        block = where if peer is not None and isinstance(peer.block, IpBlock) else ""
        return f"{block}{IP[self.version]} daddr . meta l4proto . th dport @{name} "


def protocol_of(port: Port) -> str:
    """The protocol as nftables names it; TCP where none is written."""
    return (port.protocol if isinstance(port.protocol, Transport) else Transport.TCP).lower()


def chain_name(direction: PolicyType, chain: Chain) -> str:
    """The name that a direction's chain has for what it says: one that says something else is another chain."""
    return f"{direction.lower()}-{digest(chain.rules)}"


def _base() -> dict[str, Chain]:
    return {
        "policy-forward": Chain(
            hook="type filter hook forward priority -10",
            rules=(ESTABLISHED, "iifname vmap @egress", "oifname vmap @ingress"),
        ),
        "policy-input": Chain(
            hook="type filter hook input priority -10", rules=(ESTABLISHED, _NEIGHBOURS, "iifname vmap @egress")
        ),
    }
