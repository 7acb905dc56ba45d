"""Who may reach whom by NetworkPolicy alone, and which policy says so: read from the specification, pure and total.

What belongs here: the meaning of typed policies for plain facts. What does not: reading manifests (`read`), the lab's
compiler, which is another reading of the same words, and anything that asks a cluster.

A Service is not known here: the specification leaves open whether policies see its address, so ask about the pod
behind it and that pod's own port.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from flows.errors import UsageError
from policies.calico.model import CalicoPolicy, NetworkSet
from policies.model import (
    Absent,
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

NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
"""The label that the API server puts on every namespace; its value is the namespace's name."""
Labels = Mapping[str, str]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPort:
    """A container port that has a name: policies may use the name in the number's place."""

    name: str
    number: int
    protocol: Transport = Transport.TCP


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """What a policy can know of a pod.

    Attributes:
        account: The name of its ServiceAccount.
        addresses: Of every family it has, primary first.
        node_addresses: Of the node it runs on; what comes from there is always allowed.
        host_network: It uses the node's network; policies then neither select it nor find it by labels, and the names
            of its ports mean nothing to them.
    """

    name: str
    namespace: str
    labels: Labels = field(default_factory=dict)
    account: str = "default"
    addresses: tuple[str, ...] = ()
    ports: tuple[NamedPort, ...] = ()
    node_addresses: tuple[str, ...] = ()
    host_network: bool = False

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


Side = Pod | str
"""One end of a flow: a pod, or the address of something that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The policies that are in force, and the labels of namespaces.

    Attributes:
        namespaces: Name → labels; one that is missing has the label that every namespace has, and no other.
        accounts: (namespace, name) of ServiceAccounts → labels; one that is missing has none.
        calico, network_sets: Calico's own; where there are any, `policies.calico.oracle` says how they decide.

    Raises:
        UsageError: A policy has no namespace, so whom it selects is not known.
    """

    policies: tuple[NetworkPolicy, ...] = ()
    namespaces: Mapping[str, Labels] = field(default_factory=dict)
    accounts: Mapping[tuple[str, str], Labels] = field(default_factory=dict)
    calico: tuple[CalicoPolicy, ...] = ()
    network_sets: tuple[NetworkSet, ...] = ()

    def __post_init__(self) -> None:
        spaced = [each for each in self.calico if not each.is_global]
        sets = [each for each in self.network_sets if not each.is_global]
        written: tuple[NetworkPolicy | CalicoPolicy | NetworkSet, ...] = (*self.policies, *spaced, *sets)
        for policy in written:
            if not policy.namespace:
                where = policy.source or policy.name
                raise UsageError(
                    f"{where}: field 'metadata.namespace' is missing; the oracle must know whom it selects"
                )

    def labels(self, namespace: str) -> dict[str, str]:
        """The labels of a namespace, with the one that the API server sets."""
        return {**self.namespaces.get(namespace, {}), NAMESPACE_LABEL: namespace}


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """One rule that lets the flow through: the policy's `namespace/name`, and the rule's place in its list."""

    policy: str
    rule: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """One direction's answer, at one pod.

    Attributes:
        pod: Whose ingress or egress it is.
        isolating: The policies that select the pod for this direction; without any, everything is allowed.
        admitted: The rules of those that let the flow through; with Calico's, the one that decides.
        denied: The rule of one of Calico's that denies it by name.
        exempt: Why policies have no say here, or empty.
    """

    direction: PolicyType
    pod: str
    isolating: tuple[str, ...] = ()
    admitted: tuple[Admission, ...] = ()
    denied: Admission | None = None
    exempt: str = ""

    @property
    def closing(self) -> tuple[str, ...]:
        """The policies that close the flow: the one that denies it, or all that isolate and do not admit it."""
        return () if self.allowed else ((self.denied.policy,) if self.denied else self.isolating)

    @property
    def allowed(self) -> bool:
        """Whether this direction lets the flow through."""
        return bool(self.exempt or self.admitted or not self.isolating)

    def words(self) -> str:
        """One line, for a person."""
        at = f"{str(self.direction).lower()} of {self.pod}"
        if self.exempt:
            return f"{at}: {self.exempt}"
        if not self.isolating:
            return f"{at}: no policy selects it"
        if self.admitted:
            return f"{at}: admitted by {', '.join(f'{each.policy} rule {each.rule + 1}' for each in self.admitted)}"
        if self.denied:
            return f"{at}: denied by {self.denied.policy} rule {self.denied.rule + 1}"
        return f"{at}: isolated by {', '.join(self.isolating)}, no rule admits it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a flow is allowed: each direction that a pod of ours has must allow it."""

    allowed: bool
    by: tuple[Ruling, ...] = ()

    def closing(self) -> tuple[Ruling, ...]:
        """The rulings that close the flow."""
        return tuple(ruling for ruling in self.by if not ruling.allowed)

    def words(self) -> str:
        """One line, for a person."""
        return "; ".join(ruling.words() for ruling in self.by)


def decide(
    world: World, source: Side, destination: Side, port: int, protocol: Transport, *, family: int = 0
) -> Decision:
    """What the policies say about a flow; complete for TCP, UDP and SCTP, silent about ICMP.

    Args:
        source: The calling pod, or an address outside.
        destination: The pod that is to answer, or an address outside.
        port: The number that the destination itself listens on.
        family: 4 or 6; 0 takes each pod's primary address.
    """
    addresses = _address(source, family), _address(destination, family)
    names = () if isinstance(destination, str) or destination.host_network else destination.ports
    to = Target(port=port, protocol=protocol, ports=names)
    rulings = []
    for direction, pod, peer, address in (
        (PolicyType.EGRESS, source, destination, addresses[1]),
        (PolicyType.INGRESS, destination, source, addresses[0]),
    ):
        if isinstance(pod, str):
            continue
        why = _exempt(direction, pod, peer, address)
        if why:
            rulings.append(Ruling(direction=direction, pod=pod.key, exempt=why))
            continue
        if world.calico:
            from policies.calico import oracle as calico  # it builds on this module

            flow = calico.Flow(source=source, destination=destination, addresses=addresses, target=to)
            rulings.append(calico.ruling(world, direction, pod, flow))
        else:
            rulings.append(_ruling(world, direction, pod, peer, address, to))
    return Decision(allowed=all(ruling.allowed for ruling in rulings), by=tuple(rulings))


def _ruling(world: World, direction: PolicyType, pod: Pod, peer: Side, address: str, to: Target) -> Ruling:
    """One direction's answer at one pod, by policies of Kubernetes alone."""
    selecting = sorted(
        (each for each in world.policies if isolates(each, direction) and selects(each, pod)),
        key=lambda policy: policy.key,
    )
    return Ruling(
        direction=direction,
        pod=pod.key,
        isolating=tuple(policy.key for policy in selecting),
        admitted=tuple(
            Admission(policy=policy.key, rule=place)
            for policy in selecting
            for place, _ in enumerate(_rules(policy, direction))
            if admits(world, policy, direction, place, peer, address, to)
        ),
    )


def isolates(policy: NetworkPolicy, direction: PolicyType) -> bool:
    """Whether the policy isolates the pods it selects in this direction.

    Without `policyTypes` a policy is about ingress always, and about egress where it has at least one egress rule.
    """
    types = items(policy.types)
    if types:
        return direction in types
    return direction is PolicyType.INGRESS or bool(items(policy.egress))


def selects(policy: NetworkPolicy, pod: Pod) -> bool:
    """Whether the pod is one that the policy is about."""
    return not pod.host_network and policy.namespace == pod.namespace and matches(given(policy.pods), pod.labels)


def matches(selector: Selector | None, labels: Labels) -> bool:
    """Whether labels fulfil every line of a selector; one without lines, or none at all, takes everything."""
    if selector is None:
        return True
    if any(labels.get(key) != value for key, value in items(selector.labels)):
        return False
    for line in items(selector.expressions):
        there, values = line.key in labels, items(line.values)
        holds = {
            Operator.IN: there and labels.get(line.key) in values,
            Operator.NOT_IN: not there or labels[line.key] not in values,
            Operator.EXISTS: there,
            Operator.DOES_NOT_EXIST: not there,
        }
        if not holds[line.operator]:
            return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is called: the number, and the names it has at the destination."""

    port: int
    protocol: Transport
    ports: tuple[NamedPort, ...]


def _rules(policy: NetworkPolicy, direction: PolicyType) -> tuple[Rule, ...]:
    return items(policy.ingress if direction is PolicyType.INGRESS else policy.egress)


def admits(
    world: World, policy: NetworkPolicy, direction: PolicyType, place: int, peer: Side, address: str, target: Target
) -> bool:
    """Whether the rule at this place of a policy lets the flow through; `address` is that of the peer."""
    rule = _rules(policy, direction)[place]
    peers, ports = items(rule.peers), items(rule.ports)
    return (not peers or any(_is(world, policy, each, peer, address) for each in peers)) and (
        not ports or any(_covers(each, target) for each in ports)
    )


def _is(world: World, policy: NetworkPolicy, wanted: Peer, side: Side, address: str) -> bool:
    block = given(wanted.block)
    if block is not None:
        return _within(block, address)
    if isinstance(side, str) or side.host_network:
        return False
    namespaces = given(wanted.namespaces)
    if namespaces is None:
        here = side.namespace == policy.namespace
    else:
        here = matches(namespaces, world.labels(side.namespace))
    return here and matches(given(wanted.pods), side.labels)


def _within(block: IpBlock, text: str) -> bool:
    if not text:
        return False
    address = parsed(text)

    def inside(cidr: str) -> bool:
        return address in network(cidr)

    return inside(block.cidr) and not any(inside(hole) for hole in items(block.excepts))


def _covers(wanted: Port, target: Target) -> bool:
    if (given(wanted.protocol) or Transport.TCP) is not target.protocol:
        return False
    port, end = wanted.port, given(wanted.end)
    if port is None or isinstance(port, Absent):
        return True
    if isinstance(port, str):
        called = {(each.name, each.protocol) for each in target.ports if each.number == target.port}
        return (port, target.protocol) in called
    return port <= target.port <= (port if end is None else end)


def _exempt(direction: PolicyType, pod: Pod, peer: Side, address: str) -> str:
    """Why policies have no say: a pod and itself, a pod in the node's network, what comes from the pod's own node.

    The specification exempts traffic to the own node as well; real data planes (Calico) isolate that, so it is not
    exempt here.
    """
    if not isinstance(peer, str) and peer.key == pod.key:
        return "a pod's traffic to itself does not leave it"
    if pod.host_network:
        return "policies do not select pods in the node's network"
    node = {parsed(each) for each in pod.node_addresses}
    if direction is PolicyType.INGRESS and address and parsed(address) in node:
        return "what comes from a pod's own node is always allowed"
    return ""


def _address(side: Side, family: int) -> str:
    if isinstance(side, str):
        return side
    fitting = (each for each in side.addresses if family in {0, parsed(each).version})
    return next(fitting, "")


@functools.lru_cache(maxsize=4096)
def parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address; asked again and again of the same few, and half of a decision's time without a memory."""
    return ipaddress.ip_address(address)


@functools.lru_cache(maxsize=4096)
def network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The range, whichever of its addresses it is written by."""
    return ipaddress.ip_network(cidr, strict=False)


def given(value: Written[T]) -> T | None:
    """What was written; null is as good as absent here."""
    return None if isinstance(value, Absent) else value


def items(value: Written[tuple[T, ...]]) -> tuple[T, ...]:
    """The entries that were written; an empty list, null and absence are the same to every reader of it."""
    return given(value) or ()


def in_force(policies: Iterable[NetworkPolicy], pod: Pod) -> tuple[NetworkPolicy, ...]:
    """The policies that select the pod, in either direction, by name."""
    return tuple(sorted((each for each in policies if selects(each, pod)), key=lambda policy: policy.key))


def isolating(world: World, pod: Pod, direction: PolicyType) -> tuple[str, ...]:
    """The policies that are about a pod in one direction, whoever calls: their keys."""
    nobody = Target(port=0, protocol=Transport.TCP, ports=())
    if world.calico:
        from policies.calico import oracle as calico  # it builds on this module

        flow = calico.Flow(source="", destination="", addresses=("", ""), target=nobody)
        return calico.ruling(world, direction, pod, flow).isolating
    return _ruling(world, direction, pod, "", "", nobody).isolating
