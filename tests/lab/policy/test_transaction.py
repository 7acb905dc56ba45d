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
from clusters.lab.policy.transaction import EMPTY, MOST, difference, fresh, steps
from policies.model import NetworkPolicy
from tests.lab.policy.bench import Bench, Probe
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


def test_changed_policy_leads_its_pods_alone_to_another_chain(snapshot: Snapshot) -> None:
    other = policy("{podSelector: {matchLabels: {app: a}}, ingress: []}", name="other")
    known = attached(snapshot, "a", "b")
    before = compile_ruleset(replace(known, policies=(other, policy(FROM_FRONT))))
    after = compile_ruleset(replace(known, policies=(other, policy(FROM_FRONT.replace("front", "back")))))
    lines = difference(before, after).splitlines()
    touched = {line.split()[4] for line in lines if " chain " in line or " rule " in line}
    old, new = (each.sets["ingress"].elements['"ew-b"'] for each in (before, after))
    assert touched == {old.removeprefix("jump "), new.removeprefix("jump ")}
    assert [line for line in lines if " ingress { " in line] == [
        f'delete element {TABLE} ingress {{ "ew-b" }}',
        f'add element {TABLE} ingress {{ "ew-b" : {new} }}',
    ]


def test_pods_with_the_same_rules_share_a_chain(snapshot: Snapshot) -> None:
    shut = policy("{podSelector: {}, policyTypes: [Ingress, Egress]}")
    compiled = compile_ruleset(replace(attached(snapshot, "a", "b", "c"), policies=(shut,)))
    assert len(compiled.sets["ingress"].elements) == 3
    assert len([name for name in compiled.chains if name.startswith("ingress-")]) == 1


def _many(snapshot: Snapshot, port: int) -> Ruleset:
    """What is in force under three hundred policies."""
    specs = (
        f"{{podSelector: {{}}, ingress: [{{from: [{{podSelector: {{matchLabels: {{app: a{number}}}}}}}],"
        f" ports: [{{port: {port}}}]}}]}}"
        for number in range(300)
    )
    policies = tuple(policy(spec, name=f"p{number}") for number, spec in enumerate(specs))
    return compile_ruleset(replace(attached(snapshot, "a", "b"), policies=policies))


def test_a_large_change_takes_effect_in_one_script_of_several(snapshot: Snapshot) -> None:
    """What is made before the switch nobody refers to yet, and what is removed after it nobody does any more."""
    before, after = _many(snapshot, 80), _many(snapshot, 81)
    scripts = steps(before, after)
    assert len(scripts) > 2
    assert max(map(len, scripts)) < MOST
    (switch,) = (place for place, script in enumerate(scripts) if f"{TABLE} ingress {{" in script)
    led = {verdict[5:] for verdict in before.sets["ingress"].elements.values()}
    for place, script in enumerate(scripts):
        touched = {line.split()[4] for line in script.splitlines()}
        assert place >= switch or not touched & led
    assert "".join(scripts) == difference(before, after)


@pytest.mark.usefixtures("world")
def test_a_change_larger_than_the_kernel_takes_at_once(bench: Bench, world: Snapshot) -> None:
    """Four hundred rules in two directions: more than 200 kB as messages to the kernel."""
    spec = "{podSelector: {}, ingress: [%s], egress: [%s]}"
    rule = "{%s: [{podSelector: {matchLabels: {app: n%d}}}], ports: [{port: %d}]}"
    policies = tuple(
        policy(spec % (rule % ("from", number, number + 1), rule % ("to", number, number + 1)), name=f"p{number}")
        for number in range(400)
    )
    bench.program(replace(world, policies=policies))
    assert bench.probe(Probe("a", "b")) == ["dropped"]
    bench.program(world)
    assert bench.probe(Probe("a", "b")) != ["dropped"]


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
