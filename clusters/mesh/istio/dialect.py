"""`Istio`: the dialect of one cluster's Istio, made of the modules beside this one.

What belongs here: the interface and what is asked once. What does not: how each answer is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from clusters.kube import Kube
from clusters.mesh.dialect import (
    Disturbance,
    Form,
    Injection,
    LogEntry,
    Manifest,
    MeshFacts,
    Object,
    Place,
    ProxyState,
    Step,
)
from clusters.mesh.istio import already, authority, detect, disturb, explain, injection, read, skew, write
from clusters.mesh.istio.words import (
    CONFIG,
    DEFAULT,
    EXPORT_TO,
    INJECT,
    INJECTION,
    KINDS,
    NATIVE,
    REQUESTS,
    REVISION,
    ROOT_NAMESPACE,
    TRUST_DOMAIN,
    UNGUARDED,
    UNROUTED,
)
from clusters.mesh.signer import Signer
from flows.model import Flow, Verdict, Workload
from policies.behaviour import Behaviour

_ENABLED: Final = "enabled"


class Istio:
    """See `clusters.mesh.dialect.Dialect`. What the mesh is, is looked up once for each object.

    Args:
        kube: The cluster; nothing is asked until it is needed.
    """

    name = "istio"
    kinds: tuple[tuple[str, str], ...] = KINDS

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._facts: MeshFacts | None = None

    def detect(self) -> MeshFacts | None:
        """What mesh there is; None when no control plane of Istio is installed.

        Raises:
            KubeError: The cluster did not answer.
        """
        if self._facts is None:
            self._facts = detect.detect(self._kube)
        return self._facts

    def namespace_labels(self, revision: str = "") -> dict[str, str]:
        """Labels by which a namespace asks for injection; of the first revision where there is no default one."""
        chosen = revision or self._revision()
        return {INJECTION: _ENABLED} if chosen == DEFAULT else {REVISION: chosen}

    def pod_labels(self, *, meshed: bool) -> dict[str, str]:
        """Labels by which one pod asks for a proxy or refuses it."""
        labels = {INJECT: str(meshed).lower()}
        if meshed and self._revision() != DEFAULT:
            labels[REVISION] = self._revision()
        return labels

    def pod_annotations(
        self,
        *,
        meshed: bool | None = None,
        form: Form | None = None,
        first: bool = False,
        unguarded: Sequence[int] = (),
        unrouted: Sequence[int] = (),
        requests: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Annotations by which one pod asks for a proxy, refuses it, or says what it shall be; None says nothing."""
        annotations = {} if meshed is None else {INJECT: str(meshed).lower()}
        if form in {"native", "container"}:
            annotations[NATIVE] = str(form == "native").lower()
        if first:
            annotations[CONFIG] = '{"holdApplicationUntilProxyStarts": true}'
        for name, ports in ((UNGUARDED, unguarded), (UNROUTED, unrouted)):
            if ports:
                annotations[name] = ",".join(str(port) for port in ports)
        asked = requests or {}
        return annotations | {REQUESTS[name]: asked[name] for name in REQUESTS if name in asked}

    def service_annotations(self, namespace: str, namespaces: Iterable[str]) -> dict[str, str]:
        """The annotation by which a Service of `namespace` is known to the proxies of these namespaces alone."""
        return {EXPORT_TO: ",".join((".", *sorted(set(namespaces) - {namespace})))}

    def disturb_injection(self, how: Disturbance) -> Callable[[], None]:
        """Break injection for the whole cluster; returns what mends it again.

        Raises:
            UsageError: The cluster is not one that we made.
        """
        return disturb.disturb(self._kube, how)

    def manifests(self, behaviour: Behaviour, place: Place) -> list[Manifest]:
        """The resources that ask for this behaviour.

        Raises:
            UsageError: Istio cannot say it; names what.
        """
        return write.manifests(behaviour, place, self._root)

    def already(self, namespaces: Sequence[str]) -> list[str]:
        """What others wrote that is in force in these namespaces, the mesh-wide too; what we may not see is left out.

        Raises:
            KubeError: The cluster did not answer.
        """
        return already.already(self._kube, namespaces, self._root)

    def left(self, namespaces: Sequence[str]) -> list[str]:
        """What this run wrote there and has not taken back.

        Raises:
            KubeError: The cluster did not answer.
        """
        return already.left(self._kube, namespaces)

    def identity(self, workload: Workload) -> str:
        """The identity of a workload as Istio's policies write it, without a scheme."""
        return write.principal(workload, self._facts.trust_domain if self._facts else TRUST_DOMAIN)

    def injection(self, pod: Object, namespace: Object) -> Injection:
        """What became of this pod's injection.

        Raises:
            KubeError: The cluster did not answer.
        """
        found = injection.injection(self._kube, pod, namespace)
        facts = self.detect() if found.form != "none" else None
        return replace(found, skew=skew.skew(found, pod, namespace, facts.revisions)) if facts else found

    def proxy(self, workload: Workload) -> ProxyState:
        """What the workload's proxy says of itself.

        Raises:
            HarnessError: It has none, or does not answer in time.
        """
        return read.proxy(self._kube, workload)

    def log(self, workload: Workload, contains: str = "", since_seconds: float = 60.0) -> Sequence[LogEntry]:
        """The proxy's access log, newest last; only lines that contain the text.

        Raises:
            HarnessError: It cannot be read.
        """
        return read.log(self._kube, workload, contains, since_seconds)

    def seen_identity(self, headers: Sequence[tuple[str, str]]) -> str:
        """The caller's identity in the headers that the server's application saw, as `identity` spells it."""
        return read.seen_identity(headers)

    def claim(self, identity: str) -> tuple[tuple[str, str], ...]:
        """Headers by which an impostor would pretend to be this identity."""
        return authority.claim(identity)

    def certificates(self, lifetime: float) -> dict[str, str]:
        """Annotations of a pod whose proxy asks for certificates that live no longer than these seconds."""
        return authority.lifetime(lifetime)

    def signer(self) -> Signer:
        """The mesh's certificate authority, with its key.

        Raises:
            HarnessError: Its key is not in the cluster, or these credentials may not read it.
        """
        facts = self.detect()
        return authority.signer(self._kube, self._root, facts.trust_domain if facts else TRUST_DOMAIN)

    def explain(self, flow: Flow, verdict: Verdict, place: Place) -> list[Step]:
        """The mesh's part of the layered check; a question that fails becomes a step that says so."""
        return explain.explain(self._kube, flow, verdict, place)

    def _revision(self) -> str:
        """The revision that injects where nobody names one: the default one where there is one."""
        facts = self.detect()
        names = list(facts.revisions) if facts else []
        return DEFAULT if DEFAULT in names or not names else names[0]

    @property
    def _root(self) -> str:
        return self._facts.root_namespace if self._facts and self._facts.root_namespace else ROOT_NAMESPACE
