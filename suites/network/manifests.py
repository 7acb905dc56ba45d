"""Short forms for NetworkPolicy manifests; every argument is the field of that name in `networking.k8s.io/v1`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]
DNS: Object = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ],
    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
}
"""The DNS exception, as everyone writes it."""
EVERYONE: Object = {}


def network_policy(
    name: str,
    *,
    selects: Object | None = None,
    types: list[str] | None = None,
    ingress: list[Object] | None = None,
    egress: list[Object] | None = None,
) -> Object:
    """A NetworkPolicy; an argument that is left out is absent in the manifest.

    Args:
        selects: The whole `podSelector`; by default `{}`, every pod of the namespace.
    """
    spec = {"podSelector": selects or {}, "policyTypes": types, "ingress": ingress, "egress": egress}
    written = {field: value for field, value in spec.items() if value is not None}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": written,
    }


def labelled(**labels: str) -> Object:
    """A selector by `matchLabels`."""
    return {"matchLabels": labels}


def expression(key: str, operator: str, *values: str) -> Object:
    """A selector by one `matchExpressions` entry."""
    one: Object = {"key": key, "operator": operator}
    return {"matchExpressions": [{**one, "values": list(values)} if values else one]}


def pods(**labels: str) -> Object:
    """A peer: pods of the policy's own namespace with these labels."""
    return {"podSelector": labelled(**labels)}


def spaces(**labels: str) -> Object:
    """A peer: every pod of the namespaces with these labels."""
    return {"namespaceSelector": labelled(**labels)}


def block(cidr: str, *excepted: str) -> Object:
    """A peer: an address range, with exceptions."""
    return {"ipBlock": {"cidr": cidr, "except": list(excepted)} if excepted else {"cidr": cidr}}


def tcp(port: int | str, **more: int) -> Object:
    """A TCP port by number or name; `endPort=` makes it a range."""
    return {"protocol": "TCP", "port": port, **more}


def sctp(port: int | str) -> Object:
    """An SCTP port by number or name."""
    return {"protocol": "SCTP", "port": port}


def udp(port: int | str) -> Object:
    """A UDP port by number or name."""
    return {"protocol": "UDP", "port": port}


def blocks(addresses: Iterable[str]) -> list[Object]:
    """Peers: each of these addresses alone, of whatever family."""
    return [block(str(ipaddress.ip_network(address))) for address in addresses]


def everywhere(excepted: Iterable[str]) -> list[Object]:
    """Peers: every address of the families of those excepted, without these."""
    holes = [ipaddress.ip_network(address) for address in excepted]
    return [
        block(whole, *(str(hole) for hole in holes if hole.version == version))
        for version, whole in ((4, "0.0.0.0/0"), (6, "::/0"))
        if any(hole.version == version for hole in holes)
    ]
