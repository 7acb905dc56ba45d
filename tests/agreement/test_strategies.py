"""Random worlds say everything that a NetworkPolicy can say, and nothing that an API server would refuse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agreement.agree import made_up
from tests.agreement.scene import Ground, Scene, Seat, for_lab, for_oracle

GROUND = Ground(
    seats=(
        Seat(name="pod-0", node=0, addresses=("10.244.0.2", "fd00:10:244::2")),
        Seat(name="pod-1", node=0, addresses=("10.244.0.3", "fd00:10:244::3")),
        Seat(name="pod-2", node=1, addresses=("10.244.1.2", "fd00:10:244:1::2")),
        Seat(name="pod-host", node=1, addresses=("172.31.0.12", "fd00:172:31::c"), host_network=True),
    ),
    nodes=(("172.31.0.11", "fd00:172:31::b"), ("172.31.0.12", "fd00:172:31::c")),
    outside=("172.31.0.2", "fd00:172:31::2"),
)
WAYS = {"absent", "null", "empty", "some"}


def way(fields: dict[str, object], key: str) -> str:
    """How a field is written."""
    if key not in fields:
        return "absent"
    value = fields[key]
    return "null" if value is None else "some" if value else "empty"


def forms(scene: Scene) -> Iterator[tuple[str, str]]:
    """Everything that the scene's policies say, as pairs of what and how."""
    for spec in (each["spec"] for each in scene.policies):
        yield from ((key, way(spec, key)) for key in ("podSelector", "policyTypes", "ingress", "egress"))
        yield "types", "+".join(spec.get("policyTypes") or [])
        selectors = [spec.get("podSelector")]
        for peers, rules in (("from", spec.get("ingress")), ("to", spec.get("egress"))):
            for rule in rules or []:
                yield from ((peers, way(rule, peers)), ("ports", way(rule, "ports")))
                for peer in rule.get(peers) or []:
                    yield "peer", "+".join(sorted(key for key in peer if peer[key] is not None))
                    selectors += [peer.get("podSelector"), peer.get("namespaceSelector")]
                    if "ipBlock" in peer:
                        yield from block_forms(peer["ipBlock"])
                for port in rule.get("ports") or []:
                    named = {str: "name", int: "range" if "endPort" in port else "number", type(None): "all"}
                    yield "port", named[type(port.get("port"))]
                    yield "protocol", str(port.get("protocol", "absent"))
        for selector in filter(None, selectors):
            yield from ((key, way(selector, key)) for key in ("matchLabels", "matchExpressions"))
            yield from (("operator", line["operator"]) for line in selector.get("matchExpressions") or [])


def block_forms(block: dict[str, object]) -> Iterator[tuple[str, str]]:
    """The same of an ipBlock."""
    yield "family", "6" if ":" in str(block["cidr"]) else "4"
    yield "except", way(block, "except")


@pytest.fixture(scope="module")
def many() -> list[Scene]:
    return made_up(GROUND, sets=150, seed=3)


def test_every_form_of_a_policy_comes_up(many: list[Scene]) -> None:
    wanted = {
        "types": {"", "Ingress", "Egress", "Ingress+Egress"},
        "peer": {"podSelector", "namespaceSelector", "namespaceSelector+podSelector", "ipBlock"},
        "port": {"name", "range", "number", "all"},
        "protocol": {"absent", "None", "TCP", "UDP", "SCTP"},
        "operator": {"In", "NotIn", "Exists", "DoesNotExist"},
        "family": {"4", "6"},
        **dict.fromkeys(("podSelector", "policyTypes", "ingress", "egress", "from", "to", "ports", "except"), WAYS),
        **dict.fromkeys(("matchLabels", "matchExpressions"), WAYS),
    }
    found: dict[str, set[str]] = {}
    for scene in many:
        for what, how in forms(scene):
            found.setdefault(what, set()).add(how)
    assert found == wanted


def test_both_readings_take_every_world(many: list[Scene]) -> None:
    """Both know the same pods, and a port's name means the same numbers to both."""
    for scene in many:
        ours = {
            pod.key: {(p.name, p.protocol.lower(), p.number) for p in pod.ports}
            for pod in for_oracle(scene).pods.values()
        }
        theirs = {f"{pod.namespace}/{pod.name}": set(pod.ports) for pod in for_lab(scene).pods}
        assert ours == theirs


def test_the_same_seed_makes_the_same_worlds() -> None:
    assert made_up(GROUND, sets=5, seed=8) == made_up(GROUND, sets=5, seed=8) != made_up(GROUND, sets=5, seed=9)
