"""Services with real packets: translation, balance, refusal, hairpin, policy after translation, forgotten datagrams."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusters.lab.policy.conntrack import Translation, translations
from clusters.lab.policy.snapshot import Service, ServicePort, Snapshot, services
from tests.lab.policy.bench import NODE, Bench, Probe
from tests.lab.policy.world import ALONE, EMPTY, EVERYWHERE, FIRST_NODE, LOCAL, NOBODY, OTHER_NODE, WEB, policy


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("source", ["a", "d", "e", NODE])
def test_cluster_ip_reaches_every_backend(bench: Bench, source: str) -> None:
    (answers,) = bench.probe(Probe(source, WEB, count=40))
    assert {each.split()[0] for each in answers.split(" | ")} == {"b", "c"}


@pytest.mark.usefixtures("world")
def test_backend_sees_the_callers_own_address(bench: Bench) -> None:
    assert bench.probe(Probe("a", ALONE)) == [f"b {bench.pod('a').addresses[0]}"]


@pytest.mark.usefixtures("world")
def test_udp_is_translated(bench: Bench) -> None:
    assert bench.probe(Probe("e", WEB, 8085, "udp")) == [f"b {bench.pod('e').addresses[0]}"]


def test_pod_reaches_itself_through_its_service_as_its_node(bench: Bench) -> None:
    assert bench.probe(Probe("b", ALONE)) == ["b 172.31.0.11"]


@pytest.mark.parametrize("kinds", ["Ingress", "Egress"])
def test_its_own_service_is_judged_like_any_other(bench: Bench, world: Snapshot, kinds: str) -> None:
    """As with Calico; by its own address a pod never leaves its network."""
    bench.program(replace(world, policies=(policy(f"{{podSelector: {{}}, policyTypes: [{kinds}]}}"),)))
    assert bench.probe(Probe("b", ALONE), Probe("b", "b")) == ["dropped", f"b {bench.pod('b').addresses[0]}"]


BY_NODE_PORT = [
    pytest.param(Probe("a", FIRST_NODE, EVERYWHERE), f"b {FIRST_NODE}", id="cluster-own-node"),
    pytest.param(Probe("a", OTHER_NODE, EVERYWHERE), f"b {OTHER_NODE}", id="cluster-other-node"),
    pytest.param(Probe("c", FIRST_NODE, EVERYWHERE), f"b {FIRST_NODE}", id="cluster-from-other-node"),
    pytest.param(Probe(NODE, FIRST_NODE, EVERYWHERE), f"b {FIRST_NODE}", id="cluster-from-the-node"),
    pytest.param(Probe("c", FIRST_NODE, LOCAL), f"b {OTHER_NODE}", id="local-from-other-node"),
    pytest.param(Probe("a", OTHER_NODE, LOCAL), "dropped", id="local-without-backend"),
    pytest.param(Probe(NODE, OTHER_NODE, LOCAL), "dropped", id="local-without-backend-from-a-node"),
    pytest.param(Probe("a", FIRST_NODE, NOBODY), "ConnectionRefusedError", id="nobody-behind"),
    pytest.param(Probe(NODE, "127.0.0.1", EVERYWHERE), "ConnectionRefusedError", id="not-on-loopback"),
]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(("probe", "outcome"), BY_NODE_PORT)
def test_by_a_nodes_port(bench: Bench, probe: Probe, outcome: str) -> None:
    """Which node answers, and whom the backend sees: as kube-proxy and Calico were seen to do."""
    assert bench.probe(probe) == [outcome]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(("source", "node"), [("a", FIRST_NODE), ("c", OTHER_NODE)], ids=["with-backend", "without"])
def test_local_leaves_the_pods_of_the_own_node_their_address(bench: Bench, source: str, node: str) -> None:
    assert bench.probe(Probe(source, node, LOCAL)) == [f"b {bench.pod(source).addresses[0]}"]


@pytest.mark.usefixtures("world")
def test_what_leaves_the_pods_range_bears_the_nodes_address(bench: Bench) -> None:
    """The other node sees the caller's node: its Local port has no backend, and a pod of that range would get one."""
    assert bench.probe(Probe("d", OTHER_NODE, LOCAL)) == ["dropped"]


def test_policy_sees_the_caller_on_its_own_node_and_the_node_elsewhere(bench: Bench, world: Snapshot) -> None:
    spec = "{podSelector: {matchLabels: {app: b}}, ingress: [{from: [{podSelector: {}}]}]}"
    bench.program(replace(world, policies=(policy(spec),)))
    near, far = bench.probe(Probe("a", FIRST_NODE, EVERYWHERE), Probe("c", FIRST_NODE, EVERYWHERE))
    assert (near.split()[0], far) == ("b", "dropped")


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    "probe",
    [
        Probe("a", EMPTY),
        Probe("a", EMPTY, 80, "udp"),
        Probe("a", WEB, 81),
        # A datagram of the node itself is refused while it is sent, so there the kernel says "not permitted".
        Probe(NODE, EMPTY),
        Probe(NODE, WEB, 81),
    ],
    ids=["no-endpoints-tcp", "no-endpoints-udp", "no-such-port", "no-endpoints-from-node", "no-such-port-from-node"],
)
def test_nothing_behind_is_refused(bench: Bench, probe: Probe) -> None:
    assert bench.probe(probe) == ["ConnectionRefusedError"]


@pytest.mark.usefixtures("world")
def test_address_of_no_service_goes_nowhere(bench: Bench) -> None:
    assert bench.probe(Probe("a", "10.96.7.7")) == ["dropped"]


def test_egress_policy_sees_the_backend(bench: Bench, world: Snapshot) -> None:
    spec = "{podSelector: {matchLabels: {app: a}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: %s}}]}]}"
    bench.program(replace(world, policies=(policy(spec % "10.244.0.0/24"),)))
    by_backend = bench.probe(Probe("a", ALONE))
    bench.program(replace(world, policies=(policy(spec % "10.96.0.0/16"),)))
    assert [each.split()[0] for each in (*by_backend, *bench.probe(Probe("a", ALONE)))] == ["b", "dropped"]


def test_policy_comes_before_the_refusal(bench: Bench, world: Snapshot) -> None:
    bench.program(replace(world, policies=(policy("{podSelector: {}, policyTypes: [Egress]}"),)))
    assert bench.probe(Probe("a", EMPTY)) == ["dropped"]


def test_datagrams_leave_a_vanished_backend_once_forgotten(bench: Bench, world: Snapshot) -> None:
    first = bench.open_udp("a", WEB, 8085)
    moved = Service(
        namespace="x",
        name="web",
        addresses=(WEB,),
        ports=(ServicePort(name="u", protocol="udp", port=8085, backends=((bench.pod("c").addresses[0], 8085),)),),
    )
    bench.program(replace(world, services=(moved,)))
    stale = bench.open_udp("a", WEB, 8085)
    forgotten = bench.forget(translations(world.services) - translations((moved,)))
    now = bench.open_udp("a", WEB, 8085)
    assert [first.split()[0], stale.split()[0], forgotten, now.split()[0]] == ["b", "b", 1, "c"]


def test_translations_are_those_of_udp() -> None:
    ports = (
        ServicePort(name="t", protocol="tcp", port=53, backends=(("10.0.0.1", 53),)),
        ServicePort(name="u", protocol="udp", port=53, backends=(("10.0.0.1", 5353), ("fd00::1", 5353))),
    )
    service = Service(namespace="x", name="dns", addresses=("10.96.0.9",), ports=ports)
    assert translations((service,)) == {Translation("10.96.0.9", 53, "10.0.0.1", 5353)}


def test_translations_by_a_nodes_port_are_of_any_address() -> None:
    port = ServicePort(name="u", protocol="udp", port=53, backends=(("10.0.0.1", 5353),), node_port=30053)
    service = Service(namespace="x", name="dns", addresses=("10.96.0.9",), ports=(port,))
    assert Translation("", 30053, "10.0.0.1", 5353) in translations((service,))


ENDPOINTS = [
    ({"addresses": ["10.0.0.1"], "conditions": {"ready": True}}, True),
    ({"addresses": ["10.0.0.1"]}, True),
    ({"addresses": ["10.0.0.1"], "conditions": {"ready": False}}, False),
    ({"addresses": ["10.0.0.1"], "conditions": {"ready": True, "terminating": True}}, False),
]


@pytest.mark.parametrize(("endpoint", "counts"), ENDPOINTS, ids=["ready", "unknown", "not-ready", "terminating"])
def test_only_ready_endpoints_are_backends(endpoint: dict[str, object], counts: bool) -> None:
    service = {
        "metadata": {"name": "web", "namespace": "x"},
        "spec": {"clusterIP": "10.96.0.5", "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }
    piece = {
        "metadata": {"name": "web-1", "namespace": "x", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "other", "port": 9}],
        "endpoints": [endpoint],
    }
    (found,) = services([service], [piece])
    assert found.ports[0].backends == ((("10.0.0.1", 8080),) if counts else ())


@pytest.mark.parametrize(("node", "local"), [("lab-0", 1), ("lab-1", 0)])
def test_backends_of_the_own_node_are_told_apart(node: str, local: int) -> None:
    spec = {"clusterIP": "10.96.0.5", "externalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30080}]}
    piece = {
        "metadata": {"name": "web-1", "namespace": "x", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "lab-0"}],
    }
    (found,) = services([{"metadata": {"name": "web", "namespace": "x"}, "spec": spec}], [piece], node)
    (port,) = found.ports
    assert (found.keeps_source, port.node_port, len(port.backends), len(port.local)) == (True, 30080, 1, local)


def test_headless_and_external_services_have_no_address() -> None:
    specs = [{"clusterIP": "None"}, {"type": "ExternalName", "externalName": "example.org"}]
    assert services([{"metadata": {"name": "s", "namespace": "x"}, "spec": spec} for spec in specs], []) == ()
