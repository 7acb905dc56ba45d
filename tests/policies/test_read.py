"""Reading policies: what was written stays distinct, and what cannot be is one line with place, field and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
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
from policies.read import read, read_file, read_text


def _obj(spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "x"},
        "spec": spec,
    }


def _read(spec: object) -> NetworkPolicy:
    return read(_obj(spec), "here")


WHOLE = {
    "podSelector": {"matchLabels": {"app": "web", "example.org/tier": ""}},
    "policyTypes": ["Ingress", "Egress"],
    "ingress": [
        {
            "from": [
                {"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}},
                {"namespaceSelector": {}, "podSelector": None},
                {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
            ],
            "ports": [{"port": 80, "endPort": 90}, {"port": "web", "protocol": "UDP"}, {}],
        }
    ],
    "egress": [{}],
}


def test_everything_written_is_there() -> None:
    assert _read(WHOLE) == NetworkPolicy(
        name="p",
        namespace="x",
        source="here",
        pods=Selector(labels=(("app", "web"), ("example.org/tier", ""))),
        types=(PolicyType.INGRESS, PolicyType.EGRESS),
        ingress=(
            Rule(
                peers=(
                    Peer(pods=Selector(expressions=(Expression(key="app", operator=Operator.IN, values=("a", "b")),))),
                    Peer(namespaces=Selector(), pods=None),
                    Peer(block=IpBlock(cidr="10.0.0.0/8", excepts=("10.1.0.0/16",))),
                ),
                ports=(Port(port=80, end=90), Port(port="web", protocol=Transport.UDP), Port()),
            ),
        ),
        egress=(Rule(),),
    )


@pytest.mark.parametrize(
    ("extra", "held"), [({}, ABSENT), ({"ingress": None}, None), ({"ingress": []}, ())], ids=["absent", "null", "empty"]
)
def test_absent_null_and_empty_stay_three_things(extra: dict[str, Any], held: object) -> None:
    assert _read({"podSelector": {}, **extra}).ingress == held


def test_absent_is_false_and_says_so() -> None:
    assert (bool(ABSENT), repr(ABSENT)) == (False, "ABSENT")


def _rule(**fields: Any) -> dict[str, Any]:
    return {"podSelector": {}, "ingress": [fields]}


def _peer(peer: object) -> dict[str, Any]:
    return _rule(**{"from": [peer]})


def _port(**port: Any) -> dict[str, Any]:
    return _rule(ports=[port])


def _expression(**fields: Any) -> dict[str, Any]:
    return {"podSelector": {"matchExpressions": [fields]}}


P, R = "spec.podSelector", "spec.ingress[0]"
BAD: list[tuple[str, Any, str]] = [
    ("unknown-field", {"podSelectr": {}}, "'spec.podSelectr' is unknown; did you mean 'podSelector'?"),
    ("unknown-far", {"zzz": {}}, "'spec.zzz' is unknown; known are podSelector, policyTypes, ingress, egress"),
    ("to-in-ingress", _rule(to=[]), f"'{R}.to' is unknown; known are from, ports"),
    ("spec-missing", None, "'spec' is missing; it must be an object"),
    ("rules-no-list", {"ingress": {}}, "'spec.ingress' is {}; it must be a list"),
    ("type-in-lower-case", {"policyTypes": ["ingress"]}, "'spec.policyTypes[0]' is 'ingress'; did you mean Ingress?"),
    ("empty-peer", _peer({}), f"'{R}.from[0]' is empty; give one of podSelector"),
    ("block-and-selector", _peer({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}), "stands beside podSelector"),
    ("cidr", _peer({"ipBlock": {"cidr": "10.0.0.300/8"}}), f"'{R}.from[0].ipBlock.cidr' is '10.0.0.300/8'; write"),
    ("cidr-without-length", _peer({"ipBlock": {"cidr": "10.0.0.1"}}), "'10.0.0.1'; write a range"),
    ("cidr-missing", _peer({"ipBlock": {}}), "ipBlock.cidr' is missing; it must be a string"),
    (
        "except-outside",
        _peer({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}),
        "ipBlock.except[0]' is 11.0.0.0/16, not strictly within 10.0.0.0/8",
    ),
    (
        "except-is-all",
        _peer({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}),
        "not strictly within 10.0.0.0/8",
    ),
    (
        "except-other-family",
        _peer({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["fd00::/64"]}}),
        "not strictly within 10.0.0.0/8",
    ),
    ("port-zero", _port(port=0), f"'{R}.ports[0].port' is 0; it must be a number from 1 to 65535"),
    ("port-true", _port(port=True), "is True; it must be a number"),
    ("port-as-text", _port(port="80"), "is '80'; a name has at most 15"),
    ("port-name-long", _port(port="a" * 16), "a name has at most 15"),
    ("end-without-port", _port(endPort=90), "ports[0].endPort' stands without a numeric port"),
    ("end-with-name", _port(port="web", endPort=90), "stands without a numeric port"),
    ("end-below", _port(port=90, endPort=80), "endPort' is 80, below port 90"),
    ("protocol", _port(protocol="tcp"), "protocol' is 'tcp'; it must be one of TCP, UDP, SCTP"),
    ("operator", _expression(key="a", operator="in"), "operator' is 'in'; did you mean In?"),
    ("in-without-values", _expression(key="a", operator="In"), "values' is empty; In needs at least one value"),
    ("exists-with-values", _expression(key="a", operator="Exists", values=["b"]), "Exists takes no values"),
    ("expression-without-key", _expression(operator="Exists"), "has the label key missing"),
    ("label-number", {"podSelector": {"matchLabels": {"app": 1}}}, f"'{P}.matchLabels.app' is 1; a label's value"),
    ("label-key", {"podSelector": {"matchLabels": {"a b": "c"}}}, "has the label key 'a b'; a key is"),
]


@pytest.mark.parametrize(("spec", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_malformed_is_one_line(spec: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        _read(spec)
    assert str(caught.value).startswith("here: field '")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "Pod"}, "field 'kind' is 'Pod'; it must be NetworkPolicy"),
        ({"apiVersion": "extensions/v1beta1"}, "it must be networking.k8s.io/v1"),
        ({"metadata": {"name": "Upper"}}, "'metadata.name' is 'Upper'; use lower case"),
        ({"metadata": {}}, "'metadata.name' is missing"),
        ({"metadata": {"name": "p", "lables": {}}}, "'metadata.lables' is unknown; did you mean 'labels'?"),
    ],
    ids=["kind", "version", "name", "no-name", "metadata"],
)
def test_malformed_object_is_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read({**_obj({}), **change}, "here")
    assert message in str(caught.value)


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(UsageError, match=r"policies\.yaml:1: the document is 'words'"):
        read_text("words\n", "policies.yaml")


FILE = """\
# two policies
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: one, namespace: x}
spec:
  podSelector: {}
---
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: two, namespace: x}
spec:
  podSelector: {}
  ingress:
  - from:
    - podSelector: {}
    ports:
    - port: 80
"""


def test_file_of_several_documents(tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(FILE, encoding="utf-8")
    found = read_file(path)
    assert [(each.name, each.source) for each in found] == [("one", f"{path}:2"), ("two", f"{path}:9")]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("port: 80", "port: 0", "f.yaml:18: field 'spec.ingress[0].ports[0].port' is 0"),
        ("- podSelector: {}", "- podSelectr: {}", "f.yaml:16: field 'spec.ingress[0].from[0].podSelectr' is unknown"),
        ("- podSelector: {}", "- {}", "f.yaml:16: field 'spec.ingress[0].from[0]' is empty"),
        ("  ingress:\n", "  podSelector: {}\n  ingress:\n", "f.yaml:14: field 'spec.podSelector' is written twice"),
        ("metadata: {name: two", "metadata: {name: [", "f.yaml:11: not YAML"),
        ("  ingress:", "\tingress:", "f.yaml:14: not YAML"),
    ],
    ids=["value", "field", "empty-peer", "twice", "yaml", "tab"],
)
def test_error_names_the_line(before: str, after: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_text(FILE.replace(before, after), "f.yaml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_file_that_is_missing_or_binary(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="No such file or directory; name a readable YAML file"):
        read_file(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="it is not UTF-8; name"):
        read_file(binary)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["podSelector", "ingress", "egress", "from", "ports", "port", "ipBlock", "cidr", "matchLabels"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


def _refusal(spec: object) -> str:
    try:
        _read(spec)
    except UsageError as error:
        return str(error)
    return ""


@given(_JSON)
def test_any_json_is_read_or_refused_in_one_line(spec: object) -> None:
    assert _refusal(spec).isprintable()
