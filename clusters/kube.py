"""Requests to a cluster's API server: objects in, objects out, as plain JSON.

What belongs here: the verbs of the API, list and watch, waiting for objects, access reviews. What does not: addresses
(`api`), errors (`failures`), the exec stream (`channel`), what the objects mean. The official client reads kubeconfigs.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from clusters.api import Connection
from clusters.cluster import Cluster
from clusters.failures import KubeError, KubeTimeoutError, gave_up, not_found
from clusters.marks import LEASE, MANAGED_BY, MANAGER, RUN, is_of, own, run_selector
from clusters.resources import Resource, base_path, known_resource

if TYPE_CHECKING:
    from clusters.channel import ExecChannel

REQUEST_TIMEOUT: Final = 30.0
"""Seconds for one request; the API server's own limit is 60."""

PATCHES: Final = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}

Object = dict[str, Any]
"""A Kubernetes object as JSON."""
Objects = list[Object]

__all__ = [
    "LEASE",
    "MANAGED_BY",
    "MANAGER",
    "RUN",
    "Kube",
    "KubeError",
    "KubeTimeoutError",
    "own",
    "preload",
    "run_selector",
]


def preload(*, official: bool = True) -> threading.Thread:
    """Import what requests need in the background: the official client takes a second that cluster start can hide."""
    thread = threading.Thread(target=partial(Connection.preload, official=official), daemon=True)
    thread.start()
    return thread


class Kube:
    """One cluster's API, for use from any thread; the connection is opened with the first request.

    Args:
        cluster: The handle; its kubeconfig may hold any kind of credentials that kubectl takes.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._connection = Connection(cluster.kubeconfig, cluster.context)
        self._discovered: dict[tuple[str, str], Resource] = {}

    def close(self) -> None:
        """Drop the pooled connections."""
        self._connection.close()

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object:
        """One object.

        Raises:
            KubeError: The server said no, or did not answer; `status` 404 when there is no such object.
        """
        return self._request("GET", self._resource(api_version, kind), namespace, name)

    def exists(self, api_version: str, kind: str, name: str, namespace: str = "") -> bool:
        """Whether the object is there (also while it is being deleted)."""
        try:
            self.get(api_version, kind, name, namespace)
        except KubeError as error:
            if not_found(error):
                return False
            raise
        return True

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the API server has the kind."""
        try:
            self._resource(api_version, kind)
        except KubeError as error:
            if not_found(error):
                return False
            raise
        return True

    def list(self, api_version: str, kind: str, namespace: str = "", labels: str = "", fields: str = "") -> Objects:
        """The objects of one kind, in one namespace or in all, that match the label and field selectors."""
        return self._list(self._resource(api_version, kind), namespace, labels, fields)[0]

    def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """The object as created, marked as this run's; unknown and duplicate fields are errors."""
        marked = own(obj, self.cluster)
        return self._write("POST", marked, "", {"dryRun": "All"} if dry_run else {})

    def replace(self, obj: Object) -> Object:
        """The object as replaced. One that this run made keeps its marks; a foreign one is never marked as ours."""
        meta = obj["metadata"]
        current = self.get(obj["apiVersion"], obj["kind"], meta["name"], meta.get("namespace", ""))
        fresh = own(obj, self.cluster) if is_of(current, self.cluster.run_id) else copy.deepcopy(obj)
        fresh["metadata"].setdefault("resourceVersion", current["metadata"]["resourceVersion"])
        return self._write("PUT", fresh, meta["name"], {})

    def patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str,
        patch: Object | Objects,
        *,
        strategy: str = "merge",
    ) -> Object:
        """The object as patched; `kind` may name a subresource (`Pod/status`).

        Args:
            strategy: `merge`, `strategic`, or `json` (a list of operations).
        """
        resource, subresource = self._split(api_version, kind)
        return self._connection.json(
            "PATCH",
            resource.path(namespace, name, subresource),
            f"patch {resource.place(namespace, name)}",
            body=patch,
            params={"fieldValidation": "Strict"},
            content_type=PATCHES[strategy],
            read_timeout=REQUEST_TIMEOUT,
        )

    def delete(
        self, api_version: str, kind: str, name: str, namespace: str = "", *, grace: int | None = None, uid: str = ""
    ) -> None:
        """Ask for one object's deletion, its dependants in the background; one that is gone already is no error.

        Args:
            uid: Delete only the object with this uid; 409 when the name belongs to another by now.
        """
        resource = self._resource(api_version, kind)
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            self._connection.json(
                "DELETE",
                resource.path(namespace, name),
                f"delete {resource.place(namespace, name)}",
                body=body,
                read_timeout=REQUEST_TIMEOUT,
            )
        except KubeError as error:
            if not not_found(error):
                raise

    def watch(
        self,
        api_version: str,
        kind: str,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        since: str = "",
        timeout: float,
    ) -> Iterator[tuple[str, Object]]:
        """Changes after the resourceVersion `since`: (`ADDED`|`MODIFIED`|`DELETED`|`BOOKMARK`, object).

        Ends when the server ends the stream, at the latest after `timeout` seconds.

        Raises:
            KubeError: The server said no; `status` 410 when `since` is too old (list again).
        """
        resource = self._resource(api_version, kind)
        params = _selectors(labels, fields) | {"watch": "1", "allowWatchBookmarks": "true"}
        if since:
            params["resourceVersion"] = since
        return self._connection.lines(
            resource.path(namespace), f"watch {resource.place(namespace)}", params=params, timeout=timeout
        )

    def wait(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        until: Callable[[Objects], bool],
        *,
        what: str,
        timeout: float,
        labels: str = "",
        abort: Callable[[], None] | None = None,
    ) -> Objects:
        """The objects, as soon as `until` holds for all of them together (list, then watch).

        Args:
            what: What is waited for, for the error: `pods of demo ready`.
            timeout: Seconds.
            abort: Called at least once a second; what it raises ends the wait.

        Raises:
            KubeTimeoutError: It did not come true; the detail has the last state and the command to look again.
        """
        resource = self._resource(api_version, kind)
        begin = time.monotonic()
        deadline = begin + timeout
        changes, pause = 0, 0.05
        while True:
            if abort:
                abort()
            items, since = self._list(resource, namespace, labels, "")
            state = {_uid(item): item for item in items}
            if until(list(state.values())):
                return list(state.values())
            turn = time.monotonic() + (1.0 if abort else timeout)
            try:
                for event, obj in self.watch(
                    api_version,
                    kind,
                    namespace,
                    labels=labels,
                    since=since,
                    timeout=max(min(deadline, turn) - time.monotonic(), 0.0),
                ):
                    changes += 1
                    _take(state, event, obj)
                    if event != "BOOKMARK" and until(list(state.values())):
                        return list(state.values())
            except KubeError as error:
                if error.status != 410:
                    raise
            now = time.monotonic()
            if now >= deadline:
                raise gave_up(resource, namespace, labels, what, begin, changes, list(state.values()))
            if now < turn:  # a server that ends every watch at once must not be asked without pause
                threading.Event().wait(min(pause, deadline - now))
                pause = min(pause * 2, 1.0)

    def version(self) -> str:
        """The API server's version: `v1.34.4`."""
        answer = self._connection.json("GET", "/version", "read the version", read_timeout=REQUEST_TIMEOUT)
        return str(answer.get("gitVersion", ""))

    def logs(self, namespace: str, pod: str, container: str = "", *, previous: bool = False, tail: int = 200) -> str:
        """The last lines of a container's log; `previous` for the one before its last restart."""
        resource = self._resource("v1", "Pod")
        params = {"tailLines": str(tail)}
        if container:
            params["container"] = container
        if previous:
            params["previous"] = "true"
        return self._connection.text(
            resource.path(namespace, pod, "log"),
            f"read the log of {resource.place(namespace, pod)}",
            params=params,
            read_timeout=REQUEST_TIMEOUT,
        )

    def events(self, namespace: str) -> Objects:
        """The namespace's events, oldest first."""
        return sorted(self.list("v1", "Event", namespace), key=_event_time)

    def channel(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecChannel:
        """One exec stream to a command in a container, without a terminal.

        Raises:
            KubeError: The server refused it, or did not answer.
        """
        from clusters.channel import ExecChannel

        resource = self._resource("v1", "Pod")
        query = [("command", part) for part in command]
        query += [("container", container)] if container else []
        query += [(stream, "true") for stream in ("stdin", "stdout", "stderr")]
        path = f"{resource.path(namespace, pod, 'exec')}?{urlencode(query)}"
        return ExecChannel(self._connection, path, resource.place(namespace, pod))

    def access(self, verb: str, api_version: str, kind: str, namespace: str = "") -> bool:
        """Whether these credentials may do this; `kind` may name a subresource (`Pod/exec`)."""
        resource, subresource = self._split(api_version, kind)
        asked = {
            "verb": verb,
            "group": resource.group,
            "resource": resource.plural,
            "subresource": subresource,
            "namespace": namespace,
        }
        answer = self._connection.json(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            f"ask whether we may {verb} {kind}",
            body={
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
            },
            read_timeout=REQUEST_TIMEOUT,
        )
        return bool((answer.get("status") or {}).get("allowed"))

    def _request(self, method: str, resource: Resource, namespace: str, name: str) -> Object:
        return self._connection.json(
            method,
            resource.path(namespace, name),
            f"{method.lower()} {resource.place(namespace, name)}",
            read_timeout=REQUEST_TIMEOUT,
        )

    def _list(self, resource: Resource, namespace: str, labels: str, fields: str) -> tuple[Objects, str]:
        answer = self._connection.json(
            "GET",
            resource.path(namespace),
            f"list {resource.place(namespace)}",
            params=_selectors(labels, fields),
            read_timeout=REQUEST_TIMEOUT,
        )
        named = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [{**named, **item} for item in answer.get("items") or []], str(answer["metadata"]["resourceVersion"])

    def _write(self, method: str, obj: Object, name: str, params: dict[str, str]) -> Object:
        resource = self._resource(obj["apiVersion"], obj["kind"])
        meta = obj["metadata"]
        namespace = meta.get("namespace", "")
        if resource.namespaced and not namespace:
            raise KubeError(f"{resource.place('', meta.get('name', ''))}: metadata.namespace is missing; set it")
        verb = "create" if method == "POST" else "replace"
        return self._connection.json(
            method,
            resource.path(namespace, name),
            f"{verb} {resource.place(namespace, meta.get('name') or meta.get('generateName', ''))}",
            body=obj,
            params={"fieldValidation": "Strict", **params},
            read_timeout=REQUEST_TIMEOUT,
        )

    def _split(self, api_version: str, kind: str) -> tuple[Resource, str]:
        name, _, subresource = kind.partition("/")
        return self._resource(api_version, name), subresource

    def _resource(self, api_version: str, kind: str) -> Resource:
        found = known_resource(api_version, kind) or self._discovered.get((api_version, kind))
        if found is None:
            answer = self._connection.json(
                "GET", base_path(api_version), f"look up {kind} of {api_version}", read_timeout=REQUEST_TIMEOUT
            )
            for each in answer.get("resources") or []:
                if "/" not in each["name"]:
                    resource = Resource(api_version, each["kind"], each["name"], bool(each["namespaced"]))
                    self._discovered[api_version, each["kind"]] = resource
            found = self._discovered.get((api_version, kind))
        if found is None:
            raise KubeError(
                f"{kind} of {api_version}: the API server has no such kind; check apiVersion and kind",
                status=404,
                reason="NotFound",
            )
        return found


def _selectors(labels: str, fields: str) -> dict[str, str]:
    given = {"labelSelector": labels, "fieldSelector": fields}
    return {key: value for key, value in given.items() if value}


def _uid(obj: Object) -> str:
    return str(obj["metadata"].get("uid") or f"{obj['metadata'].get('namespace')}/{obj['metadata']['name']}")


def _take(state: dict[str, Object], event: str, obj: Object) -> None:
    if event == "DELETED":
        state.pop(_uid(obj), None)
    elif event != "BOOKMARK":
        state[_uid(obj)] = obj


def _event_time(event: Object) -> str:
    meta = event.get("metadata") or {}
    return str(event.get("lastTimestamp") or event.get("eventTime") or meta.get("creationTimestamp") or "")
