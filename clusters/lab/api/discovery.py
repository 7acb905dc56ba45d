"""Discovery: versions, groups, resource lists, and the open health paths."""

from __future__ import annotations

import functools
import json
import platform
from typing import Any

from aiohttp import web

from clusters.lab.api.resources import Catalogue, ResourceType

Object = dict[str, Any]
GIT_VERSION = "v1.34.0+eastwest"


@functools.cache
def version() -> Object:
    """The body of `/version`."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": "1",
        "minor": "34",
        "emulationMajor": "1",
        "emulationMinor": "34",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "33",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "cpython",
        "platform": f"linux/{machine}",
    }


def open_path(path: str) -> web.Response:
    """Paths that need no token: health and version."""
    if path == "/version":
        return _json(version())
    return web.Response(text="ok")


def answer(request: web.BaseRequest, steps: list[str], catalogue: Catalogue) -> web.Response | None:
    """The discovery document of a path, or None when the path means objects."""
    aggregated = "apidiscovery.k8s.io" in request.headers.get("Accept", "")
    names = list(dict.fromkeys(group for group, _ in catalogue.groups))
    match steps:
        case []:
            return _json(
                {"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/readyz", "/version"]}
            )
        case ["api"] if aggregated:
            return _aggregated([_aggregated_group("", ["v1"], catalogue)])
        case ["apis"] if aggregated:
            return _aggregated([_aggregated_group(name, catalogue.versions(name), catalogue) for name in names])
        case ["api"]:
            return _json({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        case ["apis"]:
            groups = [_group(name, catalogue.versions(name)) for name in names]
            return _json({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        case ["apis", name] if name in names:
            return _json({"kind": "APIGroup", "apiVersion": "v1", **_group(name, catalogue.versions(name))})
        case ["api", "v1"]:
            return _json(_resource_list("", "v1", catalogue))
        case ["apis", group, version] if (group, version) in catalogue.groups:
            return _json(_resource_list(group, version, catalogue))
        case _:
            return None


def _json(body: Object) -> web.Response:
    return web.Response(body=json.dumps(body, separators=(",", ":")).encode(), content_type="application/json")


def _group(name: str, versions: list[str]) -> Object:
    served = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": served, "preferredVersion": served[0]}


def _resource_list(group: str, version: str, catalogue: Catalogue) -> Object:
    found: list[Object] = []
    for each in catalogue.of(group, version):
        entry: Object = {
            "name": each.plural,
            "singularName": each.singular,
            "namespaced": each.namespaced,
            "kind": each.kind,
            "verbs": list(each.verbs),
        }
        if each.short:
            entry["shortNames"] = list(each.short)
        if each.categories:
            entry["categories"] = list(each.categories)
        found.append(entry)
        for sub in each.subresources:
            below: Object = {"name": f"{each.plural}/{sub.name}", "singularName": "", "namespaced": each.namespaced}
            if sub.version:
                below |= {"group": sub.group, "version": sub.version}
            found.append(below | {"kind": sub.kind, "verbs": list(sub.verbs)})
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": found}


def _aggregated(groups: list[Object]) -> web.Response:
    body = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": groups}
    kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    return web.Response(body=json.dumps(body).encode(), headers={"Content-Type": kind})


def _aggregated_group(group: str, versions: list[str], catalogue: Catalogue) -> Object:
    served = [
        {
            "version": version,
            "freshness": "Current",
            "resources": [_aggregated_resource(each) for each in catalogue.of(group, version)],
        }
        for version in versions
    ]
    return {"metadata": {"name": group} if group else {}, "versions": served}


def _aggregated_resource(resource: ResourceType) -> Object:
    entry: Object = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short:
        entry["shortNames"] = list(resource.short)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {
                    "group": sub.group or resource.group,
                    "version": sub.version or resource.version,
                    "kind": sub.kind,
                },
                "verbs": list(sub.verbs),
            }
            for sub in resource.subresources
        ]
    return entry
