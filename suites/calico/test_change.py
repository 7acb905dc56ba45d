"""Policies and network sets created, changed and deleted while the pods run, and pods that change under them."""

from __future__ import annotations

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.calico.manifests import CALLER, SERVER, allow, calico_policy, deny, hosts, network_set

TABLE = """
            server:8080  server:8080/udp  scraper:8080
caller      {caller}     {caller}         .
peer        {peer}       {peer}           .
intruder    {intruder}   {intruder}       .
"""
OPEN = TABLE.format(caller=".", peer=".", intruder=".")
ONLY_CALLER = TABLE.format(caller=".", peer="X", intruder="X")
NOT_CALLER = TABLE.format(caller="X", peer=".", intruder=".")


@pytest.mark.checks("calico-order", "policy-life")
def test_replaced(policy: Policies, matrix: MatrixAsker) -> None:
    """Another spec is in force in the place of the former one."""
    changing = policy(calico_policy("changing", ingress=[allow(**CALLER)]))
    matrix.becomes(ONLY_CALLER)
    changing.replace(selector=SERVER, ingress=[deny(**CALLER), allow()])
    matrix.becomes(NOT_CALLER)


@pytest.mark.checks("calico-order", "policy-life")
def test_reordered(policy: Policies, matrix: MatrixAsker) -> None:
    """A policy that gets a lower order decides before those that came before it."""
    policy(calico_policy("allows", order=10, ingress=[allow()]))
    later = policy(calico_policy("denies", order=20, ingress=[deny(**CALLER)]))
    matrix.becomes(OPEN)
    later.replace(selector=SERVER, order=5, ingress=[deny(**CALLER)])
    matrix.becomes(NOT_CALLER)


@pytest.mark.checks("calico-order", "policy-life")
def test_deleted(policy: Policies, matrix: MatrixAsker) -> None:
    """Without the policy everything is as before it."""
    only = policy(calico_policy("only-caller", ingress=[allow(**CALLER)]))
    matrix.becomes(ONLY_CALLER)
    only.delete()
    matrix.becomes(OPEN)


@pytest.mark.checks("calico-selectors", "policy-life")
def test_network_set_changed(policy: Policies, matrix: MatrixAsker, caller: Actor, intruder: Actor) -> None:
    """Access follows the ranges of a NetworkSet, and ends with it."""
    known = policy(network_set("known", caller.addresses, kind="known"))
    policy(calico_policy("known-only", ingress=[allow(source={"selector": "kind == 'known'"})]))
    matrix.becomes(ONLY_CALLER)
    known.replace(nets=[hosts(each) for each in intruder.addresses])
    matrix.becomes(TABLE.format(caller="X", peer="X", intruder="."))
    known.delete()
    matrix.becomes(TABLE.format(caller="X", peer="X", intruder="X"))


@pytest.mark.checks("calico-selectors", "relabel")
def test_relabelled(policy: Policies, matrix: MatrixAsker, caller: Actor, peer: Actor) -> None:
    """Access follows the labels of pods that run on."""
    policy(calico_policy("only-caller", ingress=[allow(**CALLER)]))
    matrix.becomes(ONLY_CALLER)
    caller.relabel(app="stranger")
    peer.relabel(app="caller")
    matrix.becomes(TABLE.format(caller="X", peer=".", intruder="X"))


@pytest.mark.checks("calico-selectors", "relabel")
def test_namespace_relabelled(policy: Policies, matrix: MatrixAsker, intruder: Actor) -> None:
    """Access follows the labels of a namespace."""
    space = {"namespaceSelector": "team == 'observability'"}
    policy(calico_policy("observers", ingress=[allow(source=space)]))
    matrix.becomes(TABLE.format(caller="X", peer="X", intruder="."))
    intruder.relabel_namespace(team="strangers")
    matrix.becomes(TABLE.format(caller="X", peer="X", intruder="X"))


@pytest.mark.checks("calico-selectors", "pods-come-and-go")
def test_restarted(policy: Policies, matrix: MatrixAsker, caller: Actor, server: Actor) -> None:
    """New pods of the same names are guarded and let in as those before them, whatever their addresses."""
    policy(calico_policy("by-account", ingress=[allow(source={"serviceAccounts": {"names": ["caller"]}})]))
    matrix.becomes(ONLY_CALLER)
    caller.restart()
    server.restart()
    matrix.becomes(ONLY_CALLER)
