"""Who is there: ready pods, their ports, and which of them no policy can tell apart."""

from __future__ import annotations

import pytest

from clusters.marks import MANAGED_BY, MANAGER, WORKLOAD
from clusters.reach.census import Port, classes, port, take
from flows.errors import UsageError
from policies.model import Transport
from tests.clusters.reach.here import pod

WEB = {"app": "web"}


def test_only_ready_pods_are_there_and_the_others_are_told() -> None:
    found, lines = take(
        [
            pod("b/two"),
            pod("a/one"),
            pod("a/late", ready=False),
            pod("a/done", ready=False, phase="Succeeded"),
            pod("a/failed", ready=False, phase="Failed"),
        ]
    )
    assert [each.name for each in found] == ["a/one", "b/two"]
    assert lines == ["a/late: not ready, so neither asked nor asking"]


def test_ports_are_those_that_containers_and_lasting_init_containers_declare() -> None:
    one = pod("a/one", ports=[(53, "UDP"), (8080, "TCP")])
    one["spec"]["initContainers"] = [
        {"name": "sidecar", "restartPolicy": "Always", "ports": [{"containerPort": 15090}]},
        {"name": "once", "ports": [{"containerPort": 1}]},
    ]
    [resident] = take([one])[0]
    assert [str(each) for each in resident.ports] == ["53/udp", "8080/tcp", "15090/tcp"]


def test_the_default_container_is_tried_first_and_only_running_ones() -> None:
    one = pod("a/one")
    one["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "b"}
    one["spec"]["containers"] = [{"name": name} for name in ("a", "b", "c")]
    running: dict[str, object] = {"running": {}}
    one["status"]["containerStatuses"] = [
        {"name": "a", "state": running},
        {"name": "b", "state": running},
        {"name": "c", "state": {"waiting": {}}},
    ]
    [resident] = take([one])[0]
    assert resident.containers == ("b", "a")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(pod("b/two", labels=WEB, ports=[(80, "TCP")]), id="namespace"),
        pytest.param(pod("a/two", labels={"app": "db"}, ports=[(80, "TCP")]), id="labels"),
        pytest.param(pod("a/two", labels=WEB, ports=[(81, "TCP")]), id="port"),
        pytest.param(pod("a/two", labels=WEB, ports=[(80, "UDP")]), id="protocol"),
        pytest.param(pod("a/two", labels=WEB, named={"http": 80}), id="name-of-a-port"),
    ],
)
def test_pods_that_a_policy_could_tell_apart_are_no_class(other: dict[str, object]) -> None:
    one = pod("a/one", labels=WEB, ports=[(80, "TCP")])
    assert len(classes(take([one, other])[0], (), every_pod=False)) == 2


def test_equal_pods_are_one_class_with_the_first_to_ask_for_all() -> None:
    twins = [pod(f"a/{name}", labels=WEB, ports=[(80, "TCP")]) for name in ("two", "one")]
    [group] = classes(take(twins)[0], (port("9090"),), every_pod=False)
    assert (group.name, group.one.name) == ("a/one (×2)", "a/one")
    assert [str(each) for each in group.ports] == ["80/tcp", "9090/tcp"]
    asked = group.answering(group)
    assert asked is not None
    assert asked.name == "a/two", "of its own class another pod is asked"
    assert len(classes(take(twins)[0], (), every_pod=True)) == 2


def test_a_pod_alone_does_not_ask_itself() -> None:
    [group] = classes(take([pod("a/one")])[0], (), every_pod=False)
    assert group.answering(group) is None


def test_a_pod_of_a_run_is_known_as_ours() -> None:
    found, _ = take([pod("a/one", labels={MANAGED_BY: MANAGER, WORKLOAD: "x"}), pod("a/two", labels={WORKLOAD: "x"})])
    assert [each.ours for each in found] == [True, False]


@pytest.mark.parametrize(
    ("text", "wanted"), [("8080", Port(8080)), ("53/udp", Port(53, Transport.UDP)), ("53/UDP", Port(53, Transport.UDP))]
)
def test_ports_as_they_are_typed(text: str, wanted: Port) -> None:
    assert port(text) == wanted


@pytest.mark.parametrize("text", ["0", "65536", "http", "53/sctp", "", "-1"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write a number from 1 to 65535"):
        port(text)
