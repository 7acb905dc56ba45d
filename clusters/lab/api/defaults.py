"""The values that Kubernetes fills in before an object is stored, kind by kind.

What belongs here: defaults that depend on the object alone. What does not: allocated addresses (`addressing`).
"""

from __future__ import annotations

from typing import Any

from clusters.lab.api import custom, quantity
from clusters.lab.api.resources import ResourceType

Object = dict[str, Any]
TOKEN_LIFETIME = 3607
"""Seconds; the odd number by which Kubernetes marks tokens that it put there itself."""
ACCOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_EFFECTS = ("NoExecute",)
_ACCESS = "kube-api-access-"


def apply(resource: ResourceType, obj: Object) -> None:
    """Fill in what the object leaves open, in place; a second time changes nothing."""
    if resource.custom:
        custom.default(resource, obj)
        return
    match resource.kind:
        case "Pod":
            _pod(obj["spec"])
            obj["status"].setdefault("phase", "Pending")
            obj["status"].setdefault("qosClass", qos_class(obj["spec"]))
        case "Service":
            _service(obj)
        case "NetworkPolicy":
            _network_policy(obj["spec"])
        case "Namespace":
            obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")
            obj["status"].setdefault("phase", "Active")
        case "Secret":
            _secret(obj)
        case "Node":
            if cidrs := obj["spec"].get("podCIDRs"):
                obj["spec"]["podCIDR"] = cidrs[0]
            elif cidr := obj["spec"].get("podCIDR"):
                obj["spec"]["podCIDRs"] = [cidr]
        case "EndpointSlice":
            for port in obj.get("ports") or []:
                port.setdefault("name", "")
                port.setdefault("protocol", "TCP")
        case "MutatingWebhookConfiguration":
            from clusters.lab.api import validation_mesh  # a lab without a mesh pays nothing for it

            validation_mesh.webhook_defaults(obj)
        case "TokenRequest":
            obj["spec"].setdefault("expirationSeconds", 3600)
        case _:
            pass


def _secret(obj: Object) -> None:
    import base64

    obj.setdefault("type", "Opaque")
    for key, text in obj.pop("stringData", {}).items():
        obj.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()


def _network_policy(spec: Object) -> None:
    for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
        for port in rule.get("ports", []):
            port.setdefault("protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _service(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("type", "ClusterIP")
    for port in spec.get("ports", []):
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in {None, "", 0}:
            port["targetPort"] = port["port"]
    if spec["type"] in {"ClusterIP", "NodePort"}:
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] == "NodePort":
        spec.setdefault("externalTrafficPolicy", "Cluster")


def _pod(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    spec.setdefault("enableServiceLinks", True)
    for key in ("initContainers", "containers"):
        for container in spec.get(key, []):
            _container(container)
    for volume in spec.get("volumes", []):
        _volume(volume)
    if spec.get("serviceAccount") and not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"]


def _container(container: Object) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    tag = container.get("image", "").rpartition("/")[2]
    latest = "@" not in tag and (":" not in tag or tag.endswith(":latest"))
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    for port in container.get("ports", []):
        port.setdefault("protocol", "TCP")
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe := container.get(key):
            for name, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1)):
                probe.setdefault(name, value)
            probe.setdefault("failureThreshold", 3)
            _handler(probe)
    for key in ("postStart", "preStop"):
        _handler(container.get("lifecycle", {}).get(key, {}))
    for each in container.get("env", []):
        if reference := each.get("valueFrom", {}).get("fieldRef"):
            reference.setdefault("apiVersion", "v1")
        if reference := each.get("valueFrom", {}).get("resourceFieldRef"):
            reference.setdefault("divisor", "0")
    resources = container["resources"]
    for name, amount in resources.get("limits", {}).items():
        resources.setdefault("requests", {}).setdefault(name, amount)


def _handler(handler: Object) -> None:
    if http := handler.get("httpGet"):
        http.setdefault("path", "/")
        http.setdefault("scheme", "HTTP")
    if grpc := handler.get("grpc"):
        grpc.setdefault("service", "")


def _volume(volume: Object) -> None:
    if not any(key != "name" for key in volume):
        volume["emptyDir"] = {}
    for key in ("configMap", "secret", "projected", "downwardAPI"):
        if key in volume:
            volume[key].setdefault("defaultMode", 0o644)
    files = [*volume.get("downwardAPI", {}).get("items", [])]
    for source in volume.get("projected", {}).get("sources") or []:
        files += source.get("downwardAPI", {}).get("items", [])
        if token := source.get("serviceAccountToken"):
            token.setdefault("expirationSeconds", 3600)
    for each in files:
        if reference := each.get("fieldRef"):
            reference.setdefault("apiVersion", "v1")


def tolerations(spec: Object) -> None:
    """The 300 seconds of patience that every pod gets with a node that is not ready or not reachable."""
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        mine = [each for each in spec.get("tolerations", []) if each.get("key") in {key, None}]
        if not any(each.get("effect", "NoExecute") in _EFFECTS for each in mine):
            spec.setdefault("tolerations", []).append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            )


def service_account(obj: Object, suffix: str) -> None:
    """What the ServiceAccount admission step adds to a pod: the account's name, its token, the CA and the namespace.

    A second time it mounts the same volume into containers that have come since.

    Args:
        suffix: Five letters that make the volume's name unique.
    """
    spec = obj["spec"]
    spec.setdefault("serviceAccountName", "default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    if not spec.get("automountServiceAccountToken", True):
        return
    there = [each["name"] for each in spec.get("volumes", []) if each.get("name", "").startswith(_ACCESS)]
    name = there[0] if there else f"{_ACCESS}{suffix}"
    wanted = [
        container
        for key in ("initContainers", "containers")
        for container in spec.get(key, [])
        if all(mount.get("mountPath") != ACCOUNT_PATH for mount in container.get("volumeMounts", []))
    ]
    if not wanted:
        return
    for container in wanted:
        mounts = container.setdefault("volumeMounts", [])
        mounts.append({"mountPath": ACCOUNT_PATH, "name": name, "readOnly": True})
    if there:
        return
    namespace = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFETIME, "path": "token"}},
        {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    spec.setdefault("volumes", []).append({"name": name, "projected": {"defaultMode": 0o644, "sources": sources}})


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, from the containers' requests and limits of cpu and memory."""
    sums: list[dict[str, bool]] = []
    guaranteed = True
    for container in [*spec.get("initContainers", []), *(spec.get("containers") or [])]:
        resources = container["resources"]
        limits = {key: value for key, value in resources.get("limits", {}).items() if key in {"cpu", "memory"}}
        requests = {key: value for key, value in resources.get("requests", {}).items() if key in {"cpu", "memory"}}
        sums.append({key: bool(quantity.parse(value)) for key, value in (limits | requests).items()})
        guaranteed = guaranteed and set(limits) == {"cpu", "memory"} and requests == limits
    if not any(any(each.values()) for each in sums):
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
