"""What Kubernetes knows and the lab does not do: refused by name, in one table that documentation is made from.

What belongs here: `REFUSALS`, and the admission steps that look at other objects. What does not: what Kubernetes itself
would refuse (`validation`, `podsecurity`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from clusters.lab.api import resources
from clusters.lab.api.resources import ResourceType
from clusters.lab.api.status import Causes, forbidden, not_found
from clusters.lab.api.store import Store
from policies.paths import find

Object = dict[str, Any]


def _given(value: object) -> bool:
    return bool(value)


def _other_than(*allowed: object) -> Callable[[object], bool]:
    return lambda value: value is not None and value not in allowed


def _is_offered(sysctl: object) -> bool:
    """Whether a pod may ask for this kernel setting."""
    name, value = (sysctl.get(each) for each in ("name", "value")) if isinstance(sysctl, dict) else ("", "")
    return name == "net.ipv4.ping_group_range" or (name, value) == ("net.ipv4.ip_unprivileged_port_start", "0")


def _is(*values: object) -> Callable[[object], bool]:
    return lambda value: value in values


def _keys_outside(*allowed: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and any(key not in allowed for key in value)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that the lab does not do.

    Attributes:
        path: The field; `[*]` stands for every element of a list, `C[*]` for every container, init or not.
        why: What is not done, as the message says it behind "the lab does not do".
        when: Tells from the field's value whether it asks for that.
    """

    kind: str
    path: str
    why: str
    when: Callable[[object], bool] = _given


_VOLUMES = ("name", "emptyDir", "configMap", "downwardAPI", "projected", "secret")
_SOURCES = ("serviceAccountToken", "configMap", "secret", "downwardAPI")

REFUSALS: tuple[Refusal, ...] = (
    Refusal("Pod", "spec.hostPID", "hostPID: the node's processes are not visible to pods"),
    Refusal("Pod", "spec.hostIPC", "hostIPC: every pod has an IPC namespace of its own"),
    Refusal("Pod", "spec.hostUsers", "hostUsers=false: the whole lab is one user namespace already", _is(False)),
    Refusal(
        "Pod", "spec.shareProcessNamespace", "shareProcessNamespace: containers have process namespaces of their own"
    ),
    Refusal("Pod", "spec.ephemeralContainers", "ephemeral containers; use exec"),
    Refusal("Pod", "spec.activeDeadlineSeconds", "activeDeadlineSeconds: no pod is ended by the clock"),
    Refusal(
        "Pod", "spec.topologySpreadConstraints", "topologySpreadConstraints: the scheduler spreads evenly by itself"
    ),
    Refusal("Pod", "spec.schedulingGates", "schedulingGates"),
    Refusal("Pod", "spec.schedulerName", "other schedulers than default-scheduler", _other_than("default-scheduler")),
    Refusal("Pod", "spec.readinessGates", "readinessGates"),
    Refusal("Pod", "spec.runtimeClassName", "runtimeClassName: there is one runtime, bubblewrap"),
    Refusal("Pod", "spec.overhead", "overhead"),
    Refusal("Pod", "spec.resourceClaims", "resourceClaims (dynamic resource allocation)"),
    Refusal("Pod", "spec.resources", "resources of a whole pod; set them on the containers"),
    Refusal("Pod", "spec.os.name", "other systems than linux", _other_than("linux")),
    Refusal("Pod", "spec.dnsPolicy", "DNS policies of host pods", _other_than("ClusterFirst", "Default", "None")),
    Refusal("Pod", "spec.hostnameOverride", "hostnameOverride: a pod's host name is its name", _other_than()),
    Refusal("Pod", "spec.setHostnameAsFQDN", "setHostnameAsFQDN"),
    Refusal(
        "Pod",
        "spec.securityContext.sysctls[*]",
        "sysctls but net.ipv4.ping_group_range, and net.ipv4.ip_unprivileged_port_start=0, which every pod has",
        lambda value: not _is_offered(value),
    ),
    Refusal("Pod", "spec.securityContext.seLinuxOptions", "SELinux options"),
    Refusal("Pod", "spec.securityContext.windowsOptions", "Windows options"),
    Refusal("Pod", "spec.securityContext.appArmorProfile.type", "AppArmor profiles of the node", _is("Localhost")),
    Refusal("Pod", "spec.securityContext.seccompProfile.type", "seccomp profiles of the node", _is("Localhost")),
    Refusal("Pod", "spec.C[*].securityContext.privileged", "privileged containers"),
    Refusal(
        "Pod",
        "spec.C[*].securityContext.capabilities.add",
        "added capabilities but NET_RAW, and NET_BIND_SERVICE, which every pod's network has",
        lambda value: isinstance(value, list) and bool(set(map(str, value)) - {"NET_BIND_SERVICE", "NET_RAW"}),
    ),
    Refusal("Pod", "spec.C[*].securityContext.procMount", "other proc mounts than Default", _other_than("Default")),
    Refusal("Pod", "spec.C[*].securityContext.seLinuxOptions", "SELinux options"),
    Refusal("Pod", "spec.C[*].securityContext.windowsOptions", "Windows options"),
    Refusal("Pod", "spec.C[*].securityContext.appArmorProfile.type", "AppArmor profiles of the node", _is("Localhost")),
    Refusal("Pod", "spec.C[*].securityContext.seccompProfile.type", "seccomp profiles of the node", _is("Localhost")),
    Refusal("Pod", "spec.C[*].ports[*].hostPort", "hostPorts: the lab's nodes are not reachable from outside"),
    Refusal("Pod", "spec.C[*].ports[*].hostIP", "hostPorts: the lab's nodes are not reachable from outside"),
    Refusal("Pod", "spec.C[*].volumeDevices", "block devices"),
    Refusal("Pod", "spec.C[*].volumeMounts[*].mountPropagation", "mount propagation", _other_than("None")),
    Refusal("Pod", "spec.C[*].volumeMounts[*].recursiveReadOnly", "recursiveReadOnly", _other_than("Disabled")),
    Refusal("Pod", "spec.C[*].resizePolicy", "resizing in place"),
    Refusal("Pod", "spec.C[*].restartPolicyRules", "restart rules of one container"),
    Refusal("Pod", "spec.C[*].stdin", "stdin of a container (attach); use exec"),
    Refusal("Pod", "spec.C[*].tty", "a terminal for a container (attach); use exec"),
    Refusal("Pod", "spec.C[*].terminationMessagePolicy", "termination messages from logs", _other_than("File")),
    Refusal("Pod", "spec.C[*].env[*].valueFrom.resourceFieldRef", "resourceFieldRef"),
    Refusal("Pod", "spec.C[*].env[*].valueFrom.fileKeyRef", "fileKeyRef"),
    Refusal("Pod", "spec.C[*].livenessProbe.grpc", "gRPC probes"),
    Refusal("Pod", "spec.C[*].readinessProbe.grpc", "gRPC probes"),
    Refusal("Pod", "spec.C[*].startupProbe.grpc", "gRPC probes"),
    Refusal(
        "Pod",
        "spec.volumes[*]",
        "volumes other than emptyDir, configMap, downwardAPI, projected and secret",
        _keys_outside(*_VOLUMES),
    ),
    Refusal(
        "Pod",
        "spec.volumes[*].projected.sources[*]",
        "projections other than serviceAccountToken, configMap, secret and downwardAPI",
        _keys_outside(*_SOURCES),
    ),
    Refusal("Pod", "spec.volumes[*].emptyDir.medium", "other media than disk and Memory", _other_than("", "Memory")),
    Refusal(
        "Service", "spec.type", "other Service types than ClusterIP and NodePort", _other_than("ClusterIP", "NodePort")
    ),
    Refusal("Service", "spec.externalIPs", "externalIPs: nothing outside can reach the lab's nodes"),
    Refusal("Service", "spec.externalName", "ExternalName Services"),
    Refusal("Service", "spec.sessionAffinity", "session affinity by client IP", _other_than("None")),
    Refusal("Service", "spec.internalTrafficPolicy", "internalTrafficPolicy Local", _other_than("Cluster")),
    Refusal("Service", "spec.trafficDistribution", "trafficDistribution"),
    Refusal("Service", "spec.loadBalancerIP", "load balancers"),
    Refusal("Service", "spec.loadBalancerClass", "load balancers"),
    Refusal("Service", "spec.loadBalancerSourceRanges", "load balancers"),
    Refusal("Service", "spec.healthCheckNodePort", "health checks of load balancers"),
    Refusal("Node", "spec.configSource", "dynamic kubelet configuration"),
    Refusal("EndpointSlice", "addressType", "endpoints by name", _is("FQDN")),
)
"""Every field that is refused, in the order in which messages name them."""

_BY_KIND: dict[str, list[Refusal]] = {}
for _each in REFUSALS:
    _BY_KIND.setdefault(_each.kind, []).append(_each)


def refuse_undone(
    resource: ResourceType,
    obj: Object,
    causes: Causes,
    before: Object | None = None,
    injected: frozenset[str] = frozenset(),
) -> None:
    """Name everything in the object that the lab does not do.

    Args:
        before: What it replaces; what was let through then is let through now.
        injected: The containers that the mesh's own injection made.
    """
    for refusal in () if resource.custom else _BY_KIND.get(resource.kind, ()):
        known = dict(_find(before, refusal.path)) if before is not None else {}
        for path, value in _find(obj, refusal.path):
            if refusal.when(value) and not (path in known and known[path] == value):
                if injected and refusal.path in _INJECTED and _container_of(obj, path) in injected:
                    continue
                causes.forbidden(path, f"the lab does not do {refusal.why}")


_INJECTED = ("spec.C[*].securityContext.capabilities.add", "spec.C[*].env[*].valueFrom.resourceFieldRef")
"""What only the containers of the mesh may ask for: the node makes their redirection and their limits."""


def _container_of(pod: Object, path: str) -> str:
    _, key, place = path.replace("[", ".").replace("]", "").split(".")[:3]
    return str(pod["spec"][key][int(place)].get("name", ""))


def _find(obj: Object, pattern: str) -> Iterator[tuple[str, object]]:
    if "C[*]" in pattern:
        for key in ("initContainers", "containers"):
            yield from find(obj, pattern.replace("C[*]", f"{key}[*]"))
    else:
        yield from find(obj, pattern)


# Steps that look at other objects ------------------------------------------------------------------------------------


def namespace_accepts(store: Store, resource: ResourceType, namespace: str, name: str) -> None:
    """The namespace exists and is not about to end.

    Raises:
        StatusError: 404 or 403.
    """
    if not resource.namespaced:
        return
    found = store.get(resources.NAMESPACES.qualified, "", namespace)
    if found is None:
        raise not_found(resources.NAMESPACES, namespace)
    if "deletionTimestamp" in found.object["metadata"]:
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        raise forbidden(resource, name, why, {"causes": [cause]})


def service_account_exists(store: Store, pod: Object) -> None:
    """The pod's ServiceAccount exists, as the ServiceAccount admission step demands.

    Raises:
        StatusError: 403.
    """
    meta, account = pod["metadata"], pod["spec"]["serviceAccountName"]
    if store.get(resources.SERVICE_ACCOUNTS.qualified, meta["namespace"], account) is None:
        why = f'error looking up service account {meta["namespace"]}/{account}: serviceaccount "{account}" not found'
        raise forbidden(resources.PODS, meta.get("name", ""), why)
