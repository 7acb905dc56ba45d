"""Calico's own policies to nftables: whom each is about, when it decides, and its rules as text. Pure.

What belongs here: the meaning of Calico 3.28's NetworkPolicy, GlobalNetworkPolicy and network sets in the lab, defaults
included. What does not: shapes and the selector language's grammar (`policies.calico`), chains (`compiler`).

A rule speaks of both ends, so each end becomes matches of its own header field, whatever the direction. What Pass hands
on to the next tier meets the profile of the pod's namespace, for there is one tier; and that allows everything.
"""

from __future__ import annotations

import ipaddress
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from clusters.lab.policy.ruleset import ALLOW, DROP, IP
from clusters.lab.policy.sets import Sets, collapsed, joined
from clusters.lab.policy.snapshot import Pod, Snapshot
from policies.calico.model import Accounts, Action, CalicoPolicy, Entity, NetworkSet, PortRange, Protocol, Rule
from policies.calico.selectors import All, Among, And, Compare, Comparison, Expression, Global, Has, Not, Or
from policies.model import Absent, PolicyType, Written

LAST: Final = math.inf
"""The order of a policy that writes none."""
VERDICTS: Final[Mapping[Action, str]] = {
    Action.ALLOW: ALLOW,
    Action.DENY: DROP,
    Action.LOG: "counter",
    Action.NEXT_TIER: ALLOW,
}
_NAMESPACE, _ACCOUNT = "projectcalico.org/namespace", "projectcalico.org/serviceaccount"
_NAME, _ORCHESTRATOR = "projectcalico.org/name", "projectcalico.org/orchestrator"
_NUMBERS: Final[Mapping[Protocol, str]] = {6: "tcp", 17: "udp", 132: "sctp"}
T = TypeVar("T")


def order(policy: CalicoPolicy) -> tuple[float, str]:
    """What sorts policies: the order, then the name as Calico keeps it."""
    name = f"default.{policy.name}"
    return (
        policy.order if isinstance(policy.order, float) else LAST,
        name if policy.is_global else f"{policy.namespace}/{name}",
    )


def directions(policy: CalicoPolicy) -> set[PolicyType]:
    """The directions in which the policy decides; inferred from its rules where none are written."""
    if isinstance(policy.types, tuple) and policy.types:
        return set(policy.types)
    if not policy.egress:
        return {PolicyType.INGRESS}
    return {PolicyType.INGRESS, PolicyType.EGRESS} if policy.ingress else {PolicyType.EGRESS}


def holds(tree: Expression, labels: Mapping[str, str]) -> bool:
    """Whether labels fulfil a selector."""
    match tree:
        case All():
            return True
        case Global():
            return False
        case Has(key):
            return key in labels
        case Compare(key, how, value):
            return _compared(labels.get(key), how, value)
        case Among(key, values, negated):
            return (labels.get(key) in values) != negated
        case Not(inner):
            return not holds(inner, labels)
        case And(parts):
            return all(holds(each, labels) for each in parts)
        case Or(parts):
            return any(holds(each, labels) for each in parts)


def _compared(held: str | None, how: Comparison, value: str) -> bool:
    if how is Comparison.NOT_EQUAL:
        return held != value
    if held is None:
        return False
    match how:
        case Comparison.CONTAINS:
            return value in held
        case Comparison.STARTS:
            return held.startswith(value)
        case Comparison.ENDS:
            return held.endswith(value)
        case _:
            return held == value


@dataclass(frozen=True, slots=True)
class Labelled:
    """What Calico's selectors see of one snapshot; of each pod it is made up once, however many policies ask."""

    snapshot: Snapshot
    pods: dict[tuple[str, str, str], dict[str, str]] = field(default_factory=dict)

    def space(self, namespace: str) -> dict[str, str]:
        """A namespace's labels."""
        return {**self.snapshot.namespaces.get(namespace, {}), _NAME: namespace}

    def account(self, pod: Pod) -> dict[str, str]:
        """The labels of a pod's ServiceAccount."""
        return {**self.snapshot.accounts.get((pod.namespace, pod.account), {}), _NAME: pod.account}

    def pod(self, pod: Pod) -> dict[str, str]:
        """A pod's labels, with those that it has of its namespace and its ServiceAccount."""
        place = (pod.namespace, pod.name, pod.uid)
        if place not in self.pods:
            self.pods[place] = {
                **{f"pcns.{key}": value for key, value in self.space(pod.namespace).items()},
                **{f"pcsa.{key}": value for key, value in self.account(pod).items()},
                **pod.labels,
                _NAMESPACE: pod.namespace,
                _ACCOUNT: pod.account,
                _ORCHESTRATOR: "k8s",
            }
        return self.pods[place]

    def network_set(self, each: NetworkSet) -> dict[str, str]:
        """A network set's labels, with those that it has of its namespace."""
        own = dict(each.labels)
        if each.is_global:
            return own
        inherited = {f"pcns.{key}": value for key, value in self.space(each.namespace).items()}
        return {**inherited, **own, _NAMESPACE: each.namespace}

    def applies(self, policy: CalicoPolicy, pod: Pod) -> bool:
        """Whether the policy is about the pod."""
        if not policy.is_global and policy.namespace != pod.namespace:
            return False
        return (
            _fulfils(policy.selector, self.pod(pod))
            and _fulfils(policy.namespaces, self.space(pod.namespace))
            and _fulfils(policy.accounts, self.account(pod))
        )


def _tree(written: Written[Expression]) -> Expression | None:
    return None if isinstance(written, Absent) else written


def _fulfils(tree: Written[Expression], labels: Mapping[str, str]) -> bool:
    found = _tree(tree)
    return found is None or holds(found, labels)


def lines(
    sets: Sets, seen: Labelled, policy: CalicoPolicy, direction: PolicyType, versions: Iterable[int]
) -> Iterable[str]:
    """The rules of a direction, in order, for these families.

    Each rule stands there for every family before the next one comes: a chain is for all of them.
    """
    families = [_Family(sets, seen, policy, version) for version in versions]
    rules = policy.ingress if direction is PolicyType.INGRESS else policy.egress
    for place, rule in enumerate(_items(rules)):
        label = f"{policy.key} {direction.lower()}[{place}]"[:120]
        for each in dict.fromkeys(match for family in families for match in family.matches(rule)):
            yield f'{each}{VERDICTS[rule.action]} comment "{label}"'


@dataclass(frozen=True, slots=True)
class _Family:
    """One family's view of a policy: where its rules become text."""

    sets: Sets
    seen: Labelled
    policy: CalicoPolicy
    version: int

    def matches(self, rule: Rule) -> list[str]:
        """The matches (each with a blank behind it, or empty) by which a rule applies."""
        left = self._families(rule)
        if left - {self.version}:
            return []
        alone = f"meta nfproto ipv{self.version} " if left else ""
        ends = (self._end(rule.source, "saddr"), self._end(rule.destination, "daddr"))
        protocol = _protocol(rule.protocol, "") + _protocol(rule.not_protocol, "!= ")
        return [
            "".join((alone, *ends, protocol, *ports))
            for ports in itertools.product(
                self._ports(rule, rule.source, "s"), self._ports(rule, rule.destination, "d")
            )
        ]

    @staticmethod
    def _families(rule: Rule) -> set[int]:
        """The families that the rule's ranges and its ipVersion leave it; empty where they leave it both."""
        written = [
            each
            for end in (rule.source, rule.destination)
            for ranges in (end.nets, end.not_nets)
            for each in _items(ranges)
        ]
        found = {ipaddress.ip_network(each).version for each in written}
        return {*found, rule.version} if isinstance(rule.version, int) else {*found}

    def _end(self, end: Entity, field: str) -> str:
        """The matches of one end but its ports, each with a blank behind it."""
        here, text = f"{IP[self.version]} {field}", ""
        if nets := _items(end.nets):
            text += f"{here} {{ {', '.join(collapsed(nets))} }} "
        if nets := _items(end.not_nets):
            text += f"{here} != {{ {', '.join(collapsed(nets))} }} "
        unwanted = _tree(end.not_selector)
        if self._selects(end):
            text += f"{here} @{self._chosen(end)} "
        elif unwanted is not None:
            text += f"{here} != @{self._fulfilling(unwanted)} "
        return text

    def _selects(self, end: Entity) -> bool:
        """Whether the end is somebody that is found by labels: then a namespaced policy stays in its namespace."""
        if _given(end.selector) is not None or _given(end.namespaces) is not None or _accounts(end):
            return True
        return not self.policy.is_global and _given(end.not_selector) is not None

    def _chosen(self, end: Entity) -> str:
        """The set of those that the selectors pick and the notSelector does not.

        A pod stays in it that has an address of an unwanted network set: labels are asked, not addresses.
        """
        space, unwanted = _tree(end.namespaces), _tree(end.not_selector)
        accounts = _accounts(end)
        own = "" if space is not None or self.policy.is_global else self.policy.namespace
        seen = self.seen

        def in_place(namespace: str) -> bool:
            if space is None:
                return not own or namespace == own
            if isinstance(space, Global):
                return not namespace
            if isinstance(space, All):
                return bool(namespace)
            return holds(space, seen.space(namespace) if namespace else {})

        def picks(labels: Mapping[str, str]) -> bool:
            return _fulfils(end.selector, labels) and (unwanted is None or not holds(unwanted, labels))

        def pod(each: Pod) -> bool:
            names = _items(accounts.names) if accounts else ()
            return (
                in_place(each.namespace)
                and picks(seen.pod(each))
                and (not names or each.account in names)
                and (accounts is None or _fulfils(accounts.selector, seen.account(each)))
            )

        sets = [
            each
            for each in self.sets.snapshot.network_sets
            if accounts is None and in_place(each.namespace) and picks(seen.network_set(each))
        ]
        identity = ("calico", end.selector, unwanted, space, accounts, own)
        if not sets:
            return self.sets.addresses(identity, pod, self.version)
        return self.sets.ranges(identity, pod, (net for each in sets for net in each.nets), self.version)

    def _fulfilling(self, tree: Expression) -> str:
        """The set of everybody, in any namespace or none, that fulfils a selector."""
        seen = self.seen
        sets = [each for each in self.sets.snapshot.network_sets if holds(tree, seen.network_set(each))]
        identity = ("calico", tree)
        if not sets:
            return self.sets.addresses(identity, lambda pod: holds(tree, seen.pod(pod)), self.version)
        nets = (net for each in sets for net in each.nets)
        return self.sets.ranges(identity, lambda pod: holds(tree, seen.pod(pod)), nets, self.version)

    def _ports(self, rule: Rule, end: Entity, side: str) -> list[str]:
        """The alternatives of one end's ports; one of them must match."""
        refused = self._port_matches(rule, _items(end.not_ports), side, "!= ")
        wanted = self._port_matches(rule, _items(end.ports), side, "")
        return [each + "".join(refused) for each in wanted or [""]]

    def _port_matches(self, rule: Rule, ports: Iterable[PortRange | str], side: str, negated: str) -> list[str]:
        written = tuple(ports)
        numbers = [(each.low, each.high) for each in written if isinstance(each, PortRange)]
        found = [f"th {side}port {negated}{{ {joined(numbers)} }} "] if numbers else []
        for name in written:
            if isinstance(name, str):
                protocol = _spoken(rule.protocol)
                ports_of = self.sets.named_ports("calico", lambda _: True, name, protocol, self.version)
                found.append(f"{IP[self.version]} {side}addr . meta l4proto . th {side}port {negated}@{ports_of} ")
        return found


def _accounts(end: Entity) -> Accounts | None:
    """What is written of ServiceAccounts, where it says anything."""
    found = _given(end.accounts)
    return found if found is not None and (_items(found.names) or _given(found.selector) is not None) else None


def _protocol(written: Written[Protocol], negated: str) -> str:
    return f"meta l4proto {negated}{_spoken(written)} " if isinstance(written, str | int) else ""


def _spoken(protocol: Written[Protocol]) -> str:
    """The protocol as nftables names it."""
    return _NUMBERS.get(protocol, str(protocol)).lower() if isinstance(protocol, str | int) else ""


def _given(value: Written[T]) -> T | None:
    return None if isinstance(value, Absent) else value


def _items(value: Written[tuple[T, ...]]) -> tuple[T, ...]:
    return _given(value) or ()
