"""Types, and how Calico's own policies stand with those of Kubernetes, which Calico puts at order 1000."""

from __future__ import annotations

import pytest

from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.calico.manifests import CALLER, Object, allow, calico_policy, deny, leave
from suites.network.manifests import labelled, network_policy, pods

SERVER = labelled(app="server")
ONLY_PEER = network_policy("kubernetes", selects=SERVER, types=["Ingress"], ingress=[{"from": [pods(app="peer")]}])
EVERYBODY = network_policy("kubernetes", selects=SERVER, types=["Ingress"], ingress=[{}])
TABLE = """
            server:8080  server:8080/udp  peer:8080
caller      {caller}     {caller}         .
peer        {peer}       {peer}           -
intruder    {intruder}   {intruder}       .
"""


@pytest.mark.checks("calico-order")
@pytest.mark.parametrize(
    ("spec", "inward", "outward"),
    [
        pytest.param({}, "X", ".", id="no-rule-is-ingress"),
        pytest.param({"ingress": [deny()]}, "X", ".", id="ingress-rules"),
        pytest.param({"egress": [deny()]}, ".", "X", id="egress-rules-alone"),
        pytest.param({"ingress": [allow()], "egress": [deny()]}, ".", "X", id="both"),
        pytest.param({"ingress": [], "egress": [deny()]}, ".", "X", id="no-ingress-rules"),
        pytest.param({"types": ["Ingress"], "egress": [deny()]}, "X", ".", id="said-ingress"),
        pytest.param({"types": ["Egress"], "ingress": [deny()]}, ".", "X", id="said-egress"),
        pytest.param({"types": ["Ingress", "Egress"]}, "X", "X", id="said-both"),
    ],
)
def test_types(policy: Policies, matrix: MatrixAsker, spec: Object, inward: str, outward: str) -> None:
    """Without types a policy is about the directions of its rules, and about ingress where it has none."""
    policy(calico_policy("typed", **spec))
    matrix.becomes(f"""
                server:8080  peer:8080
    caller      {inward}     .
    server      -            {outward}
    """)


@pytest.mark.checks("calico-order", "conflict")
@pytest.mark.parametrize(
    ("order", "name", "caller"),
    [
        pytest.param(900, "z", "X", id="before"),
        pytest.param(1000, "z", "X", id="same-order-own-first"),
        pytest.param(1001, "a", ".", id="behind"),
        pytest.param(None, "a", ".", id="without-order-behind"),
    ],
)
def test_deny_beside_kubernetes(
    policy: Policies, matrix: MatrixAsker, order: int | None, name: str, caller: str
) -> None:
    """A Deny before order 1000 wins over what a policy of Kubernetes allows; behind it, it is not reached."""
    policy(EVERYBODY)
    policy(calico_policy(name, order=order, ingress=[deny(**CALLER)]))
    matrix.becomes(TABLE.format(caller=caller, peer=".", intruder="."))


@pytest.mark.checks("calico-order", "union")
@pytest.mark.parametrize("order", [pytest.param(10, id="before"), pytest.param(2000, id="behind")])
def test_allow_beside_kubernetes(policy: Policies, matrix: MatrixAsker, order: int) -> None:
    """What a policy of Kubernetes does not allow, one of Calico still may: isolation comes behind all of them."""
    policy(ONLY_PEER)
    policy(calico_policy("allows", order=order, ingress=[allow(**CALLER)]))
    matrix.becomes(TABLE.format(caller=".", peer=".", intruder="X"))


@pytest.mark.checks("calico-order")
@pytest.mark.parametrize("order", [pytest.param(10, id="before"), pytest.param(2000, id="behind")])
def test_pass_beside_kubernetes(policy: Policies, matrix: MatrixAsker, order: int) -> None:
    """What is passed on is not asked of policies of Kubernetes either: they stand in the same tier."""
    policy(ONLY_PEER)
    policy(calico_policy("passes", order=order, ingress=[leave(**CALLER)]))
    matrix.becomes(TABLE.format(caller=".", peer=".", intruder="X"))


@pytest.mark.checks("calico-order")
def test_egress_and_ingress_by_different_kinds(policy: Policies, matrix: MatrixAsker) -> None:
    """Each end has its say: one of Kubernetes at the caller, one of Calico at the server."""
    to_server = network_policy("out", selects=labelled(app="caller"), types=["Egress"], egress=[{"to": [pods()]}])
    policy(to_server)
    policy(calico_policy("in", ingress=[deny(protocol="TCP", destination={"ports": [9090]}), allow()]))
    matrix.becomes("""
                server:8080  server:9090  scraper:8080
    caller      .            X            X
    peer        .            X            .
    """)
