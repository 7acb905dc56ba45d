"""Default deny and default allow: what a policy closes without naming anybody."""

from __future__ import annotations

import pytest

from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.network.manifests import EVERYONE, Object, labelled, network_policy, pods, tcp

OPEN = """
            server:8080  server:9090  server:8080/udp  peer:8080  intruder:8080  scraper:8080
caller      .            .            .                .          .              .
intruder    .            .            .                .          -              .
scraper     .            .            .                .          .              -
"""
NO_INGRESS = """
            server:8080  server:9090  server:8080/udp  peer:8080  intruder:8080  scraper:8080
caller      X            X            X                X          .              .
intruder    X            X            X                X          -              .
scraper     X            X            X                X          .              -
"""
NO_EGRESS = """
            server:8080  server:9090  server:8080/udp  peer:8080  intruder:8080  scraper:8080
caller      X            X            X                X          X              X
intruder    .            .            .                .          -              .
scraper     .            .            .                .          .              -
"""
NEITHER = """
            server:8080  server:9090  server:8080/udp  peer:8080  intruder:8080  scraper:8080  caller:8080
caller      X            X            X                X          X              X             .
intruder    X            X            X                X          -              .             X
scraper     X            X            X                X          .              -             X
"""
"""To itself a pod may always speak: where nothing else stays allowed, that it can call at all."""


@pytest.mark.checks("default-allow", "identity")
def test_no_policy(matrix: MatrixAsker) -> None:
    """Without a policy every flow is answered."""
    matrix.becomes(OPEN)


@pytest.mark.checks("default-deny-ingress", "drop-or-reject", "evidence")
def test_default_deny_ingress(policy: Policies, matrix: MatrixAsker) -> None:
    """A policy without ingress rules closes every pod of its namespace, and neither egress nor its neighbours."""
    policy(network_policy("deny-ingress", types=["Ingress"]))
    matrix.becomes(NO_INGRESS)


@pytest.mark.checks("default-deny-egress")
def test_default_deny_egress(policy: Policies, matrix: MatrixAsker) -> None:
    """A policy without egress rules keeps every pod of its namespace from calling, and lets it be called."""
    policy(network_policy("deny-egress", types=["Egress"]))
    matrix.becomes(NO_EGRESS)


@pytest.mark.checks("default-deny-egress")
def test_default_deny_both(policy: Policies, matrix: MatrixAsker) -> None:
    """A policy with both types and no rules closes its namespace both ways."""
    policy(network_policy("deny-both", types=["Ingress", "Egress"]))
    matrix.becomes(NEITHER)


@pytest.mark.checks("policy-types")
@pytest.mark.parametrize(
    ("types", "ingress", "egress"),
    [
        pytest.param(["Ingress"], [], None, id="rules-empty"),
        pytest.param(None, None, None, id="nothing-written"),
        pytest.param(None, None, [], id="types-left-out-and-egress-empty"),
        pytest.param(["Ingress"], None, [{"to": [pods(app="nobody")]}], id="egress-rules-without-their-type"),
    ],
)
def test_no_ingress_rules_deny(
    policy: Policies,
    matrix: MatrixAsker,
    types: list[str] | None,
    ingress: list[Object] | None,
    egress: list[Object] | None,
) -> None:
    """Ingress alone is isolated, whether its rules are empty, absent, or beside egress rules without their type."""
    policy(network_policy("no-rules", types=types, ingress=ingress, egress=egress))
    matrix.becomes(NO_INGRESS)


@pytest.mark.checks("policy-types")
def test_ingress_rules_without_their_type(policy: Policies, matrix: MatrixAsker) -> None:
    """Where policyTypes names egress alone, ingress rules that are written isolate nothing."""
    policy(network_policy("mute", types=["Egress"], ingress=[{"from": [pods(app="nobody")]}]))
    matrix.becomes(NO_EGRESS)


@pytest.mark.checks("policy-types", "port-number", "union")
def test_empty_lists_mean_everything(policy: Policies, matrix: MatrixAsker) -> None:
    """Peers and ports that are written as empty lists mean what absent ones mean: everybody, every port."""
    into_server = [{"from": [], "ports": [tcp(8080)]}, {"from": [pods(app="peer")], "ports": []}]
    policy(network_policy("server-in", selects=labelled(app="server"), types=["Ingress"], ingress=into_server))
    out_of_caller = [{"to": [], "ports": [tcp(8080)]}, {"to": [pods(app="peer")], "ports": []}]
    policy(network_policy("caller-out", selects=labelled(app="caller"), types=["Egress"], egress=out_of_caller))
    matrix.becomes("""
                server:8080  server:9090  server:8080/udp  peer:8080/udp  peer:9091  scraper:8080  scraper:9090
    caller      .            X            X                .              .          .             X
    intruder    .            X            X                .              .          .             .
    peer        .            .            .                -              -          .             .
    """)


@pytest.mark.checks("allow-all", "conflict")
def test_allow_all_ingress_reopens(policy: Policies, matrix: MatrixAsker) -> None:
    """One empty ingress rule beside a default deny lets everybody in again."""
    policy(network_policy("deny-ingress", types=["Ingress"]))
    matrix.becomes(NO_INGRESS)
    policy(network_policy("allow-ingress", types=["Ingress"], ingress=[EVERYONE]))
    matrix.becomes(OPEN)


@pytest.mark.checks("allow-all", "conflict")
def test_allow_all_egress_reopens(policy: Policies, matrix: MatrixAsker) -> None:
    """One empty egress rule beside a default deny lets the pods call everybody again."""
    policy(network_policy("deny-egress", types=["Egress"]))
    matrix.becomes(NO_EGRESS)
    policy(network_policy("allow-egress", types=["Egress"], egress=[EVERYONE]))
    matrix.becomes(OPEN)


@pytest.mark.checks("policy-types")
def test_policy_types_left_out(policy: Policies, matrix: MatrixAsker) -> None:
    """Without policyTypes, egress rules also isolate ingress: the policy lets its pods call and closes them."""
    policy(network_policy("egress-rules-only", egress=[EVERYONE]))
    matrix.becomes(NO_INGRESS)


@pytest.mark.checks("match-labels")
def test_selected_pod_only(policy: Policies, matrix: MatrixAsker) -> None:
    """A policy closes the pods it selects and no other pod of their namespace."""
    policy(network_policy("deny-server", selects=labelled(app="server"), types=["Ingress"]))
    matrix.becomes("""
                server:8080  server:8080/udp  peer:8080  caller:8080
    caller      X            X                .          -
    peer        X            X                -          .
    intruder    X            X                .          .
    """)


@pytest.mark.checks("match-labels")
def test_selected_pod_may_still_call(policy: Policies, matrix: MatrixAsker) -> None:
    """Closing a pod's ingress leaves its own calls, and their answers, alone."""
    policy(network_policy("deny-server", selects=labelled(app="server"), types=["Ingress"]))
    matrix.becomes("""
                server:8080  caller:8080  caller:8080/udp  intruder:8080
    server      -            .            .                .
    caller      X            -            -                .
    """)


@pytest.mark.checks("default-deny-egress")
def test_closed_egress_may_still_be_called(policy: Policies, matrix: MatrixAsker) -> None:
    """Closing a pod's egress leaves calls to it, and its answers, alone."""
    policy(network_policy("mute-server", selects=labelled(app="server"), types=["Egress"]))
    matrix.becomes("""
                server:8080  server:8080/udp  caller:8080  peer:8080
    server      -            -                X            X
    caller      .            .                -            .
    intruder    .            .                .            .
    """)


@pytest.mark.checks("conflict")
def test_minimum_allow(policy: Policies, matrix: MatrixAsker) -> None:
    """Beside a default deny both ways, one caller reaches one server: both ends must allow it, and no one else."""
    policy(network_policy("deny-both", types=["Ingress", "Egress"]))
    to_server = [{"to": [pods(app="server")]}]
    policy(network_policy("caller-out", selects=labelled(app="caller"), types=["Egress"], egress=to_server))
    from_caller = [{"from": [pods(app="caller")]}]
    policy(network_policy("server-in", selects=labelled(app="server"), types=["Ingress"], ingress=from_caller))
    matrix.becomes("""
                server:8080  server:8080/udp  peer:8080  scraper:8080
    caller      .            .                X          X
    peer        X            X                -          X
    intruder    X            X                X          .
    """)


@pytest.mark.checks("conflict")
def test_one_end_does_not_suffice(policy: Policies, matrix: MatrixAsker) -> None:
    """Egress that is allowed does not open ingress that is closed, nor the other way round."""
    policy(network_policy("deny-both", types=["Ingress", "Egress"]))
    to_server = [{"to": [pods(app="server")]}]
    policy(network_policy("caller-out", selects=labelled(app="caller"), types=["Egress"], egress=to_server))
    from_peer = [{"from": [pods(app="peer")]}]
    policy(network_policy("server-in", selects=labelled(app="server"), types=["Ingress"], ingress=from_peer))
    matrix.becomes("""
                server:8080  server:9090  scraper:8080
    caller      X            X            X
    peer        X            X            X
    intruder    X            X            .
    server      .            .            X
    """)
