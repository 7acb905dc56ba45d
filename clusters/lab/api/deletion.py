"""How objects end: graceful pods, finalizers, namespaces, preconditions."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from clusters.lab.api import resources
from clusters.lab.api.resources import ResourceType
from clusters.lab.api.status import conflict, forbidden
from clusters.lab.api.store import Entry

if TYPE_CHECKING:
    from clusters.lab.api.operations import Operations, WriteOptions

Object = dict[str, Any]
_PROTECTED = {"default", "kube-system", "kube-public"}
_RETURNED = {"Pod", "Service", "ServiceAccount", "Namespace"}
"""Kinds whose deletion is answered with the object; the others answer with a Status."""


def is_over(resource: ResourceType, obj: Object) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    meta = obj["metadata"]
    if "deletionTimestamp" not in meta or meta.get("finalizers"):
        return False
    if resource == resources.NAMESPACES:
        return not obj["spec"].get("finalizers")
    return not meta.get("deletionGracePeriodSeconds")


def delete(operations: Operations, resource: ResourceType, entry: Entry, how: Object, options: WriteOptions) -> Object:
    """End an object, or begin its end; the body of the answer.

    Args:
        how: DeleteOptions.

    Raises:
        StatusError: A precondition does not hold, or the object must not be deleted.
    """
    _precondition(resource, entry, how.get("preconditions", {}))
    if how.get("propagationPolicy") == "Foreground":
        why = "the lab does not do propagationPolicy Foreground: it has no garbage collector; use Background"
        raise forbidden(resource, entry.name, why)
    obj, grace = entry.copy(), 0
    meta = obj["metadata"]
    if resource == resources.NAMESPACES:
        if entry.name in _PROTECTED:
            raise forbidden(resource, entry.name, "this namespace may not be deleted")
        obj["status"]["phase"] = "Terminating"
    if resource == resources.PODS:
        grace = _grace(obj, how.get("gracePeriodSeconds"))
    known = meta.get("deletionGracePeriodSeconds")
    if known is None or grace < known:
        moment = datetime.datetime.now(datetime.UTC)
        if known is not None:
            begun = datetime.datetime.fromisoformat(meta["deletionTimestamp"]) - datetime.timedelta(seconds=known)
            moment = begun
        meta["deletionTimestamp"] = (moment + datetime.timedelta(seconds=grace)).strftime("%Y-%m-%dT%H:%M:%SZ")
        meta["deletionGracePeriodSeconds"] = grace
        if resource.generation:
            meta["generation"] = meta.get("generation", 0) + 1
    if resource == resources.NAMESPACES:
        meta.pop("deletionGracePeriodSeconds", None)
    if is_over(resource, obj):
        if resource == resources.PODS or options.dry_run:
            gone: Object = obj
        else:
            gone = entry.copy()
        if not options.dry_run:
            gone = operations.store.remove(resource.qualified, entry.namespace, gone).object
        return gone if resource.kind in _RETURNED else _success(resource, entry)
    if obj != entry.object and not options.dry_run:
        return operations.store.put(resource.qualified, entry.namespace, obj).object
    return obj


def _precondition(resource: ResourceType, entry: Entry, wanted: Object) -> None:
    meta = entry.object["metadata"]
    for key, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if wanted.get(key) and wanted[key] != meta[key]:
            why = f"Precondition failed: {label} in precondition: {wanted[key]}, {label} in object meta: {meta[key]}"
            raise conflict(resource, entry.name, why)


def _grace(pod: Object, asked: int | None) -> int:
    if not pod["spec"].get("nodeName") or pod["status"].get("phase") in {"Succeeded", "Failed"}:
        return 0
    grace = pod["spec"].get("terminationGracePeriodSeconds", 30) if asked is None else asked
    return int(grace) if grace >= 0 else 1


def _success(resource: ResourceType, entry: Entry) -> Object:
    details: Object = {"name": entry.name}
    if resource.group:
        details["group"] = resource.group
    details |= {"kind": resource.plural, "uid": entry.object["metadata"]["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
