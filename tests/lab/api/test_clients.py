"""The clients that people use, against a running server: kubectl, the official client, the lab's own."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import shutil
import ssl
from typing import Any, cast

import pytest

from clusters.lab import pki
from clusters.lab.client import CONFIG_MAPS, Client, Informer
from tests.lab.api.world import DEADLINE, STRATEGIC, TABLE, Api, Namespace, Object, config, pod, policy

kubernetes: Any = importlib.import_module("kubernetes")
"""The official client; its own annotations forbid the plain JSON that it takes."""
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl: on PATH")


@needs_kubectl
def test_kubectl_applies_gets_waits_and_deletes(namespace: Namespace) -> None:
    kubectl = namespace.api.kubectl
    text = json.dumps(pod("one") | {"metadata": {"name": "one", "namespace": namespace.name}})
    assert kubectl("apply", "-f", "-", text=text).stdout == "pod/one created\n"
    assert kubectl("apply", "-f", "-", text=text).stdout == "pod/one unchanged\n"
    changed = text.replace("python:3-slim", "python:3.12")
    assert kubectl("apply", "-f", "-", text=changed).stdout == "pod/one configured\n"
    where = ("-n", namespace.name)
    image = "jsonpath={.spec.containers[0].image}"
    assert kubectl("get", "pod", "one", *where, "-o", image).stdout == "python:3.12"
    waited = kubectl("wait", *where, "--for=jsonpath={.status.phase}=Pending", "pod/one", "--timeout=20s")
    assert waited.stdout == "pod/one condition met\n"
    assert kubectl("delete", "pod", "one", *where).stdout.startswith('pod "one" deleted')
    gone = kubectl("get", "pod", "one", *where)
    assert gone.stderr == 'Error from server (NotFound): pods "one" not found\n'


@needs_kubectl
def test_kubectl_creates_with_protobuf(namespace: Namespace) -> None:
    made = namespace.api.kubectl("-n", namespace.name, "create", "configmap", "one", "--from-literal=a=b")
    assert (made.stdout, made.stderr) == ("configmap/one created\n", "")
    made = namespace.api.kubectl("-n", namespace.name, "create", "service", "clusterip", "two", "--tcp=80:http")
    assert (made.stdout, made.stderr) == ("service/two created\n", "")
    assert namespace.get("configmaps", "one").body["data"] == {"a": "b"}
    port = {"name": "80-http", "port": 80, "protocol": "TCP", "targetPort": "http"}
    assert namespace.get("services", "two").body["spec"]["ports"] == [port]


@needs_kubectl
def test_kubectl_shows_refusals_in_full(namespace: Namespace) -> None:
    text = json.dumps(pod("one", {"hostPID": True, "nodename": "x"}))
    strict = namespace.api.kubectl("-n", namespace.name, "apply", "-f", "-", text=text)
    assert 'strict decoding error: unknown field "spec.nodename"' in strict.stderr
    loose = namespace.api.kubectl("-n", namespace.name, "apply", "--validate=false", "-f", "-", text=text)
    assert "spec.hostPID: Forbidden: the lab does not do hostPID" in loose.stderr


@needs_kubectl
def test_kubectl_knows_what_there_is_not(api: Api) -> None:
    assert api.kubectl("get", "deployments").stderr == 'error: the server doesn\'t have a resource type "deployments"\n'


@needs_kubectl
def test_kubectl_prints_a_table(namespace: Namespace) -> None:
    namespace.create("networkpolicies", policy("one", {"podSelector": {"matchLabels": {"app": "web"}}}))
    shown = namespace.api.kubectl("-n", namespace.name, "get", "netpol").stdout
    assert re.sub(r"\d+s", "0s", shown) == "NAME   POD-SELECTOR   AGE\none    app=web        0s\n"


def _status(*ready: bool, init: list[Object] | None = None) -> Object:
    main = [
        {"name": f"c{place}", "ready": each, "restartCount": 0, "image": "i", "imageID": "", "state": {"running": {}}}
        for place, each in enumerate(ready)
    ]
    return {"phase": "Running", "containerStatuses": main, "initContainerStatuses": init or []}


def _sidecar(*, ready: bool) -> Object:
    return {"name": "proxy", "ready": ready, "started": True, "restartCount": 2, "image": "i", "imageID": "",
            "state": {"running": {}}}  # fmt: skip


@pytest.mark.parametrize(
    ("sidecar", "status", "cells"),
    [
        pytest.param(False, {"phase": "Pending"}, ["0/2", "Pending", "0"], id="pending"),
        pytest.param(False, _status(True, False), ["1/2", "Running", "0"], id="one-of-two"),
        pytest.param(True, _status(True, True, init=[_sidecar(ready=True)]), ["3/3", "Running", "2"], id="sidecar"),
        pytest.param(
            True, _status(True, True, init=[_sidecar(ready=False)]), ["2/3", "Running", "2"], id="sidecar-not-ready"
        ),
        pytest.param(
            True,
            {
                "phase": "Pending",
                "initContainerStatuses": [{"name": "proxy", "state": {"waiting": {"reason": "ErrImagePull"}}}],
            },
            ["0/3", "Init:ErrImagePull", "0"],
            id="init-waits",
        ),
        pytest.param(
            False,
            {"phase": "Failed", "containerStatuses": [{"name": "c0", "state": {"terminated": {"exitCode": 3}}}]},
            ["0/2", "ExitCode:3", "0"],
            id="exit-code",
        ),
    ],
)
def test_ready_column_counts_as_kubectl_does(
    namespace: Namespace, sidecar: bool, status: Object, cells: list[str]
) -> None:
    early = {"initContainers": [{"name": "proxy", "image": "i", "restartPolicy": "Always"}]} if sidecar else {}
    containers = [{"name": "c0", "image": "i"}, {"name": "c1", "image": "i"}]
    namespace.create("pods", pod("one", {"containers": containers, **early}))
    namespace.patch("pods", "one", {"status": status}, STRATEGIC, "status")
    table = namespace.api.call("GET", namespace.path("pods"), accept=TABLE).body
    assert [each["name"] for each in table["columnDefinitions"][:4]] == ["Name", "Ready", "Status", "Restarts"]
    assert table["rows"][0]["cells"][1:4] == cells


def _official(api: Api) -> Any:
    return kubernetes.config.new_client_from_config_dict(pki.kubeconfig(api.authority, api.url))


def test_official_client_reads_writes_and_watches(namespace: Namespace) -> None:
    with _official(namespace.api) as client:
        core, network = kubernetes.client.CoreV1Api(client), kubernetes.client.NetworkingV1Api(client)
        since = core.list_namespaced_pod(namespace.name).metadata.resource_version
        core.create_namespaced_pod(namespace.name, pod("one"))
        core.patch_namespaced_pod("one", namespace.name, {"metadata": {"labels": {"seen": "yes"}}})
        network.create_namespaced_network_policy(namespace.name, policy("deny", {}))
        core.delete_namespaced_pod("one", namespace.name)
        stream = kubernetes.watch.Watch().stream(
            core.list_namespaced_pod, namespace.name, resource_version=since, timeout_seconds=1
        )
        assert [event["type"] for event in stream] == ["ADDED", "MODIFIED", "DELETED"]
        assert network.read_namespaced_network_policy("deny", namespace.name).spec.policy_types == ["Ingress"]
        endpoints = kubernetes.client.DiscoveryV1Api(client).list_namespaced_endpoint_slice("default").items
        assert [each.metadata.name for each in endpoints] == ["kubernetes"]


def test_informer_follows(namespace: Namespace) -> None:
    seen: list[tuple[str, str]] = []

    async def follow() -> None:
        tls, done = pki.client_tls(namespace.api.authority.ca_pem), asyncio.Event()

        def take(event: str, obj: Object) -> None:
            if obj["metadata"]["namespace"] == namespace.name:
                seen.append((event, obj["metadata"]["name"]))
            if event == "DELETED":
                done.set()

        async with Client(namespace.api.url, namespace.api.authority.node_token, tls) as client:
            informer = Informer(client, CONFIG_MAPS, on_event=take)
            task = asyncio.create_task(informer.run())
            async with asyncio.timeout(DEADLINE):
                await informer.synced.wait()
                await client.create(CONFIG_MAPS, config("one"), namespace.name)
                await client.delete(CONFIG_MAPS, "one", namespace.name)
                await done.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(follow())
    assert seen == [("ADDED", "one"), ("DELETED", "one")]


def test_certificate_names_every_way_in(api: Api) -> None:
    connection = api.connect()
    connection.connect()
    assert isinstance(connection.sock, ssl.SSLSocket)
    certificate = connection.sock.getpeercert() or {}
    connection.close()
    names = {each[1] for each in cast("tuple[tuple[str, str], ...]", certificate["subjectAltName"])}
    assert {"127.0.0.1", "localhost", "172.31.0.2", "10.96.0.1", "kubernetes.default.svc.cluster.local"} <= names


def test_key_leaves_no_file(api: Api) -> None:
    assert not any(
        "PRIVATE KEY" in each.read_text(errors="replace") for each in api.folder.rglob("*") if each.is_file()
    )
