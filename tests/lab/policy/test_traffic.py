"""Each semantic of NetworkPolicy once, with real packets: what is programmed, what is dialled, who answers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from clusters.lab.policy.snapshot import Snapshot
from tests.lab.policy.bench import NODE, Bench, Probe, probes
from tests.lab.policy.world import policy


@dataclass(frozen=True, slots=True)
class Case:
    """A name, the specs in force in namespace x, and the probes that are answered and that are dropped."""

    name: str
    specs: tuple[str, ...]
    answered: str
    dropped: str = ""

    def __str__(self) -> str:
        return self.name


ALL = "podSelector: {}"
B = "podSelector: {matchLabels: {app: b}}"
A = "podSelector: {matchLabels: {app: a}}"
GREEN = "namespaceSelector: {matchLabels: {team: green}}"
ANYWHERE = "namespaceSelector: {}"


def _tier(operator: str) -> str:
    return f"podSelector: {{matchExpressions: [{{key: tier, operator: {operator}}}]}}"


def _from(*peers: str) -> tuple[str]:
    """Pods labelled `app: b` are open to these peers only."""
    return (f"{{{B}, ingress: [{{from: [{', '.join(f'{{{each}}}' for each in peers)}]}}]}}",)


def _ports(*ports: str, subject: str = B) -> tuple[str]:
    """The subject is open on these ports only."""
    return (f"{{{subject}, ingress: [{{ports: [{', '.join(f'{{{each}}}' for each in ports)}]}}]}}",)


def _egress(rule: str) -> tuple[str]:
    """Pods labelled `app: a` may send by this rule only."""
    return (f"{{{A}, policyTypes: [Egress], egress: [{{{rule}}}]}}",)


DENY_IN, DENY_OUT = f"{{{ALL}, policyTypes: [Ingress]}}", f"{{{ALL}, policyTypes: [Egress]}}"
HOLES = "ipBlock: {cidr: 0.0.0.0/0, except: [10.244.1.0/24, 10.244.1.0/28]}"
HALF = "to: [{ipBlock: {cidr: 10.244.0.0/16, except: [10.244.1.0/24]}}]"
CASES = [
    Case("no-policy-allows-all", (), "a>b a>c e>a a>b/udp d>c:81/udp"),
    Case("default-deny-ingress", (DENY_IN,), "a>d a>e:81 node>a node>b", "d>a b>a e>c a>c/udp"),
    Case("default-deny-egress", (DENY_OUT,), "d>a e>c node>a", "a>b a>d c>a/udp a>172.31.0.11:9"),
    Case("deny-both", (f"{{{ALL}, policyTypes: [Ingress, Egress]}}",), "d>e node>b", "a>b d>b b>d"),
    Case("types-inferred-ingress-alone", (f"{{{ALL}, egress: []}}",), "a>d", "d>a"),
    Case("types-inferred-with-egress", (f"{{{ALL}, egress: [{{to: [{{{B}}}]}}]}}",), "", "a>d d>a a>b"),
    Case("ingress-not-isolated-by-egress-type", (f"{{{ALL}, policyTypes: [Egress], ingress: []}}",), "d>a", "a>d"),
    Case("empty-rule-allows-all", (f"{{{ALL}, ingress: [{{}}]}}",), "a>b d>b e>c/udp"),
    Case("subject-by-label", (f"{{{B}, ingress: []}}",), "b>a d>a", "a>b d>b"),
    Case("pod-selector-own-namespace", _from(A), "a>b", "d>b c>b"),
    Case("namespace-selector", _from(GREEN), "d>b e>b", "a>b"),
    Case("and-peer", _from(f"{A}, {GREEN}"), "d>b", "a>b e>b"),
    Case("or-peers", _from(A, GREEN), "a>b d>b e>b", "c>b"),
    Case("every-namespace", _from(ANYWHERE), "a>b d>b", "node2>b"),
    Case("expressions-in", _from(_tier("In, values: [front, z]")), "a>b", "c>b"),
    Case("expressions-not-in", _from(f"{_tier('NotIn, values: [back]')}, {ANYWHERE}"), "a>b d>b", "c>b e>b"),
    Case("expressions-exists", _from(f"{_tier('Exists')}, {ANYWHERE}"), "a>b c>b e>b", "d>b"),
    Case("expressions-does-not-exist", _from(f"{_tier('DoesNotExist')}, {ANYWHERE}"), "d>b", "a>b e>b"),
    Case("port-number", _ports("port: 80"), "a>b d>b", "a>b:81 a>b/udp"),
    Case("port-range", _ports("port: 8080, endPort: 8084", "port: 8081"), "a>b:8080 a>b:8081", "a>b:8085 a>b"),
    Case("port-udp", _ports("port: 80, protocol: UDP"), "a>b/udp", "a>b a>b:81/udp"),
    Case("protocol-alone", _ports("protocol: UDP"), "a>b/udp a>b:8085/udp", "a>b a>b:81"),
    Case("named-port-ingress", _ports("port: web", subject=ALL), "d>b d>c:8080", "d>b:8080 d>c:80"),
    Case(
        "named-port-of-other-protocol",
        _ports("port: web, protocol: UDP", "port: names, protocol: UDP"),
        "a>b:81/udp",
        "a>b a>b/udp",
    ),
    Case(
        "named-port-egress",
        _egress(f"to: [{{{ANYWHERE}}}], ports: [{{port: web}}]"),
        "a>b a>c:8080 a>e:81",
        "a>c:80 a>e:80 a>b:81",
    ),
    Case("named-port-egress-to-all", _egress("ports: [{port: web}]"), "a>c:8080 a>e:81", "a>c:80"),
    Case("ip-block", _from("ipBlock: {cidr: 10.244.1.0/24}"), "c>b e>b", "a>b d>b"),
    Case("ip-block-except", _from(HOLES), "a>b d>b", "c>b e>b"),
    Case("ip-block-egress", _egress(HALF), "a>b a>d", "a>c a>e"),
    Case(
        "union-of-policies",
        (f"{{{B}, ingress: []}}", *_from(A), *_ports("port: 81", subject=ALL)),
        "a>b d>b:81",
        "d>b d>a",
    ),
    Case(
        "egress-and-ingress-must-both-allow", (*_egress(f"to: [{{{B}}}]"), *_ports("port: 81")), "a>b:81", "a>b a>c:81"
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_policy_decides(bench: Bench, world: Snapshot, case: Case) -> None:
    policies = [policy(spec, name=f"p{index}") for index, spec in enumerate(case.specs)]
    bench.program(replace(world, policies=tuple(policies)))
    asked = [*probes(case.answered), *probes(case.dropped)]
    expected = [each.host for each in probes(case.answered)] + ["dropped"] * len(probes(case.dropped))
    assert [each.split()[0] for each in bench.probe(*asked)] == expected


@pytest.mark.usefixtures("world")
def test_source_address_is_the_pods_own(bench: Bench) -> None:
    assert bench.probe(Probe("a", "c")) == [f"c {bench.pod('a').addresses[0]}"]


def test_established_connection_survives_a_new_policy(bench: Bench, world: Snapshot) -> None:
    before = bench.open_tcp("a", "b", 80)
    bench.program(replace(world, policies=(policy(f"{{{ALL}, ingress: []}}"),)))
    assert [bench.open_tcp("a", "b", 80), *bench.probe(Probe("a", "b"))] == [before, "dropped"]


def test_deleted_policy_opens_at_once(bench: Bench, world: Snapshot) -> None:
    bench.program(replace(world, policies=(policy(f"{{{ALL}, ingress: []}}"),)))
    bench.program(world)
    assert bench.probe(Probe("a", "b"), Probe(NODE, "b")) == [f"b {bench.pod('a').addresses[0]}", "b 172.31.0.11"]


def test_pod_that_ended_is_no_peer(bench: Bench, world: Snapshot) -> None:
    ended = replace(bench.pod("a"), counts=False)
    pods = tuple(ended if each.name == "a" else each for each in world.pods)
    bench.program(replace(world, pods=pods, policies=(policy(f"{{{B}, ingress: [{{from: [{{{ALL}}}]}}]}}"),)))
    assert [each.split()[0] for each in bench.probe(Probe("a", "b"), Probe("c", "b"))] == ["dropped", "b"]
