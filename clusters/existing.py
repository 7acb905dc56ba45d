"""The provider for a cluster that is already there: looks, asks what we may do, and cleans up after this run only.

What belongs here: attaching and what can be told about a foreign cluster. What does not: creating or deleting clusters,
ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from clusters.cluster import Cluster, Options
from clusters.kube import Kube, KubeError
from clusters.kubeconfig import pick, read
from clusters.marks import MANAGED_BY, MANAGER, RUN
from clusters.mesh import dialects
from clusters.profile import Profile
from clusters.sweep import sweep
from flows.errors import PreparationError, UsageError

Right = tuple[str, str, str]
"""(verb, apiVersion, kind or kind/subresource), as `Kube.access` takes it."""


def _rights(api_version: str, kind: str, verbs: str) -> list[Right]:
    return [(verb, api_version, kind) for verb in verbs.split()]


NEEDED: Final[list[Right]] = [
    *_rights("v1", "Pod", "create get list watch patch delete"),
    *_rights("v1", "Pod/exec", "create get"),
    *_rights("v1", "Pod/log", "get"),
    *_rights("v1", "Service", "create get list watch delete"),
    *_rights("v1", "ConfigMap", "create get list watch delete"),
    *_rights("v1", "ServiceAccount", "create get list watch delete"),
    *_rights("v1", "Event", "list"),
    *_rights("networking.k8s.io/v1", "NetworkPolicy", "create get list watch update delete"),
]
"""What a run does inside a namespace; `docs/reference/rbac.yaml` grants exactly this."""

NAMESPACES: Final[list[Right]] = _rights("v1", "Namespace", "create get list watch patch delete")
"""What a run does besides when it makes namespaces of its own."""

_CNI_PODS: Final = {
    "calico-node": "calico",
    "cilium": "cilium",
    "antrea-agent": "antrea",
    "kindnet": "kindnet",
    "kube-flannel": "flannel",
    "weave-net": "weave",
    "aws-node": "aws-vpc-cni",
    "azure-npm": "azure",
    "kube-router": "kube-router",
}
_CNI_NAMESPACES: Final = ("kube-system", "calico-system", "kube-flannel", "cilium")


class ExistingProvider:
    """Attaches to the one context that was named. See `clusters.cluster.Provider`."""

    def __init__(self, profile: Profile, options: Options, run_id: str) -> None:
        self._profile, self._options, self._run_id = profile, options, run_id
        self._cluster: Cluster | None = None

    def up(self) -> Cluster:
        """The handle of the named cluster, seen to answer and to let us do what a run needs.

        Raises:
            UsageError: No context named, an unknown one, an unreadable kubeconfig, a namespace that is not there.
            PreparationError: The cluster does not answer, or does not let us.
        """
        merged = read(self._options.kubeconfig)
        cluster = Cluster(
            profile=self._profile,
            kubeconfig=pick(merged, self._options.context),
            kubeconfig_file=merged.sources[0] if len(merged.sources) == 1 else "",
            context=self._options.context,
            run_id=self._run_id,
            namespace=self._options.namespace,
        )
        kube = Kube(cluster)
        try:
            facts = {"context": cluster.context, "server": _server(cluster), "kubernetes": kube.version()}
            rights = self._checked_rights(kube)
            facts |= node_facts(kube) | {"cni": guess_cni(kube) or self._profile.cni or "unknown"}
            facts |= dialects.facts(kube)
            facts["capabilities"] = ", ".join(sorted(rights))
        except KubeError as error:
            raise PreparationError(f"context {cluster.context!r}: {error.message}", detail=error.detail) from error
        finally:
            kube.close()
        self._cluster = Cluster(
            profile=cluster.profile,
            kubeconfig=cluster.kubeconfig,
            kubeconfig_file=cluster.kubeconfig_file,
            context=cluster.context,
            run_id=cluster.run_id,
            namespace=cluster.namespace,
            facts=facts,
        )
        return self._cluster

    def down(self, *, failed: bool) -> list[str]:
        """Remove this run's objects that are still there, unless they are to be kept; the cluster stays.

        A line for each that could not go. What is kept has been named by the worlds that made it.
        """
        kept = self._options.keep == "always" or (self._options.keep == "failed" and failed)
        if self._cluster is None or kept:
            return []
        kube = Kube(self._cluster)
        try:
            return sweep(kube, run_id=self._run_id, namespace=self._cluster.namespace).failed
        except KubeError as error:
            again = f"eastwest sweep --context {self._cluster.context}"
            return [f"objects of run {self._run_id} may be left: {error.message} (later: {again})"]
        finally:
            kube.close()

    def _checked_rights(self, kube: Kube) -> set[str]:
        """The capabilities that these credentials have; refuses when a run could not work with them."""
        namespace = self._options.namespace
        if namespace:
            _check_namespace(kube, namespace)
        else:
            missing = _missing(kube, NAMESPACES, "")
            if any(verb == "create" for verb, _, _ in missing):
                raise UsageError(
                    "these credentials may not create namespaces; give --namespace NS, one that you may use",
                    detail=_grants(missing, "the cluster"),
                )
            if missing:
                raise PreparationError(
                    "these credentials may create namespaces and not manage them; see docs/reference/rbac.yaml",
                    detail=_grants(missing, "the cluster"),
                )
        missing = _missing(kube, NEEDED, namespace)
        if missing:
            where = f"namespace {namespace}" if namespace else "new namespaces"
            few = ", ".join(f"{verb} {kind}" for verb, _, kind in missing[:2])
            more = f" and {len(missing) - 2} more" if len(missing) > 2 else ""
            raise PreparationError(
                f"no right in {where} to {few}{more}; bind docs/reference/rbac.yaml", detail=_grants(missing, where)
            )
        if namespace:
            check_empty(kube, namespace, self._run_id)
        found = {"exec", "logs", "events", "network-policy"}
        if not namespace:
            found.add("namespaces")
        if kube.access("list", "v1", "Node"):
            found.add("nodes")
        if kube.access("list", "discovery.k8s.io/v1", "EndpointSlice", "default"):
            found.add("api-address")
        return found


def _server(cluster: Cluster) -> str:
    return str(cluster.kubeconfig["clusters"][0]["cluster"].get("server", ""))


def _check_namespace(kube: Kube, namespace: str) -> None:
    try:
        found = kube.get("v1", "Namespace", namespace)
    except KubeError as error:
        if error.status == 403:  # not being allowed to look is no reason not to try
            return
        if error.status == 404:
            raise UsageError(
                f"--namespace {namespace}: the cluster has no such namespace; create it or name another"
            ) from None
        raise
    if found["metadata"].get("deletionTimestamp"):
        raise UsageError(f"--namespace {namespace}: it is being deleted; name another")


def check_empty(kube: Kube, namespace: str, run_id: str) -> None:
    """Refuse a namespace with pods in it: tests close every pod of the namespace they were given.

    Raises:
        UsageError: Names the namespace, one such pod and the remedy.
    """
    for pod in kube.list("v1", "Pod", namespace):
        name, labels = pod["metadata"]["name"], pod["metadata"].get("labels") or {}
        if labels.get(MANAGED_BY) != MANAGER:
            remedy = "give one without pods, tests close all of it"
        elif labels.get(RUN) != run_id:
            remedy = f"it is of eastwest's run {labels.get(RUN)}: let that end, or delete what it left"
        else:
            remedy = "it is of this run's last world: one at a time, without -n, and kept ones stay in the way"
        raise UsageError(f"namespace {namespace} holds pod {name}; {remedy}")


def _missing(kube: Kube, rights: list[Right], namespace: str) -> list[Right]:
    with ThreadPoolExecutor(max_workers=8) as pool:
        allowed = pool.map(lambda right: kube.access(right[0], right[1], right[2], namespace), rights)
        return [right for right, may in zip(rights, allowed, strict=True) if not may]


def _grants(missing: Iterable[Right], where: str) -> str:
    verbs: dict[str, list[str]] = {}
    for verb, api_version, kind in missing:
        verbs.setdefault(f"{kind} ({api_version})", []).append(verb)
    return "\n".join([f"not allowed in {where}:", *(f"  {kind}: {', '.join(each)}" for kind, each in verbs.items())])


def node_facts(kube: Kube) -> dict[str, str]:
    """What the nodes say about themselves; empty when we may not look."""
    try:
        nodes = kube.list("v1", "Node")
    except KubeError as error:
        if error.status == 403:
            return {}
        raise
    infos = [node["status"]["nodeInfo"] for node in nodes]
    facts = {"nodes": str(len(nodes))}
    for name, field in (
        ("kernel", "kernelVersion"),
        ("os", "osImage"),
        ("runtime", "containerRuntimeVersion"),
        ("kubelet", "kubeletVersion"),
    ):
        facts[name] = ", ".join(sorted({str(info.get(field, "")) for info in infos}))
    return facts


def guess_cni(kube: Kube) -> str:
    """The network plug-in by the names of its pods, with its version; empty when none is known or we may not look."""
    for namespace in _CNI_NAMESPACES:
        try:
            pods = kube.list("v1", "Pod", namespace)
        except KubeError as error:
            if error.status in {403, 404}:
                continue
            raise
        for pod in pods:
            for prefix, cni in _CNI_PODS.items():
                if pod["metadata"]["name"].startswith(prefix):
                    image = str(pod["spec"]["containers"][0]["image"]).partition("@")[0]
                    tag = image.rpartition("/")[2].partition(":")[2]
                    return f"{cni} {tag}".strip()
    return ""
