"""The cluster-wide default deny that everyone writes, and what it breaks: names, the Kubernetes API; and the way back.

It leaves out the namespaces of the cluster itself. A policy that does not would close Calico's own API server, too.
"""

from __future__ import annotations

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.calico.manifests import DNS, allow, global_policy

pytestmark = pytest.mark.cluster_wide
SYSTEM = ("kube-system", "calico-system", "calico-apiserver", "tigera-operator", "local-path-storage")
OURS = f"projectcalico.org/namespace not in {{{', '.join(repr(each) for each in SYSTEM)}}}"
BOTH = ["Ingress", "Egress"]
TO_SERVER = {"destination": {"selector": "app == 'server'"}}
DEFAULT_DENY = global_policy("ew-default-deny", selects=OURS, types=BOTH)
SERVER_OPEN = global_policy("ew-server-open", selects="app == 'server'", order=10, ingress=[allow()])


@pytest.mark.checks("calico-order", "default-deny-egress")
def test_everything_is_closed(policy: Policies, matrix: MatrixAsker) -> None:
    """Nobody calls anybody, in any namespace, nor the Kubernetes API; a pod still reaches itself."""
    policy(DEFAULT_DENY)
    matrix.becomes("""
                server:8080  scraper:8080  kubernetes:443@service-ip  caller:8080  intruder:8080
    caller      X            X             X                          .            X
    intruder    X            X             X                          X            .
    """)


@pytest.mark.checks("calico-order", "dns")
def test_names_are_forgotten(policy: Policies, matrix: MatrixAsker, caller: Actor) -> None:
    """A pod that may call its server does not find it by name, and the default deny is blamed."""
    policy(DEFAULT_DENY)
    policy(SERVER_OPEN)
    policy(global_policy("ew-to-server", selects="app == 'caller'", order=10, egress=[allow(**TO_SERVER)]))
    matrix.becomes("""
                server:8080  server:8080@dns  scraper:8080
    caller      .            dns-error        X
    """)
    assert caller.blames("server:8080@dns") == "ew-to-server, ew-default-deny forgets DNS"


@pytest.mark.checks("calico-order", "dns")
def test_kubernetes_api_is_forgotten(policy: Policies, matrix: MatrixAsker, caller: Actor) -> None:
    """With names allowed everywhere, the Kubernetes API is still closed, and the default deny is blamed."""
    names = [allow(protocol=each, **DNS) for each in ("UDP", "TCP")]
    policy(DEFAULT_DENY)
    policy(SERVER_OPEN)
    policy(global_policy("ew-names", selects="all()", order=5, egress=[*names, allow(**TO_SERVER)]))
    matrix.becomes("""
                server:8080@dns  kubernetes:443@service-ip
    caller      .                X
    """)
    assert caller.blames("kubernetes:443@service-ip") == "ew-names, ew-default-deny forgets the Kubernetes API"


@pytest.mark.checks("calico-order", "dns")
def test_way_back(policy: Policies, matrix: MatrixAsker) -> None:
    """Without it everything is as before."""
    closed = policy(DEFAULT_DENY)
    matrix.becomes("""
                server:8080  server:8080@dns  kubernetes:443@service-ip  caller:8080
    caller      X            #                X                          .
    """)
    closed.delete()
    matrix.becomes("""
                server:8080  server:8080@dns  kubernetes:443@service-ip
    caller      .            .                .
    """)
