"""The oracle's reading of Calico's own policies: every case that the lab is held against, and its words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusters.lab.policy.snapshot import Snapshot
from policies import oracle
from policies.model import PolicyType, Transport
from tests.lab.policy.bench import Probe, probes
from tests.lab.policy.calico_cases import CASES, FROM_A, B, Case, everywhere, own, plain, with_accounts
from tests.lab.policy.conftest import snapshot

__all__ = ["snapshot"]
NODES = {"node2": "172.31.0.12"}


def world_of(known: Snapshot) -> oracle.World:
    return oracle.World(
        policies=known.policies,
        namespaces=known.namespaces,
        accounts=known.accounts,
        calico=known.calico,
        network_sets=known.network_sets,
    )


def decide(known: Snapshot, probe: Probe) -> oracle.Decision:
    pods: dict[str, oracle.Side] = {
        each.name: oracle.Pod(
            name=each.name,
            namespace=each.namespace,
            labels=each.labels,
            account=each.account,
            addresses=each.addresses,
            ports=tuple(
                oracle.NamedPort(name=name, number=number, protocol=Transport(protocol.upper()))
                for name, protocol, number in each.ports
            ),
        )
        for each in known.pods
    }
    ends = pods | NODES
    return oracle.decide(
        world_of(known), ends[probe.source], ends[probe.host], probe.port, Transport(probe.protocol.upper())
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(snapshot: Snapshot, case: Case) -> None:
    known = with_accounts(snapshot)
    for add in case.objects:
        known = add(known)
    wrong = {each: decide(known, each).words() for each in probes(case.answered) if not decide(known, each).allowed}
    wrong |= {each: decide(known, each).words() for each in probes(case.dropped) if decide(known, each).allowed}
    assert wrong == {}


def test_words_of_a_denial(snapshot: Snapshot) -> None:
    denies = own("denies", f"{{order: 5, {B}, ingress: [{{action: Log}}, {{action: Deny, {FROM_A}}}]}}")
    known = denies(plain("{podSelector: {}, ingress: [{}]}")(with_accounts(snapshot)))
    decision = decide(known, Probe("a", "b"))
    assert decision.words() == "egress of x/a: no policy selects it; ingress of x/b: denied by x/denies rule 2"
    assert [ruling.closing for ruling in decision.closing()] == [("x/denies",)]


def test_words_of_the_end(snapshot: Snapshot) -> None:
    """What no rule decides is closed by all that are about the pod, in their order."""
    known = everywhere("zone", "{order: 2000, types: [Ingress]}")(plain("{podSelector: {}}")(with_accounts(snapshot)))
    decision = decide(known, Probe("a", "b"))
    assert "ingress of x/b: isolated by x/policy, zone, no rule admits it" in decision.words()


def test_words_of_an_admission(snapshot: Snapshot) -> None:
    """Only the rule that decides admits, whatever others would."""
    known = own("allows", f"{{order: 5, {B}, ingress: [{{action: Allow}}]}}")(
        plain("{podSelector: {}, ingress: [{}]}")(with_accounts(snapshot))
    )
    assert "ingress of x/b: admitted by x/allows rule 1" in decide(known, Probe("a", "b")).words()


def test_who_isolates(snapshot: Snapshot) -> None:
    known = own("out", "{types: [Egress]}")(plain("{podSelector: {}}")(with_accounts(snapshot)))
    pod = oracle.Pod(name="a", namespace="x", labels={"app": "a"})
    world = world_of(known)
    assert oracle.isolating(world, pod, PolicyType.EGRESS) == ("x/out",)
    assert oracle.isolating(world, pod, PolicyType.INGRESS) == ("x/policy",)
    assert oracle.isolating(replace(world, calico=()), pod, PolicyType.INGRESS) == ("x/policy",)


def test_stored_form_without_types_is_about_both(snapshot: Snapshot) -> None:
    known = own("out", "{egress: [{action: Allow}]}")(with_accounts(snapshot))
    stored = replace(known, calico=tuple(replace(each, stored=True) for each in known.calico))
    assert (decide(known, Probe("d", "a")).allowed, decide(stored, Probe("d", "a")).allowed) == (True, False)
