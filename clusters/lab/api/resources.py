"""The registry of kinds: names, scopes, verbs and subresources; discovery, routing and wording all read it.

What belongs here: facts about a kind's place in the API. What does not: its fields (`fields`) or behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subresource:
    """A path behind an object's name, such as `status`, `exec` or `token`.

    Attributes:
        kind: The kind of its body, with `group` and `version` where they differ from the parent's.
    """

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceType:
    """One resource of the API.

    Attributes:
        verbs: What may be done; POST-only kinds (reviews) have `create` alone and are never stored.
        generation: Whether `metadata.generation` counts changes of the desired state.
    """

    group: str = ""
    version: str = "v1"
    plural: str
    singular: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    generation: bool = False

    @property
    def api_version(self) -> str:
        """As objects write it: `v1`, `networking.k8s.io/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As messages write it: `pods`, `networkpolicies.networking.k8s.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def stored(self) -> bool:
        """Whether objects of this kind exist beyond the request."""
        return "get" in self.verbs

    def subresource(self, name: str) -> Subresource | None:
        """The subresource of that name, if the kind has it."""
        return next((each for each in self.subresources if each.name == name), None)


def _status(kind: str) -> Subresource:
    return Subresource(name="status", kind=kind, verbs=("get", "patch", "update"))


NAMESPACES = ResourceType(
    plural="namespaces",
    singular="namespace",
    kind="Namespace",
    namespaced=False,
    short=("ns",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=(Subresource(name="finalize", kind="Namespace", verbs=("update",)), _status("Namespace")),
)
PODS = ResourceType(
    plural="pods",
    singular="pod",
    kind="Pod",
    short=("po",),
    categories=("all",),
    generation=True,
    subresources=(
        Subresource(name="attach", kind="PodAttachOptions", verbs=("create", "get")),
        Subresource(name="binding", kind="Binding", verbs=("create",)),
        Subresource(name="ephemeralcontainers", kind="Pod", verbs=("get", "patch", "update")),
        Subresource(name="exec", kind="PodExecOptions", verbs=("create", "get")),
        Subresource(name="log", kind="Pod", verbs=("get",)),
        Subresource(name="portforward", kind="PodPortForwardOptions", verbs=("create", "get")),
        _status("Pod"),
    ),
)
SERVICES = ResourceType(
    plural="services",
    singular="service",
    kind="Service",
    short=("svc",),
    categories=("all",),
    subresources=(_status("Service"),),
)
CONFIG_MAPS = ResourceType(plural="configmaps", singular="configmap", kind="ConfigMap", short=("cm",))
SECRETS = ResourceType(plural="secrets", singular="secret", kind="Secret")
SERVICE_ACCOUNTS = ResourceType(
    plural="serviceaccounts",
    singular="serviceaccount",
    kind="ServiceAccount",
    short=("sa",),
    subresources=(
        Subresource(name="token", kind="TokenRequest", verbs=("create",), group="authentication.k8s.io", version="v1"),
    ),
)
NODES = ResourceType(
    plural="nodes",
    singular="node",
    kind="Node",
    namespaced=False,
    short=("no",),
    subresources=(_status("Node"),),
)
EVENTS = ResourceType(plural="events", singular="event", kind="Event", short=("ev",))
ENDPOINT_SLICES = ResourceType(
    group="discovery.k8s.io", plural="endpointslices", singular="endpointslice", kind="EndpointSlice", generation=True
)
NETWORK_POLICIES = ResourceType(
    group="networking.k8s.io",
    plural="networkpolicies",
    singular="networkpolicy",
    kind="NetworkPolicy",
    short=("netpol",),
    generation=True,
)
LEASES = ResourceType(group="coordination.k8s.io", plural="leases", singular="lease", kind="Lease")
ACCESS_REVIEWS = ResourceType(
    group="authorization.k8s.io",
    plural="selfsubjectaccessreviews",
    singular="selfsubjectaccessreview",
    kind="SelfSubjectAccessReview",
    namespaced=False,
    verbs=("create",),
)
SELF_REVIEWS = ResourceType(
    group="authentication.k8s.io",
    plural="selfsubjectreviews",
    singular="selfsubjectreview",
    kind="SelfSubjectReview",
    namespaced=False,
    verbs=("create",),
)

REGISTRY = (
    CONFIG_MAPS,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    ENDPOINT_SLICES,
    NETWORK_POLICIES,
    LEASES,
    ACCESS_REVIEWS,
    SELF_REVIEWS,
)
BY_PATH = {(each.group, each.version, each.plural): each for each in REGISTRY}
"""(group, version, plural) → resource."""
GROUPS = tuple(dict.fromkeys((each.group, each.version) for each in REGISTRY if each.group))
"""The named groups with their one version, in order of appearance."""
