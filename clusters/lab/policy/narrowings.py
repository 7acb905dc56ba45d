"""The broken data planes that count too little or too much of what a policy or a Service lists.

What belongs here: changes of policies, rules, ports, pods and Services that `rewrites` puts around the compilation.
What does not: text of rules (`rewrites`), and the registry (`clusters.lab.mutants`).
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import replace
from typing import Final

from clusters.lab.addresses import EVERY
from clusters.lab.addresses import version as family
from clusters.lab.policy.mutation import Around
from clusters.lab.policy.rewrites import both, first_rule, with_pods
from clusters.lab.policy.ruleset import IP
from clusters.lab.policy.snapshot import Pod, Snapshot
from policies.model import ABSENT, IpBlock, NetworkPolicy, Peer, PolicyType, Port, Rule, Transport

MOST: Final = 10
"""Policies of one subject that the forgetful mutant counts."""


def node_ports_open() -> Around:
    """What came by a node's port passes."""
    tcp, udp = (
        f"ct status dnat meta l4proto {each} ct original proto-dst 30000-32767 return" for each in ("tcp", "udp")
    )
    return both(first_rule(tcp), first_rule(udp))


def nodes_admitted() -> Around:
    """Whatever bears a node's address passes every ingress policy."""
    four, six = (f"{IP[family(each)]} saddr {each} return" for each in EVERY.fabric)
    return both(first_rule(four, "ingress-"), first_rule(six, "ingress-"))


def nodes_by_label(snapshot: Snapshot) -> Snapshot:
    """A pod in its node's network stands for the node's address wherever a selector picks it."""
    fabric = [ipaddress.ip_network(each) for each in EVERY.fabric]

    def counted(pod: Pod) -> Pod:
        on_node = any(ipaddress.ip_address(each) in network for each in pod.addresses for network in fabric)
        return replace(pod, counts=pod.counts or on_node)

    return with_pods(snapshot, counted)


def sources_lost(snapshot: Snapshot) -> Snapshot:
    """`externalTrafficPolicy: Local` is taken for `Cluster`."""
    return replace(snapshot, services=tuple(replace(each, keeps_source=False) for each in snapshot.services))


def end_left_out(port: Port) -> Port:
    """A range without its last number."""
    return (
        replace(port, end=max(port.port, port.end - 1))
        if isinstance(port.port, int) and isinstance(port.end, int)
        else port
    )


def sctp_as_tcp(port: Port) -> Port:
    """SCTP and TCP are one."""
    return replace(port, protocol=Transport.TCP) if port.protocol is Transport.SCTP else port


def no_peers_is_nobody(rule: Rule) -> Rule | None:
    """A rule without peers allows nobody."""
    return rule if isinstance(rule.peers, tuple) and rule.peers else None


def first_peer(rule: Rule) -> Rule:
    """Of a rule's peers the first."""
    return replace(rule, peers=rule.peers[:1]) if isinstance(rule.peers, tuple) else rule


def protocol_alone_is_everything(rule: Rule) -> Rule:
    """A port without a number is no restriction at all."""
    ports = rule.ports if isinstance(rule.ports, tuple) else ()
    return replace(rule, ports=ABSENT) if any(not isinstance(each.port, int | str) for each in ports) else rule


def excepted_for_all(rule: Rule) -> Rule:
    """What one block of a rule excepts, all of its blocks except."""
    if not isinstance(rule.peers, tuple):
        return rule
    blocks = [each.block for each in rule.peers if isinstance(each.block, IpBlock)]
    holes = tuple(hole for each in blocks if isinstance(each.excepts, tuple) for hole in each.excepts)

    def narrowed(peer: Peer) -> Peer:
        return replace(peer, block=replace(peer.block, excepts=holes)) if isinstance(peer.block, IpBlock) else peer

    return replace(rule, peers=tuple(map(narrowed, rule.peers)))


def rules_are_types(policy: NetworkPolicy) -> NetworkPolicy:
    """A direction is isolated where it has rules, whatever policyTypes says."""
    types = set(policy.types) if isinstance(policy.types, tuple) else set()
    written = {
        each
        for each, rules in ((PolicyType.INGRESS, policy.ingress), (PolicyType.EGRESS, policy.egress))
        if isinstance(rules, tuple) and rules
    }
    return replace(policy, types=tuple(sorted(types | written))) if types else policy


def first_ten(snapshot: Snapshot) -> Snapshot:
    """Of a namespace's policies with the same subjects, the first ten by name."""
    counted: Counter[tuple[str, object]] = Counter()
    kept = []
    for policy in sorted(snapshot.policies, key=lambda each: each.name):
        counted[policy.namespace, policy.pods] += 1
        if counted[policy.namespace, policy.pods] <= MOST:
            kept.append(policy)
    return replace(snapshot, policies=tuple(kept))
