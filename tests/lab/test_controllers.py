"""The controllers against the real API server; the test plays the nodes."""

from __future__ import annotations

from typing import Any

from clusters.lab.client import (
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Object,
)
from tests.lab.control_plane import CA, World, with_control_plane

WEB = {"app": "web"}


def _service(name: str = "web", **spec: Any) -> Object:
    ports = spec.pop("ports", [{"name": "http", "port": 80, "targetPort": 8080}])
    spec = {"selector": WEB, "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "test"}, "spec": spec}


def _endpoints(slices: dict[str, Object], service: str = "web") -> dict[str, tuple[bool, bool, bool]]:
    """Address → (ready, serving, terminating)."""
    found = {}
    for each in slices.values():
        if each["metadata"]["labels"].get("kubernetes.io/service-name") == service:
            for endpoint in each.get("endpoints") or []:
                states = endpoint["conditions"]
                key = endpoint["addresses"][0]
                found[key] = (states["ready"], states["serving"], states["terminating"])
    return found


def _ports(slices: dict[str, Object], service: str = "web") -> dict[str, list[int]]:
    """Address → port numbers."""
    return {
        endpoint["addresses"][0]: [port["port"] for port in each["ports"]]
        for each in slices.values()
        if each["metadata"]["labels"].get("kubernetes.io/service-name") == service
        for endpoint in each.get("endpoints") or []
    }


def _map(name: str, *owners: Object) -> Object:
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": each["metadata"]["name"], "uid": each["metadata"]["uid"]}
        for each in owners
    ]
    meta = {"name": name, "namespace": "test", "ownerReferences": references}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


@with_control_plane
async def test_pods_are_spread_over_the_nodes(world: World) -> None:
    await world.node("one")
    await world.node("two")
    for number in range(4):
        await world.pod(f"p{number}")
    chosen = [await world.node_of(f"p{number}") for number in range(4)]
    dns = await world.node_of("coredns-lab", "kube-system")
    assert abs([*chosen, dns].count("one") - [*chosen, dns].count("two")) == 1


@with_control_plane
async def test_node_selector_is_honoured(world: World) -> None:
    await world.node("plain")
    await world.node("fast", labels={"disk": "ssd"})
    for number in range(3):
        await world.pod(f"p{number}", nodeSelector={"disk": "ssd"})
    assert {await world.node_of(f"p{number}") for number in range(3)} == {"fast"}


@with_control_plane
async def test_tainted_node_takes_only_pods_that_tolerate_it(world: World) -> None:
    taint = {"key": "team", "value": "blue", "effect": "NoSchedule"}
    await world.node("tainted", spec={"taints": [taint]})
    await world.pod("stranger")
    await world.pod("member", tolerations=[{"key": "team", "operator": "Equal", "value": "blue"}])
    assert await world.node_of("member") == "tainted"
    condition = await world.until(PODS, lambda pods: _condition(pods["test/stranger"], "PodScheduled"))
    assert condition["message"] == "0/1 nodes are available: 1 node(s) had untolerated taint {team: blue}."


def _condition(pod: Object, kind: str) -> Object:
    found: list[Object] = [each for each in pod["status"].get("conditions", []) if each["type"] == kind]
    return found[0] if found else {}


@with_control_plane
async def test_pod_without_nodes_waits_and_says_so(world: World) -> None:
    await world.pod("early")
    events = await world.until(EVENTS, lambda all_of: [e for e in all_of.values() if e["reason"] == "FailedScheduling"])
    assert events[0]["message"] == "no nodes available to schedule pods"
    await world.node("late")
    assert await world.node_of("early") == "late"
    await world.until(EVENTS, lambda all_of: [e for e in all_of.values() if e["reason"] == "Scheduled"])


@with_control_plane
async def test_node_that_is_not_ready_gets_no_pod(world: World) -> None:
    await world.node("sick")
    down = {"type": "Ready", "status": "False", "reason": "Test", "message": ""}
    await world.client.patch(NODES, "sick", {"status": {"conditions": [down]}}, "", "status")
    await world.pod("p")
    condition = await world.until(PODS, lambda pods: _condition(pods["test/p"], "PodScheduled"))
    assert "node.kubernetes.io/not-ready" in condition["message"]


@with_control_plane
async def test_endpoints_follow_readiness_and_termination(world: World) -> None:
    await world.node("one")
    await world.client.create(SERVICES, _service(), "test")
    for name, ip in (("a", "10.244.0.1"), ("b", "10.244.0.2")):
        await world.pod(name, labels=WEB)
        await world.node_of(name)
        await world.run_pod(name, ip, ready=name == "a")
    both = {"10.244.0.1": (True, True, False), "10.244.0.2": (False, False, False)}
    await world.until(ENDPOINT_SLICES, lambda slices: _endpoints(slices) == both)
    await world.client.delete(PODS, "a", "test")
    ending = {"10.244.0.1": (False, True, True), "10.244.0.2": (False, False, False)}
    await world.until(ENDPOINT_SLICES, lambda slices: _endpoints(slices) == ending)
    await world.client.delete(PODS, "a", "test", grace=0)
    rest = {"10.244.0.2": (False, False, False)}
    await world.until(ENDPOINT_SLICES, lambda slices: _endpoints(slices) == rest)


@with_control_plane
async def test_endpoints_tell_pod_and_node(world: World) -> None:
    await world.node("one")
    await world.client.create(SERVICES, _service(), "test")
    pod = await world.pod("a", labels=WEB)
    await world.node_of("a")
    await world.run_pod("a", "10.244.0.1")
    slices = await world.until(ENDPOINT_SLICES, lambda found: found if _endpoints(found) else None)
    ours = [each for each in slices.values() if each["metadata"]["namespace"] == "test"]
    (endpoint,) = [endpoint for each in ours for endpoint in each["endpoints"]]
    assert endpoint["nodeName"] == "one"
    uid = pod["metadata"]["uid"]
    assert endpoint["targetRef"] == {"kind": "Pod", "namespace": "test", "name": "a", "uid": uid}


@with_control_plane
async def test_unready_pods_are_published_where_the_service_says_so(world: World) -> None:
    await world.client.create(SERVICES, _service(publishNotReadyAddresses=True), "test")
    await world.pod("a", labels=WEB)
    await world.run_pod("a", "10.244.0.1", ready=False)
    await world.until(ENDPOINT_SLICES, lambda slices: _endpoints(slices) == {"10.244.0.1": (True, False, False)})


@with_control_plane
async def test_named_port_is_resolved_for_each_pod(world: World) -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    await world.client.create(SERVICES, _service(ports=ports), "test")
    for name, ip, number in (("a", "10.244.0.1", 8080), ("b", "10.244.0.2", 9090), ("c", "10.244.0.3", 8080)):
        await world.pod(name, labels=WEB, ports=[{"name": "web", "containerPort": number}])
        await world.run_pod(name, ip)
    wanted = {"10.244.0.1": [8080], "10.244.0.2": [9090], "10.244.0.3": [8080]}
    await world.until(ENDPOINT_SLICES, lambda slices: _ports(slices) == wanted)


@with_control_plane
async def test_relabelled_pod_leaves_the_service(world: World) -> None:
    await world.client.create(SERVICES, _service(clusterIP="None"), "test")
    await world.pod("a", labels=WEB)
    await world.run_pod("a", "10.244.0.1")
    await world.until(ENDPOINT_SLICES, _endpoints)
    await world.client.patch(PODS, "a", {"metadata": {"labels": {"app": "other"}}}, "test")
    await world.until(ENDPOINT_SLICES, lambda slices: not _endpoints(slices))


@with_control_plane
async def test_deleted_service_takes_its_slices_along(world: World) -> None:
    await world.client.create(SERVICES, _service(), "test")
    await world.until(ENDPOINT_SLICES, lambda slices: [name for name in slices if name.startswith("test/web-")])
    await world.client.delete(SERVICES, "web", "test")
    await world.until(ENDPOINT_SLICES, lambda slices: not [name for name in slices if name.startswith("test/")])


@with_control_plane
async def test_hand_made_slices_are_left_alone(world: World) -> None:
    body = _service()
    del body["spec"]["selector"]
    await world.client.create(SERVICES, body, "test")
    meta = {"name": "by-hand", "namespace": "test", "labels": {"kubernetes.io/service-name": "web"}}
    endpoint = {"addresses": ["192.0.2.1"], "conditions": {"ready": True, "serving": True, "terminating": False}}
    made = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4"}
    await world.client.create(ENDPOINT_SLICES, {**made, "endpoints": [endpoint], "ports": []}, "test")
    await world.client.create(SERVICES, _service("other"), "test")
    await world.until(ENDPOINT_SLICES, lambda slices: [name for name in slices if name.startswith("test/other-")])
    found = await world.client.list(ENDPOINT_SLICES, "test")
    assert "by-hand" in {each["metadata"]["name"] for each in found["items"]}


@with_control_plane
async def test_namespace_ends_once_its_graceful_pods_have(world: World) -> None:
    await world.node("one")
    await world.pod("slow")
    await world.node_of("slow")
    await world.client.delete(NAMESPACES, "test")
    await world.until(PODS, lambda pods: "deletionTimestamp" in pods["test/slow"]["metadata"])
    await world.until(CONFIG_MAPS, lambda maps: "test/kube-root-ca.crt" not in maps)
    assert (await world.client.get(NAMESPACES, "test"))["status"]["phase"] == "Terminating"
    await world.client.delete(PODS, "slow", "test", grace=0)
    await world.until(NAMESPACES, lambda found: "test" not in found)


@with_control_plane
async def test_every_namespace_has_an_account_and_the_root_ca(world: World) -> None:
    await world.client.delete(SERVICE_ACCOUNTS, "default", "test")
    await world.until(SERVICE_ACCOUNTS, lambda found: "test/default" in found)
    await world.client.patch(CONFIG_MAPS, "kube-root-ca.crt", {"data": {"ca.crt": "forged"}}, "test")
    await world.until(CONFIG_MAPS, lambda found: found["test/kube-root-ca.crt"]["data"] == {"ca.crt": CA})


@with_control_plane
async def test_object_goes_with_the_last_of_its_owners(world: World) -> None:
    first = await world.client.create(CONFIG_MAPS, _map("first"), "test")
    second = await world.client.create(CONFIG_MAPS, _map("second"), "test")
    await world.client.create(CONFIG_MAPS, _map("child", first, second), "test")
    await world.client.create(CONFIG_MAPS, _map("lone-child", first), "test")
    await world.client.delete(CONFIG_MAPS, "first", "test")
    await world.until(CONFIG_MAPS, lambda found: "test/lone-child" not in found)
    assert (await world.client.get(CONFIG_MAPS, "child", "test"))["metadata"]["name"] == "child"
    await world.client.delete(CONFIG_MAPS, "second", "test")
    await world.until(CONFIG_MAPS, lambda found: "test/child" not in found)


@with_control_plane
async def test_object_of_an_owner_that_never_was_goes(world: World) -> None:
    ghost = {"metadata": {"name": "ghost", "uid": "00000000-0000-0000-0000-000000000000"}}
    await world.client.create(CONFIG_MAPS, _map("orphan", ghost), "test")
    await world.until(CONFIG_MAPS, lambda found: "test/orphan" not in found)


@with_control_plane
async def test_dns_pod_and_service_are_made_again(world: World) -> None:
    await world.node("one")
    pod = await world.until(PODS, lambda pods: pods.get("kube-system/coredns-lab"))
    assert pod["metadata"]["labels"] == {"k8s-app": "kube-dns"}
    await world.client.delete(SERVICES, "kube-dns", "kube-system")
    found = await world.until(SERVICES, lambda all_of: all_of.get("kube-system/kube-dns"))
    assert found["spec"]["clusterIP"] == "10.96.0.10"
    await world.client.delete(PODS, "coredns-lab", "kube-system", grace=0)
    uid = pod["metadata"]["uid"]
    await world.until(PODS, lambda pods: pods.get("kube-system/coredns-lab", pod)["metadata"]["uid"] != uid)
