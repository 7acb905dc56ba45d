"""The injector's webhook configurations, one for each revision of the control plane.

What belongs here: selectors. What does not: evaluating them (`injection`), keeping the objects (`controllers`).
"""

from __future__ import annotations

from typing import Any, Final

Object = dict[str, Any]
DEFAULT: Final = "default"
_REVISION, _ENABLED, _INJECT = "istio.io/rev", "istio-injection", "sidecar.istio.io/inject"


def service_name(revision: str) -> str:
    """The Service of a revision's control plane, in the root namespace."""
    return "istiod" if revision == DEFAULT else f"istiod-{revision}"


def configuration_name(revision: str) -> str:
    """The name of a revision's MutatingWebhookConfiguration."""
    return "istio-sidecar-injector" if revision == DEFAULT else f"istio-sidecar-injector-{revision}"


def _is(key: str, *values: str) -> Object:
    return {"key": key, "operator": "In", "values": list(values)}


def _absent(key: str) -> Object:
    return {"key": key, "operator": "DoesNotExist"}


def configuration(revision: str = DEFAULT) -> Object:
    """What a control plane of this revision is asked to inject.

    Only the default one answers to `istio-injection` and to pods that ask by themselves in a namespace without labels.
    """
    allowed: Object = {"key": _INJECT, "operator": "NotIn", "values": ["false"]}
    selectors = {
        "rev.namespace": ([_is(_REVISION, revision), _absent(_ENABLED)], [allowed]),
        "rev.object": ([_absent(_REVISION), _absent(_ENABLED)], [allowed, _is(_REVISION, revision)]),
    }
    if revision == DEFAULT:
        selectors |= {
            "namespace": ([_is(_ENABLED, "enabled")], [allowed]),
            "object": ([_absent(_ENABLED), _absent(_REVISION)], [_is(_INJECT, "true"), _absent(_REVISION)]),
        }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {
            "name": configuration_name(revision),
            "labels": {"app": "sidecar-injector", _REVISION: revision},
        },
        "webhooks": [_webhook(name, revision, *both) for name, both in selectors.items()],
    }


def _webhook(name: str, revision: str, namespaces: list[Object], pods: list[Object]) -> Object:
    return {
        "name": f"{name}.sidecar-injector.istio.io",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {
            "service": {"name": service_name(revision), "namespace": "istio-system", "path": "/inject", "port": 443}
        },
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "namespaceSelector": {"matchExpressions": namespaces},
        "objectSelector": {"matchExpressions": pods},
        "reinvocationPolicy": "Never",
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"], "scope": "*"}
        ],
        "sideEffects": "None",
        "timeoutSeconds": 10,
    }
