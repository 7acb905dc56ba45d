"""The oracle against the specification's own words, and against laws that every set of policies obeys."""

from __future__ import annotations

import ipaddress
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.errors import UsageError
from policies.model import (
    ABSENT,
    Expression,
    IpBlock,
    NetworkPolicy,
    Operator,
    Peer,
    PolicyType,
    Port,
    Rule,
    Selector,
    Transport,
)
from policies.oracle import NamedPort, Pod, World, decide, in_force
from policies.read import read_text

NAMESPACES = {"home": {"team": "payments"}, "foreign": {"team": "observability"}}
HTTP = NamedPort(name="http", number=8080)
CALLER = Pod(name="caller", namespace="home", labels={"app": "caller"}, addresses=("10.0.0.1", "fd00::1"))
SERVER = Pod(
    name="server",
    namespace="home",
    labels={"app": "server"},
    addresses=("10.0.0.2", "fd00::2"),
    ports=(HTTP, NamedPort(name="dns", number=53, protocol=Transport.UDP)),
    node_addresses=("192.168.0.1",),
)
INTRUDER = Pod(name="intruder", namespace="foreign", labels={"app": "caller"}, addresses=("10.0.1.9",))
OUTSIDE = "203.0.113.7"


def world(*specs: str, namespace: str = "home") -> World:
    """The policies with these specs (in YAML), named p0, p1 and so on."""
    texts = [
        f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        f"metadata: {{name: p{number}, namespace: {namespace}}}\nspec: {spec}\n"
        for number, spec in enumerate(specs)
    ]
    policies = [policy for text in texts for policy in read_text(text, "table")]
    return World(policies=tuple(policies), namespaces=NAMESPACES)


def allowed(place: World, source: Pod | str, destination: Pod | str, port: int = 8080, protocol: str = "TCP") -> bool:
    return decide(place, source, destination, port, Transport(protocol)).allowed


ALL = "podSelector: {}"
SERVERS = "podSelector: {matchLabels: {app: server}}"
TO_SERVER = (CALLER, INTRUDER, OUTSIDE)


@pytest.mark.parametrize(
    ("spec", "reach"),
    [
        pytest.param("{podSelector: {}, ingress: []}", "XXX", id="default-deny-ingress"),
        pytest.param("{podSelector: {}}", "XXX", id="no-ingress-section-denies-too"),
        pytest.param("{podSelector: {}, ingress: null}", "XXX", id="null-ingress-denies-too"),
        pytest.param("{podSelector: {}, ingress: [{}]}", "...", id="an-empty-rule-allows-all"),
        pytest.param("{podSelector: {}, ingress: [{from: []}]}", "...", id="an-empty-from-allows-all"),
        pytest.param("{podSelector: {}, ingress: [{from: null, ports: null}]}", "...", id="null-allows-all"),
        pytest.param("{podSelector: {}, policyTypes: [Egress]}", "X..", id="egress-only-leaves-ingress"),
        pytest.param("{podSelector: {matchLabels: {app: caller}}}", "...", id="another-pod-is-selected"),
        pytest.param(f"{{{ALL}, ingress: [{{from: [{{podSelector: {{}}}}]}}]}}", ".XX", id="pods-of-this-namespace"),
        pytest.param(f"{{{ALL}, ingress: [{{from: [{{namespaceSelector: {{}}}}]}}]}}", "..X", id="every-namespace"),
        pytest.param(
            f"{{{ALL}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{team: observability}}}}}}]}}]}}",
            "X.X",
            id="one-namespace-by-label",
        ),
        pytest.param(
            f"{{{ALL}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: "
            "{kubernetes.io/metadata.name: foreign}}}]}]}",
            "X.X",
            id="one-namespace-by-name",
        ),
        pytest.param(
            f"{{{ALL}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{team: observability}}}}, "
            "podSelector: {matchLabels: {app: nobody}}}]}]}",
            "XXX",
            id="both-selectors-in-one-peer-are-and",
        ),
        pytest.param(
            f"{{{ALL}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{team: observability}}}}}}, "
            "{podSelector: {matchLabels: {app: caller}}}]}]}",
            "..X",
            id="two-peers-are-or",
        ),
        pytest.param(f"{{{ALL}, ingress: [{{from: [{{ipBlock: {{cidr: 0.0.0.0/0}}}}]}}]}}", "...", id="any-address"),
        pytest.param(
            f"{{{ALL}, ingress: [{{from: [{{ipBlock: {{cidr: 0.0.0.0/0, except: [10.0.0.0/16]}}}}]}}]}}",
            "XX.",
            id="except-takes-out",
        ),
        pytest.param(f"{{{ALL}, ingress: [{{ports: [{{port: 8080}}]}}]}}", "...", id="a-port"),
        pytest.param(f"{{{ALL}, ingress: [{{ports: [{{port: 8081}}]}}]}}", "XXX", id="another-port"),
        pytest.param(f"{{{ALL}, ingress: [{{ports: [{{port: http}}]}}]}}", "...", id="a-named-port"),
        pytest.param(f"{{{ALL}, ingress: [{{ports: [{{port: dns}}]}}]}}", "XXX", id="a-name-of-another-protocol"),
        pytest.param(f"{{{ALL}, ingress: [{{ports: [{{protocol: UDP}}]}}]}}", "XXX", id="another-protocol"),
        pytest.param(f"{{{ALL}, ingress: [{{ports: [{{port: 8000, endPort: 8080}}]}}]}}", "...", id="range-to-its-end"),
        pytest.param(f"{{{ALL}, ingress: [{{ports: [{{port: 8000, endPort: 8079}}]}}]}}", "XXX", id="range-before"),
        pytest.param(
            f"{{{ALL}, ingress: [{{from: [{{podSelector: {{}}}}], ports: [{{port: 1}}]}}, {{from: "
            "[{ipBlock: {cidr: 203.0.113.0/24}}]}]}",
            "XX.",
            id="peers-and-ports-of-one-rule-are-and-rules-are-or",
        ),
        pytest.param(
            "{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [server]}]}}", "...", id="not-in"
        ),
        pytest.param("{podSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}}", "XXX", id="not-exist"),
    ],
)
def test_ingress_as_the_specification_words_it(spec: str, reach: str) -> None:
    place = world(spec)
    assert "".join("." if allowed(place, source, SERVER) else "X" for source in TO_SERVER) == reach


@pytest.mark.parametrize(
    ("spec", "reach"),
    [
        pytest.param("{podSelector: {}, policyTypes: [Egress]}", "XXX", id="default-deny-egress"),
        pytest.param("{podSelector: {}, egress: []}", "X..", id="empty-egress-without-types-is-about-ingress"),
        pytest.param("{podSelector: {}, policyTypes: [], egress: []}", "X..", id="empty-types-are-inferred"),
        pytest.param(
            "{podSelector: {}, policyTypes: [Ingress], egress: [{to: [{podSelector: {}}]}]}",
            "X..",
            id="egress-rules-without-the-type-do-nothing",
        ),
        pytest.param(
            "{podSelector: {matchLabels: {app: caller}}, egress: [{to: [{podSelector: {}}]}]}",
            ".XX",
            id="an-egress-rule-implies-the-type",
        ),
        pytest.param(
            "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}",
            ".XX",
            id="a-named-port-is-the-destinations",
        ),
    ],
)
def test_egress_as_the_specification_words_it(spec: str, reach: str) -> None:
    place = world(spec)
    assert "".join("." if allowed(place, CALLER, to) else "X" for to in (SERVER, INTRUDER, OUTSIDE)) == reach


def test_both_sides_must_allow() -> None:
    place = world(
        "{podSelector: {matchLabels: {app: caller}}, policyTypes: [Egress]}", "{podSelector: {}, ingress: [{}]}"
    )
    decision = decide(place, CALLER, SERVER, 8080, Transport.TCP)
    assert not decision.allowed
    assert [ruling.words() for ruling in decision.by] == [
        "egress of home/caller: isolated by home/p0, no rule admits it",
        "ingress of home/server: admitted by home/p1 rule 1",
    ]
    assert [ruling.direction for ruling in decision.closing()] == [PolicyType.EGRESS]


def test_a_ports_name_counts_for_the_protocol_it_was_given_to() -> None:
    place = world("{podSelector: {}, ingress: [{ports: [{port: dns}]}]}")
    assert not allowed(place, CALLER, SERVER, 53, "TCP"), "the pod's dns is UDP"
    place = world("{podSelector: {}, ingress: [{ports: [{port: dns, protocol: UDP}]}]}")
    assert allowed(place, CALLER, SERVER, 53, "UDP")


def test_policies_add_up() -> None:
    place = world("{podSelector: {}}", "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}")
    ruling = decide(place, CALLER, SERVER, 8080, Transport.TCP).by[1]
    assert (ruling.isolating, [each.policy for each in ruling.admitted]) == (("home/p0", "home/p1"), ["home/p1"])


def test_the_family_decides_which_address_a_block_sees() -> None:
    place = world("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: fd00::/64}}]}]}")
    assert not decide(place, CALLER, SERVER, 8080, Transport.TCP, family=4).allowed
    assert decide(place, CALLER, SERVER, 8080, Transport.TCP, family=6).allowed


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        pytest.param(SERVER, SERVER, id="itself"),
        pytest.param("192.168.0.1", SERVER, id="from-its-node"),
        pytest.param("192.168.0.2", replace(SERVER, host_network=True), id="in-the-nodes-network"),
    ],
)
def test_where_policies_have_no_say(source: Pod | str, destination: Pod | str) -> None:
    place = world("{podSelector: {}, policyTypes: [Ingress, Egress]}")
    assert allowed(place, source, destination)
    assert not allowed(place, "192.168.0.2", SERVER), "another node is anybody"
    assert not allowed(place, SERVER, "192.168.0.1"), "its own node is somebody to a pod: Calico drops it"


def test_a_pod_in_the_nodes_network_is_found_by_its_address_alone() -> None:
    source = replace(CALLER, host_network=True)
    assert not allowed(world("{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}"), source, SERVER)
    assert allowed(world("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.1/32}}]}]}"), source, SERVER)


def test_a_port_of_a_pod_in_the_nodes_network_has_no_name() -> None:
    place = world("{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}")
    assert allowed(place, CALLER, SERVER)
    assert not allowed(place, CALLER, replace(SERVER, host_network=True))


def test_a_policy_without_namespace_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a\.yaml: field 'metadata\.namespace' is missing"):
        World(policies=(NetworkPolicy(name="p", source="a.yaml"),))


def test_policies_in_force_are_named_in_order() -> None:
    place = world("{podSelector: {}}", f"{{{SERVERS}}}", "{podSelector: {matchLabels: {app: caller}}}")
    assert [policy.key for policy in in_force(place.policies, SERVER)] == ["home/p0", "home/p1"]


LABELS = st.dictionaries(st.sampled_from(["app", "role"]), st.sampled_from(["a", "b"]), max_size=2)


def written(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Absent, null or a value."""
    return st.one_of(st.just(ABSENT), st.none(), strategy)


SELECTORS = st.builds(
    Selector,
    labels=written(LABELS.map(lambda labels: tuple(labels.items()))),
    expressions=written(
        st.lists(
            st.builds(
                Expression,
                key=st.sampled_from(["app", "role"]),
                operator=st.sampled_from([Operator.IN, Operator.NOT_IN]),
                values=st.just(("a",)),
            ),
            max_size=1,
        ).map(tuple)
    ),
)
BLOCKS = st.sampled_from(
    [IpBlock(cidr="10.0.0.0/8"), IpBlock(cidr="10.0.0.0/8", excepts=("10.0.0.0/24",)), IpBlock(cidr="203.0.113.0/24")]
)
PEERS = st.one_of(
    st.builds(Peer, pods=SELECTORS),
    st.builds(Peer, namespaces=SELECTORS, pods=written(SELECTORS)),
    st.builds(Peer, block=BLOCKS),
)
PORTS = st.one_of(
    st.builds(Port, port=st.sampled_from([80, "http", 8080]), protocol=written(st.sampled_from(Transport))),
    st.just(Port(port=8000, end=8100)),
    st.builds(Port, protocol=st.sampled_from(Transport)),
)
RULES = st.builds(
    Rule, peers=written(st.lists(PEERS, max_size=2).map(tuple)), ports=written(st.lists(PORTS, max_size=2).map(tuple))
)
POLICIES = st.builds(
    NetworkPolicy,
    name=st.text("pqrs", min_size=4, max_size=8),
    namespace=st.sampled_from(["home", "foreign"]),
    pods=SELECTORS,
    types=written(st.lists(st.sampled_from(PolicyType), max_size=2, unique=True).map(tuple)),
    ingress=written(st.lists(RULES, max_size=2).map(tuple)),
    egress=written(st.lists(RULES, max_size=2).map(tuple)),
)
PODS = st.builds(
    Pod,
    name=st.sampled_from(["one", "two"]),
    namespace=st.sampled_from(["home", "foreign"]),
    labels=LABELS,
    addresses=st.sampled_from([("10.0.0.1",), ("10.0.1.1",)]),
    ports=st.sampled_from([(), (HTTP,)]),
)
SIDES = st.one_of(PODS, st.sampled_from([OUTSIDE, "10.0.0.9"]))
FLOWS = st.tuples(SIDES, SIDES, st.sampled_from([80, 8080, 8050]), st.sampled_from(Transport))
SETS = st.lists(POLICIES, max_size=4)
Asked = tuple[Pod | str, Pod | str, int, Transport]


def place_of(policies: list[NetworkPolicy]) -> World:
    return World(policies=tuple(policies), namespaces=NAMESPACES)


@given(FLOWS)
def test_without_policies_everything_is_allowed(flow: Asked) -> None:
    assert decide(place_of([]), *flow).allowed


@given(SETS, FLOWS, st.randoms(use_true_random=False))
def test_the_order_of_policies_says_nothing(policies: list[NetworkPolicy], flow: Asked, chance: random.Random) -> None:
    shuffled = list(policies)
    chance.shuffle(shuffled)
    assert decide(place_of(policies), *flow).allowed == decide(place_of(shuffled), *flow).allowed


@given(SETS, POLICIES, FLOWS)
def test_a_policy_more_closes_only_what_nothing_isolated_before(
    policies: list[NetworkPolicy], more: NetworkPolicy, flow: Asked
) -> None:
    before, after = decide(place_of(policies), *flow), decide(place_of([*policies, more]), *flow)
    for former, latter in zip(before.by, after.by, strict=True):
        if former.isolating:
            assert latter.allowed or not former.allowed, "where a pod is isolated already, policies only add"
        elif latter.isolating:
            assert latter.isolating == (more.key,)


@given(SETS, SETS, FLOWS)
def test_isolated_pods_have_the_union_of_what_is_admitted(
    one: list[NetworkPolicy], two: list[NetworkPolicy], flow: Asked
) -> None:
    parts = [decide(place_of(each), *flow) for each in (one, two)]
    for whole, left, right in zip(decide(place_of([*one, *two]), *flow).by, parts[0].by, parts[1].by, strict=True):
        assert set(whole.isolating) == {*left.isolating, *right.isolating}
        assert set(whole.admitted) == {*left.admitted, *right.admitted}


@given(SETS, FLOWS)
def test_a_direction_without_a_pod_of_ours_is_nobodys_to_close(policies: list[NetworkPolicy], flow: Asked) -> None:
    decision = decide(place_of(policies), *flow)
    assert len(decision.by) == sum(isinstance(side, Pod) for side in flow[:2])
    assert decision.allowed == (not decision.closing())


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_a_block_and_its_exception_split_the_addresses(number: int, length: int) -> None:
    address = str(ipaddress.ip_address(number))
    cidr = str(ipaddress.ip_network(f"{address}/{length}", strict=False))
    inside = NetworkPolicy(name="p", namespace="home", ingress=(Rule(peers=(Peer(block=IpBlock(cidr=cidr)),)),))
    outside = replace(inside, ingress=(Rule(peers=(Peer(block=IpBlock(cidr="0.0.0.0/0", excepts=(cidr,))),)),))
    for source in (address, OUTSIDE):
        assert allowed(place_of([inside]), source, SERVER) != allowed(place_of([outside]), source, SERVER)
