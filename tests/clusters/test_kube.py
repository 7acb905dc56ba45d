from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clusters.cluster import Cluster
from clusters.failures import KubeError, KubeTimeoutError, failure
from clusters.kube import LEASE, MANAGED_BY, RUN, Kube
from flows.errors import FIRST_LINE
from tests.clusters.fakes import TOKEN, canned_api, handle, kubeconfig, lab_api


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with lab_api(tmp_path_factory.mktemp("lab")) as content:
        yield handle(content)


@pytest.fixture
def kube(lab: Cluster, request: pytest.FixtureRequest) -> Iterator[Kube]:
    found = Kube(lab)
    name = space(request)
    found.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield found
    found.close()


def space(request: pytest.FixtureRequest) -> str:
    return str(request.node.name).replace("_", "-")[-24:].strip("-")


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    return space(request)


def config_map(namespace: str, name: str = "one", **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}}


def test_what_is_created_carries_run_and_lease(kube: Kube, namespace: str) -> None:
    made = kube.create(config_map(namespace, role="x"))["metadata"]
    assert made["labels"] == {"role": "x", MANAGED_BY: "eastwest", RUN: "run1"}
    assert made["annotations"][LEASE].endswith("Z")


def test_an_unknown_field_is_refused_in_one_line(kube: Kube, namespace: str) -> None:
    with pytest.raises(KubeError) as caught:
        kube.create({**config_map(namespace), "dta": {}})
    assert caught.value.status == 400
    assert 'unknown field "dta"' in caught.value.message
    assert len(caught.value.message) <= FIRST_LINE


def test_a_dry_run_creates_nothing(kube: Kube, namespace: str) -> None:
    kube.create(config_map(namespace), dry_run=True)
    assert not kube.exists("v1", "ConfigMap", "one", namespace)


def test_lists_by_label_and_fills_in_the_kind(kube: Kube, namespace: str) -> None:
    kube.create(config_map(namespace, "one", role="x"))
    kube.create(config_map(namespace, "two", role="y"))
    assert [(each["kind"], each["metadata"]["name"]) for each in kube.list("v1", "ConfigMap", namespace, "role=y")] == [
        ("ConfigMap", "two")
    ]


def test_replacing_our_object_keeps_its_marks(kube: Kube, namespace: str) -> None:
    kube.create(config_map(namespace))
    assert kube.replace(config_map(namespace, role="z"))["metadata"]["labels"][RUN] == "run1"


def test_replacing_a_foreign_object_does_not_make_it_ours(kube: Kube, lab: Cluster, namespace: str) -> None:
    kube.create(config_map(namespace))
    other = Kube(handle(lab.kubeconfig, "run2"))
    assert RUN not in other.replace(config_map(namespace))["metadata"].get("labels", {})


def test_a_merge_patch_changes_what_it_names(kube: Kube, namespace: str) -> None:
    kube.create(config_map(namespace))
    kube.patch("v1", "ConfigMap", "one", namespace, {"data": {"a": None, "c": "d"}})
    assert kube.get("v1", "ConfigMap", "one", namespace)["data"] == {"c": "d"}


def test_deleting_spares_a_successor_of_the_same_name(kube: Kube, namespace: str) -> None:
    kube.create(config_map(namespace))
    with pytest.raises(KubeError) as caught:
        kube.delete("v1", "ConfigMap", "one", namespace, uid="of-another")
    assert caught.value.status == 409
    assert kube.exists("v1", "ConfigMap", "one", namespace)


def test_deleting_what_is_gone_is_no_error(kube: Kube, namespace: str) -> None:
    kube.delete("v1", "ConfigMap", "never-there", namespace)
    assert not kube.exists("v1", "ConfigMap", "never-there", namespace)


def test_a_wait_ends_with_the_change_that_fulfils_it(kube: Kube, namespace: str) -> None:
    def two(found: list[dict[str, Any]]) -> bool:
        return len([each for each in found if each["metadata"]["labels"].get("role") == "w"]) == 2

    kube.create(config_map(namespace, "one", role="w"))
    later = threading.Thread(target=kube.create, args=(config_map(namespace, "two", role="w"),))
    later.start()
    found = kube.wait("v1", "ConfigMap", namespace, two, what="two maps", timeout=20)
    later.join()
    assert two(found)


def test_a_wait_in_vain_tells_the_last_state_and_the_command(kube: Kube, namespace: str) -> None:
    kube.create(config_map(namespace))
    with pytest.raises(KubeTimeoutError) as caught:
        kube.wait("v1", "ConfigMap", namespace, lambda _: False, what="a miracle", timeout=0.3, labels="role=x")
    assert "in vain for a miracle" in caught.value.message
    assert f"look again: kubectl -n {namespace} get configmaps -l role=x" in caught.value.detail


def test_a_wait_can_be_ended_from_outside(kube: Kube, namespace: str) -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        kube.wait("v1", "ConfigMap", namespace, lambda _: False, what="x", timeout=600, abort=stop)


def test_a_watch_ends_at_its_deadline(kube: Kube, namespace: str) -> None:
    assert list(kube.watch("v1", "ConfigMap", namespace, since="", timeout=0.2)) == []


def test_a_server_that_never_sends_a_watch_header_does_not_hold_us() -> None:
    with canned_api({}) as url:
        kube = Kube(handle(kubeconfig(url)))
        assert list(kube.watch("v1", "Pod", "demo", since="1", timeout=0.2)) == []


def test_an_unknown_kind_is_named(kube: Kube) -> None:
    with pytest.raises(KubeError, match=r"Podd of v1: the API server has no such kind"):
        kube.get("v1", "Podd", "x", "default")


def test_no_answer_names_the_address() -> None:
    kube = Kube(handle(kubeconfig("http://127.0.0.1:1")))
    with pytest.raises(KubeError, match=r"^the API server at http://127.0.0.1:1 does not answer: Connection refused"):
        kube.version()


def test_the_token_is_sent_and_never_shown() -> None:
    seen: list[str] = []
    echo = {"code": 403, "reason": "Forbidden", "message": f"token {TOKEN} may not"}
    with canned_api({"/version": echo}, seen=seen) as url, pytest.raises(KubeError) as caught:
        Kube(handle(kubeconfig(url))).version()
    assert seen == [f"Bearer {TOKEN}"]
    assert TOKEN not in str(caught.value)
    assert "grant it (docs/reference/rbac.yaml)" in caught.value.message


@pytest.mark.parametrize(
    ("why", "line"),
    [
        ('no endpoints available for service "istiod"', 'webhook a.b.io: no endpoints available for service "istiod"'),
        ("dial tcp 10.96.0.9:443: connect: connection refused", "webhook a.b.io: dial tcp 10.96.0.9:443: connect: "),
        (
            'tls: x509: signed by unknown authority (possibly because of "crypto/rsa" while verifying "ca")',
            "webhook a.b.io: tls: x509: signed by unknown authority (possibly",
        ),
    ],
)
def test_a_webhook_that_does_not_answer_is_what_the_first_line_says(why: str, line: str) -> None:
    called = (
        f'Internal error occurred: failed calling webhook "a.b.io": failed to call webhook: Post "https://x.y": {why}'
    )
    error = failure(500, json.dumps({"message": called, "reason": "InternalError"}).encode(), "create Pod demo/x")
    assert error.message.startswith(line)
    assert "create Pod demo/x" in error.detail


def test_words_about_a_secret_are_not_repeated() -> None:
    error = failure(422, b'{"message": "Invalid value: hunter2", "reason": "Invalid"}', "create Secret demo/x")
    assert "hunter2" not in str(error)


def test_access_asks_for_resource_and_subresource() -> None:
    def allowed(asked: dict[str, Any]) -> bool:
        return (asked["verb"], asked["resource"], asked.get("subresource"), asked["namespace"]) == (
            "create", "pods", "exec", "demo",
        )  # fmt: skip

    with canned_api({}, allowed) as url:
        kube = Kube(handle(kubeconfig(url)))
        assert kube.access("create", "v1", "Pod/exec", "demo")
        assert not kube.access("create", "v1", "Pod", "demo")


def test_a_failing_credential_plugin_is_told_with_its_own_words(tmp_path: Path) -> None:
    content = kubeconfig("http://127.0.0.1:1")
    plugin = tmp_path / "login"
    plugin.write_text("#!/bin/sh\necho please log in >&2; exit 1\n", encoding="utf-8")
    plugin.chmod(0o755)
    api = "client.authentication.k8s.io/v1"
    content["users"][0]["user"] = {"exec": {"apiVersion": api, "command": str(plugin), "interactiveMode": "Never"}}
    with pytest.raises(KubeError) as caught:
        Kube(handle(content)).version()
    assert "credential plugin gave no credentials" in caught.value.message
    assert "please log in" in caught.value.detail
