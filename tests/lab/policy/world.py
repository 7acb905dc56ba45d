"""The pods, namespaces and Services of the data plane's tests, and policies in few words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from clusters.lab.policy.ruleset import Ruleset
from clusters.lab.policy.snapshot import Attachment, Pod, Service, ServicePort, Snapshot
from policies.model import NetworkPolicy
from policies.read import read_text

NAMESPACES = {"x": {"team": "blue"}, "y": {"team": "green", "stage": "test"}}
WEB, ALONE, EMPTY, DNS = "10.96.0.20", "10.96.0.21", "10.96.0.22", "10.96.0.10"


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


def services(pod: Callable[[str], Pod]) -> tuple[Service, ...]:
    """`web` with two backends, `alone` with one, `empty` with none."""

    def one(name: str, address: str, *ports: ServicePort) -> Service:
        return Service(namespace="x", name=name, addresses=(address,), ports=ports)

    def port(number: int, protocol: str, *backends: tuple[str, int]) -> ServicePort:
        found = tuple((pod(name).addresses[0], target) for name, target in backends)
        return ServicePort(name=f"p{number}", protocol=protocol, port=number, backends=found)

    return (
        one("web", WEB, port(80, "tcp", ("b", 80), ("c", 8080)), port(8085, "udp", ("b", 8085))),
        one("alone", ALONE, port(80, "tcp", ("b", 80))),
        one("empty", EMPTY, port(80, "tcp"), port(80, "udp")),
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
