"""One request taken apart: who asks, for which resource, by which verb, in which version.

What belongs here: paths, methods, page tokens, versions of one resource. What does not: bodies and answers (`rest`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from clusters.lab.api import auth, resources
from clusters.lab.api.resources import ResourceType
from clusters.lab.api.status import bad_request, expired, method_not_allowed, no_such_path
from clusters.lab.api.store import Entry

Object = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Call:
    """One request, taken apart.

    Attributes:
        verb: As authorization knows it: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`
            or `deletecollection`.
        resource: In the version in which its objects are stored.
        warnings: Lines for the answer's `Warning` headers.
        served: The apiVersion that the client speaks, where it is another than the stored one.
    """

    request: web.BaseRequest
    user: auth.User
    resource: ResourceType
    verb: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    warnings: list[str] = field(default_factory=list)
    served: str = ""

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, the last of each name."""
        return dict(self.request.query)

    def to_stored(self, body: Any) -> Any:
        """A body in the stored version; all versions of a resource have one schema."""
        if self.served and isinstance(body, dict) and body.get("apiVersion") == self.served:
            return {**body, "apiVersion": self.resource.api_version}
        return body

    def to_served(self, obj: Object) -> Object:
        """An object of this resource in the version that the client speaks."""
        return {**obj, "apiVersion": self.served} if self.served and "apiVersion" in obj else obj

    def item(self, entry: Entry) -> bytes:
        """An object as a list has it: of custom kinds with its kind and version, as their servers do."""
        head = f'"kind":"{self.resource.kind}","apiVersion":"'
        rest = entry.encoded[len(f'{{{head}{self.resource.api_version}",') :]
        if not self.resource.custom:
            return b"{" + rest
        return f'{{{head}{self.served or self.resource.api_version}",'.encode() + rest

    def shown(self, entry: Entry) -> bytes:
        """An object alone, in the version that the client speaks."""
        if not self.served:
            return entry.encoded
        return json.dumps(self.to_served(entry.object), separators=(",", ":"), ensure_ascii=False).encode()


def parse(
    request: web.BaseRequest, user: auth.User, steps: list[str], warnings: list[str], catalogue: resources.Catalogue
) -> Call:
    """The call that a path and a method mean.

    Raises:
        StatusError: 404; no such resource.
    """
    if steps[:1] == ["api"]:
        group, version, rest = "", steps[1], steps[2:]
    elif steps[:1] == ["apis"] and len(steps) > 2:
        group, version, rest = steps[1], steps[2], steps[3:]
    else:
        raise no_such_path()
    namespace = ""
    watching = rest[:1] == ["watch"]
    rest = rest[1:] if watching else rest
    if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in {"status", "finalize"}:
        namespace, rest = rest[1], rest[2:]
    resource = catalogue.find(group, version, rest[0]) if rest else None
    if rest == ["bindings"] and namespace and not group and request.method == "POST":
        return Call(
            request=request,
            user=user,
            resource=resources.PODS,
            verb="create",
            namespace=namespace,
            subresource="binding",
            warnings=warnings,
        )
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        raise no_such_path()
    name, subresource = (rest[1:2] or [""])[0], (rest[2:3] or [""])[0]
    if resource.namespaced and not namespace and (name or request.method == "POST"):
        raise no_such_path()
    query = request.query
    watching = watching or query.get("watch", "").lower() in {"1", "true"}
    verb = {
        "GET": "watch" if watching and not subresource else "get" if name else "list",
        "HEAD": "get" if name else "list",
        "POST": "create",
        "PUT": "update",
        "PATCH": "patch",
        "DELETE": "delete" if name else "deletecollection",
    }.get(request.method, "")
    if not verb or (verb in {"update", "patch"} and not name) or (verb == "create" and name and not subresource):
        raise method_not_allowed()
    return Call(
        request=request,
        user=user,
        resource=resource.as_stored,
        served=resource.api_version if resource.storage else "",
        verb=verb,
        namespace=namespace,
        name=name,
        subresource=subresource,
        warnings=warnings,
    )


def page(token: str, floor: int) -> tuple[str, str]:
    """The place after which the next page begins.

    Raises:
        StatusError: 400 or 410; the token is not ours, or too old.
    """
    try:
        revision, namespace, name = json.loads(token)
    except (ValueError, TypeError):
        raise bad_request("continue key is not valid: it was not made by this server") from None
    if not isinstance(revision, int) or revision < floor:
        raise expired("The provided continue parameter is too old to display a consistent list result.")
    return str(namespace), str(name)
