"""Create, read, update, delete: what the API promises about every object."""

from __future__ import annotations

import base64

import pytest

from tests.lab.api.world import MERGE, Api, Namespace, Object, config, pod, policy


def test_created_object_has_its_metadata(namespace: Namespace) -> None:
    made = namespace.create("configmaps", config("one", a="b"))
    assert made.code == 201
    assert {"uid", "creationTimestamp", "resourceVersion"} <= set(made.body["metadata"])
    assert namespace.get("configmaps", "one").body == made.body


def test_missing_object_is_named(namespace: Namespace) -> None:
    answer = namespace.get("networkpolicies", "none")
    assert (answer.code, answer.reason) == (404, "NotFound")
    assert answer.message == 'networkpolicies.networking.k8s.io "none" not found'
    assert answer.body["details"] == {"name": "none", "group": "networking.k8s.io", "kind": "networkpolicies"}


def test_taken_name_is_refused(namespace: Namespace) -> None:
    namespace.create("configmaps", config("one"))
    answer = namespace.create("configmaps", config("one"))
    assert (answer.code, answer.reason) == (409, "AlreadyExists")


def test_generated_names_differ(namespace: Namespace) -> None:
    names = {
        namespace.create("configmaps", {"metadata": {"generateName": "x-"}}).body["metadata"]["name"] for _ in "ab"
    }
    assert len(names) == 2
    assert all(len(name) == len("x-12345") for name in names)


def test_stale_replacement_conflicts(namespace: Namespace) -> None:
    made = namespace.create("configmaps", config("one", a="1")).body
    namespace.patch("configmaps", "one", {"data": {"a": "2"}})
    answer = namespace.api.call("PUT", namespace.path("configmaps", "one"), made)
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert "the object has been modified; please apply your changes to the latest version" in answer.message


def test_unchanged_replacement_keeps_the_revision(namespace: Namespace) -> None:
    made = namespace.create("configmaps", config("one", a="1")).body
    answer = namespace.api.call("PUT", namespace.path("configmaps", "one"), made)
    assert answer.body["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_dry_run_stores_nothing(namespace: Namespace) -> None:
    assert namespace.create("configmaps", config("one"), dryRun="All").code == 201
    assert namespace.get("configmaps", "one").code == 404


def test_generation_follows_the_spec_only(namespace: Namespace) -> None:
    first = namespace.create("networkpolicies", policy("one", {})).body["metadata"]
    labelled = namespace.patch("networkpolicies", "one", {"metadata": {"labels": {"a": "b"}}}).body["metadata"]
    opened = namespace.patch("networkpolicies", "one", {"spec": {"ingress": [{}]}}).body["metadata"]
    assert [first["generation"], labelled["generation"], opened["generation"]] == [1, 1, 2]


def test_status_and_spec_are_written_apart(namespace: Namespace) -> None:
    namespace.create("pods", pod("one"))
    both = {"spec": {"activeDeadlineSeconds": 5}, "status": {"phase": "Running"}}
    through_status = namespace.patch("pods", "one", both, subresource="status").body
    assert through_status["status"]["phase"] == "Running"
    assert "activeDeadlineSeconds" not in through_status["spec"]
    through_spec = namespace.patch("pods", "one", {"status": {"phase": "Failed"}}).body
    assert through_spec["status"]["phase"] == "Running"


def test_wrong_uid_spares_the_object(namespace: Namespace) -> None:
    namespace.create("configmaps", config("one"))
    answer = namespace.delete("configmaps", "one", {"preconditions": {"uid": "another"}})
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert "Precondition failed: UID in precondition: another" in answer.message


def test_finalizer_holds_an_object_until_it_is_removed(namespace: Namespace) -> None:
    held = config("one") | {"metadata": {"name": "one", "finalizers": ["example.com/hold"]}}
    namespace.create("configmaps", held)
    assert "deletionTimestamp" in namespace.delete("configmaps", "one").body["metadata"]
    assert namespace.get("configmaps", "one").code == 200
    namespace.patch("configmaps", "one", {"metadata": {"finalizers": None}})
    assert namespace.get("configmaps", "one").code == 404


def test_unscheduled_pod_goes_at_once(namespace: Namespace) -> None:
    namespace.create("pods", pod("one"))
    assert namespace.delete("pods", "one").code == 200
    assert namespace.get("pods", "one").code == 404


def test_scheduled_pod_goes_when_its_node_says_so(namespace: Namespace) -> None:
    namespace.create("pods", pod("one"))
    binding = {"metadata": {"name": "one"}, "target": {"name": "lab-0"}}
    assert namespace.api.call("POST", namespace.path("pods", "one", "binding"), binding).code == 201
    meta = namespace.delete("pods", "one").body["metadata"]
    assert meta["deletionGracePeriodSeconds"] == 30
    assert namespace.get("pods", "one").body["metadata"]["deletionTimestamp"] == meta["deletionTimestamp"]
    assert namespace.delete("pods", "one", {"gracePeriodSeconds": 0}).code == 200
    assert namespace.get("pods", "one").code == 404


def test_second_binding_conflicts(namespace: Namespace) -> None:
    namespace.create("pods", pod("one", {"nodeName": "lab-1"}))
    binding = {"metadata": {"name": "one"}, "target": {"name": "lab-0"}}
    answer = namespace.api.call("POST", namespace.path("pods", "one", "binding"), binding)
    assert answer.code == 409
    assert 'pod one is already assigned to node "lab-1"' in answer.message


def test_namespace_ends_when_it_is_finalized(namespace: Namespace) -> None:
    place = f"/api/v1/namespaces/{namespace.name}"
    assert namespace.api.call("DELETE", place).body["status"]["phase"] == "Terminating"
    late = namespace.create("configmaps", config("late"))
    assert late.code == 403
    assert "because it is being terminated" in late.message
    assert (
        namespace.api.call("PUT", f"{place}/finalize", {"metadata": {"name": namespace.name}, "spec": {}}).code == 200
    )
    assert namespace.api.call("GET", place).code == 404


def test_object_needs_its_namespace(api: Api) -> None:
    answer = api.call("POST", "/api/v1/namespaces/nowhere/configmaps", config("one"))
    assert (answer.code, answer.message) == (404, 'namespaces "nowhere" not found')


def test_pages_add_up(namespace: Namespace) -> None:
    for name in ("a", "b", "c"):
        namespace.create("configmaps", config(name))
    first = namespace.api.call("GET", namespace.path("configmaps"), limit="2").body
    following = {"limit": "2", "continue": first["metadata"]["continue"]}
    second = namespace.api.call("GET", namespace.path("configmaps"), **following).body
    names = [each["metadata"]["name"] for each in first["items"] + second["items"]]
    assert (names, "continue" in second["metadata"]) == (["a", "b", "c"], False)


def test_delete_collection_obeys_its_selector(namespace: Namespace) -> None:
    for name in ("a", "b"):
        namespace.create("configmaps", config(name))
    namespace.api.call("DELETE", namespace.path("configmaps"), labelSelector="app=a")
    left = namespace.api.call("GET", namespace.path("configmaps")).body["items"]
    assert [each["metadata"]["name"] for each in left] == ["b"]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        pytest.param({"labelSelector": "app=a"}, ["a"], id="equal"),
        pytest.param({"labelSelector": "app!=a"}, ["b", "c"], id="not-equal"),
        pytest.param({"labelSelector": "app in (a, b)"}, ["a", "b"], id="in"),
        pytest.param({"labelSelector": "app notin (a,b)"}, ["c"], id="not-in"),
        pytest.param({"labelSelector": "!tier,app"}, ["a", "b", "c"], id="exists-and-not"),
        pytest.param({"fieldSelector": "spec.nodeName=lab-1"}, ["b"], id="node-name"),
        pytest.param({"fieldSelector": "metadata.name!=a,spec.nodeName="}, ["c"], id="name-and-no-node"),
        pytest.param({"fieldSelector": "status.phase=Pending"}, ["a", "b", "c"], id="phase"),
    ],
)
def test_selectors_choose(namespace: Namespace, selector: dict[str, str], found: list[str]) -> None:
    namespace.create("pods", pod("a", {"nodeName": "lab-0"}))
    namespace.create("pods", pod("b", {"nodeName": "lab-1"}))
    namespace.create("pods", pod("c"))
    items = namespace.api.call("GET", namespace.path("pods"), **selector).body["items"]
    assert [each["metadata"]["name"] for each in items] == found


@pytest.mark.parametrize(
    ("params", "message"),
    [
        pytest.param({"fieldSelector": "spec.image=x"}, "field label not supported: spec.image", id="unknown-field"),
        pytest.param({"labelSelector": "a b"}, "found 'b', expected: in, notin, =, ==, !=, gt, lt", id="no-operator"),
    ],
)
def test_unreadable_selector_is_refused(namespace: Namespace, params: dict[str, str], message: str) -> None:
    answer = namespace.api.call("GET", namespace.path("pods"), **params)
    assert answer.code == 400
    assert message in answer.message


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/livez", "/version"])
def test_open_paths_need_no_token(api: Api, path: str) -> None:
    assert api.call("GET", path, token="").code == 200


def test_stranger_is_unauthorized(api: Api) -> None:
    answer = api.call("GET", "/api/v1/pods", token="nobody")
    assert (answer.code, answer.reason) == (401, "Unauthorized")


def _account_token(api: Api, namespace: str) -> str:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    api.call("POST", path, {"metadata": {"name": "reader"}})
    return str(api.call("POST", f"{path}/reader/token", {"spec": {}}).body["status"]["token"])


def test_workload_account_is_forbidden(api: Api, namespace: Namespace) -> None:
    answer = api.call("GET", namespace.path("pods"), token=_account_token(api, namespace.name))
    assert (answer.code, answer.reason) == (403, "Forbidden")
    assert answer.message == (
        f'pods is forbidden: User "system:serviceaccount:{namespace.name}:reader" cannot list resource "pods" '
        f'in API group "" in the namespace "{namespace.name}"'
    )


def test_system_account_reads_and_does_not_write(api: Api) -> None:
    token = _account_token(api, "kube-system")
    assert api.call("GET", "/api/v1/services", token=token).code == 200
    assert api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "x"}}, token=token).code == 403


def test_forged_token_is_unauthorized(api: Api, namespace: Namespace) -> None:
    header, claims, signature = _account_token(api, namespace.name).split(".")
    text = base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)).decode()
    forged = base64.urlsafe_b64encode(text.replace(namespace.name, "kube-system").encode()).rstrip(b"=").decode()
    assert api.call("GET", "/api/v1/services", token=f"{header}.{forged}.{signature}").code == 401


def test_large_object_fits_and_a_larger_one_is_refused(namespace: Namespace) -> None:
    assert namespace.create("configmaps", config("large", a="\u00e9" * 500_000)).code == 201
    assert namespace.create("configmaps", config("larger", a="x" * 1_100_000)).code == 422
    assert namespace.create("configmaps", config("largest", a="x" * 4_000_000)).code == 413


def test_cluster_ips_are_given_kept_and_unique(namespace: Namespace) -> None:
    def service(name: str, **spec: object) -> Object:
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}

    first = namespace.create("services", service("one")).body["spec"]
    assert first["clusterIPs"] == [first["clusterIP"]]
    assert first["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    taken = namespace.create("services", service("two", clusterIP=first["clusterIP"]))
    assert "provided IP is already allocated" in taken.message
    assert namespace.create("services", service("three", clusterIP="None")).body["spec"]["clusterIPs"] == ["None"]
    kept = namespace.patch("services", "one", {"spec": {"ports": [{"port": 81}]}}, MERGE).body["spec"]
    assert kept["clusterIP"] == first["clusterIP"]
