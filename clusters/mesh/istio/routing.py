"""Behaviours as Istio's traffic resources: VirtualService, DestinationRule, ServiceEntry.

What belongs here: where calls go, and what a workload of the world is called there. What does not: who may call
(`write`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

from clusters.mesh.dialect import Manifest, Object, Place
from clusters.mesh.istio.words import NETWORKING, VERSION_LABEL
from flows.errors import UsageError
from flows.model import Workload
from policies.behaviour import Backend, ExternalService, HttpRoute, RequestMatch, Routing, Text


def known(place: Place, name: str) -> Workload:
    """The workload of this name.

    Raises:
        UsageError: The world has none; names those it has.
    """
    if name not in place.workloads:
        raise UsageError(f"workload {name!r}: the world has none; there is {', '.join(sorted(place.workloads))}")
    return place.workloads[name]


def namespace(place: Place, role: str) -> str:
    """The namespace in this role.

    Raises:
        UsageError: The world has none; names those it has.
    """
    if role not in place.namespaces:
        raise UsageError(f"role {role!r}: the world has no such namespace; there is {', '.join(place.namespaces)}")
    return place.namespaces[role]


def host(place: Place, name: str) -> str:
    """The full name of a workload's Service."""
    workload = known(place, name)
    if not workload.service:
        raise UsageError(f"workload {name!r}: it has no Service, so calls to it cannot be steered")
    return f"{workload.service}.{workload.namespace}.svc.cluster.local"


def routing(asked: Routing, place: Place) -> list[Manifest]:
    """One VirtualService, and a DestinationRule for each service whose versions are named."""
    target = known(place, asked.service)
    spec: Object = {"hosts": [host(place, asked.service)]}
    if asked.routes:
        spec["http"] = [_route(asked.service, each, place) for each in asked.routes]
    if asked.tcp:
        spec["tcp"] = [{"route": _destinations(asked.service, asked.tcp, place)}]
    if len(spec) == 1:
        raise UsageError(f"Routing of {asked.service!r}: it has neither routes nor tcp; give one")
    written = [
        Manifest(
            object=_object("DestinationRule", f"{service}-versions", place, service, _versions(service, names, place))
        )
        for service, names in _subsets(asked).items()
    ]
    rule = _object("VirtualService", f"{asked.service}-routes", place, asked.service, spec)
    assert rule["metadata"]["namespace"] == target.namespace
    return [*written, Manifest(object=rule)]


def external(asked: ExternalService, place: Place) -> Manifest:
    """A ServiceEntry, for the proxies of the world alone."""
    port = {"number": asked.port, "name": asked.protocol, "protocol": asked.protocol.upper()}
    spec: Object = {"hosts": [asked.host], "location": "MESH_EXTERNAL", "ports": [port]}
    if asked.addresses:
        spec["addresses"] = list(asked.addresses)
    spec["resolution"] = "NONE"
    if asked.endpoints:
        spec["resolution"] = "STATIC" if all(_is_address(each) for each in asked.endpoints) else "DNS"
        spec["endpoints"] = [{"address": each} for each in asked.endpoints]
    home = namespace(place, "home")
    meta, spec["exportTo"] = {"name": asked.name, "namespace": home}, exports(place, home)
    return Manifest(object={"apiVersion": NETWORKING, "kind": "ServiceEntry", "metadata": meta, "spec": spec})


def exports(place: Place, home: str) -> list[str]:
    """`exportTo` of what is written into `home`: whoever is not of the world is neither told nor steered.

    A mesh of thousands of proxies is then not configured anew with each change of a test.
    """
    return [".", *sorted(set(place.namespaces.values()) - {home})]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _object(kind: str, name: str, place: Place, service: str, spec: Object) -> Object:
    home = known(place, service).namespace
    meta = {"name": name, "namespace": home}
    return {
        "apiVersion": NETWORKING,
        "kind": kind,
        "metadata": meta,
        "spec": {**spec, "exportTo": exports(place, home)},
    }


def _subsets(asked: Routing) -> dict[str, list[str]]:
    """Service → the versions that routes name, the route's own service first."""
    found: dict[str, list[str]] = {asked.service: list(asked.versions)}
    for backend in (*(each for route in asked.routes for each in route.backends), *asked.tcp):
        names = found.setdefault(backend.service or asked.service, [])
        if backend.version and backend.version not in names:
            names.append(backend.version)
    return {service: names for service, names in found.items() if names}


def _versions(service: str, names: Sequence[str], place: Place) -> Object:
    subsets = [{"name": name, "labels": {VERSION_LABEL: name}} for name in names]
    return {"host": host(place, service), "subsets": subsets}


def _destinations(service: str, backends: Sequence[Backend], place: Place) -> list[Object]:
    if len(backends) > 1 and not any(each.weight for each in backends):
        raise UsageError(f"Routing of {service!r}: several backends and no weight; give each its share in percent")
    written = []
    for each in backends:
        destination: Object = {"host": host(place, each.service or service)}
        if each.version:
            destination["subset"] = each.version
        if each.port:
            destination["port"] = {"number": each.port}
        share = {"weight": each.weight} if len(backends) > 1 or each.weight else {}
        written.append({"destination": destination, **share})
    return written


def _route(service: str, route: HttpRoute, place: Place) -> Object:
    written: Object = {}
    if route.matches:
        written["match"] = [_match(each, place) for each in route.matches]
    if route.redirect and route.respond:
        raise UsageError(f"Routing of {service!r}: a route either redirects or responds; give one")
    if (route.redirect or route.respond) and route.backends:
        raise UsageError(f"Routing of {service!r}: a route that redirects or responds has no backends; leave them out")
    if route.redirect:
        path, authority, code = route.redirect
        target = {"uri": path, "authority": authority, "redirectCode": code}
        written["redirect"] = {key: value for key, value in target.items() if value}
    elif route.respond:
        status, body = route.respond
        written["directResponse"] = {"status": status, **({"body": {"string": body}} if body else {})}
    else:
        written["route"] = _destinations(service, route.backends or (Backend(),), place)
    rewrite = {"uri": route.rewrite_path, "authority": route.rewrite_host}
    changes = {key: value for key, value in rewrite.items() if value}
    if changes:
        written["rewrite"] = changes
    headers = _headers(route)
    if headers:
        written["headers"] = headers
    if route.abort:
        written["fault"] = {"abort": {"httpStatus": route.abort, "percentage": {"value": route.abort_percent}}}
    if route.timeout:
        written["timeout"] = f"{route.timeout:g}s"
    if route.retries is not None:
        written["retries"] = {"attempts": route.retries}
    return written


def _headers(route: HttpRoute) -> Object:
    request: dict[str, Any] = {}
    if route.set_request:
        request["set"] = dict(route.set_request)
    if route.remove_request:
        request["remove"] = list(route.remove_request)
    headers: Object = {"request": request} if request else {}
    if route.add_response:
        headers["response"] = {"add": dict(route.add_response)}
    return headers


def _match(match: RequestMatch, place: Place) -> Object:
    written: Object = {}
    if match.path:
        written["uri"] = _text(match.path, "path")
    if match.method:
        written["method"] = _text(match.method, "method")
    for key, pairs, present in (
        ("headers", match.headers, {}),
        ("queryParams", match.query, {"regex": ".*"}),
        ("withoutHeaders", match.without_headers, {}),
    ):
        if pairs:
            written[key] = _texts(pairs, present)
    if match.port:
        written["port"] = match.port
    if match.source:
        known(place, match.source)
        written["sourceLabels"] = dict(place.select[match.source])
    if match.role:
        written["sourceNamespace"] = namespace(place, match.role)
    if match.ignore_case:
        if not match.path:
            raise UsageError("RequestMatch.ignore_case: Istio ignores the case of paths only; give path")
        written["ignoreUriCase"] = True
    return written


def _texts(pairs: Iterable[tuple[str, Text]], present: Object) -> Object:
    return {name: dict(present) if text.present else _text(text, name) for name, text in pairs}


def _text(text: Text, where: str) -> Object:
    given = {"exact": text.exact, "prefix": text.prefix, "regex": text.regex}
    filled = {key: value for key, value in given.items() if value}
    if text.present or len(filled) != 1:
        raise UsageError(f"Text of {where!r}: give exactly one of exact, prefix and regex")
    return filled
