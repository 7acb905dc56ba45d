"""What the verbs do to objects: create, update, patch, delete, bind; every write passes through here.

What belongs here: the order of steps (decode, defaults, admission, validation, store) and the life of `metadata`. What
does not: HTTP (`rest`), the rules themselves (`admission`, `validation`), ends (`deletion`).
"""

from __future__ import annotations

import datetime
import json
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from clusters.lab.addresses import AddressPlan
from clusters.lab.api import (
    addressing,
    admission,
    custom,
    defaults,
    deletion,
    patch,
    podsecurity,
    resources,
    validation,
)
from clusters.lab.api.resources import ResourceType
from clusters.lab.api.schema import Decoder
from clusters.lab.api.status import (
    Causes,
    StatusError,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    quoted,
)
from clusters.lab.api.store import Entry, Store

Object = dict[str, Any]
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_BORN_EMPTY = {"Pod", "Service", "Namespace"}
"""Kinds whose status a creator cannot set."""


@dataclass(slots=True, kw_only=True)
class WriteOptions:
    """How one write is meant.

    Attributes:
        validation: `Strict`, `Warn` or `Ignore`: what becomes of unknown and duplicate fields.
        warnings: Lines for the answer's `Warning` headers, filled on the way.
    """

    dry_run: bool = False
    validation: str = "Warn"
    warnings: list[str] = field(default_factory=list)


def now() -> str:
    """The time as `metadata` writes it: whole seconds, UTC."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def name_suffix() -> str:
    """Five letters that make a generated name unique."""
    return "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))


class Operations:
    """The verbs, over one store.

    Args:
        plan: Which addresses Services are given.
        mesh: The lab's mesh; with one, new pods pass its injection.
        mutant: The lab's, which may be one of injection.
    """

    def __init__(self, store: Store, plan: AddressPlan, *, mesh: str = "none", mutant: str = "") -> None:
        self.store = store
        self._meshed, self._mutant = mesh != "none", mutant
        self._addresses = addressing.Addresses(store, plan)

    # Reading ---------------------------------------------------------------------------------------------------------

    def get(self, resource: ResourceType, namespace: str, name: str) -> Entry:
        """The living object.

        Raises:
            StatusError: 404.
        """
        entry = self.store.get(resource.qualified, namespace, name)
        if entry is None:
            raise not_found(resource, name)
        return entry

    # Writing ---------------------------------------------------------------------------------------------------------

    def decode(self, resource: ResourceType, body: Any, options: WriteOptions, *, kind: str = "") -> Object:
        """The body as an object of its kind, strictness applied.

        Raises:
            StatusError: 400; not of this kind, of wrong types, or with fields that a strict reader refuses.
        """
        kind = kind or resource.kind
        if not isinstance(body, dict):
            raise bad_request(f"the object provided is unrecognized (must be of type {kind}): it is not a JSON object")
        said, version = body.get("kind", kind), body.get("apiVersion", resource.api_version)
        if said != kind or version != resource.api_version:
            short = str(version).rpartition("/")[2]
            raise bad_request(f'{said} in version "{short}" cannot be handled as a {kind}')
        obj, strict = _decoded(resource, kind, body)
        if strict and options.validation == "Strict":
            raise bad_request(
                f'{kind} in version "{resource.version}" cannot be handled as a {kind}: '
                f"strict decoding error: {', '.join(strict)}"
            )
        if options.validation == "Warn":
            options.warnings += strict
        return {"kind": kind, "apiVersion": resource.api_version} | obj

    def create(self, resource: ResourceType, namespace: str, body: Any, options: WriteOptions) -> Object:
        """The object as stored.

        Raises:
            StatusError: The object is refused.
        """
        obj = self.decode(resource, body, options)
        meta: Object = obj["metadata"]
        _settle_namespace(resource, meta, namespace)
        if meta.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"][:58] + name_suffix()
        for key in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            meta.pop(key, None)
        meta.pop("selfLink", None)
        meta.pop("managedFields", None)
        meta["uid"], meta["creationTimestamp"] = str(uuid.uuid4()), now()
        if resource.kind in _BORN_EMPTY:
            obj["status"] = Decoder(f"{resource.kind}Status", resource.version).decode({})
        if resource.custom:
            obj.pop("status", None)
        self._prepare_new(resource, namespace, obj)
        defaults.apply(resource, obj)
        obj, injected = self._inject(obj) if self._meshed and resource == resources.PODS else (obj, frozenset[str]())
        meta = obj["metadata"]
        taken = self.store.get(resource.qualified, namespace, meta.get("name", ""))
        if taken is not None:
            raise already_exists(resource, meta["name"], ending="deletionTimestamp" in taken.object["metadata"])
        self._check(resource, obj, None, options, injected)
        self._addresses.allocate(resource, obj)
        if resource.generation:
            meta["generation"] = 1
        if options.dry_run:
            return obj
        return self.store.put(resource.qualified, namespace, obj).object

    def _prepare_new(self, resource: ResourceType, namespace: str, obj: Object) -> None:
        admission.namespace_accepts(self.store, resource, namespace, obj["metadata"].get("name", ""))
        if resource == resources.PODS:
            defaults.service_account(obj, name_suffix())
            admission.service_account_exists(self.store, obj)
            defaults.tolerations(obj["spec"])
            priority = {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}
            obj["spec"].setdefault("priority", priority.get(obj["spec"].get("priorityClassName", ""), 0))
            obj["spec"].setdefault("preemptionPolicy", "PreemptLowerPriority")
        if resource == resources.NAMESPACES:
            finalizers = obj["spec"].setdefault("finalizers", [])
            if "kubernetes" not in finalizers:
                finalizers.append("kubernetes")

    def _inject(self, pod: Object) -> tuple[Object, frozenset[str]]:
        """The pod after the mesh's injection and what follows a webhook's change; the containers that it made."""
        from clusters.lab.api import validation_mesh  # a lab without a mesh pays nothing for it

        changed = validation_mesh.injected(self.store, pod, self._mutant)
        if changed is None:
            return pod, frozenset()
        made = validation_mesh.made_by_injection(pod, changed)
        fresh = self.decode(resources.PODS, changed, WriteOptions(validation="Strict"))
        defaults.service_account(fresh, name_suffix())
        fresh["status"].pop("qosClass", None)
        defaults.apply(resources.PODS, fresh)
        return fresh, made

    def _check(
        self,
        resource: ResourceType,
        obj: Object,
        before: Object | None,
        options: WriteOptions,
        injected: frozenset[str] = frozenset(),
    ) -> None:
        name, causes = obj["metadata"].get("name", ""), Causes()
        admission.refuse_undone(resource, obj, causes, before, injected)
        validation.validate(resource, obj, before, causes)
        if causes.found:
            raise invalid(resource, name, causes.found)
        if resource.custom:
            options.warnings += custom.validate(self.store, resource, obj, before)
        if resource == resources.PODS and before is None:
            options.warnings += podsecurity.enforce(self.store, obj)

    def update(
        self, resource: ResourceType, namespace: str, name: str, subresource: str, body: Any, options: WriteOptions
    ) -> Object:
        """Replace an object, its status, or a namespace's finalizers.

        Raises:
            StatusError: The object is refused, missing, or was changed by somebody else.
        """
        obj = self.decode(resource, body, options)
        obj["metadata"].setdefault("name", name)
        _same_name(obj, name)
        entry = self.get(resource, namespace, name)
        return self._replace(resource, entry, obj, subresource, options)

    def patch(
        self,
        resource: ResourceType,
        namespace: str,
        name: str,
        subresource: str,
        content_type: str,
        body: Any,
        options: WriteOptions,
    ) -> Object:
        """Patch an object or its status; the result passes the same checks as a replacement.

        Raises:
            StatusError: The patch or its result is refused.
        """
        entry = self.get(resource, namespace, name)
        patched = patch.apply(content_type, resource.kind, entry.copy(), body)
        obj = self.decode(resource, patched, options)
        _same_name(obj, name)
        return self._replace(resource, entry, obj, subresource, options)

    def modify(self, resource: ResourceType, entry: Entry, change: Callable[[Object], None]) -> Object:
        """Write a change of the server's own; no checks."""
        obj = entry.copy()
        change(obj)
        return self.store.put(resource.qualified, entry.namespace, obj).object

    def _replace(
        self, resource: ResourceType, entry: Entry, obj: Object, subresource: str, options: WriteOptions
    ) -> Object:
        old = entry.copy()
        meta, old_meta = obj["metadata"], old["metadata"]
        _settle_namespace(resource, meta, entry.namespace)
        if meta.get("uid", old_meta["uid"]) != old_meta["uid"]:
            raise conflict(
                resource,
                entry.name,
                f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {old_meta['uid']}",
            )
        if meta.get("resourceVersion", "0") not in {"0", old_meta["resourceVersion"]}:
            raise conflict(resource, entry.name)
        obj = _graft(obj, old, subresource)
        meta = obj["metadata"]
        self._addresses.keep(resource, obj, old)
        defaults.apply(resource, obj)
        if resource.generation and _desired(obj) != _desired(old):
            meta["generation"] = old_meta.get("generation", 0) + 1
        if json.dumps(obj, sort_keys=True) == json.dumps(old, sort_keys=True):
            return entry.object
        self._check(resource, obj, old, options)
        self._addresses.update(resource, obj)
        if "deletionTimestamp" in meta and not set(meta.get("finalizers", [])) <= set(old_meta.get("finalizers", [])):
            causes = Causes()
            fresh = sorted(set(meta["finalizers"]) - set(old_meta.get("finalizers", [])))
            causes.forbidden(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{', '.join(quoted(each) for each in fresh)}}}",
            )
            raise invalid(resource, entry.name, causes.found)
        if options.dry_run:
            return obj
        if deletion.is_over(resource, obj):
            return self.store.remove(resource.qualified, entry.namespace, obj).object
        return self.store.put(resource.qualified, entry.namespace, obj).object

    def bind(self, namespace: str, name: str, body: Any, options: WriteOptions) -> None:
        """Give a pod to a node, as the scheduler asks.

        Raises:
            StatusError: No such pod, or it has a node already.
        """
        binding = self.decode(resources.PODS, body, options, kind="Binding")
        said = binding["metadata"].get("name", "")
        if name and said != name:
            raise bad_request("name in URL does not match name in Binding object")
        name = said
        entry, node = self.get(resources.PODS, namespace, name), binding.get("target", {}).get("name", "")
        if not node:
            causes = Causes()
            causes.required("target.name")
            raise invalid(resources.PODS, name, causes.found)
        if taken := entry.object["spec"].get("nodeName"):
            raise StatusError(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on pods/binding "{name}": pod {name} is already assigned to '
                f'node "{taken}"',
                {"name": name, "kind": "pods/binding"},
            )
        if "deletionTimestamp" in entry.object["metadata"]:
            raise StatusError(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on pods/binding "{name}": pod {name} is being deleted, cannot be '
                "assigned to a host",
                {"name": name, "kind": "pods/binding"},
            )

        def assign(pod: Object) -> None:
            pod["spec"]["nodeName"] = node
            condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}
            others = [each for each in pod["status"].get("conditions", []) if each["type"] != "PodScheduled"]
            pod["status"]["conditions"] = [*others, condition]

        if not options.dry_run:
            self.modify(resources.PODS, entry, assign)


def _decoded(resource: ResourceType, kind: str, body: Object) -> tuple[Object, list[str]]:
    """The body as an object, and what a strict reader refuses in it."""
    if resource.custom:
        return custom.decode(resource, body)
    decoder = Decoder(kind, resource.version)
    return decoder.decode(body), decoder.strict


def _same_name(obj: Object, name: str) -> None:
    said = obj["metadata"].get("name", "")
    if said != name:
        raise bad_request(f"the name of the object ({said}) does not match the name on the URL ({name})")


def _settle_namespace(resource: ResourceType, meta: Object, namespace: str) -> None:
    if not resource.namespaced:
        if meta.pop("namespace", ""):
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        return
    if meta.setdefault("namespace", namespace) != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def _desired(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in {"metadata", "status"}}


_SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


def _graft(obj: Object, old: Object, subresource: str) -> Object:
    """The new object with everything that this kind of write must not touch taken from the old one."""
    meta, old_meta = obj["metadata"], old["metadata"]
    for key in ("managedFields", "selfLink"):
        meta.pop(key, None)
    for key in (*_SERVER_OWNED, "resourceVersion", "generateName"):
        meta.pop(key, None)
        if key in old_meta:
            meta[key] = old_meta[key]
    if subresource == "status":
        if "ownerReferences" in old_meta:
            meta["ownerReferences"] = old_meta["ownerReferences"]
        kept = {key: value for key, value in old.items() if key not in {"metadata", "status"}}
        return {**kept, "metadata": meta, "status": obj.get("status", {})}
    if subresource == "finalize":
        spec = {key: value for key, value in old["spec"].items() if key != "finalizers"}
        spec |= {"finalizers": obj["spec"]["finalizers"]} if obj["spec"].get("finalizers") else {}
        return {**old, "spec": spec}
    if "status" in old:
        obj["status"] = old["status"]
    if obj["kind"] == "Namespace":
        obj["spec"] = old["spec"]
    return obj
