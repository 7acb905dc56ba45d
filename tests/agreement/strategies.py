"""Hypothesis strategies that make up scenes: manifests with everything that a NetworkPolicy can say.

The alphabets are small on purpose, so that selectors hit some pods and miss others, ranges hold some addresses, and
port ranges end where something listens. What is simplest stands first in every choice: that is where shrinking goes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.agreement.scene import Ground, Object, Scene, Seat, pod

POD_LABELS = {"app": ("a", "b"), "tier": ("x", "y")}
NAMESPACE_LABELS = {"team": ("blue", "green")}
NAMES = ("web", "dns")
"""Names of ports; what number and protocol they stand for differs from pod to pod."""
STRANGE = {4: "203.0.113.9", 6: "2001:db8::9"}
"""Addresses that nobody has."""
PREFIXES = {4: (32, 31, 30, 28, 24, 16, 0), 6: (128, 127, 126, 124, 64, 48, 0)}
MOST_POLICIES = 6
ABSENT, NULL, EMPTY, SOME = "absent", "null", "empty", "some"


@st.composite
def scenes(draw: DrawFn, ground: Ground, *, everybody: bool = False) -> Scene:
    """A world on this ground: namespaces with labels, pods on some of its seats or on all, and up to six policies."""
    present = [each for each in ground.seats if everybody or draw(st.sampled_from((False, True, True)))]
    fewest = draw(st.sampled_from((0, 1, 2, 3)))
    policies = draw(st.lists(_policies(ground), min_size=fewest, max_size=MOST_POLICIES))
    return Scene(
        namespaces=tuple(_namespace(name, draw(_labels(NAMESPACE_LABELS))) for name in ground.namespaces),
        pods=tuple(draw(_pods(seat, ground)) for seat in present),
        policies=tuple(_named(index, *each) for index, each in enumerate(policies)),
    )


def _namespace(name: str, labels: dict[str, str]) -> Object:
    own = {"kubernetes.io/metadata.name": name}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**own, **labels}}}


def _named(index: int, namespace: str, spec: Object) -> Object:
    meta = {"name": f"p{index}", "namespace": namespace}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


@st.composite
def _labels(draw: DrawFn, alphabet: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    drawn = {key: draw(st.sampled_from(("", *values))) for key, values in alphabet.items()}
    return {key: value for key, value in drawn.items() if value}


def _homes(ground: Ground) -> st.SearchStrategy[str]:
    """A namespace; the first one more often, so that policies meet pods."""
    return st.sampled_from((ground.namespaces[0], *ground.namespaces))


@st.composite
def _policies(draw: DrawFn, ground: Ground) -> tuple[str, Object]:
    return draw(_homes(ground)), draw(_specs(ground))


@st.composite
def _pods(draw: DrawFn, seat: Seat, ground: Ground) -> Object:
    namespace = seat.namespace or draw(_homes(ground))
    ports = list(seat.ports) if seat.ports is not None else draw(_named_ports(ground.numbers))
    return pod(seat, namespace, draw(_labels(POD_LABELS)), ports, ground)


@st.composite
def _named_ports(draw: DrawFn, numbers: tuple[int, ...]) -> list[Object]:
    fewest = draw(st.sampled_from((0, 1, 2)))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=fewest, max_size=2, unique=True))
    return [
        {
            "name": name,
            "containerPort": draw(st.sampled_from(numbers)),
            **draw(st.sampled_from(({}, {"protocol": "UDP"}, {"protocol": "TCP"}))),
        }
        for name in names
    ]


@st.composite
def _specs(draw: DrawFn, ground: Ground) -> Object:
    spec: Object = {}
    _write(draw, spec, "podSelector", (EMPTY, SOME, SOME, EMPTY, ABSENT, NULL), dict, _selectors(POD_LABELS))
    types = st.sampled_from((["Ingress"], ["Egress"], ["Ingress", "Egress"]))
    _write(draw, spec, "policyTypes", (ABSENT, SOME, SOME, NULL, EMPTY), list, types)
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        rules = st.lists(_rules(peers, ground), min_size=1, max_size=2)
        _write(draw, spec, direction, (ABSENT, SOME, SOME, SOME, SOME, SOME, EMPTY, NULL), list, rules)
    return spec


@st.composite
def _rules(draw: DrawFn, peers: str, ground: Ground) -> Object:
    rule: Object = {}
    some_peers = st.lists(_peers(ground), min_size=1, max_size=2)
    _write(draw, rule, peers, (ABSENT, SOME, SOME, SOME, SOME, SOME, EMPTY, NULL), list, some_peers)
    some_ports = st.lists(_ports(ground), min_size=1, max_size=2)
    _write(draw, rule, "ports", (ABSENT, SOME, SOME, EMPTY, NULL), list, some_ports)
    return rule


@st.composite
def _peers(draw: DrawFn, ground: Ground) -> Object:
    kind = draw(st.sampled_from(("pods", "namespaces", "both", "block", "block")))
    if kind == "block":
        return {"ipBlock": draw(_blocks(ground))}
    peer: Object = {}
    if kind != "namespaces":
        peer["podSelector"] = draw(st.one_of(st.just({}), _selectors(POD_LABELS)))
    elif draw(st.booleans()):
        peer["podSelector"] = None
    if kind != "pods":
        names = {"kubernetes.io/metadata.name": ground.namespaces}
        peer["namespaceSelector"] = draw(st.one_of(st.just({}), _selectors({**NAMESPACE_LABELS, **names})))
    return peer


@st.composite
def _selectors(draw: DrawFn, alphabet: Mapping[str, tuple[str, ...]]) -> Object:
    selector: Object = {}
    choices = (SOME, ABSENT, SOME, ABSENT, NULL, EMPTY)
    keys = st.sampled_from([*alphabet, "nobody"])
    labels = st.sampled_from([(key, value) for key, values in alphabet.items() for value in (*values, "z")])
    _write(draw, selector, "matchLabels", choices, dict, labels.map(lambda pair: dict([pair])))
    lines = keys.flatmap(lambda key: _expressions(key, (*alphabet.get(key, ()), "z")))
    wanted = (ABSENT, SOME, ABSENT, NULL, EMPTY) if selector.get("matchLabels") else (ABSENT, SOME, SOME, SOME)
    _write(draw, selector, "matchExpressions", wanted, list, st.lists(lines, min_size=1, max_size=2))
    return selector


@st.composite
def _expressions(draw: DrawFn, key: str, values: tuple[str, ...]) -> Object:
    operator = draw(st.sampled_from(("Exists", "DoesNotExist", "In", "NotIn")))
    line: Object = {"key": key, "operator": operator}
    if operator in {"In", "NotIn"}:
        line["values"] = draw(st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True))
    else:
        _write(draw, line, "values", (ABSENT, ABSENT, NULL, EMPTY), list, st.nothing())
    return line


@st.composite
def _ports(draw: DrawFn, ground: Ground) -> Object:
    port: Object = {}
    numbers = ground.numbers
    kind = draw(st.sampled_from(("number", "range", "name", "protocol", "name")))
    if kind == "name":
        port["port"] = draw(st.sampled_from(NAMES))
    elif kind != "protocol":
        edges = (*numbers, numbers[0] - 1, 1)
        port["port"] = draw(st.sampled_from(edges))
    if kind == "range":
        ends = [each for each in (*numbers, numbers[-1] + 1, 65535) if each >= port["port"]]
        port["endPort"] = draw(st.sampled_from(ends))
    protocols = st.sampled_from((*ground.protocols, "UDP"))
    wanted = (SOME,) if kind == "protocol" else (ABSENT, SOME, NULL)
    _write(draw, port, "protocol", wanted, str, protocols)
    return port


@st.composite
def _blocks(draw: DrawFn, ground: Ground) -> Object:
    family = draw(st.sampled_from(ground.families))
    places = [each for seat in ground.seats for each in seat.addresses]
    places += [each for node in (*ground.nodes, ground.outside) for each in node]
    known = list(dict.fromkeys(each for each in places if ipaddress.ip_address(each).version == family))
    prefixes = PREFIXES[family]
    cidr = draw(_ranges([*known, STRANGE[family]], prefixes))
    whole = ipaddress.ip_network(cidr, strict=False)
    inside = [each for each in known if ipaddress.ip_address(each) in whole]
    smaller = [each for each in prefixes if each > whole.prefixlen]
    block: Object = {"cidr": cidr}
    wanted = (ABSENT, SOME, SOME, EMPTY, NULL) if inside and smaller else (ABSENT, EMPTY, NULL)
    holes = st.lists(_ranges(inside, tuple(smaller)), min_size=1, max_size=2) if inside and smaller else st.nothing()
    _write(draw, block, "except", wanted, list, holes)
    return block


@st.composite
def _ranges(draw: DrawFn, addresses: list[str], prefixes: tuple[int, ...]) -> str:
    """A range around somebody, mostly written by its first address, as it should be."""
    text = f"{draw(st.sampled_from(addresses))}/{draw(st.sampled_from(prefixes))}"
    return text if draw(st.sampled_from((False,) * 7 + (True,))) else str(ipaddress.ip_network(text, strict=False))


def _write(
    draw: DrawFn,
    into: Object,
    key: str,
    choices: tuple[str, ...],
    empty: Callable[[], Any],
    some: st.SearchStrategy[Any],
) -> None:
    """Write the field in one of the ways: not at all, as null, empty, or with something in it."""
    choice = draw(st.sampled_from(choices))
    if choice == SOME:
        into[key] = draw(some)
    elif choice != ABSENT:
        into[key] = None if choice == NULL else empty()
