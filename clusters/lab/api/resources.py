"""The registry of kinds: names, scopes, verbs and subresources; discovery, routing and wording all read it.

What belongs here: facts about a kind's place in the API. What does not: its fields (`fields`) or behaviour.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

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
        custom: Whether it is defined by a CustomResourceDefinition: empty values stay, patches merge plainly.
        storage: The version in which objects are stored, where it is another than `version`.
        columns: (name, path into the object) of what `kubectl get` shows between name and age, for custom kinds.
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
    custom: bool = False
    storage: str = ""
    columns: tuple[tuple[str, str], ...] = ()

    @property
    def as_stored(self) -> ResourceType:
        """The resource in the version in which its objects are stored."""
        return replace(self, version=self.storage, storage="") if self.storage else self

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
TOKEN_REVIEWS = ResourceType(
    group="authentication.k8s.io",
    plural="tokenreviews",
    singular="tokenreview",
    kind="TokenReview",
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
    TOKEN_REVIEWS,
)


class Catalogue:
    """The kinds that one API server has.

    Args:
        registry: Every kind in every version that it is served in; a group's preferred version first.
    """

    def __init__(self, registry: tuple[ResourceType, ...]) -> None:
        self.registry = registry
        self.groups = tuple(dict.fromkeys((each.group, each.version) for each in registry if each.group))
        """The named groups with their versions, in order of appearance."""
        self._by_path = {(each.group, each.version, each.plural): each for each in registry}

    def find(self, group: str, version: str, plural: str) -> ResourceType | None:
        """The resource of that path, if there is one."""
        return self._by_path.get((group, version, plural))

    def versions(self, group: str) -> list[str]:
        """The versions of a named group, the preferred one first."""
        return [version for name, version in self.groups if name == group]

    def of(self, group: str, version: str) -> tuple[ResourceType, ...]:
        """The kinds of one version of a group."""
        return tuple(each for each in self.registry if (each.group, each.version) == (group, version))


@functools.cache
def catalogue(mesh: str = "none") -> Catalogue:
    """The kinds of a lab with this mesh."""
    from clusters.lab.api import calico_kinds  # it needs the types above

    if mesh == "none":
        return Catalogue((*REGISTRY, *calico_kinds.REGISTRY))
    from clusters.lab.api import mesh_kinds  # a lab without a mesh pays nothing for it

    return Catalogue((*REGISTRY, *calico_kinds.REGISTRY, *mesh_kinds.REGISTRY))
