"""Which Istio a cluster has: its control planes, their revisions, and what its proxies are built without.

What belongs here: looking. What does not: judging pods (`injection`) or proxies (`read`). What we may not look at is
named in the facts, and is no reason to fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import yaml

from clusters.kube import Kube, KubeError
from clusters.mesh.dialect import Essential, MeshFacts, Object
from clusters.mesh.istio.words import CONTROL_PLANE, DEFAULT, REVISION, ROOT_NAMESPACE, SECURITY, TAG, TRUST_DOMAIN

NATIVE_KUBERNETES: Final = (1, 33)
"""From this version on Istio injects restartable init containers unless it is told otherwise."""
NATIVE_ISTIO: Final = (1, 27)
_SWITCHED_OFF: Final = {
    "PILOT_ENABLE_ALPN_FILTER": "istio-alpn",
    "PILOT_ENABLE_METADATA_EXCHANGE": "metadata-exchange",
}
XDS: Final = 15012
"""Where istiod serves configuration and certificates, over TLS."""
T = TypeVar("T")


@dataclass(slots=True)
class Look:
    """Questions to the cluster; what we may not ask is noted, what is not there is empty."""

    kube: Kube
    forbidden: list[str] = field(default_factory=list)

    def may(self, ask: Callable[[], T], otherwise: T, what: str) -> T:
        """The answer; `otherwise` where there is nothing of the kind, or where we may not look (noted as `what`)."""
        try:
            return ask()
        except KubeError as error:
            if error.status == 403:
                self.forbidden.append(what)
            elif error.status != 404:
                raise
        return otherwise

    def everywhere(self, api_version: str, kind: str, labels: str) -> list[Object]:
        """The objects in all namespaces; of the usual root namespace where we may see no other."""
        try:
            return self.kube.list(api_version, kind, labels=labels)
        except KubeError as error:
            if error.status == 404:
                return []
            if error.status != 403:
                raise
        what = f"{kind}s of {ROOT_NAMESPACE}"
        return self.may(lambda: self.kube.list(api_version, kind, ROOT_NAMESPACE, labels), [], what)


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """One revision's istiod, read from its Deployment or, where there is none, from a pod."""

    revision: str
    version: str
    namespace: str
    env: Mapping[str, str]


def detect(kube: Kube) -> MeshFacts | None:
    """What Istio there is; None when no control plane is installed.

    Raises:
        KubeError: The cluster did not answer.
    """
    look = Look(kube)
    planes = control_planes(look)
    if not planes:
        if not look.forbidden or not _has_kind(kube, SECURITY, "AuthorizationPolicy"):
            return None
        planes = [ControlPlane(DEFAULT, "unknown", ROOT_NAMESPACE, {})]
    first = _default(look)
    planes.sort(key=lambda each: (each.revision != first, each.revision))
    chief = planes[0]
    mesh = _config(look, chief, "istio", "mesh")
    return MeshFacts(
        name="istio",
        version=chief.version,
        revisions={each.revision: each.version for each in planes},
        native_sidecars=native(kube.version(), chief),
        cni=bool(look.everywhere("apps/v1", "DaemonSet", "k8s-app=istio-cni-node")),
        gateway_api=_has_kind(kube, "gateway.networking.k8s.io/v1", "HTTPRoute"),
        lacks=(*_lacks(chief, mesh), *(f"unknown: no right to see {what}" for what in dict.fromkeys(look.forbidden))),
        root_namespace=str(mesh.get("rootNamespace") or chief.namespace),
        essentials=(_essential(chief),),
        trust_domain=str(mesh.get("trustDomain") or TRUST_DOMAIN),
    )


def control_planes(look: Look) -> list[ControlPlane]:
    """One for each revision that has a Deployment or a pod, whether it runs or not."""
    found: dict[str, ControlPlane] = {}
    for each in look.everywhere("apps/v1", "Deployment", CONTROL_PLANE):
        _note(found, each, each["spec"]["template"]["spec"])
    for each in look.everywhere("v1", "Pod", CONTROL_PLANE):
        _note(found, each, each["spec"])
    return list(found.values())


def _note(found: dict[str, ControlPlane], obj: Object, spec: Object) -> None:
    meta, container = obj["metadata"], spec["containers"][0]
    if meta.get("deletionTimestamp"):
        return  # one that is being removed serves nobody
    labels = meta.get("labels") or {}
    env = {each["name"]: str(each.get("value", "")) for each in container.get("env") or []}
    revision = labels.get(REVISION) or env.get("REVISION") or DEFAULT
    plane = ControlPlane(revision, version_of(container["image"], labels), meta["namespace"], env)
    found.setdefault(revision, plane)


def version_of(image: str, labels: Mapping[str, str]) -> str:
    """The version in the image's tag, else the operator's label."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    return tag if re.match(r"\d", tag) else labels.get("operator.istio.io/version") or tag or "unknown"


def native(kubernetes: str, plane: ControlPlane) -> bool:
    """Whether this control plane injects restartable init containers where pods do not ask otherwise."""
    asked = plane.env.get("ENABLE_NATIVE_SIDECARS", "").lower()
    if asked in {"true", "false"}:
        return asked == "true"
    return numbers(kubernetes) >= NATIVE_KUBERNETES and (numbers(plane.version) or NATIVE_ISTIO) >= NATIVE_ISTIO


def numbers(version: str) -> tuple[int, ...]:
    """Major and minor: `v1.34.4` → (1, 34); empty when it is no version."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else ()


def webhooks(kube: Kube) -> list[Object]:
    """Every MutatingWebhookConfiguration by which Istio injects."""
    found = kube.list("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration")
    return [
        each
        for each in found
        if any("sidecar-injector.istio.io" in hook["name"] for hook in each.get("webhooks") or [])
        or (each["metadata"].get("labels") or {}).get("app") == "sidecar-injector"
    ]


def _default(look: Look) -> str:
    """The revision that serves namespaces without a revision of their own."""
    none: list[Object] = []
    for each in look.may(lambda: webhooks(look.kube), none, "MutatingWebhookConfigurations"):
        labels = each["metadata"].get("labels") or {}
        if labels.get(TAG) == DEFAULT:
            return str(labels.get(REVISION, DEFAULT))
    return DEFAULT


def _has_kind(kube: Kube, api_version: str, kind: str) -> bool:
    try:
        kube.list(api_version, kind, "default")
    except KubeError as error:
        if error.status not in {403, 404}:
            raise
        return error.status == 403
    return True


def _config(look: Look, plane: ControlPlane, name: str, key: str) -> dict[str, Any]:
    """One document of a revision's ConfigMap; empty when it is not there or we may not look."""
    full = name if plane.revision == DEFAULT else f"{name}-{plane.revision}"
    what = f"ConfigMap {plane.namespace}/{full}"
    nothing: Object = {}
    found = look.may(lambda: look.kube.get("v1", "ConfigMap", full, plane.namespace), nothing, what)
    text = str((found.get("data") or {}).get(key, ""))
    read = yaml.safe_load(text or "{}")
    return read if isinstance(read, dict) else {}


def _lacks(plane: ControlPlane, mesh: Mapping[str, Any]) -> list[str]:
    """What proxies cannot do here; metrics of Istio's own need a provider in the mesh's configuration."""
    missing = [name for variable, name in _SWITCHED_OFF.items() if plane.env.get(variable, "").lower() == "false"]
    if mesh and not (mesh.get("defaultProviders") or {}).get("metrics"):
        missing.append("istio-stats")
    return missing


def _essential(plane: ControlPlane) -> Essential:
    """Where proxies get their configuration and certificates."""
    name, _, value = CONTROL_PLANE.partition("=")
    return Essential(
        name="the control plane",
        where=f"istiod.{plane.namespace}.svc:{XDS}",
        namespace=plane.namespace,
        labels={name: value},
        port=XDS,
    )
