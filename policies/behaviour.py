"""What a mesh is asked to do, in words that every mesh has: strict, allowed as this identity, split. Plain values.

What belongs here: behaviours that suites and users name. What does not: any mesh's own kinds (`clusters.mesh` writes
those, one dialect a mesh), and NetworkPolicy, which needs no translation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum


class Mode(StrEnum):
    """What a workload's proxy takes from callers."""

    STRICT = "strict"
    PERMISSIVE = "permissive"
    DISABLE = "disable"


class Action(StrEnum):
    """What an access rule does with what it matches."""

    ALLOW = "allow"
    DENY = "deny"
    AUDIT = "audit"
    CUSTOM = "custom"


class Level(StrEnum):
    """How much of the mesh a behaviour covers."""

    MESH = "mesh"
    NAMESPACE = "namespace"
    WORKLOAD = "workload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whom a behaviour is for.

    Attributes:
        workload: A workload's name, for `Level.WORKLOAD`.
        role: Which of the world's namespaces, for `Level.NAMESPACE`; a workload's own is known.
    """

    level: Level = Level.NAMESPACE
    workload: str = ""
    role: str = "home"


def whole_mesh() -> Scope:
    """Everybody: a mesh-wide write, only on clusters we made, or with --allow-cluster-wide."""
    return Scope(level=Level.MESH)


def namespace(role: str = "home") -> Scope:
    """Every workload of one of the world's namespaces."""
    return Scope(level=Level.NAMESPACE, role=role)


def workload(name: str) -> Scope:
    """One workload."""
    return Scope(level=Level.WORKLOAD, workload=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mtls:
    """What servers take: plaintext, mutual TLS or both.

    Attributes:
        mode: None leaves it to the next wider scope (`unset`).
        ports: Port number of the workload → mode, stronger than `mode`; only with a workload's scope.
    """

    scope: Scope = field(default_factory=Scope)
    mode: Mode | None = Mode.STRICT
    ports: tuple[tuple[int, Mode], ...] = ()


class ClientMode(StrEnum):
    """What a caller's proxy sends."""

    DISABLE = "disable"
    MUTUAL = "mutual"
    """The mesh's own mutual TLS with the workload's identity."""
    SIMPLE = "simple"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """What callers' proxies send to a host, whatever the servers take.

    Attributes:
        to: A workload's name (its Service), or a host pattern such as `*.local` when `pattern` is set.
    """

    to: str = ""
    pattern: str = ""
    mode: ClientMode = ClientMode.MUTUAL
    role: str = "home"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who calls; every list that is given must hold, one entry of each list is enough.

    Attributes:
        identities: Workload names of the world, or `*` for any authenticated one. `raw_identities` are the mesh's own
            spelling, for patterns that no workload has.
        roles: The world's namespaces (`home`, `foreign`), or a name or pattern taken as it is.
        accounts: ServiceAccounts as `NAME` (of the policy's namespace) or a workload's name.
        token_subjects: `ISSUER/SUBJECT` patterns of a validated token.
        blocks: CIDRs of the direct peer; `remote_blocks` of the original client.
    """

    identities: tuple[str, ...] = ()
    not_identities: tuple[str, ...] = ()
    raw_identities: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    not_roles: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    not_accounts: tuple[str, ...] = ()
    token_subjects: tuple[str, ...] = ()
    not_token_subjects: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    not_blocks: tuple[str, ...] = ()
    remote_blocks: tuple[str, ...] = ()
    not_remote_blocks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is called; ports are numbers of the workload."""

    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    not_ports: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A further condition that must hold.

    Attributes:
        key: `header:NAME`, `claim:NAME` (nested: `claim:a/b`), `audience`, `presenter`, `identity`, `namespace`,
            `source-ip`, `remote-ip`, `destination-ip`, `destination-port` or `sni`.
    """

    key: str
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: any of the sources, any of the operations, all conditions. Empty means everything."""

    sources: tuple[Source, ...] = ()
    operations: tuple[Operation, ...] = ()
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may call what.

    Attributes:
        rules: None grants nothing (allow-nothing); an empty rule matches everything.
        provider: The external authorizer of `Action.CUSTOM`.
    """

    name: str
    scope: Scope = field(default_factory=Scope)
    action: Action = Action.ALLOW
    rules: tuple[Rule, ...] | None = ()
    provider: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Which JSON Web Tokens a workload's proxy validates; one without a token passes until a rule asks for it.

    Attributes:
        keys: The issuer's public keys (JWKS), as JSON text.
        header: Where the token is besides `Authorization: Bearer`; `(header, prefix)`.
    """

    name: str
    issuer: str
    keys: str
    audiences: tuple[str, ...] = ()
    scope: Scope = field(default_factory=Scope)
    headers: tuple[tuple[str, str], ...] = ()
    forward: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """How a text is matched; exactly one is given."""

    exact: str = ""
    prefix: str = ""
    regex: str = ""
    present: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMatch:
    """Which requests a route is for; everything that is given must hold.

    Attributes:
        source: Workload whose calls it is for.
        role: Namespace role whose calls it is for.
    """

    path: Text | None = None
    method: Text | None = None
    headers: tuple[tuple[str, Text], ...] = ()
    query: tuple[tuple[str, Text], ...] = ()
    without_headers: tuple[tuple[str, Text], ...] = ()
    port: int = 0
    source: str = ""
    role: str = ""
    ignore_case: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Where a part of the requests goes: a version of the service, or another service.

    Attributes:
        version: A version that the world's workloads have, or one that nobody has.
        service: Another workload's service; empty for the route's own.
        weight: Share in percent; 0 with a single backend means all.
    """

    version: str = ""
    service: str = ""
    port: int = 0
    weight: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRoute:
    """What becomes of requests that match one of `matches` (none: all).

    Attributes:
        redirect: `(path, host, code)`; excludes backends.
        rewrite_path: Replaces the matched path or prefix; `rewrite_host` the authority.
        abort: HTTP status that the proxy answers with, for `abort_percent` of the requests.
    """

    backends: tuple[Backend, ...] = ()
    matches: tuple[RequestMatch, ...] = ()
    rewrite_path: str = ""
    rewrite_host: str = ""
    redirect: tuple[str, str, int] | None = None
    respond: tuple[int, str] | None = None
    set_request: tuple[tuple[str, str], ...] = ()
    add_response: tuple[tuple[str, str], ...] = ()
    remove_request: tuple[str, ...] = ()
    abort: int = 0
    abort_percent: float = 100.0
    timeout: float = 0.0
    retries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How calls to a workload's service are spread over its versions; the first route that matches decides.

    Attributes:
        service: The workload whose service it is.
        versions: The versions that backends name; they become the dialect's subsets.
        tcp: Backends for raw TCP ports.
    """

    service: str
    routes: tuple[HttpRoute, ...] = ()
    versions: tuple[str, ...] = ("v1", "v2")
    tcp: tuple[Backend, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalService:
    """A host that is no Kubernetes Service, known to the mesh."""

    name: str
    host: str
    addresses: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    port: int = 8080
    protocol: str = "http"


Behaviour = Mtls | ClientTls | Access | Tokens | Routing | ExternalService


def split(service: str, **weights: int) -> Routing:
    """Requests to the service in these shares: `split("server", v1=90, v2=10)`."""
    backends = tuple(Backend(version=version, weight=weight) for version, weight in weights.items())
    return Routing(service=service, routes=(HttpRoute(backends=backends),), versions=tuple(weights))


def marked(routing: Routing, path: str, version: str) -> Routing:
    """The same routing, which sends requests for this path to one version whatever the weights.

    A proxy takes all routes of a resource at once: who is answered at the path by a version that did not answer there
    before knows that the weights beside it are in force too. Shares alone could tell that only by chance.
    """
    mark = HttpRoute(matches=(RequestMatch(path=Text(exact=path)),), backends=(Backend(version=version),))
    versions = routing.versions if version in routing.versions else (*routing.versions, version)
    return replace(routing, routes=(mark, *routing.routes), versions=versions)
