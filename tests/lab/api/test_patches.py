"""The three patches, against the cases of their specifications and of Kubernetes' documentation."""

from __future__ import annotations

from typing import Any

import pytest

from clusters.lab.api import patch
from clusters.lab.api.status import StatusError

Object = dict[str, Any]


@pytest.mark.parametrize(
    ("original", "change", "result"),
    [
        pytest.param({"a": "b"}, {"a": "c"}, {"a": "c"}, id="replace"),
        pytest.param({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}, id="add"),
        pytest.param({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}, id="remove"),
        pytest.param({"a": ["b"]}, {"a": "c"}, {"a": "c"}, id="list-by-value"),
        pytest.param({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}, id="nested"),
        pytest.param({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}, id="lists-are-replaced"),
        pytest.param({"e": None}, {"a": 1}, {"e": None, "a": 1}, id="null-of-the-original-stays"),
        pytest.param({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}, id="no-nulls-from-the-patch"),
    ],
)
def test_merge_patch(original: Object, change: Object, result: Object) -> None:
    assert patch.merge(original, change) == result


@pytest.mark.parametrize(
    ("original", "operations", "result"),
    [
        pytest.param({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}, id="add"),
        pytest.param({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}, id="add-into-list"),
        pytest.param({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}, id="add-at-the-end"),
        pytest.param({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}, id="remove"),
        pytest.param({"a/b": 1, "m~n": 2}, [{"op": "remove", "path": "/a~1b"}], {"m~n": 2}, id="slash"),
        pytest.param({"m~n": 2}, [{"op": "replace", "path": "/m~0n", "value": 3}], {"m~n": 3}, id="tilde"),
        pytest.param({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}, id="move"),
        pytest.param({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}, id="copy"),
        pytest.param({"a": 1}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1}, id="test"),
    ],
)
def test_json_patch(original: Object, operations: list[Object], result: Object) -> None:
    assert patch.json_patch(original, operations) == result


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param({"op": "test", "path": "/a", "value": 2}, id="test-fails"),
        pytest.param({"op": "remove", "path": "/none"}, id="remove-nothing"),
        pytest.param({"op": "replace", "path": "/none", "value": 1}, id="replace-nothing"),
        pytest.param({"op": "add", "path": "/none/deeper", "value": 1}, id="add-below-nothing"),
        pytest.param({"op": "polish", "path": "/a"}, id="unknown"),
    ],
)
def test_json_patch_that_does_not_fit_is_refused(operation: Object) -> None:
    with pytest.raises(StatusError) as refused:
        patch.json_patch({"a": 1}, [operation])
    assert refused.value.code == 422


def _containers(*names: str, **more: object) -> Object:
    return {"spec": {"containers": [{"name": name, "image": f"{name}:1"} for name in names], **more}}


def _names(pod: Object) -> list[str]:
    return [each["name"] for each in pod["spec"]["containers"]]


def test_strategic_patch_merges_lists_by_key() -> None:
    change = {"spec": {"containers": [{"name": "b", "image": "b:2"}]}}
    patched = patch.strategic("Pod", _containers("a", "b"), change)
    assert {each["name"]: each["image"] for each in patched["spec"]["containers"]} == {"a": "a:1", "b": "b:2"}


def test_strategic_patch_deletes_by_key() -> None:
    change = {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}
    assert _names(patch.strategic("Pod", _containers("a", "b"), change)) == ["b"]


def test_strategic_patch_replaces_a_list() -> None:
    change = {"spec": {"containers": [{"name": "c"}, {"$patch": "replace"}]}}
    assert _names(patch.strategic("Pod", _containers("a", "b"), change)) == ["c"]


def test_strategic_patch_replaces_a_map() -> None:
    original = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    change = {"metadata": {"labels": {"$patch": "replace", "c": "3"}}}
    assert patch.strategic("Pod", original, change)["metadata"]["labels"] == {"c": "3"}


def test_strategic_patch_obeys_the_order() -> None:
    order = [{"name": "c"}, {"name": "a"}]
    change = {"spec": {"$setElementOrder/containers": order, "containers": [{"name": "c", "image": "c:1"}]}}
    assert _names(patch.strategic("Pod", _containers("a"), change)) == ["c", "a"]


def test_strategic_patch_keeps_what_only_the_server_has_in_place() -> None:
    order = [{"name": "c"}, {"name": "b"}]
    change = {"spec": {"$setElementOrder/containers": order}}
    assert _names(patch.strategic("Pod", _containers("a", "b", "c"), change)) == ["a", "c", "b"]


def test_strategic_patch_retains_only_the_named_keys() -> None:
    original = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    volume = {"name": "v", "configMap": {"name": "c"}, "$retainKeys": ["name", "configMap"]}
    patched = patch.strategic("Pod", original, {"spec": {"volumes": [volume]}})
    assert patched["spec"]["volumes"] == [{"name": "v", "configMap": {"name": "c"}}]


def test_strategic_patch_takes_plain_values_out_of_a_list() -> None:
    original = {"metadata": {"finalizers": ["a/a", "b/b"]}}
    change = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/a"], "finalizers": ["c/c"]}}
    assert sorted(patch.strategic("Pod", original, change)["metadata"]["finalizers"]) == ["b/b", "c/c"]


def test_strategic_patch_replaces_lists_without_a_key() -> None:
    original = {"spec": {"tolerations": [{"key": "a"}]}}
    patched = patch.strategic("Pod", original, {"spec": {"tolerations": [{"key": "b"}]}})
    assert patched["spec"]["tolerations"] == [{"key": "b"}]


def test_strategic_patch_needs_the_merge_key() -> None:
    with pytest.raises(StatusError, match="does not contain declared merge key: name"):
        patch.strategic("Pod", _containers("a"), {"spec": {"containers": [{"image": "x"}]}})
