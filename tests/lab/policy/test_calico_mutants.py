"""Each mutant of Calico's own policies with real packets, in a case where it is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusters.lab.policy.calico_mutants import CALICO_MUTANTS
from clusters.lab.policy.snapshot import Snapshot
from tests.lab.policy.bench import Bench, probes
from tests.lab.policy.calico_cases import CASES, admits, with_accounts

SHOWN = {
    "calico-order-reversed": "lower-order-first",
    "calico-order-ignored": "lower-order-first",
    "calico-pass-goes-on": "pass-skips-the-rest",
    "calico-log-allows": "log-decides-nothing",
    "calico-deny-goes-on": "deny-before-kubernetes",
    "calico-open-end": "no-rule-matches-at-the-end",
    "calico-types-of-kubernetes": "types-by-egress-rules",
    "calico-behind-kubernetes": "deny-before-kubernetes",
    "calico-kubernetes-closes": "allow-behind-kubernetes-adds-up",
    "calico-selector-everywhere": "namespaced-selector-stays-home",
    "calico-not-selector-ignored": "selector-and-not",
    "calico-not-nets-ignored": "not-nets",
    "calico-not-ports-ignored": "not-ports",
    "calico-accounts-ignored": "accounts-by-name",
    "calico-subject-account-ignored": "subject-by-account",
    "calico-sets-ignored": "network-set",
    "calico-missing-label-is-no-match": "not-equal-without-the-label",
    "calico-part-is-whole": "contains",
    "calico-global-in-default": "global-subject-everywhere",
}
"""Mutant → the case that shows it; one that forgets changes is shown by a history."""


def test_every_mutant_is_shown() -> None:
    assert {*SHOWN, "calico-stale-after-update"} == {each.name for each in CALICO_MUTANTS}


@pytest.mark.parametrize("mutant", SHOWN)
def test_mutant_is_wrong_where_it_says_so(bench: Bench, world: Snapshot, mutant: str) -> None:
    (case,) = (each for each in CASES if each.name == SHOWN[mutant])
    known = with_accounts(world)
    for add in case.objects:
        known = add(known)
    asked = [*probes(case.answered), *probes(case.dropped)]
    expected = [each.host for each in probes(case.answered)] + ["dropped"] * len(probes(case.dropped))
    bench.program(known, mutant)
    assert [each.split()[0] for each in bench.probe(*asked)] != expected


def test_changed_policy_keeps_its_first_content(bench: Bench, world: Snapshot) -> None:
    states = []
    for source in ("selector: app == 'a'", "selector: app == 'c'"):
        known = admits(source)[0](world)
        states.append(replace(known, calico=tuple(replace(each, uid="uid-p") for each in known.calico)))
    for state in states:
        bench.program(state, "calico-stale-after-update")
    assert [each.split()[0] for each in bench.probe(*probes("a>b c>b"))] == ["b", "dropped"]
