"""What an injected pod looks like: Istio 1.31's own template, as a real injector fills it in, on the lab's images.

What belongs here: containers, volumes, labels, annotations. What does not: who gets them (`injection`), rewritten
probes (`probing`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, Final

from clusters.lab.mesh.annotations import Asked, DeniedError, read
from clusters.lab.mesh.probing import rewrite

Object = dict[str, Any]
VERSION: Final = "1.31.0"
"""The Istio whose template and resources the lab follows."""
IMAGE: Final = f"eastwest/proxy:{VERSION}"
"""The tag tells a proxy's version, as everywhere; the lab has one Envoy."""
INIT, PROXY = "istio-init", "istio-proxy"
REVISION: Final = "istio.io/rev"
STATUS_ANNOTATION: Final = "sidecar.istio.io/status"
CANONICAL_NAME, CANONICAL_REVISION = "service.istio.io/canonical-name", "service.istio.io/canonical-revision"

LEFT_OUT: Final[Mapping[str, str]] = {
    "istio-init capabilities NET_ADMIN and NET_RAW": (
        "the node itself sets the redirection, no process does; so Pod Security `baseline` refuses a real injected pod "
        "and takes the lab's, `restricted` refuses both"
    ),
    "resources of istio-init and istio-proxy": "nothing in the lab is limited by them",
    "env ISTIO_CPU_LIMIT, GOMEMLIMIT, GOMAXPROCS": "they come from resources, and the agent is not written in Go",
    "volumes workload-socket, credential-socket, workload-certs": "sockets of external certificate providers",
    "volume istio-ca-crl": "the lab's authority revokes nothing; its certificates are short-lived",
    "preStop `pilot-agent request POST drain`": "the agent drains when it is told to end",
}
"""What real Istio's pod has and the lab's has not, and why; documentation is made from it."""


def labels_of(obj: Object) -> dict[str, str]:
    """The labels; empty when there are none."""
    found: dict[str, str] = obj["metadata"].get("labels") or {}
    return found


def injected(pod: Object, *, revision: str, control_plane: str = "istiod.istio-system") -> Object:
    """The pod with its proxy, as a new object.

    Args:
        control_plane: `SERVICE.NAMESPACE` of the istiod that configures it.

    Raises:
        DeniedError: An annotation that Istio cannot read, or that the lab does not do.
    """
    asked = read(pod["metadata"].get("annotations") or {}, address=f"{control_plane}.svc:15012")
    result = copy.deepcopy(pod)
    spec, meta = result["spec"], result["metadata"]
    probers = rewrite(spec) if asked.rewrite_probes else {}
    apps = [str(each["name"]) for each in spec["containers"]]
    proxy = _proxy(result, asked, apps, probers)
    init = _init(asked)
    inits = list(spec.get("initContainers") or [])
    if asked.native:
        spec["initContainers"] = [init, {**proxy, "restartPolicy": "Always"}, *inits]
    else:
        spec["initContainers"] = [*inits, init]
        spec["containers"] = [proxy, *spec["containers"]] if asked.hold else [*spec["containers"], proxy]
    volumes = _volumes()
    spec["volumes"] = [*volumes, *(spec.get("volumes") or [])]
    meta["labels"] = {**_labels(result), **labels_of(result)}
    annotations = dict(meta.get("annotations") or {})
    for name in ("kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/default-logs-container"):
        annotations.setdefault(name, apps[0])
    status = {
        "initContainers": [INIT, PROXY] if asked.native else [INIT],
        "containers": None if asked.native else [PROXY],
        "volumes": [each["name"] for each in volumes],
        "imagePullSecrets": None,
        "revision": revision,
    }
    meta["annotations"] = {
        **annotations,
        "istio.io/rev": revision,
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "15020",
        "prometheus.io/path": "/stats/prometheus",
        STATUS_ANNOTATION: json.dumps(status, separators=(",", ":")),
    }
    return result


def _workload(pod: Object) -> str:
    """What Istio calls a pod without an owner: by its name, unless the API server makes that up after the injector."""
    meta = pod["metadata"]
    return "" if meta.get("generateName") else str(meta.get("name") or "")


def _labels(pod: Object) -> dict[str, str]:
    labels = labels_of(pod)
    names = (labels.get("app.kubernetes.io/name"), labels.get("app"), _workload(pod))
    versions = (labels.get("app.kubernetes.io/version"), labels.get("version"), "latest")
    return {
        "security.istio.io/tlsMode": "istio",
        CANONICAL_NAME: next((each for each in names if each), ""),
        CANONICAL_REVISION: next(each for each in versions if each),
    }


def _init(asked: Asked) -> Object:
    return {
        "name": INIT,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": ["istio-iptables", *asked.redirection, "--log_output_level=default:info"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": False,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "runAsUser": 0,
        },
    }


def _field(name: str, path: str) -> Object:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _environment(pod: Object, asked: Asked, apps: list[str], probers: Mapping[str, Object]) -> list[Object]:
    meta, spec = pod["metadata"], pod["spec"]
    ports = [
        {key: port[key] for key in ("name", "containerPort", "protocol") if port.get(key)} | {"protocol": protocol}
        for container in spec["containers"]
        for port in container.get("ports") or []
        for protocol in (port.get("protocol") or "TCP",)
    ]
    name = _workload(pod)
    values = {
        "PROXY_CONFIG": json.dumps(dict(asked.config), separators=(",", ":")) + "\n",
        "ISTIO_META_POD_PORTS": json.dumps(ports),
        "ISTIO_META_APP_CONTAINERS": ",".join(apps),
        "ISTIO_META_CLUSTER_ID": "Kubernetes",
        "ISTIO_META_INTERCEPTION_MODE": "REDIRECT",
        "ISTIO_META_WORKLOAD_NAME": name,
        "ISTIO_META_OWNER": f"kubernetes://apis/v1/namespaces/{meta.get('namespace', 'default')}/pods/{name}",
        "ISTIO_META_MESH_ID": "cluster.local",
        "TRUST_DOMAIN": "cluster.local",
    }
    values |= dict(asked.metadata)
    if probers:
        values["ISTIO_KUBE_APP_PROBERS"] = json.dumps(dict(probers), separators=(",", ":"))
    return [
        {"name": "PILOT_CERT_PROVIDER", "value": "istiod"},
        {"name": "CA_ADDR", "value": asked.address},
        _field("POD_NAME", "metadata.name"),
        _field("POD_NAMESPACE", "metadata.namespace"),
        _field("INSTANCE_IP", "status.podIP"),
        _field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        _field("HOST_IP", "status.hostIP"),
        _field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        *({"name": key, "value": value} for key, value in values.items()),
    ]


def _healthy(**thresholds: int) -> Object:
    return {"httpGet": {"path": "/healthz/ready", "port": 15021}, "timeoutSeconds": 3, **thresholds}


def _proxy(pod: Object, asked: Asked, apps: list[str], probers: Mapping[str, Object]) -> Object:
    container: Object = {
        "name": PROXY,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "proxy",
            "sidecar",
            "--domain",
            "$(POD_NAMESPACE).svc.cluster.local",
            "--proxyLogLevel=warning",
            "--proxyComponentLogLevel=misc:error",
            "--log_output_level=default:info",
        ],
        "env": _environment(pod, asked, apps, probers),
        "ports": [{"containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP"}],
        "startupProbe": _healthy(periodSeconds=1, failureThreshold=600),
        "readinessProbe": _healthy(periodSeconds=15, failureThreshold=4),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsGroup": 1337,
            "runAsNonRoot": True,
            "runAsUser": 1337,
        },
        "volumeMounts": [
            {"name": "istiod-ca-cert", "mountPath": "/var/run/secrets/istio"},
            {"name": "istio-data", "mountPath": "/var/lib/istio/data"},
            {"name": "istio-envoy", "mountPath": "/etc/istio/proxy"},
            {"name": "istio-token", "mountPath": "/var/run/secrets/tokens"},
            {"name": "istio-podinfo", "mountPath": "/etc/istio/pod"},
        ],
    }
    if asked.hold and not asked.native:
        container["lifecycle"] = {"postStart": {"exec": {"command": ["pilot-agent", "wait"]}}}
    return container


def _volumes() -> list[Object]:
    token = {"audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token"}
    facts = [{"path": each, "fieldRef": {"fieldPath": f"metadata.{each}"}} for each in ("labels", "annotations")]
    return [
        {"name": "istio-envoy", "emptyDir": {"medium": "Memory"}},
        {"name": "istio-data", "emptyDir": {}},
        {"name": "istio-podinfo", "downwardAPI": {"items": facts}},
        {"name": "istio-token", "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}},
    ]


__all__ = ["IMAGE", "LEFT_OUT", "REVISION", "STATUS_ANNOTATION", "VERSION", "DeniedError", "injected", "labels_of"]
