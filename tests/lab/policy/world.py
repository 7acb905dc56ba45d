"""The pods, namespaces and Services of the data plane's tests, and policies in few words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from clusters.lab.addresses import plan
from clusters.lab.policy.ruleset import Ruleset
from clusters.lab.policy.snapshot import Attachment, Pod, Service, ServicePort, Snapshot
from policies.model import NetworkPolicy
from policies.read import read_text

NAMESPACES = {"x": {"team": "blue"}, "y": {"team": "green", "stage": "test"}}
FIRST_NODE, OTHER_NODE = (plan("ipv4").node_addresses(index)[0] for index in (0, 1))
EVERYWHERE, LOCAL = 30080, 30081
"""Node ports of `alone`: by `externalTrafficPolicy` Cluster, and of its twin by Local; behind both is `b`."""
NOBODY = 30082
"""The node port of `empty`."""
WEB, ALONE, EMPTY, DNS, TWIN = "10.96.0.20", "10.96.0.21", "10.96.0.22", "10.96.0.10", "10.96.0.23"


def _pod(name: str, namespace: str, web: int, **labels: str) -> Pod:
    ports = (("web", "tcp", web), ("names", "udp", 81))
    return Pod(namespace=namespace, name=name, uid=f"uid-{name}", labels=labels, ports=ports)


PODS = (
    (_pod("a", "x", 80, app="a", tier="front"), 0),
    (_pod("b", "x", 80, app="b"), 0),
    (_pod("c", "x", 8080, app="c", tier="back"), 1),
    (_pod("d", "y", 80, app="a"), 0),
    (_pod("e", "y", 81, app="e", tier="back"), 1),
)


HOSTED = Pod(
    namespace="x", name="hosted", uid="uid-hosted", labels={"app": "hosted"}, addresses=(OTHER_NODE,), counts=False
)
"""A pod in the other node's network."""


def services(pod: Callable[[str], Pod]) -> tuple[Service, ...]:
    """`web` with two backends, `alone` and `twin` with one and a node port, `empty` with none."""

    def one(name: str, address: str, *ports: ServicePort) -> Service:
        return Service(namespace="x", name=name, addresses=(address,), ports=ports)

    def port(number: int, protocol: str, *backends: tuple[str, int], node: int = 0) -> ServicePort:
        found = tuple((pod(name).addresses[0], target) for name, target in backends)
        return ServicePort(name=f"p{number}", protocol=protocol, port=number, backends=found, node_port=node)

    return (
        one("web", WEB, port(80, "tcp", ("b", 80), ("c", 8080)), port(8085, "udp", ("b", 8085))),
        one("alone", ALONE, port(80, "tcp", ("b", 80), node=EVERYWHERE)),
        replace(one("twin", TWIN, port(80, "tcp", ("b", 80), node=LOCAL)), keeps_source=True),
        one("empty", EMPTY, port(80, "tcp", node=NOBODY), port(80, "udp")),
    )


def policy(spec: str, *, name: str = "policy", namespace: str = "x", created: str = "") -> NetworkPolicy:
    """A policy from its spec in YAML's flow style."""
    head = (
        f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
    )
    (found,) = read_text(f"{head}spec: {spec}\n", "test.yaml")
    return replace(found, uid=f"uid-{namespace}-{name}", created=created)


def attached(snapshot: Snapshot, *names: str) -> Snapshot:
    """The snapshot as the node of these pods sees it."""
    found = tuple(Attachment(pod=each, interface=f"ew-{each.name}") for each in snapshot.pods if each.name in names)
    return replace(snapshot, attachments=found)


def rules_of(ruleset: Ruleset, name: str, direction: str = "ingress") -> tuple[str, ...]:
    """The rules of the chain that one of the `attached` pods has in a direction."""
    verdict = ruleset.sets[direction].elements[f'"ew-{name}"']
    return ruleset.chains[verdict.removeprefix("jump ")].rules
