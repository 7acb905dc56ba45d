"""Who is meant by an end of a rule: namespaces, ServiceAccounts, ranges, sets of ranges, and all but these."""

from __future__ import annotations

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.policy import Policies
from suites.calico.manifests import Object, allow, calico_policy, each_family, network_set

TABLE = """
            server:8080  server:8080/udp  peer:8080  scraper:8080
caller      {caller}     {caller}         .          .
peer        {peer}       {peer}           -          .
intruder    {intruder}   {intruder}       .          .
scraper     {scraper}    {scraper}        .          -
"""
PORTS = (("TCP", 8080), ("TCP", 9090), ("UDP", 8080))
"""Three sources are asked at once, each on a port of its own."""
EVERY = {"namespaceSelector": "all()"}
CALLERS = {"selector": "app == 'caller'"}
SOURCES = [
    pytest.param([({}, "...."), (CALLERS, ".XXX"), ({"selector": "all()"}, "..XX")], id="selector-stays-home"),
    pytest.param(
        [
            ({"namespaceSelector": "team == 'observability'"}, "XX.."),
            ({"namespaceSelector": "team != 'observability'"}, "..XX"),
            ({"namespaceSelector": "global()"}, "XXXX"),
        ],
        id="namespaces",
    ),
    pytest.param(
        [
            (EVERY, "...."),
            ({**EVERY, **CALLERS}, ".X.X"),
            ({"namespaceSelector": "projectcalico.org/name ends with '-foreign'", **CALLERS}, "XX.X"),
        ],
        id="namespace-and-selector",
    ),
    pytest.param(
        [
            ({"notSelector": "app == 'caller'"}, "X.XX"),
            ({**EVERY, "notSelector": "app == 'caller'"}, "X.X."),
            ({"selector": "has(role)", "notSelector": "app == 'peer'"}, ".XXX"),
        ],
        id="not-selector",
    ),
    pytest.param(
        [
            ({"serviceAccounts": {"names": ["caller"]}}, ".XXX"),
            ({"serviceAccounts": {"names": ["peer", "intruder"]}}, "X.XX"),
            ({**EVERY, "serviceAccounts": {"names": ["peer", "intruder"]}}, "X..X"),
        ],
        id="accounts-by-name",
    ),
    pytest.param(
        [
            ({**EVERY, "serviceAccounts": {"selector": "eastwest.dev/service in {'peer', 'scraper'}"}}, "X.X."),
            (
                {
                    **EVERY,
                    "serviceAccounts": {"names": ["peer", "caller"], "selector": "eastwest.dev/service != 'peer'"},
                },
                ".XXX",
            ),
            ({"serviceAccounts": {"names": ["caller", "peer"]}, "selector": "role == 'prometheus'"}, "X.XX"),
        ],
        id="accounts-by-label",
    ),
]


@pytest.mark.checks("calico-selectors")
@pytest.mark.parametrize("sources", SOURCES)
def test_source(policy: Policies, matrix: MatrixAsker, sources: list[tuple[Object, str]]) -> None:
    """An ingress rule lets in whom its source describes: every field must hold, and nobody else gets in."""
    rules = [
        allow(protocol=protocol, source=source, destination={"ports": [port]})
        for (source, _), (protocol, port) in zip(sources, PORTS, strict=True)
    ]
    policy(calico_policy("from", ingress=rules))
    caller, peer, intruder, scraper = ("  ".join(marks) for marks in zip(*(marks for _, marks in sources), strict=True))
    matrix.becomes(f"""
                server:8080  server:9090  server:8080/udp  peer:8080  scraper:8080
    caller      {caller}                                   .          .
    peer        {peer}                                     -          .
    intruder    {intruder}                                 .          .
    scraper     {scraper}                                  .          -
    """)


@pytest.mark.checks("calico-selectors")
def test_egress_to_selected(policy: Policies, matrix: MatrixAsker) -> None:
    """An egress rule lets a pod call whom its destination describes."""
    to_prometheus = {"namespaceSelector": "all()", "selector": "role == 'prometheus'", "notSelector": "app == 'peer'"}
    policy(calico_policy("to", selects="app == 'caller'", types=["Egress"], egress=[allow(destination=to_prometheus)]))
    matrix.becomes("""
                server:8080  peer:8080  scraper:8080
    caller      X            X          .
    peer        .            -          .
    """)


@pytest.mark.checks("calico-selectors")
def test_own_end_of_a_rule(policy: Policies, matrix: MatrixAsker) -> None:
    """A rule may describe the pod that the policy is about, too: it then counts for such pods alone."""
    to_server = allow(destination={"selector": "app == 'server'"})
    policy(calico_policy("own-end", selects="app in {'server', 'peer'}", types=["Ingress"], ingress=[to_server]))
    matrix.becomes("""
                server:8080  peer:8080
    caller      .            X
    intruder    .            X
    """)


@pytest.mark.checks("calico-selectors")
@pytest.mark.parametrize(
    ("selector", "server", "peer"),
    [
        pytest.param("projectcalico.org/name == 'server'", "X", ".", id="by-name"),
        pytest.param("eastwest.dev/service == 'peer'", ".", "X", id="by-label"),
        pytest.param("has(vip)", ".", ".", id="nobody"),
        pytest.param("!has(vip)", "X", "X", id="everybody"),
    ],
)
def test_subject_by_account(policy: Policies, matrix: MatrixAsker, selector: str, server: str, peer: str) -> None:
    """A policy with a serviceAccountSelector is about the pods of such ServiceAccounts."""
    policy(calico_policy("accounts", selects="all()", types=["Ingress"], serviceAccountSelector=selector))
    matrix.becomes(f"""
                server:8080  peer:8080  scraper:8080
    caller      {server}     {peer}     .
    intruder    {server}     {peer}     .
    """)


@pytest.mark.checks("calico-selectors")
def test_subject_by_label_and_account(policy: Policies, matrix: MatrixAsker) -> None:
    """Selector and serviceAccountSelector must both pick a pod."""
    accounts = "projectcalico.org/name in {'server', 'peer'}"
    policy(calico_policy("both", selects="role == 'prometheus'", types=["Ingress"], serviceAccountSelector=accounts))
    matrix.becomes("""
                server:8080  peer:8080
    caller      .            X
    intruder    .            X
    """)


@pytest.mark.checks("calico-selectors", "block-ingress")
def test_nets(policy: Policies, matrix: MatrixAsker, caller: Actor, intruder: Actor) -> None:
    """A rule with nets lets in who has such an address, whatever the namespace."""
    sources = each_family(caller.addresses + intruder.addresses, "nets")
    policy(calico_policy("nets", ingress=[allow(source=each) for each in sources]))
    matrix.becomes(TABLE.format(caller=".", peer="X", intruder=".", scraper="X"))


@pytest.mark.checks("calico-selectors", "block-except")
def test_not_nets(policy: Policies, matrix: MatrixAsker, caller: Actor, intruder: Actor) -> None:
    """A rule with notNets lets in who has none of the addresses."""
    sources = each_family(caller.addresses + intruder.addresses, "notNets")
    policy(calico_policy("not-nets", ingress=[allow(source=each) for each in sources]))
    matrix.becomes(TABLE.format(caller="X", peer=".", intruder="X", scraper="."))


@pytest.mark.checks("calico-selectors")
def test_nets_and_selector(policy: Policies, matrix: MatrixAsker, caller: Actor, intruder: Actor) -> None:
    """Nets and a selector of one rule must both hold: the intruder has the address and the wrong namespace."""
    sources = each_family(caller.addresses + intruder.addresses, "nets")
    policy(calico_policy("both", ingress=[allow(source={**each, "selector": "has(app)"}) for each in sources]))
    matrix.becomes(TABLE.format(caller=".", peer="X", intruder="X", scraper="X"))


@pytest.mark.checks("calico-selectors")
def test_network_set(policy: Policies, matrix: MatrixAsker, intruder: Actor) -> None:
    """A selector picks the ranges of a NetworkSet as it picks pods, and pods beside them."""
    policy(network_set("strangers", intruder.addresses, kind="known"))
    policy(calico_policy("known", ingress=[allow(source={"selector": "kind == 'known' || app == 'peer'"})]))
    matrix.becomes(TABLE.format(caller="X", peer=".", intruder=".", scraper="X"))


@pytest.mark.checks("calico-selectors")
def test_network_set_unwanted(policy: Policies, matrix: MatrixAsker, caller: Actor, intruder: Actor) -> None:
    """A notSelector beside a selector asks for labels: a pod with an address of the unwanted set stays picked."""
    policy(network_set("strangers", caller.addresses + intruder.addresses, kind="unwanted"))
    source = {"selector": "has(role) || has(kind)", "notSelector": "kind == 'unwanted'"}
    policy(calico_policy("others", ingress=[allow(source=source)]))
    matrix.becomes(TABLE.format(caller=".", peer=".", intruder="X", scraper="X"))


@pytest.mark.checks("calico-selectors")
def test_network_set_of_another_namespace(policy: Policies, matrix: MatrixAsker, caller: Actor) -> None:
    """A NetworkSet belongs to its namespace: another's policy finds it by a namespaceSelector alone."""
    policy(network_set("elsewhere", caller.addresses, kind="known"), into="foreign")
    policy(calico_policy("known", ingress=[allow(source={"selector": "kind == 'known'"})]))
    matrix.becomes(TABLE.format(caller="X", peer="X", intruder="X", scraper="X"))
    by_space = {"selector": "kind == 'known'", "namespaceSelector": "team == 'observability'"}
    policy(calico_policy("by-space", ingress=[allow(source=by_space)]))
    matrix.becomes(TABLE.format(caller=".", peer="X", intruder="X", scraper="X"))
