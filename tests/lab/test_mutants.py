"""The registry: every mutant is described, found by name, and changes what is programmed exactly where it should."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import suites
from clusters.lab.addresses import node_name
from clusters.lab.mutants import MUTANTS, get
from clusters.lab.policy.calico_mutants import CALICO_MUTANTS
from clusters.lab.policy.engine import compile_ruleset
from clusters.lab.policy.lapses import DELAY, YOUTH
from clusters.lab.policy.mutation import World
from clusters.lab.policy.ruleset import Ruleset
from clusters.lab.policy.snapshot import Pod, Snapshot
from clusters.lab.wishes import lab_options
from flows.errors import UsageError
from tests.lab.policy.misreadings import DENY, GREEN, MISREADINGS, SHUT_B, A, B, Misreading
from tests.lab.policy.world import HOSTED, NAMESPACES, PODS, attached, policy, services

FROM_A = f"{{{B}, ingress: [{{from: [{{{A}}}]}}]}}"
FROM_GREEN = f"{{{B}, ingress: [{{from: [{{{GREEN}}}]}}]}}"


def _base(*specs: str) -> Snapshot:
    pods = {
        pod.name: replace(pod, addresses=(f"10.244.{node}.{index + 2}", f"fd00:10:244:{node}::{index + 2}"))
        for index, (pod, node) in enumerate(PODS)
    }
    policies = tuple(policy(spec, name=f"p{index}") for index, spec in enumerate(specs))
    known = Snapshot(
        pods=(*pods.values(), HOSTED), namespaces=NAMESPACES, services=services(pods.__getitem__), policies=policies
    )
    return attached(known, "a", "b", "c", "d")


def _with_pod(snapshot: Snapshot, name: str, change: Callable[[Pod], Pod]) -> Snapshot:
    pods = tuple(change(each) if each.name == name else each for each in snapshot.pods)
    return attached(replace(snapshot, pods=pods), "a", "b", "c", "d")


def _world(node: int = 1, now: float = 0.0) -> World:
    return World(node=node_name(node), now=lambda: now, wake=lambda _: None)


def _through(mutant: str, world: World, *steps: Snapshot) -> Ruleset:
    """What the mutant has programmed after the steps."""
    return [MUTANTS[mutant].around(each, world, compile_ruleset) for each in steps][-1]


@pytest.mark.parametrize("case", MISREADINGS, ids=str)
def test_misreading_changes_the_outcome(case: Misreading) -> None:
    known = _base(*case.specs)
    assert _through(case.mutant, _world(), known) != compile_ruleset(known)


@dataclass(frozen=True, slots=True)
class Lapse:
    """A history after which the mutant has something else in force than the sound data plane."""

    mutant: str
    steps: tuple[Snapshot, ...]

    def __str__(self) -> str:
        return self.mutant


_RELABELLED = _with_pod(_base(FROM_A), "c", lambda pod: replace(pod, labels={"app": "a"}))
_RESTARTED = _with_pod(_base(FROM_A), "a", lambda pod: replace(pod, uid="uid-new", addresses=("10.244.0.99",)))


def _swapped(known: Snapshot) -> Snapshot:
    """The pods a and c with one another's addresses."""
    held = {each.name: each.addresses for each in known.pods}
    held["a"], held["c"] = held["c"], held["a"]
    pods = tuple(replace(each, addresses=held[each.name]) for each in known.pods)
    return attached(replace(known, pods=pods), "a", "b", "c", "d")


LAPSES = (
    Lapse("stale-after-relabel", (_base(FROM_A), _RELABELLED)),
    Lapse(
        "stale-after-namespace-relabel",
        (_base(FROM_GREEN), replace(_base(FROM_GREEN), namespaces={"x": {"team": "green"}, "y": {}})),
    ),
    Lapse("stale-after-policy-update", (_base(FROM_A), _base(SHUT_B))),
    Lapse("stale-after-policy-delete", (_base(FROM_A), _base())),
    Lapse("policy-only-on-new-pods", (_base(), _base(DENY))),
    Lapse(
        "restarted-pod-forgotten",
        (_base(FROM_A), _RESTARTED),
    ),
    Lapse("one-node-unprogrammed", (_base(DENY),)),
    Lapse("dead-node", (_base(), _base(DENY))),
    Lapse("late-enforcement", (_base(DENY),)),
    Lapse("leak-at-start", (_base(DENY),)),
    Lapse("peers-resolved-once", (_base(FROM_A), _with_pod(_base(FROM_A), "a", lambda pod: replace(pod, uid="late")))),
    Lapse("address-inherited", (_base(FROM_A), _swapped(_base(FROM_A)))),
)


@pytest.mark.parametrize("case", LAPSES, ids=str)
def test_lapse_changes_the_outcome(case: Lapse) -> None:
    assert _through(case.mutant, _world(), *case.steps) != compile_ruleset(case.steps[-1])


NETWORK = [name for name, each in MUTANTS.items() if not each.mesh and each not in CALICO_MUTANTS]


def test_every_mutant_has_a_row() -> None:
    assert {each.mutant for each in MISREADINGS} | {each.mutant for each in LAPSES} | set(DETOURS) == set(NETWORK)


DETOURS = ("flush-on-update", "block-on-update")
"""These come to what is wanted, by way of something else."""


@pytest.mark.parametrize("name", DETOURS)
def test_detour_ends_where_it_should(name: str) -> None:
    before, wanted = compile_ruleset(_base(DENY, FROM_A)), compile_ruleset(_base(DENY))
    first, last = MUTANTS[name].steps(before, wanted)
    assert last == wanted
    assert first not in (before, wanted)
    assert MUTANTS[name].steps(wanted, wanted) == (wanted,)


def test_new_pods_are_guarded_in_the_end() -> None:
    clock = [0.0]
    woken: list[float] = []
    world = World(node=node_name(1), now=lambda: clock[0], wake=woken.append)
    _through("leak-at-start", world, _base(DENY))
    clock[0] = YOUTH
    assert _through("leak-at-start", world, _base(DENY)) == compile_ruleset(_base(DENY))
    assert set(woken) == {YOUTH}


OWN_MACHINERY = {
    "leak-at-start",
    "hairpin-lost",
    "node-denied",
    "egress-of-replies",
    "handshake-leak",
    "service-masquerades",
    "local-as-cluster",
}
"""These change what stands around the pods' chains, so also a world without policies."""


@pytest.mark.parametrize("name", [each for each in MUTANTS if each not in OWN_MACHINERY and not MUTANTS[each].mesh])
def test_without_policies_every_mutant_is_sound(name: str) -> None:
    assert _through(name, _world(), _base()) == compile_ruleset(_base())


@pytest.mark.parametrize("name", ["one-node-unprogrammed", "dead-node"])
def test_the_other_node_stays_sound(name: str) -> None:
    assert _through(name, _world(node=0), _base(), _base(DENY)) == compile_ruleset(_base(DENY))


def test_dead_node_wakes_when_its_own_pods_change() -> None:
    fewer = replace(_base(DENY), attachments=_base().attachments[1:])
    assert _through("dead-node", _world(), _base(), fewer) == compile_ruleset(fewer)


def test_late_enforcement_comes_in_the_end() -> None:
    clock = [0.0]
    woken: list[float] = []
    world = World(node=node_name(0), now=lambda: clock[0], wake=woken.append)
    _through("late-enforcement", world, _base(DENY))
    clock[0] = DELAY
    assert _through("late-enforcement", world, _base(DENY)) == compile_ruleset(_base(DENY))
    assert woken == [DELAY]


def test_new_pods_are_guarded_by_what_was_there() -> None:
    assert _through("policy-only-on-new-pods", _world(), _base(DENY)) == compile_ruleset(_base(DENY))


@pytest.mark.parametrize("name", MUTANTS)
def test_names_and_sentences(name: str) -> None:
    found = MUTANTS[name]
    assert re.fullmatch(r"[a-z]+(-[a-z]+|[46])*", found.name)
    assert re.fullmatch(r"[A-Z][^\n]+\.", found.breaks)
    assert found.tests


@pytest.mark.parametrize("name", MUTANTS)
def test_named_tests_exist(name: str) -> None:
    """Every word of a `-k` expression that begins like a test is one of the suite's."""
    suite = Path(suites.__path__[0]).parent / MUTANTS[name].suite
    source = "".join(path.read_text(encoding="utf-8") for path in suite.glob("test_*.py"))
    wanted = [word for each in MUTANTS[name].tests for word in re.findall(r"test_\w+", each)]
    assert [word for word in wanted if f"def {word}" not in source] == []


def test_mesh_mutant_switches_the_mesh_on() -> None:
    assert lab_options(nodes=1, mutant="plaintext-in-strict").mesh == "istio"
    assert lab_options(nodes=1, mutant="no-enforcement").mesh == "none"


def test_mutant_of_ipv6_makes_the_lab_dual_stack_and_without_a_mesh() -> None:
    broken = lab_options(nodes=1, mutant="ipv6-open", mesh="istio")
    assert (broken.ip_family, broken.mesh) == ("dual", "none")


def test_a_mutant_of_the_mesh_leaves_the_network_sound() -> None:
    assert _through("plaintext-in-strict", _world(), _base(DENY)) == compile_ruleset(_base(DENY))


def test_get_finds_by_name() -> None:
    assert get("no-enforcement") is MUTANTS["no-enforcement"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("no-enforcment", "did you mean 'no-enforcement'?"), ("zzz", "`eastwest lab mutants` lists them")],
    ids=["near", "far"],
)
def test_unknown_name_is_one_line_with_a_remedy(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        get(name)
    assert str(caught.value) == f"unknown mutant '{name}'; {hint}"
