"""Kinds and their URLs, and the state of objects in a few words.

What belongs here: facts about kinds that need no request. What does not: requests (`api`, `kube`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

_CLUSTER_WIDE: Final = {"Namespace", "Node", "ClusterRole", "ClusterRoleBinding"}
_KNOWN: Final = {
    "v1": "Namespace Node Pod Service ConfigMap Secret ServiceAccount Event",
    "apps/v1": "Deployment DaemonSet ReplicaSet StatefulSet",
    "discovery.k8s.io/v1": "EndpointSlice",
    "networking.k8s.io/v1": "NetworkPolicy",
    "rbac.authorization.k8s.io/v1": "Role RoleBinding ClusterRole ClusterRoleBinding",
}
"""Kinds that need no discovery request; every other kind is looked up once."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the API, as its URL knows it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, of one object, or of its subresource."""
        scope = ["namespaces", namespace] if self.namespaced and namespace else []
        parts = [part for part in (*scope, self.plural, name, subresource) if part]
        return base_path(self.api_version) + "/" + "/".join(quote(part, safe="") for part in parts)

    def place(self, namespace: str = "", name: str = "") -> str:
        """What a person calls it: `Pod demo/server`."""
        return " ".join(part for part in (self.kind, "/".join(p for p in (namespace, name) if p)) if part)


def base_path(api_version: str) -> str:
    """The URL path of one version of one group."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def known_resource(api_version: str, kind: str) -> Resource | None:
    """The resource of a kind that every cluster has, without asking."""
    if kind not in _KNOWN.get(api_version, "").split():
        return None
    plural = kind.lower()
    plural = plural[:-1] + "ies" if plural.endswith("y") else plural + "s"
    return Resource(api_version, kind, plural, kind not in _CLUSTER_WIDE)


def summary(objects: Sequence[dict[str, Any]], limit: int = 12) -> str:
    """The objects' state, a line each: name, phase, conditions that do not hold, reasons why containers wait."""
    lines = [_line(obj) for obj in objects[:limit]]
    if len(objects) > limit:
        lines.append(f"… and {len(objects) - limit} more")
    return "\n".join(lines) or "(no objects)"


def _line(obj: dict[str, Any]) -> str:
    meta, status = obj.get("metadata") or {}, obj.get("status") or {}
    facts = [str(status["phase"])] if status.get("phase") else []
    if meta.get("deletionTimestamp"):
        facts.append("being deleted")
    for condition in status.get("conditions") or []:
        if condition.get("status") != "True":
            why = " ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key))
            facts.append(f"{condition.get('type')}={condition.get('status')} {why}".strip())
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        for name, state in (container.get("state") or {}).items():
            if name != "running" and state.get("reason") != "Completed":
                words = f"{state.get('reason', '')} {state.get('message', '')}".strip()
                facts.append(f"{container['name']} {name}: {words}")
    for wanted, have in (("desiredNumberScheduled", "numberReady"), ("replicas", "readyReplicas")):
        if wanted in status:
            facts.append(f"{status.get(have, 0)} of {status[wanted]} ready")
    name = "/".join(part for part in (meta.get("namespace", ""), meta.get("name", "")) if part)
    return f"{obj.get('kind', 'object')} {name}: {'; '.join(facts) or 'no status'}"


def ready(pod: dict[str, Any]) -> bool:
    """Whether the pod is Ready, has an address and is to stay."""
    status = pod.get("status") or {}
    conditions = status.get("conditions") or []
    says_so = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return says_so and "deletionTimestamp" not in pod["metadata"] and bool(status.get("podIP"))
