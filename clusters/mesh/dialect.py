"""The one interface between eastwest and a mesh: writing behaviours as resources, reading proxies.

What belongs here: what every mesh must be able to say. What does not: a mesh's own kinds, ports and words; those stay
in its dialect (`clusters.mesh.istio`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from clusters.mesh.signer import Signer
from flows.model import Flow, Verdict, Workload
from flows.steps import Step
from policies.behaviour import Behaviour

__all__ = [
    "Dialect",
    "Essential",
    "Form",
    "Injection",
    "LogEntry",
    "Make",
    "Manifest",
    "MeshFacts",
    "Object",
    "Place",
    "ProxyState",
    "Step",
]
Object = dict[str, Any]
Form = Literal["container", "native", "none"]
"""How a pod's proxy runs: beside the application, as a restartable init container, or not at all."""

Disturbance = Literal["gone", "down-ignore", "down-fail"]
"""What becomes of the injection webhook: deleted; or unreachable, with pods let through or refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a dialect must know of a test's world to write a resource.

    Attributes:
        namespaces: Role → namespace name.
        workloads: By name.
        select: Workload name → the labels that pick its pods alone.
    """

    namespaces: Mapping[str, str]
    workloads: Mapping[str, Workload]
    select: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A resource that a dialect wrote.

    Attributes:
        mesh_wide: Whether it is in force beyond our own namespaces (DESIGN: blast radius).
    """

    object: Object
    mesh_wide: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Essential:
    """What a meshed pod must reach for its proxy to live; a policy that forgets it breaks the pod sooner or later.

    Attributes:
        name: As a person calls it: `the control plane`, with `where` for its Service and what is asked there.
        labels: Pick its pods in its namespace.
    """

    name: str
    where: str
    namespace: str
    labels: Mapping[str, str]
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshFacts:
    """What the cluster's mesh is and can do; shown in every report.

    Attributes:
        revisions: Revision name → control plane version, the default first.
        native_sidecars: Whether injected proxies are restartable init containers here.
        cni: Whether a CNI plugin redirects traffic instead of an init container.
        lacks: What the proxies' build cannot do (`istio-alpn`, `metadata-exchange`, …).
        root_namespace: Where mesh-wide resources live.
        essentials: What every proxy must reach.
    """

    name: str
    version: str
    revisions: Mapping[str, str]
    native_sidecars: bool
    cni: bool
    gateway_api: bool
    lacks: tuple[str, ...] = ()
    root_namespace: str = ""
    trust_domain: str = "cluster.local"
    essentials: tuple[Essential, ...] = ()

    def words(self) -> dict[str, str]:
        """For the cluster's fingerprint: `mesh`, `mesh-version`, `mesh-revisions`, …, all text."""
        return {
            "mesh": self.name,
            "mesh-version": self.version,
            "mesh-revisions": ", ".join(f"{name} ({version})" for name, version in self.revisions.items()),
            "mesh-sidecars": "native" if self.native_sidecars else "containers",
            "mesh-cni": "yes" if self.cni else "no",
            "mesh-gateway-api": "yes" if self.gateway_api else "no",
            "mesh-lacks": ", ".join(self.lacks) or "nothing known",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """What became of one pod's injection.

    Attributes:
        form: How its proxy runs.
        ready: Containers ready and in all, counted as `kubectl get pods` counts (restartable init containers too).
        revision: The control plane that injected it; `version` is its proxy's.
        skew: How its proxy and the control plane that it should have differ, by revision or version, with the remedy;
            empty when they do not, or when it has no proxy.
        reason: Why it has no proxy, naming the label, annotation or webhook to mend; empty when it has one.
    """

    form: Form
    ready: tuple[int, int]
    proxy_ready: bool = False
    revision: str = ""
    version: str = ""
    skew: str = ""
    reason: str = ""

    @property
    def count(self) -> str:
        """As `kubectl get pods` prints it: `2/2`."""
        return f"{self.ready[0]}/{self.ready[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line of a proxy's access log, in any mesh's words.

    Attributes:
        flags: Response flags (`UF`, `NR`, `UH`, …).
        details: Why the proxy answered so (`rbac_access_denied_matched_policy[…]`), or a connection's end.
        direction: `inbound` or `outbound`.
        identity: The peer's identity, where the log has it.
    """

    method: str = ""
    path: str = ""
    status: int = 0
    flags: str = ""
    details: str = ""
    direction: str = ""
    upstream: str = ""
    downstream: str = ""
    authority: str = ""
    cluster: str = ""
    request_id: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyState:
    """What a workload's proxy says of itself.

    Attributes:
        synced: Whether it has acknowledged the control plane's latest configuration; None when nobody could tell.
        identity: Of its own certificate; `expires` in seconds since the epoch.
        rejected: Why its newest configuration is not in force, in its own or the control plane's words.
        server_mode: What it takes on each port: `strict`, `permissive`, `disable`.
    """

    ready: bool
    version: str = ""
    synced: bool | None = None
    identity: str = ""
    expires: float = 0.0
    server_modes: Mapping[int, str] = field(default_factory=dict)
    rejected: str = ""


class Dialect(Protocol):
    """One mesh. Every method that asks the cluster has a deadline and raises `HarnessError` when it cannot tell."""

    name: str
    kinds: tuple[tuple[str, str], ...]
    """API version and kind of everything that `manifests` writes."""

    def detect(self) -> MeshFacts | None:
        """What mesh there is; None when this dialect's mesh is not installed."""
        ...

    def namespace_labels(self, revision: str = "") -> dict[str, str]:
        """Labels by which a namespace asks for injection."""
        ...

    def pod_labels(self, *, meshed: bool) -> dict[str, str]:
        """Labels by which one pod asks for a proxy or refuses it."""
        ...

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
        """Annotations by which one pod asks for a proxy, refuses it, or says what it shall be; None says nothing.

        Args:
            first: The application starts only once its proxy works.
            unguarded: Ports of the pod that callers reach without the pod's proxy.
            unrouted: Ports of others that the pod calls without its own proxy.
            requests: What the proxy asks of its node, as in a pod's spec.
        """
        ...

    def service_annotations(self, namespace: str, namespaces: Iterable[str]) -> dict[str, str]:
        """Annotations by which a Service of `namespace` is known to the proxies of these namespaces and to no others.

        A mesh of thousands of proxies is then not configured anew for our sake.
        """
        ...

    def disturb_injection(self, how: Disturbance) -> Callable[[], None]:
        """Break injection for the whole cluster (only on clusters we made); returns what mends it again."""
        ...

    def manifests(self, behaviour: Behaviour, place: Place) -> list[Manifest]:
        """The resources that ask for this behaviour.

        Raises:
            UsageError: This mesh cannot say it; names what.
        """
        ...

    def already(self, namespaces: Sequence[str]) -> list[str]:
        """What others wrote that is in force in these namespaces, the mesh-wide too: `KIND NAME in NAMESPACE`.

        What we may not see is left out.
        """
        ...

    def left(self, namespaces: Sequence[str]) -> list[str]:
        """What this run wrote into these namespaces and has not taken back: `KIND NAME in NAMESPACE`."""
        ...

    def identity(self, workload: Workload) -> str:
        """The identity of a workload as policies of this mesh write it."""
        ...

    def injection(self, pod: Object, namespace: Object) -> Injection:
        """What became of this pod's injection."""
        ...

    def proxy(self, workload: Workload) -> ProxyState:
        """What the workload's proxy says of itself."""
        ...

    def log(self, workload: Workload, contains: str = "", since_seconds: float = 60.0) -> Sequence[LogEntry]:
        """The proxy's access log, newest last; only lines that contain the text."""
        ...

    def seen_identity(self, headers: Sequence[tuple[str, str]]) -> str:
        """The caller's identity in the headers that the server's application saw; empty when there is none."""
        ...

    def claim(self, identity: str) -> tuple[tuple[str, str], ...]:
        """Headers by which an impostor would pretend to be this identity."""
        ...

    def certificates(self, lifetime: float) -> dict[str, str]:
        """Annotations of a pod whose proxy asks for certificates that live no longer than these seconds."""
        ...

    def signer(self) -> Signer:
        """The mesh's certificate authority, with its key: only on clusters we made."""
        ...

    def explain(self, flow: Flow, verdict: Verdict, place: Place) -> list[Step]:
        """The mesh's part of the layered check: injected, in sync, TLS modes, deciding policy, route, log."""
        ...


Make = Callable[..., Dialect]
