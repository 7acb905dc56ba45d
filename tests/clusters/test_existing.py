from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from clusters.cluster import Cluster, Options
from clusters.existing import NAMESPACES, NEEDED, ExistingProvider, Right
from clusters.mesh import dialects
from clusters.profile import load
from clusters.resources import known_resource
from flows.errors import PreparationError, UsageError
from tests.clusters.fakes import canned_api, items, kubeconfig, write_yaml

RBAC = Path(__file__).parents[2] / "docs" / "reference" / "rbac.yaml"
NODE = {
    "metadata": {"name": "n1"},
    "status": {"nodeInfo": {"kernelVersion": "6.1", "osImage": "Debian", "kubeletVersion": "v1.34.4"}},
}
CALICO = {"metadata": {"name": "calico-node-x"}, "spec": {"containers": [{"image": "quay.io/calico/node:v3.28.5"}]}}
ANSWERS: dict[str, dict[str, Any]] = {
    "/version": {"gitVersion": "v1.34.4"},
    "/api/v1/nodes": items(NODE),
    "/api/v1/namespaces/kube-system/pods": items(CALICO),
    "/api/v1/namespaces/team": {"metadata": {"name": "team"}},
    "/api/v1/namespaces/hidden": {"code": 403, "reason": "Forbidden", "message": "no"},
    "/api/v1/namespaces/team/pods": items(),
    "/api/v1/namespaces/hidden/pods": items(),
    "/api/v1/namespaces/ending": {"metadata": {"name": "ending", "deletionTimestamp": "2026-01-01T00:00:00Z"}},
}
Asked = dict[str, Any]


def _plural(kind: str) -> str:
    lower = kind.lower()
    return f"{lower[:-1]}ies" if lower.endswith("y") else f"{lower}s"


def attach(folder: Path, url: str, *, namespace: str = "", context: str = "fake") -> Cluster:
    config = write_yaml(folder / "config", kubeconfig(url))
    options = Options(kubeconfig=str(config), context=context, namespace=namespace)
    return ExistingProvider(load("existing"), options, "run1").up()


def test_an_answering_cluster_is_described(tmp_path: Path) -> None:
    with canned_api(ANSWERS) as url:
        cluster = attach(tmp_path, url)
    assert (cluster.ours, cluster.context) == (False, "fake")
    assert cluster.facts["kubernetes"] == "v1.34.4"
    assert cluster.facts["cni"] == "calico v3.28.5"
    assert "namespaces" in cluster.facts["capabilities"]
    assert Cluster.from_json(cluster.to_json()) == cluster


def test_without_the_right_to_make_namespaces_one_must_be_given(tmp_path: Path) -> None:
    def allowed(asked: Asked) -> bool:
        return bool(asked["resource"] != "namespaces")

    with canned_api(ANSWERS, allowed) as url:
        with pytest.raises(UsageError, match="give --namespace NS"):
            attach(tmp_path, url)
        assert "namespaces" not in attach(tmp_path, url, namespace="team").facts["capabilities"]


def test_missing_rights_are_all_listed_before_anything_is_made(tmp_path: Path) -> None:
    def allowed(asked: Asked) -> bool:
        return asked.get("subresource") != "exec"

    with canned_api(ANSWERS, allowed) as url, pytest.raises(PreparationError) as caught:
        attach(tmp_path, url, namespace="team")
    assert caught.value.message.startswith("no right in namespace team to create Pod/exec, get Pod/exec")
    assert "Pod/exec (v1): create, get" in caught.value.detail


@pytest.mark.parametrize(
    ("namespace", "words"),
    [
        pytest.param("nope", "no such namespace", id="not-there"),
        pytest.param("ending", "it is being deleted", id="being-deleted"),
    ],
)
def test_a_namespace_that_cannot_be_used_is_named(tmp_path: Path, namespace: str, words: str) -> None:
    with canned_api(ANSWERS) as url, pytest.raises(UsageError, match=words):
        attach(tmp_path, url, namespace=namespace)


def test_a_namespace_that_may_not_be_read_is_tried(tmp_path: Path) -> None:
    with canned_api(ANSWERS) as url:
        assert attach(tmp_path, url, namespace="hidden").namespace == "hidden"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        pytest.param({"app": "shop"}, "holds pod shop-1; give one without pods, tests close all of it", id="not-ours"),
        pytest.param(
            {"app.kubernetes.io/managed-by": "eastwest", "eastwest.dev/run": "run0"},
            "holds pod shop-1; it is of eastwest's run run0",
            id="of-another-run",
        ),
        pytest.param(
            {"app.kubernetes.io/managed-by": "eastwest", "eastwest.dev/run": "run1"},
            "holds pod shop-1; it is of this run's last world",
            id="of-this-run",
        ),
    ],
)
def test_a_namespace_with_pods_in_it_is_refused(tmp_path: Path, labels: dict[str, str], words: str) -> None:
    pod = {"metadata": {"name": "shop-1", "labels": labels}}
    answers = {**ANSWERS, "/api/v1/namespaces/team/pods": items(pod)}
    with canned_api(answers) as url, pytest.raises(UsageError, match=f"^namespace team {words}"):
        attach(tmp_path, url, namespace="team")


def test_a_cluster_that_does_not_answer_is_a_preparation_error(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match=r"context 'fake': the API server at http://127.0.0.1:1 does not answer"):
        attach(tmp_path, "http://127.0.0.1:1")


def test_no_context_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give --context with one of: fake"):
        attach(tmp_path, "http://127.0.0.1:1", context="")


def test_down_before_up_has_nothing_to_remove(tmp_path: Path) -> None:
    options = Options(kubeconfig=str(tmp_path / "none"), context="x")
    assert ExistingProvider(load("existing"), options, "run1").down(failed=True) == []


@pytest.mark.parametrize(
    ("name", "kind", "needed", "besides"),
    [
        pytest.param("eastwest", "Role", NEEDED, set(), id="in-one-namespace"),
        pytest.param(
            "eastwest",
            "ClusterRole",
            [*NEEDED, *NAMESPACES],
            {"list nodes", "list endpointslices.discovery.k8s.io"},
            id="own-namespaces",
        ),
    ],
)
def test_the_documented_role_grants_exactly_what_is_asked_for(
    name: str, kind: str, needed: list[Right], besides: set[str]
) -> None:
    assert granted(kind, name) == {_spelled(right) for right in needed} | besides


MESH = {
    verb: {f"{verb} {_plural(kind)}.{api_version.partition('/')[0]}" for api_version, kind in dialects.kinds()}
    for verb in ("create", "get", "list", "watch", "update", "delete")
}
"""What is done to a mesh's own kinds, by verb."""
LOOKS = {
    "list deployments.apps",
    "list daemonsets.apps",
    "list pods",
    "list endpointslices.discovery.k8s.io",
    "get configmaps",
}


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        pytest.param("eastwest-mesh", "Role", {*set().union(*MESH.values()), "get namespaces"}, id="in-one-namespace"),
        pytest.param("eastwest-mesh", "ClusterRole", set().union(*MESH.values()), id="own-namespaces"),
        pytest.param("eastwest-mesh-root", "Role", LOOKS | MESH["list"], id="root-namespace"),
        pytest.param(
            "eastwest-mesh-webhooks",
            "ClusterRole",
            {"list mutatingwebhookconfigurations.admissionregistration.k8s.io"},
            id="webhooks",
        ),
        pytest.param(
            "eastwest-mesh-wide",
            "Role",
            {right for rights in MESH.values() for right in rights if right.endswith(".security.istio.io")},
            id="mesh-wide",
        ),
    ],
)
def test_the_documented_role_for_a_mesh_grants_exactly_what_is_done_there(
    name: str, kind: str, expected: set[str]
) -> None:
    assert granted(kind, name) == expected


def test_what_is_for_a_mesh_comes_only_when_it_is_asked_for() -> None:
    marks = {
        each["metadata"]["name"]: each["metadata"]["labels"]["eastwest.dev/rbac"]
        for each in yaml.safe_load_all(RBAC.read_text(encoding="utf-8"))
        if each["metadata"]["name"].startswith("eastwest-mesh")
    }
    assert marks
    assert all(mark.startswith("mesh") for mark in marks.values()), marks


def granted(kind: str, name: str) -> set[str]:
    """`VERB RESOURCE.GROUP` of everything that a documented role allows."""
    documents = yaml.safe_load_all(RBAC.read_text(encoding="utf-8"))
    role = next(each for each in documents if each["kind"] == kind and each["metadata"]["name"] == name)
    return {
        f"{verb} {resource}.{group}".rstrip(".")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _spelled(right: Right) -> str:
    verb, api_version, kind = right
    main, _, subresource = kind.partition("/")
    resource = known_resource(api_version, main)
    assert resource is not None
    return f"{verb} {resource.plural}{f'/{subresource}' if subresource else ''}.{resource.group}".rstrip(".")
