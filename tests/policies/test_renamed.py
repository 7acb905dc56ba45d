"""A policy for namespaces of other names means the same pods as before."""

from __future__ import annotations

from typing import Any

import pytest

from policies import oracle, read
from policies.model import Transport
from policies.renamed import renamed

NAME = oracle.NAMESPACE_LABEL
PEERS: list[dict[str, Any]] = [
    {"namespaceSelector": {"matchLabels": {NAME: "shop"}}},
    {"namespaceSelector": {"matchExpressions": [{"key": NAME, "operator": "In", "values": ["kube-system", "shop"]}]}},
    {"namespaceSelector": {"matchExpressions": [{"key": NAME, "operator": "NotIn", "values": ["other"]}]}},
    {"namespaceSelector": {"matchLabels": {"team": "payments"}}},
    {"podSelector": {}},
    {"namespaceSelector": {}},
    {"ipBlock": {"cidr": "10.0.0.0/8"}},
]
NAMES = {"shop": "ew-1-shop", "other": "ew-1-other"}


def policy(peer: dict[str, Any], direction: str) -> dict[str, Any]:
    """A policy of `shop` with one peer."""
    rules, peers = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}[direction]
    spec = {"podSelector": {}, "policyTypes": [direction], rules: [{peers: [peer]}]}
    meta = {"name": "p", "namespace": "shop"}
    return {"apiVersion": read.API_VERSION, "kind": read.KIND, "metadata": meta, "spec": spec}


def admitted(obj: dict[str, Any], names: dict[str, str], direction: str) -> list[str]:
    """The namespaces whose pod may talk with the policy's pod."""
    labels = {names["shop"]: {"team": "payments"}, names["other"]: {"team": "research"}}
    world = oracle.World(policies=(read.read(obj, "here"),), namespaces=labels)
    mine = oracle.Pod(name="a", namespace=names["shop"], addresses=("10.0.0.1",))
    found = []
    for was, name in names.items():
        peer = oracle.Pod(name="b", namespace=name, addresses=("10.0.0.2",))
        ends = (peer, mine) if direction == "Ingress" else (mine, peer)
        if oracle.decide(world, *ends, 80, Transport.TCP).allowed:
            found.append(was)
    return found


@pytest.mark.parametrize("direction", ["Ingress", "Egress"])
@pytest.mark.parametrize("peer", PEERS, ids=str)
def test_the_renamed_policy_admits_whom_the_written_one_admits(peer: dict[str, Any], direction: str) -> None:
    written = policy(peer, direction)
    fresh, _ = renamed(written, NAMES)
    assert admitted(fresh, NAMES, direction) == admitted(written, {name: name for name in NAMES}, direction)
    assert fresh["metadata"]["namespace"] == "ew-1-shop"


def test_what_was_written_anew_is_told_and_the_manifest_stays_as_it_is() -> None:
    written = policy(PEERS[1], "Ingress")
    before = repr(written)
    _, lines = renamed(written, NAMES)
    where = "spec.ingress[0].from[0].namespaceSelector.matchExpressions[0]"
    assert lines == (f"{where}: {NAME} kube-system, shop → kube-system, ew-1-shop",)
    assert repr(written) == before
    assert renamed(policy(PEERS[3], "Egress"), NAMES)[1] == ()
