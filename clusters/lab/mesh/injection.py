"""Whether a pod gets a proxy: webhooks' selectors, Istio's own decision, and a control plane that answers.

What belongs here: the decision and its reasons. What does not: what an injected pod looks like (`template`), who calls
this (the API's admission).

Seen at Istio 1.31: only the exact values `true` and `false` of `sidecar.istio.io/inject` decide, any other counts as
unset; the label wins over the annotation; a revision label on a pod in a namespace with `istio-injection: enabled`
changes nothing, because the namespace's own webhook does not look at it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from clusters.lab.mesh.template import REVISION, STATUS_ANNOTATION, DeniedError, injected, labels_of

Object = dict[str, Any]
INJECT: Final = "sidecar.istio.io/inject"
PROXY: Final = "istio-proxy"
NEVER: Final = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
"""Namespaces in which Istio injects nothing, whatever their labels say."""


class InjectionError(Exception):
    """The pod must not be created: the API server's answer is this message.

    Attributes:
        status: The HTTP status that Kubernetes answers with.
    """

    status = 500


class InjectionDownError(InjectionError):
    """A webhook with failurePolicy Fail selects the pod, and its istiod has no ready endpoint."""


class InjectionDeniedError(InjectionError):
    """The injector itself refuses the pod: an annotation that Istio cannot read, or that the lab does not do."""

    status = 400


def inject(
    pod: Object, *, namespace: Object, webhooks: Sequence[Object], control_planes: Mapping[str, bool]
) -> Object | None:
    """The pod as it is after every webhook that selects it; None when nothing injects.

    Args:
        pod: As it was sent for creation, with `metadata.namespace`; not changed.
        namespace: The pod's Namespace object.
        webhooks: All MutatingWebhookConfigurations.
        control_planes: `SERVICE.NAMESPACE` of a webhook's clientConfig → whether it has a ready endpoint.

    Raises:
        InjectionDownError: See there.
        InjectionDeniedError: See there.
    """
    result: Object | None = None
    for configuration in sorted(webhooks, key=lambda each: str(each["metadata"]["name"])):
        for webhook in configuration.get("webhooks") or []:
            now = result or pod
            if not selected(webhook, now, namespace):
                continue
            if not _answers(webhook, control_planes):
                continue
            if not wanted(now):
                continue
            revision = labels_of(configuration).get(REVISION) or "default"
            try:
                result = injected(now, revision=revision, control_plane=_host(webhook))
            except DeniedError as error:
                words = f'admission webhook "{webhook["name"]}" denied the request: {error}'
                raise InjectionDeniedError(words) from None
    return result


def wanted(pod: Object) -> bool:
    """Istio's own decision about a pod that a webhook has sent it; one that has its proxy stays as it is.

    Raises:
        InjectionDeniedError: It has a container `istio-proxy` that no injection made.
    """
    spec, meta = pod["spec"], pod["metadata"]
    if spec.get("hostNetwork") or meta.get("namespace") in NEVER:
        return False
    annotations = meta.get("annotations") or {}
    labels = labels_of(pod)
    if (labels[INJECT] if INJECT in labels else annotations.get(INJECT)) == "false":
        return False
    names = [each.get("name") for each in (*(spec.get("initContainers") or []), *spec["containers"])]
    if PROXY not in names:
        return True
    if STATUS_ANNOTATION in annotations:
        return False
    raise InjectionDeniedError(f"container {PROXY}: the lab does not merge a proxy's container of your own; remove it")


def _host(webhook: Object) -> str:
    """`SERVICE.NAMESPACE` of the control plane behind a webhook."""
    service = webhook["clientConfig"]["service"]
    return f"{service['name']}.{service['namespace']}"


def _answers(webhook: Object, control_planes: Mapping[str, bool]) -> bool:
    """Whether its control plane is there to ask; False lets the pod pass without it.

    Raises:
        InjectionDownError: It is not, and the webhook's failurePolicy is Fail.
    """
    host = _host(webhook)
    if control_planes.get(host):
        return True
    if webhook.get("failurePolicy") == "Ignore":
        return False
    service = webhook["clientConfig"]["service"]
    name, known = service["name"], host in control_planes
    why = f'no endpoints available for service "{name}"' if known else f'service "{name}" not found'
    path = service.get("path") or ""
    address = f"https://{host}.svc:{service.get('port') or 443}{path}?timeout={webhook.get('timeoutSeconds', 10)}s"
    raise InjectionDownError(
        f'Internal error occurred: failed calling webhook "{webhook["name"]}": failed to call webhook: '
        f'Post "{address}": {why}'
    )


def selected(webhook: Object, pod: Object, namespace: Object) -> bool:
    """Whether a webhook is called for the creation of this pod."""
    if not any(_rule(each) for each in webhook.get("rules") or []):
        return False
    spaces = {**labels_of(namespace), "kubernetes.io/metadata.name": str(namespace["metadata"]["name"])}
    return selects(webhook.get("namespaceSelector"), spaces) and selects(webhook.get("objectSelector"), labels_of(pod))


def _rule(rule: Object) -> bool:
    def has(field: str, *values: str) -> bool:
        return bool({*values, "*"} & set(rule.get(field) or []))

    groups, versions = "" in (rule.get("apiGroups") or []) or has("apiGroups"), has("apiVersions", "v1")
    return groups and versions and has("operations", "CREATE") and has("resources", "pods", "pods/*", "*/*")


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector holds for these labels; an absent or empty one holds for all."""
    selector = selector or {}
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(each, labels) for each in selector.get("matchExpressions") or [])


def _expression(each: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = str(each["key"]), each.get("values") or []
    match each["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":  # holds without the label, too
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise InjectionDeniedError(f"a webhook's selector has the operator {each['operator']!r}, which Kubernetes does not")
