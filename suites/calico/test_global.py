"""GlobalNetworkPolicy and GlobalNetworkSet: in force in the whole cluster, so each test runs alone."""

from __future__ import annotations

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.calico.manifests import allow, calico_policy, deny, global_policy, global_set, leave
from suites.network.manifests import labelled, network_policy

pytestmark = pytest.mark.cluster_wide
ONLY_CALLERS = {"source": {"selector": "app == 'caller'"}}
TABLE = """
            server:8080  server:8080/udp  scraper:8080
caller      {caller}     {caller}         .
peer        {peer}       {peer}           .
intruder    {intruder}   {intruder}       .
"""


def here(actor: Actor) -> str:
    """A selector of the server in the actor's namespace: what other namespaces have of that name is let be."""
    return f"app == 'server' && projectcalico.org/namespace == '{actor.workload.namespace}'"


@pytest.mark.checks("calico-order")
def test_every_namespace(policy: Policies, matrix: MatrixAsker) -> None:
    """A global policy is about the pods that its selector picks, wherever they are."""
    policy(global_policy("ew-callers", selects="app == 'caller'", types=["Ingress"]))
    matrix.becomes("""
                caller:8080  intruder:8080  server:8080
    peer        X            X              .
    scraper     X            X              .
    """)


@pytest.mark.checks("calico-selectors", "namespace-selector")
def test_namespaces_by_label(policy: Policies, matrix: MatrixAsker) -> None:
    """Its namespaceSelector leaves it only the pods of such namespaces."""
    spaces = {"namespaceSelector": "team == 'observability'"}
    policy(global_policy("ew-observers", selects="app == 'caller'", types=["Ingress"], **spaces))
    matrix.becomes("""
                caller:8080  intruder:8080  server:8080
    peer        .            X              .
    scraper     .            X              .
    """)


@pytest.mark.checks("calico-selectors", "namespace-selector")
def test_namespaces_by_the_label_of_their_pods(policy: Policies, matrix: MatrixAsker, intruder: Actor) -> None:
    """The namespace is a label of every pod, too."""
    place = f"projectcalico.org/namespace == '{intruder.workload.namespace}'"
    policy(global_policy("ew-foreign", selects=place, types=["Ingress"]))
    matrix.becomes("""
                intruder:8080  scraper:8080  server:8080
    caller      X              X             .
    peer        X              X             .
    """)


@pytest.mark.checks("calico-selectors")
def test_source_of_any_namespace(policy: Policies, matrix: MatrixAsker, server: Actor) -> None:
    """A selector in a rule of a global policy means pods of every namespace."""
    policy(global_policy("ew-callers", selects=here(server), ingress=[allow(**ONLY_CALLERS)]))
    matrix.becomes(TABLE.format(caller=".", peer="X", intruder="."))


@pytest.mark.checks("calico-order")
@pytest.mark.parametrize(
    ("order", "marks"),
    [
        pytest.param(10, "X", id="before"),
        pytest.param(20, "X", id="same-order-by-name"),
        pytest.param(30, ".", id="behind"),
    ],
)
def test_order_beside_a_namespaced_one(
    policy: Policies, matrix: MatrixAsker, server: Actor, order: int, marks: str
) -> None:
    """Global and namespaced policies stand in one order; of the same order, the name with the namespace before it."""
    policy(calico_policy("a-allows", order=20, ingress=[allow()]))
    policy(global_policy("z-denies", selects=here(server), order=order, ingress=[deny(**ONLY_CALLERS)]))
    matrix.becomes(TABLE.format(caller=marks, peer=".", intruder=marks))


@pytest.mark.checks("calico-order", "conflict")
def test_deny_beside_kubernetes(policy: Policies, matrix: MatrixAsker, server: Actor) -> None:
    """What a global policy denies early, no policy of Kubernetes opens again."""
    policy(network_policy("open", selects=labelled(app="server"), ingress=[{}]))
    policy(global_policy("ew-denies", selects=here(server), order=1, ingress=[deny(**ONLY_CALLERS)]))
    matrix.becomes(TABLE.format(caller="X", peer=".", intruder="X"))


@pytest.mark.checks("calico-order")
def test_pass_over_a_namespaced_one(policy: Policies, matrix: MatrixAsker, server: Actor) -> None:
    """What a global policy passes on, policies of the namespace are not asked about."""
    policy(global_policy("ew-passes", selects=here(server), order=1, ingress=[leave(**ONLY_CALLERS)]))
    policy(calico_policy("denies", order=2, ingress=[deny()]))
    matrix.becomes(TABLE.format(caller=".", peer="X", intruder="."))


@pytest.mark.checks("calico-selectors")
def test_global_set(policy: Policies, matrix: MatrixAsker, server: Actor, intruder: Actor) -> None:
    """A selector in a rule of a global policy picks the ranges of a GlobalNetworkSet."""
    policy(global_set("ew-known", intruder.addresses, kind="known"))
    policy(global_policy("ew-known", selects=here(server), ingress=[allow(source={"selector": "kind == 'known'"})]))
    matrix.becomes(TABLE.format(caller="X", peer="X", intruder="."))


@pytest.mark.checks("calico-selectors")
def test_all_but_a_global_set(policy: Policies, matrix: MatrixAsker, server: Actor, intruder: Actor) -> None:
    """A notSelector alone leaves out every address that it picks, also that of a pod which it does not pick."""
    policy(global_set("ew-unwanted", intruder.addresses, kind="unwanted"))
    unwanted = {"notSelector": "kind == 'unwanted'"}
    policy(global_policy("ew-others", selects=here(server), ingress=[allow(source=unwanted)]))
    matrix.becomes(TABLE.format(caller=".", peer=".", intruder="X"))


@pytest.mark.checks("calico-selectors")
def test_global_set_of_a_namespaced_policy(policy: Policies, matrix: MatrixAsker, peer: Actor) -> None:
    """A namespaced policy finds what is in no namespace by `global()` alone."""
    policy(global_set("ew-known", peer.addresses, kind="known"))
    policy(calico_policy("known", ingress=[allow(source={"selector": "kind == 'known'"})]))
    matrix.becomes(TABLE.format(caller="X", peer="X", intruder="X"))
    known = {"selector": "kind == 'known'", "namespaceSelector": "global()"}
    policy(calico_policy("known-globally", ingress=[allow(source=known)]))
    matrix.becomes(TABLE.format(caller="X", peer=".", intruder="X"))
