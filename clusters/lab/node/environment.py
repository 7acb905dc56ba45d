"""A container's environment and arguments, as Kubernetes computes them.

What belongs here: `env`, `envFrom`, `$(VAR)`, the downward API. What does not: fetching the referred objects (given).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from clusters.lab.client import Object

Sources = Mapping[tuple[str, str], Object | None]
"""(`ConfigMap` or `Secret`, name) → the object with text values, or None when it does not exist."""

_REFERENCE: Final = re.compile(r"\$(\$|\(([^()]*)\))")
_KEYED_FIELD: Final = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
_ENV_NAME: Final = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


class ConfigError(Exception):
    """A container's configuration cannot be made (`CreateContainerConfigError`): what is missing, and where."""


def expand(text: str, known: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by known values; unknown ones stay as they are, `$$` is a dollar sign."""

    def one(match: re.Match[str]) -> str:
        if match.group(1) == "$":
            return "$"
        return known.get(match.group(2), match.group(0))

    return _REFERENCE.sub(one, text)


def references(container: Object) -> set[tuple[str, str]]:
    """The ConfigMaps and Secrets that a container's environment needs."""
    found: set[tuple[str, str]] = set()
    for each in container.get("envFrom") or []:
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if field in each:
                found.add((kind, each[field]["name"]))
    for each in container.get("env") or []:
        source = each.get("valueFrom") or {}
        for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if field in source:
                found.add((kind, source[field]["name"]))
    return found


def field_value(pod: Object, path: str, *, pod_addresses: list[str], node_addresses: list[str]) -> str:
    """The value of a downward API field.

    Raises:
        ConfigError: The lab does not offer this field.
    """
    meta, spec = pod["metadata"], pod["spec"]
    keyed = _KEYED_FIELD.fullmatch(path)
    if keyed:
        return str((meta.get(keyed.group(1)) or {}).get(keyed.group(2), ""))
    values: dict[str, str] = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta.get("namespace", ""),
        "metadata.uid": meta["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.hostIP": node_addresses[0] if node_addresses else "",
        "status.hostIPs": ",".join(node_addresses),
        "status.podIP": pod_addresses[0] if pod_addresses else "",
        "status.podIPs": ",".join(pod_addresses),
    }
    if path not in values:
        raise ConfigError(f"fieldPath {path}: the lab does not offer this field; known: {', '.join(sorted(values))}")
    return values[path]


def cluster_variables(host: str) -> dict[str, str]:
    """The variables of the Service `default/kubernetes` at this address, which every container gets."""
    bracketed = f"[{host}]" if ":" in host else host
    url = f"tcp://{bracketed}:443"
    return {
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": "443",
        "KUBERNETES_SERVICE_PORT_HTTPS": "443",
        "KUBERNETES_PORT": url,
        "KUBERNETES_PORT_443_TCP": url,
        "KUBERNETES_PORT_443_TCP_PROTO": "tcp",
        "KUBERNETES_PORT_443_TCP_PORT": "443",
        "KUBERNETES_PORT_443_TCP_ADDR": host,
    }


def environment(
    pod: Object,
    container: Object,
    base: Mapping[str, str],
    sources: Sources,
    *,
    pod_addresses: list[str],
    node_addresses: list[str],
    api_service: str,
) -> dict[str, str]:
    """All variables of a container: the image's, then the cluster's, `envFrom`, and `env` in order.

    Raises:
        ConfigError: A reference that is not optional has no object or key, or the lab does not offer it.
    """
    result = {**base, **cluster_variables(api_service)}
    for each in container.get("envFrom") or []:
        for name, value in _from_source(each, sources).items():
            variable = each.get("prefix", "") + name
            if _ENV_NAME.fullmatch(variable):
                result[variable] = value
    for each in container.get("env") or []:
        name = each["name"]
        if "valueFrom" not in each or each["valueFrom"] is None:
            result[name] = expand(str(each.get("value") or ""), result)
            continue
        source = each["valueFrom"]
        if "fieldRef" in source:
            path = source["fieldRef"]["fieldPath"]
            result[name] = field_value(pod, path, pod_addresses=pod_addresses, node_addresses=node_addresses)
        else:
            looked_up = _keyed(name, source, sources)
            if looked_up is not None:
                result[name] = looked_up
    return result


def _from_source(each: Mapping[str, Any], sources: Sources) -> dict[str, str]:
    for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        if field in each:
            reference = each[field]
            found = sources.get((kind, reference["name"]))
            if found is None:
                if reference.get("optional"):
                    return {}
                raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
            return {key: str(value) for key, value in (found.get("data") or {}).items()}
    return {}


def _keyed(name: str, source: Mapping[str, Any], sources: Sources) -> str | None:
    for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if field in source:
            reference = source[field]
            found = sources.get((kind, reference["name"]))
            data = (found or {}).get("data") or {}
            if reference["key"] in data:
                return str(data[reference["key"]])
            if reference.get("optional"):
                return None
            if found is None:
                raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
            raise ConfigError(f"couldn't find key {reference['key']} in {kind} {reference['name']} (env {name})")
    raise ConfigError(f"env {name}: the lab does not offer valueFrom.{next(iter(source), '')}")
