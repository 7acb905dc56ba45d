"""Each semantic of Calico's own policies once, with real packets."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from clusters.lab.policy.compiler import compile_policies
from clusters.lab.policy.snapshot import Snapshot
from tests.lab.policy.bench import Bench, Probe, probes
from tests.lab.policy.calico_cases import CASES, FROM_A, B, Case, admits, own, ranges, with_accounts
from tests.lab.policy.world import attached, rules_of


@pytest.fixture
def known(world: Snapshot) -> Snapshot:
    """The world, in which every pod has a ServiceAccount of its own name."""
    return with_accounts(world)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_policy_decides(bench: Bench, known: Snapshot, case: Case) -> None:
    for add in case.objects:
        known = add(known)
    bench.program(known)
    asked = [*probes(case.answered), *probes(case.dropped)]
    expected = [each.host for each in probes(case.answered)] + ["dropped"] * len(probes(case.dropped))
    assert [each.split()[0] for each in bench.probe(*asked)] == expected


def test_rules_keep_their_order_in_both_families(snapshot: Snapshot) -> None:
    """A chain is for both families: the Deny behind an Allow must not come before the other family's Allow."""
    pods = tuple(
        replace(each, addresses=(*each.addresses, f"fd00::{place}")) for place, each in enumerate(snapshot.pods)
    )
    denies = f"{{{B}, ingress: [{{action: Allow, {FROM_A}}}, {{action: Deny}}]}}"
    known = own("p", denies)(replace(snapshot, pods=pods, attachments=()))
    rules = rules_of(compile_policies(attached(known, "b")), "b")
    assert [re.sub(r"@\S+", "@a", each.partition(" comment")[0]) for each in rules] == [
        "ip saddr @a return",
        "ip6 saddr @a return",
        "counter drop",
        "counter drop",
    ]


def test_network_set_changes_by_difference(bench: Bench, known: Snapshot) -> None:
    """A set that loses its last range, or gets overlapping ones, is changed in the kernel that has it."""
    (policy,) = admits("selector: role == 'far' || app == 'a'")
    base = policy(known)

    def far(nets: str) -> Snapshot:
        return ranges("s", f"{{nets: [{nets}]}}", "{role: far}")(base)

    seen = []
    for state in (far("10.244.1.0/24"), far("10.244.1.0/24, 10.244.0.0/16"), far("192.0.2.1"), base):
        bench.program(state)
        seen.append([each.split()[0] for each in bench.probe(Probe("a", "b"), Probe("c", "b"), Probe("d", "b"))])
    assert seen == [["b", "b", "dropped"], ["b", "b", "b"], ["b", "dropped", "dropped"], ["b", "dropped", "dropped"]]
