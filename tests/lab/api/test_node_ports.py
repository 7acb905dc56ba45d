"""Node ports as Kubernetes gives, keeps and refuses them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.api.world import Namespace

Object = dict[str, Any]
RANGE = "provided port is not in the valid range. The range of valid ports is 30000-32767"


def service(name: str, *ports: Object, **spec: object) -> Object:
    return {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": list(ports), **spec}}


def port(number: int = 80, **more: object) -> Object:
    return {"name": f"p{number}{str(more.get('protocol', '')).lower()}", "port": number, **more}


def numbers(answer: Any) -> list[int]:
    return [each.get("nodePort", 0) for each in answer.body["spec"]["ports"]]


def test_each_port_gets_a_number_and_protocols_of_one_port_share_it(namespace: Namespace) -> None:
    made = namespace.create("services", service("one", port(80), port(80, protocol="UDP"), port(81)))
    assert made.code == 201, made.message
    web, datagrams, other = numbers(made)
    assert web == datagrams != other
    assert all(30000 <= each <= 32767 for each in (web, other))
    assert made.body["spec"]["externalTrafficPolicy"] == "Cluster"
    assert made.body["spec"]["clusterIP"]


def test_a_number_that_was_asked_for_is_given_and_freed(namespace: Namespace) -> None:
    asked = service("one", port(nodePort=32001), externalTrafficPolicy="Local")
    assert numbers(namespace.create("services", asked)) == [32001]
    taken = namespace.create("services", service("two", port(nodePort=32001)))
    assert (taken.code, taken.message) == (
        422,
        'Service "two" is invalid: spec.ports[0].nodePort: Invalid value: 32001: provided port is already allocated',
    )
    assert namespace.create("services", service("udp", port(nodePort=32001, protocol="UDP"))).code == 201
    namespace.delete("services", "one")
    assert numbers(namespace.create("services", service("two", port(nodePort=32001)))) == [32001]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(
            service("one", port(nodePort=80)), f"spec.ports[0].nodePort: Invalid value: 80: {RANGE}", id="range"
        ),
        pytest.param(
            service("one", port(nodePort=32001), type="ClusterIP"),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            id="type",
        ),
        pytest.param(
            service("one", port(), type="ClusterIP", externalTrafficPolicy="Local"),
            'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services',
            id="policy-of-a-cluster-ip",
        ),
        pytest.param(
            service("one", port(), externalTrafficPolicy="Nearby"),
            'spec.externalTrafficPolicy: Unsupported value: "Nearby": supported values: "Cluster", "Local"',
            id="unknown-policy",
        ),
        pytest.param(
            service("one", port(80, nodePort=32001), port(81, nodePort=32001)),
            "spec.ports[1].nodePort: Duplicate value: 32001",
            id="twice",
        ),
        pytest.param(
            service("one", port(), clusterIP="None"),
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
            id="headless",
        ),
    ],
)
def test_what_is_refused(namespace: Namespace, spec: Object, message: str) -> None:
    answer = namespace.create("services", spec)
    assert (answer.code, answer.message) == (422, f'Service "one" is invalid: {message}')


def test_an_update_keeps_the_numbers_and_another_type_drops_or_gets_them(namespace: Namespace) -> None:
    (number,) = numbers(namespace.create("services", service("one", port())))
    changed = {"metadata": {"labels": {"a": "b"}}, "spec": {"ports": [port()]}}
    assert numbers(namespace.patch("services", "one", changed)) == [number]
    inward = namespace.patch("services", "one", {"spec": {"type": "ClusterIP"}})
    assert (inward.code, numbers(inward)) == (200, [0])
    assert "externalTrafficPolicy" not in inward.body["spec"]
    outward = namespace.patch("services", "one", {"spec": {"type": "NodePort"}})
    assert numbers(outward)[0] >= 30000
