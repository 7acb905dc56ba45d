"""IPv4 and IPv6: each closed and opened as the other, and by itself where a policy names addresses."""

from __future__ import annotations

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.network.manifests import blocks, everywhere, labelled, network_policy, pods

SERVER = labelled(app="server")
CALLER = labelled(app="caller")


def marks(family: str) -> dict[str, str]:
    """`.` for this family and `X` for the other, by name."""
    return {each: "." if each == family else "X" for each in ("ipv4", "ipv6")}


@pytest.mark.checks("ipv6")
def test_ipv6_is_closed_and_opened(policy: Policies, matrix: MatrixAsker) -> None:
    """Over IPv6 a default deny closes, and a selector lets in, as over IPv4: by pod address, Service and name."""
    policy(network_policy("deny-ingress", types=["Ingress"]))
    policy(network_policy("caller-in", selects=SERVER, types=["Ingress"], ingress=[{"from": [pods(app="caller")]}]))
    matrix.becomes("""
                server:8080%ipv6  server:8080/udp%ipv6  server:8080@service-ip%ipv6  server:8080@dns%ipv6
    caller      .                 .                     .                            .
    intruder    X                 X                     X                            X
    peer        X                 X                     X                            X
    """)


@pytest.mark.checks("ipv6", "block-except")
def test_ipv6_range_except(policy: Policies, matrix: MatrixAsker, intruder: Actor, scraper: Actor) -> None:
    """An IPv6 range lets everybody in but the addresses in its `except`."""
    rules = [{"from": everywhere(intruder.addresses + scraper.addresses)}]
    policy(network_policy("except", selects=SERVER, types=["Ingress"], ingress=rules))
    matrix.becomes("""
                server:8080%ipv6  server:8080/udp%ipv6
    caller      .                 .
    intruder    X                 X
    scraper     X                 X
    """)


@pytest.mark.usefixtures("dual_stack")
@pytest.mark.checks("dual-stack", "block-ingress")
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_block_of_one_family_on_ingress(policy: Policies, matrix: MatrixAsker, caller: Actor, family: str) -> None:
    """An address lets its holder in over its own family; over the other one everybody stays out."""
    mark = marks(family)
    address = caller.addresses[family == "ipv6"]
    policy(network_policy("one-family", selects=SERVER, types=["Ingress"], ingress=[{"from": blocks([address])}]))
    matrix.becomes(f"""
                server:8080%ipv4  server:8080%ipv6  server:8080/udp%ipv4  server:8080/udp%ipv6
    caller      {mark["ipv4"]}    {mark["ipv6"]}    {mark["ipv4"]}        {mark["ipv6"]}
    intruder    X                 X                 X                     X
    """)


@pytest.mark.usefixtures("dual_stack")
@pytest.mark.checks("dual-stack", "block-egress")
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_block_of_one_family_on_egress(policy: Policies, matrix: MatrixAsker, server: Actor, family: str) -> None:
    """An address may be called over its own family, by its Service too; over the other one nobody may be."""
    mark = marks(family)
    address = server.addresses[family == "ipv6"]
    policy(network_policy("one-family", selects=CALLER, types=["Egress"], egress=[{"to": blocks([address])}]))
    matrix.becomes(f"""
                server:8080%ipv4  server:8080%ipv6  server:8080@service-ip%ipv4  server:8080@service-ip%ipv6  peer:8080
    caller      {mark["ipv4"]}    {mark["ipv6"]}    {mark["ipv4"]}               {mark["ipv6"]}               X
    peer        .                 .                 .                            .                            .
    """)


@pytest.mark.usefixtures("dual_stack")
@pytest.mark.checks("dual-stack", "match-labels")
def test_a_selector_means_every_family(policy: Policies, matrix: MatrixAsker) -> None:
    """A selector lets its pods in by whatever family they call, and nobody else by any."""
    policy(network_policy("caller-in", selects=SERVER, types=["Ingress"], ingress=[{"from": [pods(app="caller")]}]))
    matrix.becomes("""
                server:8080%ipv4  server:8080%ipv6  server:9090%ipv4  server:9090%ipv6
    caller      .                 .                 .                 .
    intruder    X                 X                 X                 X
    """)
