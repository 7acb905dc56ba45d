"""A `Kube` that answers from a list of objects, and refuses what it is told to refuse."""

from __future__ import annotations

from typing import Any

from clusters.kube import Kube, KubeError
from tests.clusters.fakes import handle, kubeconfig

Object = dict[str, Any]
INJECTOR = "istio-sidecar-injector"


class FakeKube(Kube):
    """Answers `get`, `list`, `logs` and `version`; kinds without an object are unknown to it."""

    def __init__(self, *objects: Object, forbidden: tuple[str, ...] = (), log: str = "") -> None:
        super().__init__(handle(kubeconfig("http://127.0.0.1:9")))
        self.objects, self.forbidden, self.log = list(objects), forbidden, log
        self.patched: list[tuple[str, Object]] = []
        self.asked: list[tuple[object, ...]] = []

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object:
        found = [each for each in self.list(api_version, kind, namespace) if each["metadata"]["name"] == name]
        if not found:
            raise KubeError(f"{kind} {name}: not found", status=404)
        return found[0]

    def list(
        self, api_version: str, kind: str, namespace: str = "", labels: str = "", fields: str = ""
    ) -> list[Object]:
        self.asked.append(("list", api_version, kind, namespace, labels, fields))
        if kind in self.forbidden:
            raise KubeError(f"no right to list {kind}", status=403)
        known = [each for each in self.objects if each["kind"] == kind]
        if not known and ("istio" in api_version or "gateway" in api_version):
            raise KubeError(f"no kind {kind}", status=404)
        wanted = dict(pair.split("=") for pair in labels.split(",") if pair)
        return [
            each
            for each in known
            if (not namespace or each["metadata"].get("namespace") == namespace)
            and wanted.items() <= (each["metadata"].get("labels") or {}).items()
        ]

    def logs(self, namespace: str, pod: str, container: str = "", *, previous: bool = False, tail: int = 200) -> str:
        self.asked.append(("logs", namespace, pod, container, previous, tail))
        return self.log

    def version(self) -> str:
        return "v1.34.4"

    def patch(
        self, api_version: str, kind: str, name: str, namespace: str, patch: object, *, strategy: str = "merge"
    ) -> Object:
        assert isinstance(patch, dict)
        self.asked.append(("patch", api_version, kind, namespace, strategy))
        self.patched.append((name, patch))
        return {}


def obj(kind: str, name: str, namespace: str = "", *, labels: dict[str, str] | None = None, **rest: Any) -> Object:
    """An object with its metadata; `rest` stands beside it."""
    meta: Object = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "x/v1", "kind": kind, "metadata": meta, **rest}


def expression(key: str, operator: str, *values: str) -> Object:
    """One of a selector's expressions."""
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def webhooks(revision: str = "default", *, default: bool = True, policy: str = "Fail") -> Object:
    """A configuration with the selectors that istiod 1.31 has: by namespace and by pod, with tag or without."""
    not_refused = expression("sidecar.istio.io/inject", "NotIn", "false")
    unlabelled = [expression("istio-injection", "DoesNotExist"), expression("istio.io/rev", "DoesNotExist")]
    pairs = [
        ([expression("istio.io/rev", "In", revision), expression("istio-injection", "DoesNotExist")], [not_refused]),
        (unlabelled, [not_refused, expression("istio.io/rev", "In", revision)]),
    ]
    if default:
        pairs.append(([expression("istio-injection", "In", "enabled")], [not_refused]))
        asked = [expression("sidecar.istio.io/inject", "In", "true"), expression("istio.io/rev", "DoesNotExist")]
        pairs.append((unlabelled, asked))
    hooks = [
        {
            "name": f"{number}.sidecar-injector.istio.io",
            "failurePolicy": policy,
            "clientConfig": {"service": {"name": "istiod", "namespace": "istio-system"}},
            "namespaceSelector": {"matchExpressions": around},
            "objectSelector": {"matchExpressions": pod},
        }
        for number, (around, pod) in enumerate(pairs)
    ]
    labels = {"istio.io/rev": revision, **({"istio.io/tag": "default"} if default else {})}
    return obj("MutatingWebhookConfiguration", f"{INJECTOR}-{revision}", labels=labels, webhooks=hooks)


def istiod(revision: str = "default", version: str = "1.31.0", **env: str) -> Object:
    """A control plane's Deployment."""
    container = {
        "name": "discovery",
        "image": f"docker.io/istio/pilot:{version}",
        "env": [{"name": name, "value": value} for name, value in env.items()],
    }
    spec = {"template": {"spec": {"containers": [container]}}}
    labels = {"app": "istiod", "istio.io/rev": revision}
    return obj("Deployment", f"istiod-{revision}", "istio-system", labels=labels, spec=spec)
