"""Which rule decides: order, names where orders are the same, and the four actions."""

from __future__ import annotations

import pytest

from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.calico.manifests import CALLER, Object, allow, calico_policy, deny, leave, log

TABLE = """
            server:8080  server:8080/udp  scraper:8080
caller      {caller}     {caller}         .
peer        {others}     {others}         .
intruder    {others}     {others}         .
"""
ONLY_CALLER = TABLE.format(caller=".", others="X")
NOT_CALLER = TABLE.format(caller="X", others=".")
NOBODY = TABLE.format(caller="X", others="X")


@pytest.mark.checks("calico-order")
@pytest.mark.parametrize(
    ("allows", "denies", "table"),
    [
        pytest.param({"order": 10}, {"order": 20}, ONLY_CALLER, id="lower-first"),
        pytest.param({"order": 10.5}, {"order": 10.25}, NOBODY, id="fractions-count"),
        pytest.param({"order": -1}, {"order": 0}, ONLY_CALLER, id="negative-first"),
        pytest.param({"order": 100000}, {}, ONLY_CALLER, id="without-order-last"),
        pytest.param({}, {"order": 100000}, NOBODY, id="without-order-behind-any"),
    ],
)
def test_order(policy: Policies, matrix: MatrixAsker, allows: Object, denies: Object, table: str) -> None:
    """The policy of the lower order decides; one without an order comes last."""
    policy(calico_policy("a-denies", ingress=[deny()], **denies))
    policy(calico_policy("b-allows", ingress=[allow(**CALLER)], **allows))
    matrix.becomes(table)


@pytest.mark.checks("calico-order")
@pytest.mark.parametrize("order", [pytest.param(10, id="same-order"), pytest.param(None, id="no-order")])
def test_names_decide_between_equals(policy: Policies, matrix: MatrixAsker, order: int | None) -> None:
    """Of policies with the same order the one whose name comes first decides, whichever was made first."""
    policy(calico_policy("b-denies", order=order, ingress=[deny()]))
    policy(calico_policy("a-allows", order=order, ingress=[allow(**CALLER)]))
    matrix.becomes(ONLY_CALLER)


@pytest.mark.checks("calico-order")
def test_first_rule_that_matches(policy: Policies, matrix: MatrixAsker) -> None:
    """Within a policy rules decide in the order in which they are written."""
    policy(calico_policy("rules", ingress=[deny(**CALLER), allow()]))
    matrix.becomes(NOT_CALLER)


@pytest.mark.checks("calico-order")
def test_what_no_rule_matches_is_denied(policy: Policies, matrix: MatrixAsker) -> None:
    """A pod that a policy is about takes nothing else than what is allowed."""
    policy(calico_policy("only-caller", ingress=[allow(**CALLER)]))
    matrix.becomes(ONLY_CALLER)


@pytest.mark.checks("calico-order", "conflict")
def test_deny_before_allow(policy: Policies, matrix: MatrixAsker) -> None:
    """A Deny of a lower order wins over an Allow of everybody."""
    policy(calico_policy("denies", order=10, ingress=[deny(**CALLER)]))
    policy(calico_policy("allows", order=20, ingress=[allow()]))
    matrix.becomes(NOT_CALLER)


@pytest.mark.checks("calico-order")
def test_pass_skips_the_policies_behind(policy: Policies, matrix: MatrixAsker) -> None:
    """What a rule passes on is asked of no other policy: the profile of the namespace allows it."""
    policy(calico_policy("passes", order=10, ingress=[leave(**CALLER)]))
    policy(calico_policy("denies", order=20, ingress=[deny()]))
    matrix.becomes(ONLY_CALLER)


@pytest.mark.checks("calico-order")
def test_pass_is_not_asked_behind_a_deny(policy: Policies, matrix: MatrixAsker) -> None:
    """A Pass takes back nothing that a policy of a lower order denies."""
    policy(calico_policy("denies", order=10, ingress=[deny(**CALLER)]))
    policy(calico_policy("passes", order=20, ingress=[leave()]))
    matrix.becomes(NOT_CALLER)


@pytest.mark.checks("calico-order")
def test_log_lets_the_next_rule_decide(policy: Policies, matrix: MatrixAsker) -> None:
    """A logged packet goes on to the rules behind: one allows it, or at the end it is denied."""
    policy(calico_policy("logs", ingress=[log(), allow(**CALLER), log()]))
    matrix.becomes(ONLY_CALLER)


@pytest.mark.checks("calico-order", "stack")
def test_stack_of_ten(policy: Policies, matrix: MatrixAsker) -> None:
    """Of ten policies that contradict one another the first that matches decides each flow."""
    for place in range(9, 0, -1):
        policy(calico_policy(f"p{place}", order=place, ingress=[deny(**CALLER) if place % 2 else allow(**CALLER)]))
    policy(calico_policy("first", order=0, ingress=[allow(protocol="UDP")]))
    matrix.becomes("""
                server:8080  server:8080/udp  peer:8080
    caller      X            .                .
    peer        X            .                -
    intruder    X            .                .
    """)
