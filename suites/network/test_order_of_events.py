"""In which order things come: policy or pod first, pods and namespaces that come and go, addresses used again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.newcomers import Newcomers
from fixtures.policy import Policies
from fixtures.workloads import WORLD, Spec
from suites.network.manifests import Object, labelled, network_policy, pods, spaces

WEIGHT = 3

STRAY = Spec(name="stray", labels={"app": "stray", "role": "client"}, slot=0)
"""Of the caller's own namespace and node, but nobody whom a policy admits."""
WORKLOADS = (*WORLD, STRAY)
SERVER = labelled(app="server")
CALLERS_ROW = "caller      .            .                .                       ."
CALLER_ONLY = f"""
            server:8080  server:8080/udp  server:8080@service-ip  peer:8080
{CALLERS_ROW}
stray       X            X                X                       .
intruder    X            X                X                       .
"""


def admits(*peers: Object, name: str = "server-in") -> Object:
    """A policy that lets these peers reach the server."""
    return network_policy(name, selects=SERVER, types=["Ingress"], ingress=[{"from": list(peers)}])


@pytest.mark.checks("event-order", "pods-come-and-go")
def test_policy_before_the_pod_that_it_selects(policy: Policies, matrix: MatrixAsker, server: Actor) -> None:
    """A pod that is created under a policy which selects it is closed, as one that was there before."""
    server.leave()
    policy(admits(pods(app="caller")))
    server.arrive()
    matrix.becomes(CALLER_ONLY)


@pytest.mark.checks("event-order", "pods-come-and-go")
def test_policy_before_the_pods_that_it_admits(
    policy: Policies, matrix: MatrixAsker, caller: Actor, stray: Actor
) -> None:
    """Of two pods created under a policy the one that it admits gets in, and the other stays out."""
    caller.leave()
    stray.leave()
    policy(admits(pods(app="caller")))
    stray.arrive()
    caller.arrive()
    matrix.becomes(CALLER_ONLY)


@pytest.mark.checks("pods-come-and-go")
def test_admitted_pod_deleted(policy: Policies, matrix: MatrixAsker, caller: Actor) -> None:
    """When the only pod that a policy admits is deleted nobody else gets in; made again, it does."""
    policy(admits(pods(app="caller")))
    matrix.becomes(CALLER_ONLY)
    caller.leave()
    matrix.becomes(CALLER_ONLY.replace(CALLERS_ROW, ""))
    caller.arrive()
    matrix.becomes(CALLER_ONLY)


@pytest.mark.checks("pods-come-and-go", "namespace-selector")
def test_namespace_created(policy: Policies, matrix: MatrixAsker, newcomer: Newcomers) -> None:
    """A namespace that is created under a policy which admits its labels gets in, until it has others."""
    policy(admits(pods(app="caller"), spaces(audit="yes")))
    matrix.becomes(CALLER_ONLY)
    auditor = newcomer("auditor", audit="yes")
    matrix.becomes(CALLER_ONLY + CALLERS_ROW.replace("caller ", "auditor"))
    auditor.relabel_namespace(audit="no")
    matrix.becomes(CALLER_ONLY + CALLERS_ROW.replace("caller ", "auditor").replace(". ", "X "))


@pytest.mark.checks("policy-life", "event-order")
def test_policy_created_again(policy: Policies, matrix: MatrixAsker) -> None:
    """A policy that is deleted and created again under its name means what it says the second time."""
    first = policy(admits(pods(app="caller")))
    matrix.becomes(CALLER_ONLY)
    first.delete()
    policy(admits(pods(app="stray")))
    matrix.becomes(CALLER_ONLY.replace("caller", "|").replace("stray ", "caller").replace("|", "stray "))


@pytest.mark.checks("event-order", "union")
@pytest.mark.parametrize("order", ["abc", "bca", "cab"])
def test_order_of_policies(policy: Policies, matrix: MatrixAsker, order: str) -> None:
    """The same three policies mean the same in whichever order they are created."""
    named = {
        "a": admits(pods(app="caller"), name="caller-in"),
        "b": network_policy("deny-all", types=["Ingress"]),
        "c": admits(spaces(team="observability"), name="observers-in"),
    }
    for letter in order:
        policy(named[letter])
    matrix.becomes("""
                server:8080  server:8080/udp  peer:8080  scraper:8080
    caller      .            .                X          .
    stray       X            X                X          .
    intruder    .            .                X          .
    """)


@pytest.mark.checks("address-reuse")
def test_address_used_again(policy: Policies, matrix: MatrixAsker, caller: Actor, stray: Actor) -> None:
    """Who gets the address of a deleted pod inherits neither its access nor its denial."""
    policy(admits(pods(app="caller")))
    matrix.becomes(CALLER_ONLY)
    theirs: Sequence[str] = caller.workload.addresses
    others: Sequence[str] = stray.workload.addresses
    caller.leave()
    stray.leave()
    caller.arrive(others)
    stray.arrive(theirs)
    matrix.becomes(CALLER_ONLY)
    assert (caller.workload.addresses, stray.workload.addresses) == (others, theirs)
