"""Whether an object makes sense, as Kubernetes judges it: metadata for all, and the kinds too short for a file.

What belongs here: rules of Kubernetes itself, in its words. What does not: what only the lab refuses (`admission`).
"""

from __future__ import annotations

import ipaddress
from typing import Any

from clusters.lab.api import validation_network, validation_pods
from clusters.lab.api.names import (
    check_labels,
    config_key_problem,
    dns1035_problem,
    dns_label_problem,
    label_key_problem,
    subdomain_problem,
)
from clusters.lab.api.resources import ResourceType
from clusters.lab.api.status import Causes

Object = dict[str, Any]
_ANNOTATIONS_LIMIT = 256 * 1024
_DATA_LIMIT = 1024 * 1024


def validate(resource: ResourceType, obj: Object, before: Object | None, causes: Causes) -> None:
    """Collect everything that is wrong with an object; `before` is what it replaces."""
    _metadata(resource, obj, causes)
    if resource.custom or (before is not None and _spec(obj) == _spec(before)):
        return
    match resource.kind:
        case "Pod":
            validation_pods.validate(obj, before, causes)
        case "Service":
            validation_network.service(obj, before, causes)
        case "NetworkPolicy":
            validation_network.network_policy(obj["spec"], causes)
        case "EndpointSlice":
            validation_network.endpoint_slice(obj, before, causes)
        case "ConfigMap" | "Secret":
            _data(obj, before, causes)
        case "Node":
            _node(obj, causes)
        case "Lease":
            if obj["spec"].get("leaseDurationSeconds", 1) <= 0:
                causes.invalid(
                    "spec.leaseDurationSeconds", obj["spec"]["leaseDurationSeconds"], "must be greater than 0"
                )
        case "MutatingWebhookConfiguration":
            from clusters.lab.api import validation_mesh  # a lab without a mesh pays nothing for it

            validation_mesh.webhooks(obj, causes)
        case "Event":
            _event(obj, causes)
        case _:
            pass


def _spec(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in {"metadata", "status"}}


def _metadata(resource: ResourceType, obj: Object, causes: Causes) -> None:
    meta = obj["metadata"]
    name, prefix = meta.get("name", ""), meta.get("generateName", "")
    if resource.kind == "Namespace":
        problem_of = dns_label_problem
    elif resource.kind == "Service":
        problem_of = dns1035_problem
    else:
        problem_of = subdomain_problem
    if prefix and (problem := problem_of(prefix.rstrip("-") or prefix)):
        causes.invalid("metadata.generateName", prefix, problem)
    if not name:
        causes.required("metadata.name", "name or generateName is required")
    elif problem := problem_of(name):
        causes.invalid("metadata.name", name, problem)
    check_labels(causes, meta.get("labels", {}), "metadata.labels")
    annotations: dict[str, str] = meta.get("annotations", {})
    for key in annotations:
        if problem := label_key_problem(key.lower()):
            causes.invalid("metadata.annotations", key, problem)
    if sum(len(key) + len(value) for key, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        causes.invalid("metadata.annotations", "", f"may not be more than {_ANNOTATIONS_LIMIT} bytes")
    for owner in meta.get("ownerReferences", []):
        for key in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(key):
                why = "version must not be empty" if key == "apiVersion" else "must not be empty"
                causes.invalid(f"metadata.ownerReferences.{key}", "", why)
    for place, finalizer in enumerate(meta.get("finalizers", [])):
        if problem := label_key_problem(finalizer):
            causes.invalid(f"metadata.finalizers[{place}]", finalizer, problem)
        elif "/" not in finalizer and finalizer not in {"orphan", "foregroundDeletion"}:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            causes.invalid(f"metadata.finalizers[{place}]", finalizer, why)


def _data(obj: Object, before: Object | None, causes: Causes) -> None:
    size = 0
    for name in ("data", "binaryData"):
        for key, value in obj.get(name, {}).items():
            size += len(value)
            if problem := config_key_problem(key):
                causes.invalid(f"{name}[{key}]", key, problem)
    for key in set(obj.get("data", {})) & set(obj.get("binaryData", {})):
        causes.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    if size > _DATA_LIMIT:
        causes.invalid("data" if obj["kind"] == "Secret" else "", "", f"may not be more than {_DATA_LIMIT} bytes")
    if before is None:
        return
    if obj["kind"] == "Secret" and obj.get("type") != before.get("type"):
        causes.invalid("type", obj.get("type"), "field is immutable")
    if before.get("immutable"):
        if not obj.get("immutable"):
            causes.forbidden("immutable", "field is immutable when `immutable` is set")
        for name in ("data", "binaryData"):
            if obj.get(name) != before.get(name):
                causes.forbidden(name, "field is immutable when `immutable` is set")


def _node(obj: Object, causes: Causes) -> None:
    for place, cidr in enumerate(obj["spec"].get("podCIDRs", [])):
        try:
            ipaddress.ip_network(cidr)
        except ValueError:
            causes.invalid(
                f"spec.podCIDRs[{place}]", cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            )
    for place, taint in enumerate(obj["spec"].get("taints", [])):
        here = f"spec.taints[{place}]"
        if problem := label_key_problem(taint.get("key", "")):
            causes.invalid(f"{here}.key", taint.get("key", ""), problem)
        effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"]
        if taint.get("effect") not in effects:
            causes.unsupported(f"{here}.effect", taint.get("effect", ""), effects)


def _event(obj: Object, causes: Causes) -> None:
    involved = obj["involvedObject"].get("namespace", "")
    if involved != obj["metadata"]["namespace"] and not (not involved and obj["metadata"]["namespace"] == "default"):
        causes.invalid("involvedObject.namespace", involved, "does not match event.namespace")
