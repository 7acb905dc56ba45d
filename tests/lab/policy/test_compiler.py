"""The compiler without a kernel: selectors, inference, ranges, and both families alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusters.lab.policy.compiler import compile_policies, directions, matches
from clusters.lab.policy.ruleset import Ruleset
from clusters.lab.policy.snapshot import Pod, Service, ServicePort, Snapshot, pod
from policies.model import Expression, Operator, PolicyType, Selector
from tests.lab.policy.bench import Bench
from tests.lab.policy.world import attached, policy, rules_of

LABELS = {"app": "a", "empty": ""}


def _expression(key: str, operator: Operator, *values: str) -> Selector:
    return Selector(expressions=(Expression(key=key, operator=operator, values=values),))


SELECTORS = [
    ("none", None, True),
    ("empty", Selector(), True),
    ("empty-lists", Selector(labels=(), expressions=()), True),
    ("null-lists", Selector(labels=None, expressions=None), True),
    ("label", Selector(labels=(("app", "a"),)), True),
    ("label-other", Selector(labels=(("app", "b"),)), False),
    ("label-absent", Selector(labels=(("nope", ""),)), False),
    ("label-empty-value", Selector(labels=(("empty", ""),)), True),
    ("labels-and", Selector(labels=(("app", "a"), ("app2", "a"))), False),
    ("in", _expression("app", Operator.IN, "z", "a"), True),
    ("in-other", _expression("app", Operator.IN, "z"), False),
    ("in-absent", _expression("nope", Operator.IN, ""), False),
    ("not-in", _expression("app", Operator.NOT_IN, "z"), True),
    ("not-in-same", _expression("app", Operator.NOT_IN, "a"), False),
    ("not-in-absent", _expression("nope", Operator.NOT_IN, "a"), True),
    ("exists", _expression("empty", Operator.EXISTS), True),
    ("exists-absent", _expression("nope", Operator.EXISTS), False),
    ("does-not-exist", _expression("nope", Operator.DOES_NOT_EXIST), True),
    ("does-not-exist-there", _expression("empty", Operator.DOES_NOT_EXIST), False),
    (
        "label-and-expression",
        replace(_expression("app", Operator.EXISTS), labels=(("app", "b"),)),
        False,
    ),
]


@pytest.mark.parametrize(("selector", "picked"), [row[1:] for row in SELECTORS], ids=[row[0] for row in SELECTORS])
def test_selector(selector: Selector | None, picked: bool) -> None:
    assert matches(selector, LABELS) is picked


IN, OUT = PolicyType.INGRESS, PolicyType.EGRESS
TYPES = [
    ("nothing", "{podSelector: {}}", {IN}),
    ("null-types", "{podSelector: {}, policyTypes: null}", {IN}),
    ("empty-types", "{podSelector: {}, policyTypes: []}", {IN}),
    ("empty-egress", "{podSelector: {}, egress: []}", {IN}),
    ("egress-rules", "{podSelector: {}, egress: [{}]}", {IN, OUT}),
    ("egress-written", "{podSelector: {}, policyTypes: [Egress]}", {OUT}),
    ("egress-written-with-ingress-rules", "{podSelector: {}, policyTypes: [Egress], ingress: [{}]}", {OUT}),
    ("ingress-written-with-egress-rules", "{podSelector: {}, policyTypes: [Ingress], egress: [{}]}", {IN}),
]


@pytest.mark.parametrize(("spec", "isolated"), [row[1:] for row in TYPES], ids=[row[0] for row in TYPES])
def test_isolated_directions(spec: str, isolated: set[PolicyType]) -> None:
    assert directions(policy(spec)) == isolated


def _rules(snapshot: Snapshot, spec: str, direction: str = "ingress") -> list[str]:
    compiled = compile_policies(replace(attached(snapshot, "b"), policies=(policy(spec),)))
    return [rule.partition(" comment")[0] for rule in rules_of(compiled, "b", direction)]


RULES = [
    ("nobody", "ingress: []", ["counter drop"]),
    ("everybody", "ingress: [{}]", ["return", "counter drop"]),
    (
        "ports-meet",
        "ingress: [{ports: [{port: 80, endPort: 90}, {port: 91}, {port: 85}]}]",
        ["meta l4proto tcp th dport { 80-91 } return", "counter drop"],
    ),
    ("unresolved-name-opens-nothing", "ingress: [{ports: [{port: nope}]}]", ["counter drop"]),
    (
        "holes-meet",
        "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.1.2.0/24]}}]}]",
        ["ip saddr 10.0.0.0/8 ip saddr != { 10.1.0.0/16 } return", "counter drop"],
    ),
    ("block-of-other-family", "ingress: [{from: [{ipBlock: {cidr: 'fd00::/64'}}]}]", ["counter drop"]),
]


@pytest.mark.parametrize(("spec", "rules"), [row[1:] for row in RULES], ids=[row[0] for row in RULES])
def test_rules_as_text(snapshot: Snapshot, spec: str, rules: list[str]) -> None:
    assert _rules(snapshot, f"{{podSelector: {{}}, {spec}}}") == rules


def test_same_selector_shares_one_set(snapshot: Snapshot) -> None:
    spec = "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: a}}}]}]}"
    known = replace(attached(snapshot, "a", "b"), policies=(policy(spec, name="p0"), policy(spec, name="p1")))
    assert len([name for name in compile_policies(known).sets if name.startswith("peers")]) == 1


def test_pod_that_nothing_isolates_has_no_chain(snapshot: Snapshot) -> None:
    compiled = compile_policies(
        replace(attached(snapshot, "a"), policies=(policy("{podSelector: {}}", namespace="y"),))
    )
    assert not [name for name in compiled.chains if name.startswith(("ingress-", "egress-"))]


def _dual(snapshot: Snapshot) -> Snapshot:
    """Every pod and one Service with an address of each family."""
    pods = tuple(
        replace(each, addresses=(*each.addresses, f"fd00::{index + 2}")) for index, each in enumerate(snapshot.pods)
    )
    port = ServicePort(name="web", protocol="tcp", port=80, backends=(("fd00::2", 80), ("10.244.0.2", 80)))
    two = replace(port, port=81, backends=(("fd00::2", 80), ("fd00::3", 80)))
    service = Service(namespace="x", name="dual", addresses=("10.96.0.40", "fd00:1::40"), ports=(port, two))
    specs = [
        "{podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: web}]}]}",
        "{podSelector: {}, egress: [{to: [{namespaceSelector: {}}], ports: [{port: web}]}]}",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 'fd00::/64', except: ['fd00::8/125']}}]}]}",
    ]
    policies = tuple(policy(spec, name=f"p{index}") for index, spec in enumerate(specs))
    return replace(snapshot, pods=pods, services=(service,), policies=policies)


def test_both_families_are_compiled_alike(snapshot: Snapshot) -> None:
    def shape(compiled: Ruleset, version: int) -> list[int]:
        return sorted(len(each.elements) for name, each in compiled.sets.items() if f"{version}-" in name)

    compiled = compile_policies(attached(_dual(snapshot), "a", "b"))
    assert shape(compiled, 4) == shape(compiled, 6)
    assert any("ip6 saddr fd00::/64 ip6 saddr != { fd00::8/125 }" in rule for rule in rules_of(compiled, "b"))


def test_kernel_takes_both_families(bench: Bench, world: Snapshot) -> None:
    bench.program(_dual(world))
    assert any("fd00:1::40" in line for line in bench.ruleset())


PODS = [
    ("running", {"status": {"phase": "Running", "podIP": "10.0.0.1"}}, True),
    ("pending-without-address", {"status": {"phase": "Pending"}}, True),
    ("succeeded", {"status": {"phase": "Succeeded", "podIP": "10.0.0.1"}}, False),
    ("failed", {"status": {"phase": "Failed", "podIP": "10.0.0.1"}}, False),
    ("host-network", {"spec": {"hostNetwork": True}, "status": {"podIP": "172.31.0.11"}}, False),
]


@pytest.mark.parametrize(("fields", "counts"), [row[1:] for row in PODS], ids=[row[0] for row in PODS])
def test_who_counts_as_a_peer(fields: dict[str, object], counts: bool) -> None:
    assert pod({"metadata": {"name": "p", "namespace": "x", "uid": "u"}, **fields}).counts is counts


def test_pod_from_its_object() -> None:
    ports = [
        {"name": "web", "containerPort": 80},
        {"containerPort": 9},
        {"name": "d", "containerPort": 53, "protocol": "UDP"},
    ]
    obj = {
        "metadata": {"name": "p", "namespace": "x", "uid": "u", "labels": {"app": "a"}},
        "spec": {"containers": [{"ports": ports}], "initContainers": [{"ports": [{"name": "i", "containerPort": 1}]}]},
        "status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "podIP": "10.0.0.1"},
    }
    assert pod(obj) == Pod(
        namespace="x",
        name="p",
        uid="u",
        labels={"app": "a"},
        addresses=("10.0.0.1", "fd00::1"),
        ports=(("i", "tcp", 1), ("web", "tcp", 80), ("d", "udp", 53)),
        account="default",
    )
