"""Admission with a mesh: Istio's rules for its kinds, rules for webhook configurations, and the injection of pods.

What belongs here: what an API server does because a mesh is installed. What does not: Istio's rules themselves
(`policies.istio`), the injected pod (`clusters.lab.mesh.injection`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from clusters.lab.api import mesh_kinds, resources
from clusters.lab.api.names import check_selector
from clusters.lab.api.resources import ResourceType
from clusters.lab.api.status import Cause, Causes, StatusError, invalid
from clusters.lab.api.store import Store
from clusters.lab.mesh.injection import InjectionError, inject
from clusters.lab.mesh.mutation import Admission, chosen
from policies.istio.check import check

Object = dict[str, Any]
_SERVICE: Final = "kubernetes.io/service-name"
_VALIDATOR: Final = ("istiod", "istio-system")
_DEACTIVATED: Final = "istio.io/deactivated"
_INJECTOR: Final = "webhooks but Istio's sidecar injector (clientConfig.service.path /inject, for the creation of pods)"


def validate(store: Store, resource: ResourceType, obj: Object, before: Object | None) -> list[str]:
    """Check an object of one of Istio's kinds; Istio's warnings.

    Raises:
        StatusError: Its definition, Istio's webhook or the lab refuses it.
    """
    if before is not None and _judged(obj) == _judged(before):
        return []
    found, name = check(obj), obj["metadata"].get("name", "")
    if found.problems:
        raise invalid(resource, name, [Cause(each.path, each.reason, each.text) for each in found.problems])
    _validator_answers(store)
    if found.denied:
        raise StatusError(400, "", f'admission webhook "validation.istio.io" denied the request: {found.denied}')
    causes = Causes()
    for path, why in found.undone:
        causes.forbidden(path, f"the lab does not do {why}")
    if causes.found:
        raise invalid(resource, name, causes.found)
    return found.warnings


def _judged(obj: Object) -> object:
    return obj.get("spec"), obj["metadata"].get("labels")


def _validator_answers(store: Store) -> None:
    """Istio's webhook is asked wherever there is a control plane, and must answer.

    Raises:
        StatusError: 500; nobody is behind its Service.
    """
    service, namespace = _VALIDATOR
    if control_planes(store, {_VALIDATOR}).get(f"{service}.{namespace}") is False:
        raise StatusError(
            500,
            "InternalError",
            'Internal error occurred: failed calling webhook "validation.istio.io": failed to call webhook: Post '
            f'"https://{service}.{namespace}.svc:443/validate?timeout=10s": no endpoints available for service '
            f'"{service}"',
        )


def control_planes(store: Store, services: set[tuple[str, str]]) -> dict[str, bool]:
    """`SERVICE.NAMESPACE` → whether it has a ready endpoint, of those (name, namespace) that exist."""
    found: dict[str, bool] = {}
    for name, namespace in services:
        if store.get(resources.SERVICES.qualified, namespace, name) is None:
            continue
        found[f"{name}.{namespace}"] = any(
            each.get("conditions", {}).get("ready", True)
            for entry in store.list(resources.ENDPOINT_SLICES.qualified, namespace)
            if entry.object["metadata"].get("labels", {}).get(_SERVICE) == name
            for each in entry.object.get("endpoints") or []
        )
    return found


def injected(store: Store, pod: Object, mutant: str = "") -> Object | None:
    """The pod with its proxy, or None when nothing injects it.

    Raises:
        StatusError: A webhook that must answer does not, or the injector refuses the pod.
    """
    webhooks = [entry.object for entry in store.list(mesh_kinds.MUTATING_WEBHOOKS.qualified)]
    namespace = store.get(resources.NAMESPACES.qualified, "", pod["metadata"]["namespace"])
    if not webhooks or namespace is None:
        return None
    services = {
        (service["name"], service["namespace"])
        for each in webhooks
        for webhook in each.get("webhooks") or []
        if (service := webhook["clientConfig"].get("service"))
    }
    try:
        asked = Admission(
            pod=pod, namespace=namespace.object, webhooks=webhooks, control_planes=control_planes(store, services)
        )
        return chosen(mutant).admission(asked, _soundly)
    except InjectionError as error:
        raise StatusError(error.status, "InternalError" if error.status == 500 else "", str(error)) from None


def _soundly(asked: Admission) -> Object | None:
    """What a lab without a mutant does."""
    return inject(asked.pod, namespace=asked.namespace, webhooks=asked.webhooks, control_planes=asked.control_planes)


def made_by_injection(before: Object, after: Object) -> frozenset[str]:
    """The names of the containers that an injected pod has and its original has not."""
    return frozenset(_names(after)) - frozenset(_names(before))


def _names(pod: Object) -> Iterator[str]:
    for key in ("initContainers", "containers"):
        yield from (each.get("name", "") for each in pod["spec"].get(key) or [])


# MutatingWebhookConfiguration ----------------------------------------------------------------------------------------


def webhook_defaults(obj: Object) -> None:
    """Fill in what Kubernetes does."""
    for webhook in obj.get("webhooks") or []:
        webhook.setdefault("failurePolicy", "Fail")
        webhook.setdefault("matchPolicy", "Equivalent")
        webhook.setdefault("namespaceSelector", {})
        webhook.setdefault("objectSelector", {})
        webhook.setdefault("reinvocationPolicy", "Never")
        webhook.setdefault("timeoutSeconds", 10)
        for rule in webhook.get("rules") or []:
            rule.setdefault("scope", "*")
        if service := webhook["clientConfig"].get("service"):
            service.setdefault("port", 443)


def webhooks(obj: Object, causes: Causes) -> None:
    """Kubernetes' rules for the configuration, and what of it the lab does not do."""
    seen: set[str] = set()
    for place, webhook in enumerate(obj.get("webhooks") or []):
        here, name = f"webhooks[{place}]", webhook.get("name", "")
        if not name:
            causes.required(f"{here}.name")
        elif name.count(".") < 2:
            causes.invalid(f"{here}.name", name, "should be a domain with at least three segments separated by dots")
        elif name in seen:
            causes.duplicate(f"{here}.name", name)
        seen.add(name)
        if not webhook.get("admissionReviewVersions"):
            causes.required(f"{here}.admissionReviewVersions", "must specify one of v1, v1beta1")
        if webhook.get("sideEffects") not in {"None", "NoneOnDryRun"}:
            causes.unsupported(f"{here}.sideEffects", webhook.get("sideEffects"), ["None", "NoneOnDryRun"])
        for key, choices in _CHOICES.items():
            if webhook[key] not in choices:
                causes.unsupported(f"{here}.{key}", webhook[key], choices)
        if not 1 <= webhook["timeoutSeconds"] <= 30:
            causes.invalid(
                f"{here}.timeoutSeconds",
                webhook["timeoutSeconds"],
                "the timeout value must be between 1 and 30 seconds",
            )
        for key in ("namespaceSelector", "objectSelector"):
            check_selector(causes, webhook[key], f"{here}.{key}")
        _rules(webhook, here, causes)
        _undone(webhook, here, causes)


_CHOICES: Final = {
    "failurePolicy": ["Fail", "Ignore"],
    "matchPolicy": ["Equivalent", "Exact"],
    "reinvocationPolicy": ["IfNeeded", "Never"],
}


def _rules(webhook: Object, here: str, causes: Causes) -> None:
    for place, rule in enumerate(webhook.get("rules") or []):
        for key in ("apiGroups", "apiVersions", "operations", "resources"):
            if not rule.get(key):
                causes.required(f"{here}.rules[{place}].{key}")
        for index, verb in enumerate(rule.get("operations") or []):
            known = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]
            if verb not in known:
                causes.unsupported(f"{here}.rules[{place}].operations[{index}]", verb, known)
    config = webhook["clientConfig"]
    if ("url" in config) == ("service" in config):
        causes.required(f"{here}.clientConfig", "exactly one of url or service is required")
    elif service := config.get("service"):
        for key in ("name", "namespace"):
            if not service.get(key):
                causes.required(f"{here}.clientConfig.service.{key}", f"service {key} is required")


def _undone(webhook: Object, here: str, causes: Causes) -> None:
    service = webhook["clientConfig"].get("service") or {}
    if _selects_nothing(webhook["namespaceSelector"]) or _selects_nothing(webhook["objectSelector"]):
        return
    created = all(
        rule.get("resources") == ["pods"] and rule.get("operations") == ["CREATE"]
        for rule in webhook.get("rules") or []
    )
    if not created or not service.get("path", "").startswith("/inject"):
        causes.forbidden(f"{here}.clientConfig", f"the lab does not do {_INJECTOR}")
    if webhook.get("matchConditions"):
        causes.forbidden(f"{here}.matchConditions", "the lab does not do match conditions (CEL)")
    if webhook["reinvocationPolicy"] == "IfNeeded":
        causes.forbidden(f"{here}.reinvocationPolicy", "the lab does not do reinvocation of webhooks")


def _selects_nothing(selector: Object) -> bool:
    """Whether a selector is sure to match nothing: it contradicts itself, or is Istio's own mark for that."""
    if selector.get("matchLabels", {}).get(_DEACTIVATED) == "never-match":
        return True
    present: set[str] = set(selector.get("matchLabels", {}))
    absent: set[str] = set()
    for each in selector.get("matchExpressions", []):
        if each["key"] == _DEACTIVATED and each["operator"] == "In" and each.get("values") == ["never-match"]:
            return True
        if each["operator"] in {"In", "Exists"}:
            present.add(each["key"])
        elif each["operator"] == "DoesNotExist":
            absent.add(each["key"])
    return bool(present & absent)
