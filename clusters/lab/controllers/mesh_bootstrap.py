"""What a lab with a mesh has from its first second: the root namespace, istiod of each revision, its webhooks.

What belongs here: the objects and keeping them. What does not: what istiod does (`clusters.lab.mesh.istiod`).

Namespace, ServiceAccount and ConfigMaps are made again when someone deletes them, and the pod as its Deployment would.
The Service and the webhook configuration are not: taking them away is how a person tries what a mesh does without them.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from functools import partial

from clusters.lab.client import (
    CONFIG_MAPS,
    MUTATING_WEBHOOKS,
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    SERVICES,
    ApiError,
    Key,
    Object,
    Resource,
)
from clusters.lab.controllers.hub import Hub, Worker, absorb_exists, labels, terminating
from clusters.lab.mesh.template import VERSION
from clusters.lab.mesh.webhooks import DEFAULT, configuration, service_name

ROOT = "istio-system"
IMAGE = f"eastwest/istiod:{VERSION}"
_ACCOUNT = "istiod"
_REVISION = "istio.io/rev"
_HOPELESS = {400, 422}
"""Answers that no later try changes: what we ask for is wrong, and a lab without it must not look sound."""
_KEPT = (NAMESPACES, SERVICE_ACCOUNTS, CONFIG_MAPS)
"""What is made again when it is deleted, besides the pods."""
_PORTS = {"https-dns": (15012, 15012), "https-webhook": (443, 15017), "http-monitoring": (15014, 15014)}
"""Name → the Service's port and the pod's; without Istio's 15010, since the lab's agents speak TLS only."""
_MESH = f"""\
accessLogFile: /dev/stdout
defaultConfig:
  discoveryAddress: {{service}}.{ROOT}.svc:15012
enablePrometheusMerge: true
extensionProviders: []
rootNamespace: {ROOT}
trustDomain: cluster.local
"""


def _selector(revision: str) -> dict[str, str]:
    return {"app": "istiod", _REVISION: revision}


def _suffixed(name: str, revision: str) -> str:
    return name if revision == DEFAULT else f"{name}-{revision}"


def _object(resource: Resource, name: str, revision: str = "", **rest: object) -> Object:
    version = f"{resource.group}/{resource.version}" if resource.group else resource.version
    meta: Object = {"name": name, "labels": {_REVISION: revision} if revision else {}}
    if resource.namespaced:
        meta["namespace"] = ROOT
    return {"apiVersion": version, "kind": resource.kind, "metadata": meta, **rest}


def _config_maps(revision: str) -> list[Object]:
    mesh = {"mesh": _MESH.format(service=service_name(revision)), "meshNetworks": "networks: {}"}
    values = {
        "values": json.dumps({"revision": "" if revision == DEFAULT else revision, "telemetry": {"enabled": False}})
    }
    return [
        _object(CONFIG_MAPS, _suffixed("istio", revision), revision, data=mesh),
        _object(CONFIG_MAPS, _suffixed("istio-sidecar-injector", revision), revision, data=values),
    ]


def _service(revision: str) -> Object:
    ports = [
        {"name": name, "port": port, "targetPort": target, "protocol": "TCP"} for name, (port, target) in _PORTS.items()
    ]
    found = _object(SERVICES, service_name(revision), revision, spec={"selector": _selector(revision), "ports": ports})
    found["metadata"]["labels"]["app"] = "istiod"
    return found


def pod(revision: str, name: str, mutant: str = "") -> Object:
    """One istiod; with a mutant's name it looks for what that one breaks in a mesh."""
    env: list[Object] = [
        {"name": "REVISION", "value": revision},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        # What the lab's proxies do without, in the words by which a real control plane leaves it out.
        {"name": "PILOT_ENABLE_ALPN_FILTER", "value": "false"},
        {"name": "PILOT_ENABLE_METADATA_EXCHANGE", "value": "false"},
    ]
    if mutant:
        env.append({"name": "EASTWEST_MUTANT", "value": mutant})
    names = {8080: "http-debug", 15012: "https-xds", 15017: "https-webhooks", 15014: "http-monitoring"}
    container: Object = {
        "name": "discovery",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "clusters.lab.mesh.istiod"],
        "env": env,
        "ports": [{"containerPort": port, "name": each, "protocol": "TCP"} for port, each in names.items()],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 5},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec: Object = {
        "serviceAccountName": _ACCOUNT,
        "restartPolicy": "Always",
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
    }
    found = _object(PODS, name, revision, spec=spec)
    found["metadata"]["labels"] |= {
        **_selector(revision),
        "istio": "pilot",
        "operator.istio.io/version": VERSION,
        "sidecar.istio.io/inject": "false",
    }
    return found


class MeshBootstrap:
    """Keeps a mesh's own objects in existence.

    Args:
        revisions: Of control planes besides the default one.
        mutant: Which broken lab this is, or nothing.
    """

    def __init__(self, hub: Hub, revisions: Sequence[str] = (), mutant: str = "") -> None:
        self._hub, self._mutant = hub, mutant
        self._revisions = (DEFAULT, *revisions)
        self._worker = Worker("mesh-bootstrap", self._reconcile)
        self._pods: dict[str, str] = {}
        bodies = [(NAMESPACES, _object(NAMESPACES, ROOT)), (SERVICE_ACCOUNTS, _object(SERVICE_ACCOUNTS, _ACCOUNT))]
        for revision in self._revisions:
            bodies += [(CONFIG_MAPS, each) for each in _config_maps(revision)]
            bodies += [(SERVICES, _service(revision)), (MUTATING_WEBHOOKS, configuration(revision))]
        self._bodies = {(resource.plural, str(body["metadata"]["name"])): (resource, body) for resource, body in bodies}
        for resource in _KEPT:
            hub.listen(resource, partial(self._told, resource.plural))
        hub.listen(PODS, self._pod_told)

    def _told(self, plural: str, event: str, obj: Object) -> None:
        meta = obj["metadata"]
        if event == "DELETED" and (plural, meta["name"]) in self._bodies and meta.get("namespace", ROOT) == ROOT:
            self._worker.add((plural, meta["name"]))

    def _pod_told(self, event: str, obj: Object) -> None:
        """Forget a pod that ends: a Deployment's next one does not wait until it is gone."""
        meta, revision = obj["metadata"], labels(obj).get(_REVISION, "")
        over = obj.get("status", {}).get("phase") in {"Failed", "Succeeded"}
        ours = meta.get("namespace") == ROOT and self._pods.get(revision) == meta["name"]
        if ours and (event == "DELETED" or terminating(obj) or over):
            del self._pods[revision]
            self._worker.add((PODS.plural, revision))

    async def run(self) -> None:
        """Create everything, then keep what is kept until cancelled."""
        for place in self._bodies:
            self._worker.add(place)
        for revision in self._revisions:
            self._worker.add((PODS.plural, revision))
        await self._worker.run()

    async def _reconcile(self, place: Key) -> None:
        plural, name = place
        if plural == PODS.plural:
            fresh = f"{service_name(name)}-{secrets.token_hex(5)}"
            resource, body = PODS, pod(name, self._pods.setdefault(name, fresh), self._mutant)
        else:
            resource, body = self._bodies[place]
        try:
            await absorb_exists(self._hub.client.create(resource, body, ROOT if resource.namespaced else ""))
        except ApiError as error:
            if error.status in _HOPELESS:
                raise RuntimeError(f"{resource.plural} {body['metadata']['name']} was refused: {error}") from error
            raise
