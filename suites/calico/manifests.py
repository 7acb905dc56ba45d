"""Short forms for manifests of Calico; every argument is the field of that name in `projectcalico.org/v3`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]
SERVER = "app == 'server'"
CALLER = {"source": {"selector": "app == 'caller'"}}
"""What a rule says of its source, to mean the caller: in a namespaced policy the intruder has the wrong namespace."""
DNS = {"destination": {"namespaceSelector": "projectcalico.org/name == 'kube-system'", "ports": [53]}}


def calico_policy(
    name: str,
    *,
    selects: str = SERVER,
    order: float | None = None,
    types: list[str] | None = None,
    ingress: list[Object] | None = None,
    egress: list[Object] | None = None,
    **more: str,
) -> Object:
    """A namespaced policy; an argument that is left out is absent in the manifest.

    Args:
        selects: Its `selector`.
    """
    fields = {"selector": selects, "order": order, "types": types, "ingress": ingress, "egress": egress, **more}
    return _object("NetworkPolicy", name, {key: value for key, value in fields.items() if value is not None})


def global_policy(name: str, **fields: Any) -> Object:
    """A GlobalNetworkPolicy, with the arguments of `calico_policy`."""
    return {**calico_policy(name, **fields), "kind": "GlobalNetworkPolicy"}


def network_set(name: str, nets: Iterable[str], **labels: str) -> Object:
    """A NetworkSet of these ranges."""
    found = _object("NetworkSet", name, {"nets": [hosts(each) for each in nets]})
    found["metadata"]["labels"] = labels
    return found


def global_set(name: str, nets: Iterable[str], **labels: str) -> Object:
    """A GlobalNetworkSet of these ranges."""
    return {**network_set(name, nets, **labels), "kind": "GlobalNetworkSet"}


def _object(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name}, "spec": spec}


def allow(**match: Any) -> Object:
    """A rule that allows what it matches."""
    return {"action": "Allow", **match}


def deny(**match: Any) -> Object:
    """A rule that denies what it matches."""
    return {"action": "Deny", **match}


def log(**match: Any) -> Object:
    """A rule that logs what it matches."""
    return {"action": "Log", **match}


def leave(**match: Any) -> Object:
    """A rule that leaves what it matches to the next tier, and there is none: to the profile of the namespace."""
    return {"action": "Pass", **match}


def hosts(address: str) -> str:
    """An address as the range of it alone."""
    return address if "/" in address else f"{address}/{ipaddress.ip_address(address).max_prefixlen}"


def each_family(addresses: Iterable[str], field: str) -> list[Object]:
    """Sources, one for each family that the addresses are of: a rule's `nets` or `notNets` have one family alone."""
    families: dict[int, list[str]] = {}
    for each in addresses:
        families.setdefault(ipaddress.ip_address(each).version, []).append(hosts(each))
    return [{field: nets} for nets in families.values()]
