"""The broken data planes that forget, lag, or miss a node: each was right once, or is right elsewhere.

What belongs here: functions that give or are an `Around` (see `mutation`), with the memory they need. What does not:
misreadings (`rewrites`), and the registry (`clusters.lab.mutants`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from clusters.lab.addresses import node_name
from clusters.lab.policy.mutation import Around, Compile, World
from clusters.lab.policy.rewrites import with_pods
from clusters.lab.policy.ruleset import DROP, NamedSet, Ruleset, merged
from clusters.lab.policy.snapshot import Attachment, Pod, Snapshot
from policies.model import NetworkPolicy, PolicyType

DELAY: Final = 30.0
"""Seconds by which the slow mutant is late; no suite waits that long for a policy."""
YOUTH: Final = 0.5
"""Seconds for which a new pod is unguarded where its policies come late; its process starts in a fifth of that."""
SICK_NODE: Final = node_name(1)
"""The node that the one-node mutants break; the first one stays sound."""


def unless_sick(around: Around) -> Around:
    """The broken way on one node, the sound one on all others."""

    def choose(snapshot: Snapshot, world: World, compile_sound: Compile) -> Ruleset:
        return around(snapshot, world, compile_sound) if world.node == SICK_NODE else compile_sound(snapshot)

    return choose


def labels_of_birth(snapshot: Snapshot, world: World, compile_sound: Compile) -> Ruleset:
    """A pod keeps the labels it was first seen with."""
    first = world.memory

    def as_born(pod: Pod) -> Pod:
        return replace(pod, labels=first.setdefault(pod.uid, dict(pod.labels)))

    return compile_sound(with_pods(snapshot, as_born))


def namespaces_of_birth(snapshot: Snapshot, world: World, compile_sound: Compile) -> Ruleset:
    """A namespace keeps the labels it was first seen with."""
    labels = {name: world.memory.setdefault(name, dict(each)) for name, each in snapshot.namespaces.items()}
    return compile_sound(replace(snapshot, namespaces=labels))


def policies_of_birth(snapshot: Snapshot, world: World, compile_sound: Compile) -> Ruleset:
    """A policy keeps the content it was first seen with, until it is deleted."""
    alive = {each.uid for each in snapshot.policies}
    for gone in set(world.memory) - alive:
        del world.memory[gone]
    kept = tuple(world.memory.setdefault(each.uid, each) for each in snapshot.policies)
    return compile_sound(replace(snapshot, policies=kept))


def policies_never_die(snapshot: Snapshot, world: World, compile_sound: Compile) -> Ruleset:
    """A deleted policy stays in force."""
    world.memory.update({each.uid: each for each in snapshot.policies})
    return compile_sound(replace(snapshot, policies=tuple(world.memory.values())))


def only_new_pods(snapshot: Snapshot, world: World, compile_sound: Compile) -> Ruleset:
    """A pod is guarded by the policies that were there before it, and by no later one."""

    def visible(attachment: Attachment) -> tuple[NetworkPolicy, ...]:
        known = world.memory.setdefault(attachment.pod.uid, {each.uid for each in snapshot.policies})
        return tuple(each for each in snapshot.policies if each.uid in known)

    parts = [
        compile_sound(replace(snapshot, attachments=(each,), policies=visible(each))) for each in snapshot.attachments
    ]
    return merged((compile_sound(replace(snapshot, attachments=())), *parts))


def late(snapshot: Snapshot, world: World, compile_sound: Compile) -> Ruleset:
    """A policy, new or changed, counts only after the delay."""
    due = []
    seen: dict[NetworkPolicy, float] = world.memory.setdefault("seen", {})
    for policy in snapshot.policies:
        if policy not in seen:
            seen[policy] = world.now()
            world.wake(DELAY)
        if world.now() - seen[policy] >= DELAY:
            due.append(policy)
    return compile_sound(replace(snapshot, policies=tuple(due)))


def deaf(snapshot: Snapshot, world: World, compile_sound: Compile) -> Ruleset:
    """What others do is noticed only when a pod of this node comes or goes."""
    mine = {each.pod.uid for each in snapshot.attachments}
    if world.memory.get("mine") != mine:
        world.memory.update(mine=mine, seen=snapshot)
    return compile_sound(replace(world.memory["seen"], services=snapshot.services))


def by_first_address(snapshot: Snapshot, world: World, compile_sound: Compile) -> Ruleset:
    """A pod's name stands for the first pod that had it: its successors are unguarded, and unknown as peers."""
    first: dict[tuple[str, str], Pod] = world.memory.setdefault("first", {})
    for pod in snapshot.pods:
        if pod.addresses:
            first.setdefault((pod.namespace, pod.name), pod)

    def as_first(pod: Pod) -> Pod:
        return replace(pod, addresses=first.get((pod.namespace, pod.name), pod).addresses)

    peers = tuple(map(as_first, snapshot.pods))
    sound = compile_sound(replace(snapshot, pods=peers))
    successors = {
        f'"{each.interface}"'
        for each in snapshot.attachments
        if first.get((each.pod.namespace, each.pod.name), each.pod).uid != each.pod.uid
    }
    return _unguarded(sound, lambda interface: interface in successors)


def young_unguarded(snapshot: Snapshot, world: World, compile_sound: Compile) -> Ruleset:
    """A new pod has its network before it has its policies."""
    born: dict[str, float] = world.memory
    young = set()
    for each in snapshot.attachments:
        if each.pod.uid not in born:
            born[each.pod.uid] = world.now()
            world.wake(YOUTH)
        if world.now() - born[each.pod.uid] < YOUTH:
            young.add(f'"{each.interface}"')
    return _unguarded(compile_sound(snapshot), lambda interface: interface in young)


def peers_resolved_once(snapshot: Snapshot, world: World, compile_sound: Compile) -> Ruleset:
    """Pods that come after the first policy are nobody's peers, until there is none."""
    if not snapshot.policies:
        world.memory.clear()
        return compile_sound(snapshot)
    known = world.memory.setdefault("known", {each.uid for each in snapshot.pods if each.addresses})
    return compile_sound(replace(snapshot, pods=tuple(each for each in snapshot.pods if each.uid in known)))


def first_holder(snapshot: Snapshot, world: World, compile_sound: Compile) -> Ruleset:
    """An address stands for the identity that had it first."""
    first: dict[tuple[str, ...], Pod] = world.memory.setdefault("first", {})

    def inherited(pod: Pod) -> Pod:
        if not pod.addresses:
            return pod
        holder = first.setdefault(pod.addresses, pod)
        return replace(pod, namespace=holder.namespace, labels=holder.labels)

    return compile_sound(replace(snapshot, pods=tuple(map(inherited, snapshot.pods))))


def flushed_first(before: Ruleset, wanted: Ruleset) -> Sequence[Ruleset]:
    """Nobody is guarded until the new rules are in."""
    return (wanted,) if _same(before, wanted) else (_unguarded(before, lambda _: True), wanted)


def blocked_first(before: Ruleset, wanted: Ruleset) -> Sequence[Ruleset]:
    """Every guarded pod is closed until the new rules are in."""
    guards = tuple(f"{each.lower()}-" for each in PolicyType)
    chains = {
        name: replace(each, rules=(DROP,)) if name.startswith(guards) else each for name, each in before.chains.items()
    }
    return (wanted,) if _same(before, wanted) else (replace(before, chains=chains), wanted)


def _same(before: Ruleset, wanted: Ruleset) -> bool:
    return (before.chains, before.sets) == (wanted.chains, wanted.sets)


def nobody_guarded(snapshot: Snapshot, _world: World, compile_sound: Compile) -> Ruleset:
    """Chains are compiled and never jumped to."""
    return _unguarded(compile_sound(snapshot), lambda _: True)


def _unguarded(sound: Ruleset, skipped: Callable[[str], bool]) -> Ruleset:
    maps = {
        name: NamedSet(
            type=sound.sets[name].type,
            elements={key: value for key, value in sound.sets[name].elements.items() if not skipped(key)},
        )
        for name in ("ingress", "egress")
    }
    return replace(sound, sets={**sound.sets, **maps})
