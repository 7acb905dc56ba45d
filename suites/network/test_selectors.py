"""Who is meant: pod and namespace selectors, alone, together and side by side."""

from __future__ import annotations

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.network.manifests import Object, expression, labelled, network_policy, pods, spaces, tcp

METRICS = tcp("metrics")
SERVER = labelled(app="server")
"""The server is what the policies of this file select; the intruder carries the caller's labels elsewhere."""
ONLY_CALLER = """
            server:8080  server:9090  server:8080/udp
caller      .            .            .
peer        X            X            X
intruder    X            X            X
scraper     X            X            X
"""


def admits(*peers: Object) -> Object:
    """A policy that lets these peers reach the server."""
    return network_policy("server-in", selects=SERVER, types=["Ingress"], ingress=[{"from": list(peers)}])


@pytest.mark.checks("match-labels")
def test_pod_selector_means_own_namespace(policy: Policies, matrix: MatrixAsker) -> None:
    """A podSelector alone means pods of the policy's namespace: an intruder with the same labels stays out."""
    policy(admits(pods(app="caller")))
    matrix.becomes(ONLY_CALLER)


@pytest.mark.checks("namespace-selector")
def test_namespace_selector_means_every_pod_there(policy: Policies, matrix: MatrixAsker) -> None:
    """A namespaceSelector alone lets every pod of such namespaces in, and none of the policy's own."""
    policy(admits(spaces(team="observability")))
    matrix.becomes("""
                server:8080  server:8080/udp
    caller      X            X
    peer        X            X
    intruder    .            .
    scraper     .            .
    """)


@pytest.mark.checks("namespace-selector")
def test_namespace_by_name(policy: Policies, matrix: MatrixAsker, intruder: Actor) -> None:
    """Every namespace can be selected by its name label, which Kubernetes sets itself."""
    policy(admits({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": intruder.workload.namespace}}}))
    matrix.becomes("""
                server:8080
    caller      X
    intruder    .
    scraper     .
    """)


@pytest.mark.checks("and-or")
def test_namespace_and_pod(policy: Policies, matrix: MatrixAsker) -> None:
    """Both selectors in one peer must both match."""
    policy(admits({**spaces(team="observability"), **pods(role="prometheus")}))
    matrix.becomes("""
                server:8080  server:9090
    caller      X            X
    peer        X            X
    intruder    X            X
    scraper     .            .
    """)


@pytest.mark.checks("and-or")
def test_namespace_or_pod(policy: Policies, matrix: MatrixAsker) -> None:
    """Two peers in a list: either may match."""
    policy(admits(spaces(team="observability"), pods(role="prometheus")))
    matrix.becomes("""
                server:8080  server:9090
    caller      X            X
    peer        .            .
    intruder    .            .
    scraper     .            .
    """)


@pytest.mark.checks("match-labels")
def test_empty_pod_selector(policy: Policies, matrix: MatrixAsker) -> None:
    """An empty podSelector means every pod of the policy's namespace."""
    policy(admits({"podSelector": {}}))
    matrix.becomes("""
                server:8080  peer:8080
    caller      .            .
    peer        .            .
    intruder    X            .
    scraper     X            .
    """)


@pytest.mark.checks("namespace-selector")
def test_empty_namespace_selector(policy: Policies, matrix: MatrixAsker) -> None:
    """An empty namespaceSelector with a podSelector means such pods of every namespace."""
    policy(admits({"namespaceSelector": {}, **pods(app="caller")}))
    matrix.becomes("""
                server:8080
    caller      .
    peer        X
    intruder    .
    scraper     X
    """)


@pytest.mark.checks("match-in", "match-exists")
@pytest.mark.parametrize(
    ("selector", "caller", "peer"),
    [
        pytest.param(expression("app", "In", "caller", "nobody"), ".", "X", id="in"),
        pytest.param(expression("app", "NotIn", "peer"), ".", "X", id="not-in"),
        pytest.param(expression("eastwest.dev/vip", "NotIn", "yes"), ".", ".", id="not-in-without-the-key"),
        pytest.param(expression("eastwest.dev/vip", "Exists"), "X", "X", id="exists-on-nobody"),
        pytest.param(expression("role", "Exists"), ".", ".", id="exists"),
        pytest.param(expression("eastwest.dev/vip", "DoesNotExist"), ".", ".", id="does-not-exist"),
        pytest.param(expression("role", "DoesNotExist"), "X", "X", id="does-not-exist-on-nobody"),
    ],
)
def test_match_expressions(policy: Policies, matrix: MatrixAsker, selector: Object, caller: str, peer: str) -> None:
    """The four operators of matchExpressions decide who is let in."""
    policy(admits({"podSelector": selector}))
    matrix.becomes(f"""
                server:8080  scraper:8080
    caller      {caller}     .
    peer        {peer}       .
    intruder    X            .
    """)


@pytest.mark.checks("namespace-selector", "match-in", "match-exists")
@pytest.mark.parametrize(
    ("selector", "caller", "intruder"),
    [
        pytest.param(expression("team", "In", "observability", "nobody"), "X", ".", id="in"),
        pytest.param(expression("team", "NotIn", "payments"), "X", ".", id="not-in"),
        pytest.param(expression("team", "Exists"), ".", ".", id="exists"),
        pytest.param(expression("team", "DoesNotExist"), "X", "X", id="does-not-exist-on-any"),
    ],
)
def test_namespace_expressions(
    policy: Policies, matrix: MatrixAsker, selector: Object, caller: str, intruder: str
) -> None:
    """The four operators of matchExpressions decide which namespaces are let in."""
    policy(admits({"namespaceSelector": selector}))
    matrix.becomes(f"""
                server:8080  server:8080/udp  scraper:8080
    caller      {caller}     {caller}         .
    intruder    {intruder}   {intruder}       .
    """)


@pytest.mark.checks("match-in")
def test_selected_by_expression(policy: Policies, matrix: MatrixAsker) -> None:
    """The pods that a policy closes can be selected by an expression too."""
    policy(network_policy("deny", selects=expression("app", "NotIn", "peer", "caller"), types=["Ingress"]))
    matrix.becomes("""
                server:8080  peer:8080  caller:8080
    intruder    X            .          .
    scraper     X            .          .
    """)


@pytest.mark.checks("match-labels", "namespace-selector")
def test_egress_to_selected_pods(policy: Policies, matrix: MatrixAsker) -> None:
    """Egress rules select whom a pod may call, in its own namespace and in another."""
    peers = [{"to": [pods(app="server"), {**spaces(team="observability"), **pods(app="prometheus")}]}]
    policy(network_policy("caller-out", selects=labelled(app="caller"), types=["Egress"], egress=peers))
    matrix.becomes("""
                server:8080  peer:8080  intruder:8080  scraper:8080
    caller      .            X          X              .
    peer        .            -          .              .
    """)


def calls(*peers: Object) -> Object:
    """A policy that lets the caller call these peers."""
    return network_policy("caller-out", selects=labelled(app="caller"), types=["Egress"], egress=[{"to": list(peers)}])


@pytest.mark.checks("and-or", "namespace-selector", "match-labels")
@pytest.mark.parametrize(
    ("peers", "server", "peer", "intruder", "scraper"),
    [
        pytest.param([{**spaces(team="observability"), **pods(role="prometheus")}], *"XXX.", id="and"),
        pytest.param([spaces(team="observability"), pods(role="prometheus")], *"X...", id="or"),
        pytest.param([{"podSelector": {}}], *"..XX", id="every-pod-here"),
        pytest.param([{"namespaceSelector": {}}], *"....", id="every-namespace"),
        pytest.param([{"namespaceSelector": {}, **pods(role="prometheus")}], *"X.X.", id="such-pods-everywhere"),
        pytest.param([{"namespaceSelector": expression("team", "NotIn", "payments")}], *"XX..", id="namespace-not-in"),
    ],
)
def test_egress_peers(
    policy: Policies, matrix: MatrixAsker, peers: list[Object], server: str, peer: str, intruder: str, scraper: str
) -> None:
    """On egress, both selectors of one peer must match, either of two peers, and an empty one means all there are."""
    policy(calls(*peers))
    matrix.becomes(f"""
                server:8080  server:8080/udp  peer:8080  intruder:8080  scraper:8080
    caller      {server}     {server}         {peer}     {intruder}     {scraper}
    peer        .            .                -          .              .
    """)


@pytest.mark.checks("union", "stack", "conflict")
def test_egress_adds_up(policy: Policies, matrix: MatrixAsker) -> None:
    """Peers of a rule, rules of a policy and twelve policies on one pod allow the union of what each allows to call."""
    caller = labelled(app="caller")
    for number in range(10):
        others = [{"to": [pods(app=f"nobody-{number}")]}]
        policy(network_policy(f"stack-{number:02}", selects=caller, types=["Egress"], egress=others))
    rules = [
        {"to": [pods(app="nobody"), pods(app="server")]},
        {"to": [spaces(team="observability")], "ports": [METRICS]},
    ]
    policy(network_policy("stack-99", selects=caller, types=["Egress"], egress=rules))
    policy(network_policy("deny-egress", types=["Egress"]))
    matrix.becomes("""
                server:8080  server:8080/udp  peer:8080  scraper:9090  scraper:8080
    caller      .            .                X          .             X
    peer        X            X                -          X             X
    intruder    .            .                .          .             .
    """)


@pytest.mark.checks("union")
def test_rules_add_up(policy: Policies, matrix: MatrixAsker) -> None:
    """Several rules of one policy allow the union of what each allows."""
    rules = [{"from": [pods(app="caller")]}, {"from": [spaces(team="observability")]}]
    policy(network_policy("server-in", selects=SERVER, types=["Ingress"], ingress=rules))
    matrix.becomes("""
                server:8080
    caller      .
    peer        X
    intruder    .
    """)


@pytest.mark.checks("union", "conflict")
def test_policies_add_up(policy: Policies, matrix: MatrixAsker) -> None:
    """Several policies on one pod allow the union of what each allows."""
    policy(network_policy("a-caller", selects=SERVER, types=["Ingress"], ingress=[{"from": [pods(app="caller")]}]))
    policy(network_policy("b-deny-all", types=["Ingress"]))
    policy(network_policy("c-peer", selects=SERVER, types=["Ingress"], ingress=[{"from": [pods(app="peer")]}]))
    matrix.becomes("""
                server:8080  server:8080/udp  peer:8080
    caller      .            .                X
    peer        .            .                .
    intruder    X            X                X
    """)


@pytest.mark.checks("stack")
def test_many_policies_add_up(policy: Policies, matrix: MatrixAsker) -> None:
    """Twelve policies on one pod still allow exactly their union."""
    for number in range(11):
        others = [{"from": [pods(app=f"nobody-{number}")]}]
        policy(network_policy(f"stack-{number:02}", selects=SERVER, types=["Ingress"], ingress=others))
    policy(
        network_policy("stack-05-caller", selects=SERVER, types=["Ingress"], ingress=[{"from": [pods(app="caller")]}])
    )
    matrix.becomes(ONLY_CALLER)
