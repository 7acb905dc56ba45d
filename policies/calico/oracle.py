"""Who may reach whom where Calico's own policies are in force beside those of Kubernetes, and which rule says so.

What belongs here: what Calico 3.28 documents of its policies, for plain facts. What does not: the lab's compiler, which
is another reading of the same words, and what Kubernetes says of its own (`policies.oracle`), which this builds on.

All of them stand in one list, in the tier `default`: those of Kubernetes at order 1000, where they only ever allow. The
first rule that matches decides; Pass leaves the flow to the profile of the pod's namespace, which allows it. A pod that
some policy is about takes nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from policies import oracle
from policies.calico.model import Action, CalicoPolicy, Entity, NetworkSet, PortRange, Protocol, Rule
from policies.calico.selectors import All, Among, And, Compare, Comparison, Expression, Global, Has, Not, Or
from policies.model import Absent, NetworkPolicy, PolicyType, Written
from policies.oracle import Admission, Labels, Pod, Ruling, Side, Target, World, given, items, network, parsed

KUBERNETES_ORDER: Final = 1000.0
_NUMBERS: Final[Mapping[Protocol, str]] = {6: "TCP", 17: "UDP", 132: "SCTP", 1: "ICMP", 58: "ICMPv6", 136: "UDPLite"}
_TESTS: Final[Mapping[Comparison, Callable[[str, str], bool]]] = {
    Comparison.EQUAL: str.__eq__,
    Comparison.CONTAINS: str.__contains__,
    Comparison.STARTS: str.startswith,
    Comparison.ENDS: str.endswith,
}


def fulfils(labels: Labels, tree: Expression) -> bool:
    """Whether labels fulfil a selector; of a label that is not there only `!=` and `not in` hold."""
    if isinstance(tree, And):
        return all(fulfils(labels, part) for part in tree.parts)
    if isinstance(tree, Or):
        return any(fulfils(labels, part) for part in tree.parts)
    if isinstance(tree, Not):
        return not fulfils(labels, tree.inner)
    if isinstance(tree, Has):
        return tree.key in labels
    if isinstance(tree, Among):
        among = tree.key in labels and labels[tree.key] in tree.values
        return not among if tree.negated else among
    if isinstance(tree, Compare):
        if tree.how is Comparison.NOT_EQUAL:
            return tree.key not in labels or labels[tree.key] != tree.value
        return tree.key in labels and _TESTS[tree.how](labels[tree.key], tree.value)
    return isinstance(tree, All)


def types(policy: CalicoPolicy) -> frozenset[PolicyType]:
    """The directions that the policy is about.

    Where none are written, those of its rules, and ingress where it has no rule; in the stored form, which nobody has
    filled in, both.
    """
    written = items(policy.types)
    if written:
        return frozenset(written)
    if policy.stored:
        return frozenset(PolicyType)
    found = {PolicyType.INGRESS} if items(policy.ingress) else set[PolicyType]()
    found |= {PolicyType.EGRESS} if items(policy.egress) else set[PolicyType]()
    return frozenset(found or {PolicyType.INGRESS})


def selects(world: World, policy: CalicoPolicy, pod: Pod) -> bool:
    """Whether the policy is about the pod."""
    if pod.host_network or not (policy.is_global or policy.namespace == pod.namespace):
        return False
    return (
        _holds(policy.selector, pod_labels(world, pod))
        and _holds(policy.namespaces, space_labels(world, pod.namespace))
        and _holds(policy.accounts, account_labels(world, pod))
    )


def _tree(written: Written[Expression]) -> Expression | None:
    return None if isinstance(written, Absent) else written


def _holds(written: Written[Expression], labels: Labels) -> bool:
    tree = _tree(written)
    return tree is None or fulfils(labels, tree)


def space_labels(world: World, namespace: str) -> dict[str, str]:
    """What a namespaceSelector sees of a namespace."""
    return {**world.labels(namespace), "projectcalico.org/name": namespace}


def account_labels(world: World, pod: Pod) -> dict[str, str]:
    """What a serviceAccountSelector sees of a pod's ServiceAccount."""
    return {**world.accounts.get((pod.namespace, pod.account), {}), "projectcalico.org/name": pod.account}


def pod_labels(world: World, pod: Pod) -> dict[str, str]:
    """What a selector sees of a pod: its own labels, Calico's, and the namespace's and the account's with a prefix."""
    seen = {f"pcns.{key}": value for key, value in space_labels(world, pod.namespace).items()}
    seen |= {f"pcsa.{key}": value for key, value in account_labels(world, pod).items()}
    seen |= pod.labels
    seen["projectcalico.org/namespace"], seen["projectcalico.org/serviceaccount"] = pod.namespace, pod.account
    seen["projectcalico.org/orchestrator"] = "k8s"
    return seen


def set_labels(world: World, each: NetworkSet) -> dict[str, str]:
    """What a selector sees of a network set."""
    if each.is_global:
        return dict(each.labels)
    seen = {f"pcns.{key}": value for key, value in space_labels(world, each.namespace).items()}
    return {**seen, **dict(each.labels), "projectcalico.org/namespace": each.namespace}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What a rule is held against; an address is empty where that end has none of the flow's family."""

    source: Side
    destination: Side
    addresses: tuple[str, str]
    target: Target


def ruling(world: World, direction: PolicyType, pod: Pod, flow: Flow) -> Ruling:
    """One direction's answer at one pod, by everything that is in force."""
    about = sorted(_about(world, direction, pod), key=lambda each: each[0])
    isolating = tuple(policy.key for _, policy in about)
    for _, policy in about:
        decided = _decided(world, policy, direction, flow)
        if decided is not None:
            action, rule = decided
            admission = Admission(policy=policy.key, rule=rule)
            denied = action is Action.DENY
            return Ruling(
                direction=direction,
                pod=pod.key,
                isolating=isolating,
                admitted=() if denied else (admission,),
                denied=admission if denied else None,
            )
    return Ruling(direction=direction, pod=pod.key, isolating=isolating)


def _about(
    world: World, direction: PolicyType, pod: Pod
) -> Iterator[tuple[tuple[float, str], CalicoPolicy | NetworkPolicy]]:
    """The policies that are about a pod in a direction, each with what sorts it."""
    for own in world.calico:
        if direction in types(own) and selects(world, own, pod):
            order = given(own.order)
            name = f"default.{own.name}" if own.is_global else f"{own.namespace}/default.{own.name}"
            yield (math.inf if order is None else order, name), own
    for each in world.policies:
        if oracle.isolates(each, direction) and oracle.selects(each, pod):
            yield (KUBERNETES_ORDER, f"{each.namespace}/knp.default.{each.name}"), each


def _decided(
    world: World, policy: CalicoPolicy | NetworkPolicy, direction: PolicyType, flow: Flow
) -> tuple[Action, int] | None:
    """The action of the first rule that decides the flow, with its place; None where the policy leaves it open."""
    if isinstance(policy, NetworkPolicy):
        inward = direction is PolicyType.INGRESS
        peer, address = (flow.source, flow.addresses[0]) if inward else (flow.destination, flow.addresses[1])
        for place, _ in enumerate(items(policy.ingress if inward else policy.egress)):
            if oracle.admits(world, policy, direction, place, peer, address, flow.target):
                return Action.ALLOW, place
        return None
    for place, rule in enumerate(items(policy.ingress if direction is PolicyType.INGRESS else policy.egress)):
        if rule.action is not Action.LOG and matches(world, policy, rule, flow):
            return rule.action, place
    return None


def matches(world: World, policy: CalicoPolicy, rule: Rule, flow: Flow) -> bool:
    """Whether a rule is about the flow: everything that it says must hold."""
    spoken = str(flow.target.protocol)
    for protocol, wanted in ((rule.protocol, True), (rule.not_protocol, False)):
        if isinstance(protocol, str | int) and (_NUMBERS.get(protocol, str(protocol)) == spoken) is not wanted:
            return False
    version = given(rule.version)
    if version is not None and any(parsed(each).version != version for each in flow.addresses if each):
        return False
    ends = ((rule.source, flow.source, flow.addresses[0]), (rule.destination, flow.destination, flow.addresses[1]))
    return all(_is(world, policy, end, side, address) for end, side, address in ends) and (
        _on_port(rule.destination, flow.target) and _from_any_port(rule.source)
    )


def _is(world: World, policy: CalicoPolicy, end: Entity, side: Side, address: str) -> bool:
    nets, not_nets = items(end.nets), items(end.not_nets)
    if (nets or not_nets) and not address:
        return False
    for ranges, wanted in ((nets, True), (not_nets, False)):
        if ranges and (not _same_family(ranges, address) or _within(ranges, address) is not wanted):
            return False
    return _chosen(world, policy, end, side, address)


def _same_family(ranges: tuple[str, ...], address: str) -> bool:
    """A rule with ranges of one family is about that family alone, whether it wants them or not."""
    return network(ranges[0]).version == parsed(address).version


def _within(ranges: tuple[str, ...], address: str) -> bool:
    return any(parsed(address) in network(each) for each in ranges)


def _chosen(world: World, policy: CalicoPolicy, end: Entity, side: Side, address: str) -> bool:
    """Whether the end's selectors pick the side: as the pod that it is, or by a network set that has its address."""
    selector, unwanted, space = _tree(end.selector), _tree(end.not_selector), _tree(end.namespaces)
    accounts = given(end.accounts)
    names = items(accounts.names) if accounts is not None else ()
    by_label = _tree(accounts.selector) if accounts is not None else None
    anybody = selector is None and space is None and not names and by_label is None
    if anybody and (policy.is_global or unwanted is None):
        return unwanted is None or not any(fulfils(seen, unwanted) for _, seen, _ in _known(world, side, address))

    def at_home(namespace: str) -> bool:
        if space is None:
            return policy.is_global or namespace == policy.namespace
        if isinstance(space, Global | All):
            return bool(namespace) is isinstance(space, All)
        return fulfils(space_labels(world, namespace) if namespace else {}, space)

    return any(
        at_home(namespace)
        and (selector is None or fulfils(seen, selector))
        and (unwanted is None or not fulfils(seen, unwanted))
        and (not names or (pod is not None and pod.account in names))
        and (by_label is None or (pod is not None and fulfils(account_labels(world, pod), by_label)))
        for namespace, seen, pod in _known(world, side, address)
    )


def _known(world: World, side: Side, address: str) -> Iterator[tuple[str, Labels, Pod | None]]:
    """Everything with labels that the side is: the pod, and each network set with its address; with the namespace."""
    if not isinstance(side, str) and not side.host_network:
        yield side.namespace, pod_labels(world, side), side
    for each in world.network_sets:
        if address and _within(each.nets, address):
            yield each.namespace, set_labels(world, each), None


def _on_port(end: Entity, target: Target) -> bool:
    wanted, unwanted = items(end.ports), items(end.not_ports)

    def is_it(port: PortRange | str) -> bool:
        if isinstance(port, PortRange):
            return port.low <= target.port <= port.high
        return any(
            (each.name, each.protocol, each.number) == (port, target.protocol, target.port) for each in target.ports
        )

    return (not wanted or any(map(is_it, wanted))) and not any(map(is_it, unwanted))


def _from_any_port(end: Entity) -> bool:
    """Whether the source's ports let in a caller that calls from a port of its system's choice, as all do here."""
    chosen = range(32768, 61000)  # Linux's ip_local_port_range

    def covers(port: PortRange | str) -> bool:
        return isinstance(port, PortRange) and port.low <= chosen[0] and port.high >= chosen[-1]

    wanted, unwanted = items(end.ports), items(end.not_ports)
    return (not wanted or any(map(covers, wanted))) and not any(map(covers, unwanted))
