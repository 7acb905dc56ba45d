"""What a container sees of its pod's volumes and of the files that the node writes for it.

What belongs here: volumeMounts, /etc/resolv.conf, /etc/hosts, /etc/hostname. What does not: the volumes' content
(`volumes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from clusters.lab import addresses
from clusters.lab.client import Object
from clusters.lab.node.environment import ConfigError, expand
from clusters.lab.node.runtime import Mount
from clusters.lab.node.volumes import Volumes

_HOSTS: Final = (
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff02::1\tip6-allnodes\n"
)


def hostname(pod: Object) -> str:
    """The pod's host name, at most 63 characters; in its node's network the node's."""
    spec = pod["spec"]
    if spec.get("hostNetwork"):
        return str(spec["nodeName"])
    return str(spec.get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")


def resolv_conf(pod: Object, dns_service: str) -> str:
    """The resolver's settings by `dnsPolicy` and `dnsConfig`.

    `Default` means the node's own resolver in Kubernetes; a lab's node has none, as it has no way out.
    """
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if spec.get("hostNetwork") and policy == "ClusterFirst":
        policy = "Default"
    servers: list[str] = []
    search: list[str] = []
    options: dict[str, str | None] = {}
    if policy in {"ClusterFirst", "ClusterFirstWithHostNet"}:
        domain = addresses.CLUSTER_DOMAIN
        servers = [dns_service]
        search = [f"{pod['metadata']['namespace']}.svc.{domain}", f"svc.{domain}", domain]
        options = {"ndots": "5"}
    config = spec.get("dnsConfig") or {}
    servers = list(dict.fromkeys([*servers, *(config.get("nameservers") or [])]))
    search = list(dict.fromkeys([*search, *(config.get("searches") or [])]))
    options |= {each["name"]: each.get("value") for each in config.get("options") or []}
    lines = [f"nameserver {each}" for each in servers]
    if search:
        lines.append("search " + " ".join(search))
    if options:
        lines.append(
            "options " + " ".join(key if value is None else f"{key}:{value}" for key, value in options.items())
        )
    return "\n".join(lines) + "\n"


def hosts_file(pod: Object, pod_addresses: list[str]) -> str:
    """The pod's /etc/hosts: itself and its `hostAliases`."""
    spec, name = pod["spec"], hostname(pod)
    names = name
    if spec.get("subdomain"):
        full = f"{name}.{spec['subdomain']}.{pod['metadata']['namespace']}.svc.{addresses.CLUSTER_DOMAIN}"
        names = f"{full}\t{name}"
    text = "# Written by the lab's kubelet.\n" + _HOSTS
    text += "".join(f"{address}\t{names}\n" for address in pod_addresses)
    for alias in spec.get("hostAliases") or []:
        text += "\t".join([alias["ip"], *(alias.get("hostnames") or [])]) + "\n"
    return text


def write_pod_files(pod: Object, folder: Path, pod_addresses: list[str], dns_service: str) -> None:
    """Write the files that all containers of a pod share."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "resolv.conf").write_text(resolv_conf(pod, dns_service), encoding="utf-8")
    (folder / "hosts").write_text(hosts_file(pod, pod_addresses), encoding="utf-8")
    (folder / "hostname").write_text(hostname(pod) + "\n", encoding="utf-8")


def mounts(
    container: Object, folder: Path, volumes: Volumes, variables: Mapping[str, str], *, read_only_root: bool
) -> list[Mount]:
    """All mounts of a container, parents before children.

    Raises:
        ConfigError: A mount that the lab does not offer or that leads out of its volume.
    """
    found = [
        Mount(source=str(folder / name), target=f"/etc/{name}", read_only=read_only_root)
        for name in ("resolv.conf", "hosts", "hostname")
    ]
    own = [_mount(each, volumes, variables) for each in container.get("volumeMounts") or []]
    targets = {each.target for each in own}
    found = [each for each in found if each.target not in targets]
    return sorted(found + own, key=lambda each: len(PurePosixPath(each.target).parts))


def _mount(each: Object, volumes: Volumes, variables: Mapping[str, str]) -> Mount:
    name, target = each["name"], PurePosixPath("/", each["mountPath"])
    for refused in ("mountPropagation", "recursiveReadOnly"):
        if each.get(refused) not in {None, "None", "Disabled"}:
            raise ConfigError(f'volumeMounts "{name}": the lab does not offer {refused}: {each[refused]}')
    source = volumes.path(name)
    if not source.is_dir():
        raise ConfigError(f'volumeMounts "{name}": the pod has no such volume')
    sub = each.get("subPath") or expand(each.get("subPathExpr") or "", variables)
    if sub:
        source = _below(source, sub, name)
    return Mount(source=str(source), target=str(target), read_only=bool(each.get("readOnly")))


def _below(volume: Path, sub: str, name: str) -> Path:
    parts = PurePosixPath(sub)
    if parts.is_absolute() or ".." in parts.parts:
        raise ConfigError(f'volumeMounts "{name}": subPath {sub!r} leads out of its volume')
    place = (volume / parts).resolve()
    if not place.is_relative_to(volume.resolve()):
        raise ConfigError(f'volumeMounts "{name}": subPath {sub!r} leads out of its volume by a link')
    if not place.exists():
        place.mkdir(parents=True)
        place.chmod(0o777)
    return place
