"""What became of a pod's injection, and why there is no proxy: from the pod, its namespace and the webhooks.

What belongs here: the judgement. What does not: asking for injection (`dialect`), the proxy's own words (`read`).
The order is Istio's: what a pod says of itself, the namespace's labels, the webhooks that would have been called.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from clusters.kube import Kube, KubeError
from clusters.mesh.dialect import Form, Injection, Object
from clusters.mesh.istio.detect import version_of, webhooks
from clusters.mesh.istio.selectors import selects
from clusters.mesh.istio.words import DEFAULT, IGNORED_NAMESPACES, INJECT, INJECTION, PROXY, REVISION

_CHECKED: Final = (
    "checked labels, annotations, host network, ages and webhooks; see istiod's log for the pod's creation"
)


def injection(kube: Kube, pod: Object, namespace: Object) -> Injection:
    """What became of this pod's injection.

    Raises:
        KubeError: The cluster did not answer; a missing right to see webhooks is named in the reason instead.
    """
    container, form = proxy_container(pod)
    ready = _counted(pod)
    if container is None:
        return Injection(form="none", ready=ready, reason=_why_not(kube, pod, namespace))
    status = _statuses(pod).get(PROXY, {})
    meta = pod["metadata"]
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    return Injection(
        form=form,
        ready=ready,
        proxy_ready=bool(status.get("ready")),
        revision=annotations.get(REVISION) or labels.get(REVISION) or DEFAULT,
        version=version_of(container["image"], {}),
    )


def proxy_container(pod: Object) -> tuple[Object | None, Form]:
    """The proxy's container as the pod's spec has it, and the form in which it runs."""
    spec = pod["spec"]
    for each in spec.get("containers") or []:
        if each["name"] == PROXY:
            return each, "container"
    for each in spec.get("initContainers") or []:
        if each["name"] == PROXY and each.get("restartPolicy") == "Always":
            return each, "native"
    return None, "none"


def _statuses(pod: Object) -> dict[str, Object]:
    status = pod.get("status") or {}
    both = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return {each["name"]: each for each in both}


def _counted(pod: Object) -> tuple[int, int]:
    """As kubectl counts: containers, and init containers that restart; those ready and running, and all."""
    spec, statuses = pod["spec"], _statuses(pod)
    names = [each["name"] for each in spec.get("containers") or []]
    names += [each["name"] for each in spec.get("initContainers") or [] if each.get("restartPolicy") == "Always"]
    ready = [name for name in names if statuses.get(name, {}).get("ready")]
    return len(ready), len(names)


@dataclass(frozen=True, slots=True)
class _Pod:
    """What decides about a pod, read from it and its namespace."""

    pod: Object
    namespace: Object

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.pod["metadata"].get("labels") or {})

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self.pod["metadata"].get("annotations") or {})

    @property
    def around(self) -> dict[str, str]:
        return {"kubernetes.io/metadata.name": self.name, **(self.namespace["metadata"].get("labels") or {})}

    @property
    def name(self) -> str:
        return str(self.namespace["metadata"]["name"])


def _why_not(kube: Kube, pod: Object, namespace: Object) -> str:
    found = _Pod(pod, namespace)
    reason = _by_itself(found)
    if reason:
        return reason
    try:
        configurations = webhooks(kube)
    except KubeError as error:
        if error.status != 403:
            raise
        return _by_labels(found) or (
            "labels ask for a proxy and there is none; the webhooks could not be checked "
            "(no right to list MutatingWebhookConfigurations)"
        )
    hooks = [hook for each in configurations for hook in each.get("webhooks") or []]
    served = _served(configurations)
    if not served:
        return "no injection webhook is installed (MutatingWebhookConfiguration of Istio is missing or has no webhooks)"
    called = [hook for hook in hooks if _picks(hook, found)]
    if not called:
        return _unselected(found, served)
    annotated = found.annotations.get(INJECT)
    if annotated == "false" and INJECT not in found.labels:
        return f"pod annotation {INJECT}=false refuses the proxy; remove it"
    return (
        _by_age(found)
        or _by_webhook(kube, called)
        or _perhaps_by_age(found)
        or f"labels ask for a proxy and there is none; {_CHECKED}"
    )


def _by_itself(found: _Pod) -> str:
    """Reasons that no webhook could change."""
    if found.pod["spec"].get("hostNetwork"):
        return "the pod uses hostNetwork, where Istio never injects"
    if found.name in IGNORED_NAMESPACES:
        return f"Istio ignores namespace {found.name}"
    if found.labels.get(INJECT) == "false":
        return f"pod label {INJECT}=false refuses the proxy; remove it"
    return ""


def _by_labels(found: _Pod) -> str:
    """Reasons in the labels alone, for whoever may not see webhooks, or finds none that picks the pod."""
    value, revision = found.around.get(INJECTION), found.around.get(REVISION)
    asked = found.labels.get(INJECT)
    if value is not None and value != "enabled":
        only = " (only 'enabled' asks for proxies)" if value != "disabled" else ""
        return f"namespace label {INJECTION}={value}{only}"
    if value is None and revision is None and asked is None and REVISION not in found.labels:
        if INJECT in found.annotations:
            return (
                f"annotation {INJECT} alone calls no webhook: namespace {found.name} has no label "
                f"{INJECTION}=enabled; use the pod's label"
            )
        return f"namespace {found.name} is not labelled ({INJECTION}=enabled or {REVISION})"
    if asked not in {None, "true"} and value is None and revision is None:
        return f"pod label {INJECT}={asked}: only 'true' asks for a proxy"
    return ""


def _served(configurations: Sequence[Object]) -> list[str]:
    """The revisions and tags that a webhook answers for, as its selectors name them."""
    names: dict[str, None] = {}
    for each in configurations:
        for hook in each.get("webhooks") or []:
            for selector in (hook.get("namespaceSelector") or {}, hook.get("objectSelector") or {}):
                for expression in selector.get("matchExpressions") or []:
                    if expression["key"] == REVISION and expression["operator"] == "In":
                        names |= dict.fromkeys(expression["values"])
                    if expression["key"] == INJECTION and expression["operator"] == "In":
                        names.setdefault(DEFAULT)
    return list(names)


def _picks(hook: Object, found: _Pod) -> bool:
    return selects(hook.get("namespaceSelector"), found.around) and selects(hook.get("objectSelector"), found.labels)


def _unselected(found: _Pod, served: Iterable[str]) -> str:
    by_labels = _by_labels(found)
    if by_labels:
        return by_labels
    names = ", ".join(sorted(served))
    value = found.around.get(INJECTION)
    if value is None:
        for where, labels in (("namespace", found.around), ("pod", found.labels)):
            revision = labels.get(REVISION)
            if revision and revision not in set(served):
                return f"{where} label {REVISION}={revision}: no webhook serves it; there is {names}"
    if value == "enabled" and DEFAULT not in set(served):
        return f"namespace label {INJECTION}=enabled: no default revision serves it; there is {names}"
    return f"no webhook picks the pod; revisions served: {names}; compare its labels with the webhooks' selectors"


def _by_age(found: _Pod) -> str:
    """The pod was there before the namespace asked; told by whoever wrote the label last, where that is recorded."""
    key, labelled, created = _ages(found)
    # A label as old as its namespace cannot have come after the pod, as far as whole seconds tell.
    if labelled and created and created <= labelled != _time(found.namespace["metadata"].get("creationTimestamp")):
        return f"the pod is older than the namespace's label {key}; restart it"
    return ""


def _perhaps_by_age(found: _Pod) -> str:
    """Nothing tells the order: label and pod are of one second, or nobody noted when the label was written."""
    key, labelled, created = _ages(found)
    if key in found.around and labelled is None:
        return f"the pod may be older than the namespace's label {key} (nobody noted when it came); restart it"
    if labelled and created and created <= labelled:
        return f"the pod may be older than the namespace's label {key} (both of one second); restart it"
    return ""


def _ages(found: _Pod) -> tuple[str, datetime.datetime | None, datetime.datetime | None]:
    """The namespace's label that asks for the pod, when it was written, when the pod was; none where the pod asks."""
    if INJECT in found.labels or REVISION in found.labels:
        return "", None, None
    key = INJECTION if INJECTION in found.around else REVISION
    return key, _written(found.namespace["metadata"], key), _time(found.pod["metadata"].get("creationTimestamp"))


def _written(meta: dict[str, Any], key: str) -> datetime.datetime | None:
    """When a label was written, as `managedFields` knows it: by the entry that owns it, else by none."""
    times = [
        _time(entry.get("time"))
        for entry in meta.get("managedFields") or []
        if f"f:{key}" in (((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:labels") or {})
    ]
    return max((each for each in times if each), default=None)


def _time(text: Any) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(str(text)) if text else None


def _by_webhook(kube: Kube, called: Sequence[Object]) -> str:
    """The control plane that should have injected has nobody to answer, and pods are let through."""
    for hook in called:
        service = (hook.get("clientConfig") or {}).get("service") or {}
        if hook.get("failurePolicy") != "Ignore" or not service:
            continue
        place = f"{service['namespace']}/{service['name']}"
        try:
            ready = _answers(kube, service["namespace"], service["name"])
        except KubeError as error:
            if error.status not in {403, 404}:
                raise
            return f"webhook {hook['name']} lets pods through when {place} is down; its endpoints could not be checked"
        if not ready:
            return (
                f"webhook {hook['name']} may have been down: {place} has no ready endpoint, and failurePolicy is Ignore"
            )
    return ""


def _answers(kube: Kube, namespace: str, service: str) -> bool:
    slices = kube.list("discovery.k8s.io/v1", "EndpointSlice", namespace, f"kubernetes.io/service-name={service}")
    endpoints = [each for one in slices for each in one.get("endpoints") or []]
    return any((each.get("conditions") or {}).get("ready") is not False for each in endpoints)
