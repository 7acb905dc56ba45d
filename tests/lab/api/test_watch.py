"""Watches: every change, in order, from where the client left off."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters.lab.api.store import CompactedError, Store
from tests.lab.api.world import Api, Namespace, Object, Watch, config, running


def _revision(namespace: Namespace) -> str:
    return str(namespace.api.call("GET", namespace.path("configmaps")).body["metadata"]["resourceVersion"])


def test_live_changes_arrive_in_order(namespace: Namespace) -> None:
    with Watch(namespace.api, namespace.path("configmaps"), resourceVersion=_revision(namespace)) as watch:
        namespace.create("configmaps", config("one"))
        namespace.patch("configmaps", "one", {"data": {"a": "b"}})
        namespace.delete("configmaps", "one")
        assert watch.names(3) == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]


def test_watch_resumes_without_loss_or_repeat(namespace: Namespace) -> None:
    seen = namespace.create("configmaps", config("one")).body["metadata"]["resourceVersion"]
    namespace.patch("configmaps", "one", {"data": {"a": "b"}})
    namespace.create("configmaps", config("two"))
    with Watch(namespace.api, namespace.path("configmaps"), resourceVersion=seen) as watch:
        namespace.create("configmaps", config("three"))
        assert watch.names(3) == [("MODIFIED", "one"), ("ADDED", "two"), ("ADDED", "three")]


def test_watch_without_revision_begins_with_what_is_there(namespace: Namespace) -> None:
    namespace.create("configmaps", config("one"))
    with Watch(namespace.api, namespace.path("configmaps")) as watch:
        namespace.create("configmaps", config("two"))
        assert watch.names(2) == [("ADDED", "one"), ("ADDED", "two")]


def test_initial_events_end_with_their_bookmark(namespace: Namespace) -> None:
    namespace.create("configmaps", config("one"))
    params = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    with Watch(namespace.api, namespace.path("configmaps"), **params) as watch:
        assert watch.names(1) == [("ADDED", "one")]
        kind, mark = watch.next()
    assert (kind, mark["metadata"]["annotations"]) == ("BOOKMARK", {"k8s.io/initial-events-end": "true"})


def test_selector_turns_leaving_objects_into_deletions(namespace: Namespace) -> None:
    since = _revision(namespace)
    namespace.create("configmaps", config("one"))
    namespace.patch("configmaps", "one", {"metadata": {"labels": {"app": "other"}}})
    namespace.patch("configmaps", "one", {"data": {"a": "unseen"}})
    namespace.patch("configmaps", "one", {"metadata": {"labels": {"app": "one"}}})
    with Watch(namespace.api, namespace.path("configmaps"), resourceVersion=since, labelSelector="app=one") as watch:
        namespace.delete("configmaps", "one")
        expected = [("ADDED", "one"), ("DELETED", "one"), ("ADDED", "one"), ("DELETED", "one")]
        assert watch.names(4) == expected


def test_watch_ends_when_its_time_is_over(namespace: Namespace) -> None:
    since = _revision(namespace)
    with Watch(namespace.api, namespace.path("configmaps"), resourceVersion=since, timeoutSeconds="1") as watch:
        assert watch.rest() == b""


def _gone(api: Api) -> Object:
    with Watch(api, "/api/v1/configmaps", resourceVersion="1") as watch:
        kind, status = watch.next()
    assert kind == "ERROR"
    return status


def test_compacted_revision_is_gone(tmp_path: Path) -> None:
    with running(tmp_path, keep=16) as api:
        place = "/api/v1/namespaces/default/configmaps"
        api.call("POST", place, config("one"))
        for number in range(40):
            api.call("PATCH", f"{place}/one", {"data": {"n": str(number)}}, content_type="application/merge-patch+json")
        status = _gone(api)
    assert (status["code"], status["reason"]) == (410, "Expired")
    assert "too old resource version: 1" in status["message"]


def _object(name: str, value: str) -> Object:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": {"v": value}}


def test_store_returns_after_a_restart(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "log"))
    store.put("configmaps", "a", _object("one", "1"))
    store.put("configmaps", "a", _object("two", "1"))
    store.remove("configmaps", "a", _object("one", "1"))
    store.close()
    again = Store(str(tmp_path / "log"))
    assert [entry.name for entry in again.list("configmaps")] == ["two"]
    assert again.revision == store.revision
    assert [change.type for change in again.since("configmaps", 1)] == ["ADDED", "ADDED", "DELETED"]
    again.close()


def test_compaction_keeps_what_lives_and_what_it_was_before() -> None:
    store = Store(":memory:")
    for value in "123":
        store.put("configmaps", "a", _object("one", value))
    store.put("configmaps", "a", _object("two", "1"))
    store.remove("configmaps", "a", _object("two", "1"))
    store.compact(3)
    changes = list(store.since("configmaps", 3))
    assert [change.type for change in changes] == ["MODIFIED", "ADDED", "DELETED"]
    assert changes[0].previous is not None
    assert changes[0].previous.object["data"] == {"v": "2"}
    with pytest.raises(CompactedError):
        list(store.since("configmaps", 2))
