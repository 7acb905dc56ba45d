"""The broken data planes that misread policies or misspell rules: each value is wrong at every moment alike.

What belongs here: functions that give an `Around` (see `mutation`). What does not: mutants that forget, lag or mix up
(`lapses`), and the registry (`clusters.lab.mutants`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from clusters.lab.policy.compiler import ESTABLISHED
from clusters.lab.policy.mutation import Around, Compile, World
from clusters.lab.policy.ruleset import DROP, FAMILIES, Chain, NamedSet, Ruleset
from clusters.lab.policy.snapshot import Pod, Snapshot
from policies.model import (
    ABSENT,
    Expression,
    IpBlock,
    NetworkPolicy,
    Operator,
    Peer,
    PolicyType,
    Port,
    Rule,
    Selector,
    Written,
)

REPLY_MARK = "0x2"
DATA_MARK = "0x1"
_NOTHING = Selector(expressions=(Expression(key="eastwest.dev/nobody", operator=Operator.EXISTS),))
_EVERYTHING = Selector()


def on_snapshot(change: Callable[[Snapshot], Snapshot]) -> Around:
    """The sound compilation of a changed snapshot."""

    def around(snapshot: Snapshot, _world: World, compile_sound: Compile) -> Ruleset:
        return compile_sound(change(snapshot))

    return around


def on_policies(change: Callable[[NetworkPolicy], NetworkPolicy]) -> Around:
    """Every policy is changed before it is compiled."""
    return on_snapshot(lambda snapshot: replace(snapshot, policies=tuple(map(change, snapshot.policies))))


def on_rules(change: Callable[[Rule], Rule | None]) -> Around:
    """Every rule of both directions is changed, or left out where the change gives None."""

    def rules(written: Written[tuple[Rule, ...]]) -> Written[tuple[Rule, ...]]:
        if not isinstance(written, tuple):
            return written
        return tuple(each for each in map(change, written) if each is not None)

    return on_policies(lambda policy: replace(policy, ingress=rules(policy.ingress), egress=rules(policy.egress)))


def on_peers(change: Callable[[Peer], Iterable[Peer]]) -> Around:
    """Every peer becomes none, one or several; a rule that loses its last peer allows nobody."""

    def rule(written: Rule) -> Rule | None:
        if not isinstance(written.peers, tuple) or not written.peers:
            return written
        peers = tuple(other for each in written.peers for other in change(each))
        return replace(written, peers=peers) if peers else None

    return on_rules(rule)


def on_ports(change: Callable[[Port], Port]) -> Around:
    """Every port of a rule is changed."""

    def rule(written: Rule) -> Rule:
        ports = written.ports
        return replace(written, ports=tuple(map(change, ports))) if isinstance(ports, tuple) else written

    return on_rules(rule)


def on_selectors(change: Callable[[Selector], Selector]) -> Around:
    """Every selector that is written, of subjects, pods and namespaces, is changed."""

    def one(written: Written[Selector]) -> Written[Selector]:
        return change(written) if isinstance(written, Selector) else written

    def rule(written: Rule) -> Rule:
        if not isinstance(written.peers, tuple):
            return written
        peers = (replace(each, pods=one(each.pods), namespaces=one(each.namespaces)) for each in written.peers)
        return replace(written, peers=tuple(peers))

    in_rules = on_rules(rule)
    in_subjects = on_policies(lambda policy: replace(policy, pods=one(policy.pods)))
    return lambda snapshot, world, sound: in_rules(snapshot, world, lambda s: in_subjects(s, world, sound))


def on_chains(change: Callable[[tuple[str, ...]], tuple[str, ...]], *prefixes: str) -> Around:
    """The rules of every chain whose name begins so are changed; of all pods' chains where no prefix is given."""
    wanted = prefixes or ("ingress-", "egress-")

    def around(snapshot: Snapshot, _world: World, compile_sound: Compile) -> Ruleset:
        sound = compile_sound(snapshot)
        chains = {
            name: replace(chain, rules=change(chain.rules)) if name.startswith(wanted) else chain
            for name, chain in sound.chains.items()
        }
        return replace(sound, chains=chains)

    return around


def both(first: Around, second: Around) -> Around:
    """One change inside the other."""
    return lambda snapshot, world, sound: first(snapshot, world, lambda inner: second(inner, world, sound))


def without(*directions: PolicyType) -> Around:
    """Pods are compiled but never guarded in these directions."""

    def around(snapshot: Snapshot, _world: World, compile_sound: Compile) -> Ruleset:
        sound = compile_sound(snapshot)
        empty = {each.lower(): NamedSet(type=sound.sets[each.lower()].type) for each in directions}
        return replace(sound, sets={**sound.sets, **empty})

    return around


def first_rule(text: str, *prefixes: str) -> Around:
    """A rule that stands before all others."""
    return on_chains(lambda rules: (text, *rules), *prefixes)


def instead_of_drop(*texts: str) -> Around:
    """Other rules where a pod's chain ends."""
    return on_chains(lambda rules: (*rules[:-1], *texts))


def in_family(version: int, text: str) -> Around:
    """A rule for one family that stands before all others of a pod."""
    return first_rule(f"meta nfproto ipv{version} {text}")


def unknown_in_family(version: int) -> Around:
    """Selectors find no pod's address of one family."""

    def around(snapshot: Snapshot, _world: World, compile_sound: Compile) -> Ruleset:
        sound = compile_sound(snapshot)
        sets = {
            name: NamedSet(type=each.type) if name.startswith(f"peers{version}-") else each
            for name, each in sound.sets.items()
        }
        return replace(sound, sets=sets)

    return around


def opens_the_other_family(rules: tuple[str, ...]) -> tuple[str, ...]:
    """A rule for IPv4 addresses lets all of IPv6 through."""
    return tuple(
        line
        for rule in rules
        for line in (rule, *(["meta nfproto ipv6 return"] if re.match(r"ip [sd]addr \d", rule) else []))
    )


def split_and(peer: Peer) -> tuple[Peer, ...]:
    """Both selectors of one peer as two peers."""
    if isinstance(peer.pods, Selector) and isinstance(peer.namespaces, Selector):
        return replace(peer, namespaces=ABSENT), replace(peer, pods=ABSENT)
    return (peer,)


def without_holes(peer: Peer) -> tuple[Peer, ...]:
    """The ipBlock without its `except`."""
    return (replace(peer, block=replace(peer.block, excepts=ABSENT)),) if isinstance(peer.block, IpBlock) else (peer,)


def without_block(peer: Peer) -> tuple[Peer, ...]:
    """Peers by selectors only."""
    return () if isinstance(peer.block, IpBlock) else (peer,)


def in_any_namespace(peer: Peer) -> tuple[Peer, ...]:
    """A podSelector alone, taken for the pods of every namespace."""
    alone = isinstance(peer.pods, Selector) and not isinstance(peer.namespaces, Selector)
    return (replace(peer, namespaces=_EVERYTHING),) if alone else (peer,)


def namespaces_unlabelled(peer: Peer) -> tuple[Peer, ...]:
    """A namespaceSelector that picks every namespace, whatever it says."""
    return (replace(peer, namespaces=_EVERYTHING),) if isinstance(peer.namespaces, Selector) else (peer,)


def named_means_any(port: Port) -> Port:
    """A named port as the whole protocol."""
    return replace(port, port=ABSENT) if isinstance(port.port, str) else port


def without_end(port: Port) -> Port:
    """A range as its first number."""
    return replace(port, end=ABSENT)


def without_expressions(selector: Selector) -> Selector:
    """The labels alone."""
    return replace(selector, expressions=ABSENT)


def not_in_needs_key(selector: Selector) -> Selector:
    """`NotIn` that wants the key to be there."""
    written = selector.expressions if isinstance(selector.expressions, tuple) else ()
    keys = tuple(
        Expression(key=each.key, operator=Operator.EXISTS) for each in written if each.operator is Operator.NOT_IN
    )
    return replace(selector, expressions=(*written, *keys)) if keys else selector


def empty_is_nothing(selector: Selector) -> Selector:
    """`{}` as a selector that nobody matches."""
    written = [each for each in (selector.labels, selector.expressions) if isinstance(each, tuple) and each]
    return selector if written else _NOTHING


def always_ingress(policy: NetworkPolicy) -> NetworkPolicy:
    """Ingress isolated whatever policyTypes says."""
    types = policy.types if isinstance(policy.types, tuple) else ()
    return replace(policy, types=(PolicyType.INGRESS, *types)) if types else policy


def first_pod_names_ports(snapshot: Snapshot) -> Snapshot:
    """In each namespace, the number that the first pod gives a port's name is taken for all its pods."""
    numbers: dict[tuple[str, str, str], int] = {}
    for pod in sorted(snapshot.pods, key=lambda each: (each.namespace, each.name)):
        for name, protocol, number in pod.ports:
            numbers.setdefault((pod.namespace, name, protocol), number)

    def renamed(pod: Pod) -> Pod:
        ports = tuple((name, proto, numbers.get((pod.namespace, name, proto), n)) for name, proto, n in pod.ports)
        return replace(pod, ports=ports)

    return with_pods(snapshot, renamed)


def with_pods(snapshot: Snapshot, change: Callable[[Pod], Pod]) -> Snapshot:
    """The snapshot with every pod changed, the attached ones too."""
    return replace(
        snapshot,
        pods=tuple(map(change, snapshot.pods)),
        attachments=tuple(replace(each, pod=change(each.pod)) for each in snapshot.attachments),
    )


def newest_only(snapshot: Snapshot) -> Snapshot:
    """Of a namespace's policies with the same subjects, the newest alone."""
    newest: dict[tuple[str, object], NetworkPolicy] = {}
    for policy in sorted(snapshot.policies, key=lambda each: (each.created, each.name)):
        newest[policy.namespace, policy.pods] = policy
    return replace(snapshot, policies=tuple(newest.values()))


def block_before_translation(rules: tuple[str, ...]) -> tuple[str, ...]:
    """Ranges compared with the address that the caller dialled."""
    return tuple(re.sub(r"\b(ip6?) daddr (?!@|\.)", r"ct original \1 daddr ", rule) for rule in rules)


def protocol_blind(rules: tuple[str, ...]) -> tuple[str, ...]:
    """Ports of TCP open the same ports of UDP, and the other way round."""
    return tuple(re.sub(r"meta l4proto (tcp|udp) ", "meta l4proto { tcp, udp } ", rule) for rule in rules)


def replies_dropped() -> Around:
    """What should be denied goes through, and its reply does not come back."""
    return both(
        first_rule(f"ct mark {REPLY_MARK} ct direction reply drop", "policy-forward"),
        instead_of_drop(f"ct mark set {REPLY_MARK} return"),
    )


def handshake_passes() -> Around:
    """TCP connections that should be denied are accepted, and their data is dropped."""
    marked = f"ct mark {DATA_MARK} meta l4proto tcp ct direction original"
    pushed = first_rule(f"{marked} tcp flags & psh == psh drop", "policy-forward")
    long = first_rule(f"{marked} meta length > 100 drop", "policy-forward")
    syn = f"tcp flags & (syn | ack) == syn ct mark set {DATA_MARK} return"
    return both(both(pushed, long), instead_of_drop(syn, DROP))


def no_hairpin(snapshot: Snapshot, _world: World, compile_sound: Compile) -> Ruleset:
    """A pod that dials itself through its Service is not masqueraded and meets its own policies."""
    sound = compile_sound(snapshot)
    empty = {f"hairpin{each}": NamedSet(type=sound.sets[f"hairpin{each}"].type) for each in FAMILIES}
    return replace(sound, sets={**sound.sets, **empty})


def probes_denied(snapshot: Snapshot, _world: World, compile_sound: Compile) -> Ruleset:
    """The node itself must be allowed by policy to reach its pods."""
    sound = compile_sound(snapshot)
    guard = Chain(hook="type filter hook output priority -10", rules=(ESTABLISHED, "oifname vmap @ingress"))
    return replace(sound, chains={**sound.chains, "policy-output": guard})
