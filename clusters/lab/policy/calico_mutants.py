"""The broken data planes that misread Calico's own policies: what each breaks, and the tests that must catch it.

What belongs here: their names and sentences, and how each changes what is compiled. What does not: mutants of
NetworkPolicy (`rewrites`, `lapses`), the one registry (`clusters.lab.mutants`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from clusters.lab.mutant import Mutant
from clusters.lab.policy.mutation import Around, Compile, World
from clusters.lab.policy.rewrites import on_snapshot
from clusters.lab.policy.ruleset import Ruleset
from clusters.lab.policy.snapshot import Snapshot
from policies.calico.model import Action, CalicoPolicy, Entity, Rule
from policies.calico.selectors import All, And, Compare, Comparison, Expression, Has, Not, Or
from policies.model import ABSENT, PolicyType, Written

SUITE: Final = "suites/calico"
_KUBERNETES: Final = 1000.0


def on_calico(change: Callable[[CalicoPolicy], CalicoPolicy]) -> Around:
    """Every policy of Calico is changed before it is compiled."""
    return on_snapshot(lambda snapshot: replace(snapshot, calico=tuple(map(change, snapshot.calico))))


def on_rules(change: Callable[[CalicoPolicy, Rule], Rule]) -> Around:
    """Every rule of both directions is changed."""

    def rules(policy: CalicoPolicy, written: Written[tuple[Rule, ...]]) -> Written[tuple[Rule, ...]]:
        return tuple(change(policy, each) for each in written) if isinstance(written, tuple) else written

    return on_calico(
        lambda policy: replace(policy, ingress=rules(policy, policy.ingress), egress=rules(policy, policy.egress))
    )


def on_ends(change: Callable[[CalicoPolicy, Entity], Entity]) -> Around:
    """Both ends of every rule are changed."""
    return on_rules(
        lambda policy, rule: replace(
            rule, source=change(policy, rule.source), destination=change(policy, rule.destination)
        )
    )


def on_actions(instead: Action, of: Action) -> Around:
    """One action is taken for another."""
    return on_rules(lambda _, rule: replace(rule, action=instead) if rule.action is of else rule)


def on_selectors(change: Callable[[Compare], Expression]) -> Around:
    """Every comparison of the selectors in rules is changed."""

    def tree(written: Expression) -> Expression:
        match written:
            case Compare():
                return change(written)
            case Not(inner):
                return Not(tree(inner))
            case And(parts):
                return And(tuple(map(tree, parts)))
            case Or(parts):
                return Or(tuple(map(tree, parts)))
            case _:
                return written

    def one(written: Written[Expression]) -> Written[Expression]:
        return tree(written) if written is not None and written is not ABSENT else written

    return on_ends(lambda _, end: replace(end, selector=one(end.selector)))


def _reversed(policy: CalicoPolicy) -> CalicoPolicy:
    return replace(policy, order=-policy.order) if isinstance(policy.order, float) else policy


def _behind_kubernetes(policy: CalicoPolicy) -> CalicoPolicy:
    return replace(policy, order=policy.order + 2 * _KUBERNETES) if isinstance(policy.order, float) else policy


def _isolation_at_its_order(snapshot: Snapshot) -> Snapshot:
    """Nothing behind the policies of Kubernetes is asked in a namespace that has some."""
    spaces = {each.namespace for each in snapshot.policies}
    early = [each for each in snapshot.calico if isinstance(each.order, float) and each.order <= _KUBERNETES]
    return replace(
        snapshot, calico=tuple(each for each in snapshot.calico if each in early or each.namespace not in spaces)
    )


def _types_as_kubernetes(policy: CalicoPolicy) -> CalicoPolicy:
    if _types(policy) == (PolicyType.EGRESS,) and policy.egress:
        return replace(policy, types=(PolicyType.INGRESS, PolicyType.EGRESS))
    return policy


def _open_at_the_end(policy: CalicoPolicy) -> CalicoPolicy:
    rest = (Rule(action=Action.ALLOW),)
    ingress = policy.ingress if isinstance(policy.ingress, tuple) else ()
    egress = policy.egress if isinstance(policy.egress, tuple) else ()
    return replace(policy, ingress=ingress + rest, egress=egress + rest, types=_types(policy))


def _types(policy: CalicoPolicy) -> Written[tuple[PolicyType, ...]]:
    """The types that are written, or those of the rules: rules that are added must not change them."""
    if isinstance(policy.types, tuple) and policy.types:
        return policy.types
    if not policy.egress:
        return (PolicyType.INGRESS,)
    return (PolicyType.INGRESS, PolicyType.EGRESS) if policy.ingress else (PolicyType.EGRESS,)


def _in_every_namespace(policy: CalicoPolicy, end: Entity) -> Entity:
    named = any(each is not None and each is not ABSENT for each in (end.selector, end.accounts))
    alone = named and (end.namespaces is None or end.namespaces is ABSENT) and not policy.is_global
    return replace(end, namespaces=All()) if alone else end


def _global_in_default(policy: CalicoPolicy) -> CalicoPolicy:
    only = Compare("projectcalico.org/name", Comparison.EQUAL, "default")
    return replace(policy, namespaces=only) if policy.is_global else policy


def _missing_is_no_match(condition: Compare) -> Expression:
    if condition.how is Comparison.NOT_EQUAL:
        return And((Has(condition.key), condition))
    return condition


def _part_is_whole(condition: Compare) -> Expression:
    if condition.how in {Comparison.CONTAINS, Comparison.STARTS, Comparison.ENDS}:
        return replace(condition, how=Comparison.EQUAL)
    return condition


def policies_of_birth(snapshot: Snapshot, world: World, compile_sound: Compile) -> Ruleset:
    """A policy keeps the content that it was first seen with, until it is deleted."""
    alive = {each.uid for each in snapshot.calico}
    for gone in set(world.memory) - alive:
        del world.memory[gone]
    kept = tuple(world.memory.setdefault(each.uid, each) for each in snapshot.calico)
    return compile_sound(replace(snapshot, calico=kept))


def _mutant(name: str, breaks: str, around: Around, *tests: str, seen_in: str = "") -> Mutant:
    return Mutant(name=name, breaks=breaks, around=around, suite=SUITE, tests=tests, seen_in=seen_in)


CALICO_MUTANTS: Final = (
    _mutant(
        "calico-order-reversed", "The policy of the highest order decides first.", on_calico(_reversed), "test_order"
    ),
    _mutant(
        "calico-order-ignored",
        "Policies decide in the order of their names.",
        on_calico(lambda policy: replace(policy, order=ABSENT)),
        "test_order",
    ),
    _mutant(
        "calico-pass-goes-on",
        "What a rule passes on is asked of the next policy.",
        on_actions(Action.LOG, Action.NEXT_TIER),
        "test_pass_skips_the_policies_behind",
        seen_in="readings of Pass as `go on`",
    ),
    _mutant(
        "calico-log-allows",
        "What a rule logs is allowed.",
        on_actions(Action.ALLOW, Action.LOG),
        "test_log_lets_the_next_rule_decide",
    ),
    _mutant(
        "calico-deny-goes-on",
        "What a rule denies is asked of the next one.",
        on_actions(Action.LOG, Action.DENY),
        "test_first_rule_that_matches",
        seen_in="engines that know policies which only allow",
    ),
    _mutant(
        "calico-open-end",
        "What no rule matches is allowed.",
        on_calico(_open_at_the_end),
        "test_what_no_rule_matches_is_denied",
    ),
    _mutant(
        "calico-types-of-kubernetes",
        "A policy with egress rules is about ingress, too.",
        on_calico(_types_as_kubernetes),
        "test_types",
        seen_in="conversions between the two kinds of policy",
    ),
    _mutant(
        "calico-behind-kubernetes",
        "Policies of Kubernetes decide before all others.",
        on_calico(_behind_kubernetes),
        "test_deny_beside_kubernetes",
    ),
    _mutant(
        "calico-kubernetes-closes",
        "What a policy of Kubernetes does not admit is denied at its place, and nothing behind it is asked.",
        on_snapshot(_isolation_at_its_order),
        "test_allow_beside_kubernetes",
    ),
    _mutant(
        "calico-selector-everywhere",
        "A selector in a rule of a namespaced policy picks pods of every namespace.",
        on_ends(_in_every_namespace),
        "test_source",
    ),
    _mutant(
        "calico-not-selector-ignored",
        "A notSelector leaves nobody out.",
        on_ends(lambda _, end: replace(end, not_selector=ABSENT)),
        "test_source and not-selector",
    ),
    _mutant(
        "calico-not-nets-ignored",
        "Ranges in notNets are let in.",
        on_ends(lambda _, end: replace(end, not_nets=ABSENT)),
        "test_not_nets",
    ),
    _mutant(
        "calico-not-ports-ignored",
        "Ports in notPorts are open.",
        on_ends(lambda _, end: replace(end, not_ports=ABSENT)),
        "test_ingress",
    ),
    _mutant(
        "calico-accounts-ignored",
        "Whatever a rule says of ServiceAccounts counts for everybody.",
        on_ends(lambda _, end: replace(end, accounts=ABSENT)),
        "test_source and accounts",
    ),
    _mutant(
        "calico-subject-account-ignored",
        "A policy is about pods whatever their ServiceAccounts are.",
        on_calico(lambda policy: replace(policy, accounts=ABSENT)),
        "test_subject_by_account",
    ),
    _mutant(
        "calico-sets-ignored",
        "Selectors find no network set.",
        on_snapshot(lambda snapshot: replace(snapshot, network_sets=())),
        "test_network_set",
    ),
    _mutant(
        "calico-missing-label-is-no-match",
        "A pod without the label does not fulfil `!=`.",
        on_selectors(_missing_is_no_match),
        "test_expression",
    ),
    _mutant(
        "calico-part-is-whole",
        "What a label must contain, start or end with is taken for its whole value.",
        on_selectors(_part_is_whole),
        "test_expression",
    ),
    _mutant(
        "calico-global-in-default",
        "A global policy is about pods of namespace default.",
        on_calico(_global_in_default),
        "test_every_namespace",
        seen_in="tools that give an object without a namespace the default one",
    ),
    _mutant(
        "calico-stale-after-update",
        "A changed policy keeps its first content.",
        policies_of_birth,
        "test_replaced",
    ),
)
