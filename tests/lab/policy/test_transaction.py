"""Differences: one atomic script, as small as the change, and always the same end as programming afresh."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clusters.lab import system
from clusters.lab.policy.engine import compile_ruleset
from clusters.lab.policy.ruleset import TABLE, Chain, NamedSet, Ruleset
from clusters.lab.policy.snapshot import Pod, Snapshot
from clusters.lab.policy.transaction import EMPTY, difference, fresh
from policies.model import NetworkPolicy
from tests.lab.policy.bench import Bench
from tests.lab.policy.world import attached, policy

FROM_FRONT = "{podSelector: {matchLabels: {app: b}}, ingress: [{from: [{podSelector: {matchLabels: {tier: front}}}]}]}"
SPECS = [
    "{podSelector: {}, policyTypes: [Ingress, Egress]}",
    FROM_FRONT,
    "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 80, endPort: 90}]}]}",
    "{podSelector: {matchLabels: {tier: front}}, policyTypes: [Egress], egress: [{ports: [{port: web}]}]}",
    "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.244.1.0/24]}}]}]}",
]


def _relabelled(snapshot: Snapshot, name: str, **labels: str) -> Snapshot:
    def change(pod: Pod) -> Pod:
        return replace(pod, labels=labels) if pod.name == name else pod

    attachments = tuple(replace(each, pod=change(each.pod)) for each in snapshot.attachments)
    return replace(snapshot, pods=tuple(map(change, snapshot.pods)), attachments=attachments)


def test_nothing_changed_is_no_transaction(snapshot: Snapshot) -> None:
    ruleset = compile_ruleset(attached(snapshot, "a", "b"))
    assert difference(ruleset, ruleset) == ""


def test_relabelled_peer_touches_set_elements_only(snapshot: Snapshot) -> None:
    before = replace(attached(snapshot, "b"), policies=(policy(FROM_FRONT),))
    after = _relabelled(before, "c", tier="front")
    lines = difference(compile_ruleset(before), compile_ruleset(after)).splitlines()
    assert [line.split()[:2] for line in lines] == [["add", "element"]]
    assert lines[0].endswith(f"{{ {snapshot.pods[2].addresses[0]} }}")


def test_vanished_peer_touches_set_elements_only(snapshot: Snapshot) -> None:
    before = replace(attached(snapshot, "b"), policies=(policy(FROM_FRONT),))
    after = replace(before, pods=before.pods[1:])
    lines = difference(compile_ruleset(before), compile_ruleset(after)).splitlines()
    assert [line.split()[:2] for line in lines] == [["delete", "element"]]


def test_changed_policy_rewrites_the_chains_of_its_pods_only(snapshot: Snapshot) -> None:
    other = policy("{podSelector: {matchLabels: {app: a}}, ingress: []}", name="other")
    known = attached(snapshot, "a", "b")
    before = compile_ruleset(replace(known, policies=(other, policy(FROM_FRONT))))
    after = compile_ruleset(replace(known, policies=(other, policy(FROM_FRONT.replace("front", "back")))))
    touched = {
        line.split()[4] for line in difference(before, after).splitlines() if " chain " in line or " rule " in line
    }
    assert touched == {"ingress-uid-b"}


def test_deleted_policy_leaves_nothing(snapshot: Snapshot) -> None:
    known = attached(snapshot, "a", "b")
    plain = compile_ruleset(known)
    script = difference(compile_ruleset(replace(known, policies=(policy(FROM_FRONT),))), plain)
    assert [line.split()[:2] for line in script.splitlines()] == [
        ["delete", "element"],
        ["flush", "chain"],
        ["delete", "chain"],
        ["delete", "set"],
    ]


def test_changed_endpoints_rewrite_one_service_only(snapshot: Snapshot) -> None:
    web, *others = snapshot.services
    fewer = replace(web, ports=(replace(web.ports[0], backends=web.ports[0].backends[:1]), *web.ports[1:]))
    script = difference(compile_ruleset(snapshot), compile_ruleset(replace(snapshot, services=(fewer, *others))))
    assert [line.split()[:2] for line in script.splitlines()] == [["flush", "chain"], ["add", "rule"]]


def test_fresh_begins_with_a_clean_table() -> None:
    script = fresh(Ruleset(chains={"c": Chain(rules=("accept",))}))
    assert script.splitlines()[:3] == [f"add table {TABLE}", f"delete table {TABLE}", f"add table {TABLE}"]


def test_changed_verdict_is_deleted_before_it_is_added() -> None:
    def holding(verdict: str) -> Ruleset:
        return Ruleset(sets={"m": NamedSet(type="ifname : verdict", elements={'"v"': verdict})})

    assert difference(holding("accept"), holding("drop")).splitlines() == [
        f'delete element {TABLE} m {{ "v" }}',
        f'add element {TABLE} m {{ "v" : drop }}',
    ]


@pytest.mark.usefixtures("world")
def test_failing_script_changes_nothing(bench: Bench) -> None:
    before = bench.ruleset()
    with pytest.raises(system.KernelError):
        bench.nft(f"flush chain {TABLE} policy-forward\nadd rule {TABLE} no-such-chain drop\n")
    assert bench.ruleset() == before


@st.composite
def _worlds(draw: st.DrawFn) -> tuple[frozenset[int], frozenset[str], frozenset[int], bool]:
    """Which policies, which pods, which relabelled pods, and whether Services have lost a backend."""
    return (
        draw(st.frozensets(st.integers(0, len(SPECS) - 1))),
        draw(st.frozensets(st.sampled_from("abcde"), min_size=1)),
        draw(st.frozensets(st.integers(0, 4), max_size=2)),
        draw(st.booleans()),
    )


def _apply(snapshot: Snapshot, drawn: tuple[frozenset[int], frozenset[str], frozenset[int], bool]) -> Snapshot:
    specs, names, relabelled, fewer = drawn
    known = replace(snapshot, pods=tuple(each for each in snapshot.pods if each.name in names))
    for index in sorted(relabelled):
        known = _relabelled(known, "abcde"[index], app="b", tier="front")
    chosen: tuple[NetworkPolicy, ...] = tuple(policy(SPECS[each], name=f"p{each}") for each in sorted(specs))
    services = tuple(
        replace(each, ports=tuple(replace(port, backends=port.backends[fewer:]) for port in each.ports))
        for each in snapshot.services
    )
    return replace(known, policies=chosen, services=services)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_worlds(), min_size=2, max_size=4))
def test_differences_end_where_a_fresh_start_ends(
    bench: Bench, world: Snapshot, steps: list[tuple[frozenset[int], frozenset[str], frozenset[int], bool]]
) -> None:
    for step in steps:
        bench.program(_apply(world, step))
    by_differences = [bench.ruleset(node) for node in (0, 1)]
    bench.rebuild(_apply(world, steps[-1]))
    assert by_differences == [bench.ruleset(node) for node in (0, 1)]


def test_everything_from_nothing_is_one_script(snapshot: Snapshot) -> None:
    script = difference(EMPTY, compile_ruleset(attached(snapshot, "a")))
    assert {line.split()[0] for line in script.splitlines()} == {"add"}
