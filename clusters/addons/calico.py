"""Calico from its manifest: pinned by version and checksum, downloaded once, or from a mirror or a file.

What belongs here: getting the manifest, applying it, knowing when Calico enforces. What does not: making clusters.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from clusters.command import Cancel, Deadline, run
from clusters.kube import Kube, KubeError, KubeTimeoutError
from clusters.profile import IpFamily
from clusters.resources import summary
from flows.errors import PreparationError, UsageError

VERSION: Final = "v3.28.5"
MANIFEST: Final = f"https://raw.githubusercontent.com/projectcalico/calico/{VERSION}/manifests/calico-vxlan.yaml"
SHA256: Final = "034b15449b896732fd65e30ec109fb469fa97b78d0d8b6986dac478f7a960629"
"""Of the manifest above, as its release has it."""

VARIABLE: Final = "EASTWEST_CALICO_MANIFEST"
DOWNLOAD_TIMEOUT: Final = 30.0
"""Seconds of silence that end a download; the manifest has 250 kB."""
_CNI_CONFIG: Final = "cni_network_config"
_IPAM: Final = '"type": "calico-ipam"'
_IPV6: Final = {
    "IP6": "autodetect",
    "FELIX_IPV6SUPPORT": "true",
    "CALICO_IPV6POOL_VXLAN": "Always",
    "CALICO_IPV6POOL_NAT_OUTGOING": "true",
}
_IPV6_ALONE: Final = {"IP": "none", "CALICO_ROUTER_ID": "hash"}
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""In C where there is one: the manifest has 250 kB."""
_KNOWN: Final = {"manifest", "sha256"}
_OTHERWISE: Final = f"give a local file: {VARIABLE}=FILE or addons.calico.manifest"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Calico's manifest on this machine.

    Attributes:
        source: Where it came from: a URL or a file, for the report.
    """

    path: Path
    source: str
    sha256: str


def prepare(settings: dict[str, str], *, given: str = "", cache: Path) -> Manifest:
    """The manifest, checked, before any cluster is made.

    Args:
        settings: The profile's `addons.calico`: `manifest` (a file or a URL) and `sha256`.
        given: A file or URL from the command line; it and the environment's go before the profile's.
        cache: The folder that keeps downloads.

    Raises:
        UsageError: An unknown setting, a file that cannot be read, or a wrong checksum.
        PreparationError: The download failed; names the setting for a local file.
    """
    unknown = sorted(set(settings) - _KNOWN)
    if unknown:
        raise UsageError(f"profile: unknown field 'addons.calico.{unknown[0]}'; known fields: manifest, sha256")
    chosen = given or os.environ.get(VARIABLE, "")
    # The profile's checksum is of the profile's manifest.
    wanted = "" if chosen else settings.get("sha256", "")
    chosen = chosen or settings.get("manifest", "") or MANIFEST
    if urllib.parse.urlsplit(chosen).scheme in {"http", "https"}:
        return _download(chosen, wanted or SHA256, cache)
    path = Path(chosen).expanduser().absolute()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"Calico's manifest {path}: cannot be read ({error.strerror}); give a readable file") from None
    found = hashlib.sha256(content).hexdigest()
    if wanted and found != wanted:
        raise UsageError(f"Calico's manifest {path}: its sha256 is {found[:12]}…, not {wanted[:12]}…; mend the profile")
    return Manifest(path, str(path), found)


def _download(url: str, wanted: str, cache: Path) -> Manifest:
    path = cache / f"calico-{wanted[:16]}.yaml"
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == wanted:
        return Manifest(path, url, wanted)
    host = urllib.parse.urlsplit(url).hostname
    try:
        with urllib.request.build_opener().open(url, timeout=DOWNLOAD_TIMEOUT) as answer:
            content: bytes = answer.read()
    except urllib.error.HTTPError as error:
        raise PreparationError(f"Calico's manifest: {host} answers {error.code}; {_OTHERWISE}", detail=url) from error
    except OSError as error:
        raise PreparationError(
            f"Calico's manifest: {host} cannot be reached; {_OTHERWISE}", detail=str(error)
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != wanted:
        raise PreparationError(
            f"Calico's manifest from {host} is not the pinned one; check the mirror, or set addons.calico.sha256",
            detail=f"{url}\nsha256 wanted: {wanted}\nsha256 found:  {found}",
        )
    cache.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)
    return Manifest(path, url, found)


def install(
    manifest: Manifest,
    kube: Kube,
    *,
    kubectl: str,
    kubeconfig: Path,
    deadline: Deadline,
    cancel: Cancel,
    ip_family: IpFamily = "ipv4",
) -> None:
    """Apply the manifest; returns once `calico-node` is ready on every node.

    Raises:
        CommandError: kubectl failed; its own words are in the detail.
        PreparationError: Calico did not become ready in time; the detail has the pods' state.
    """
    run(
        [kubectl, "--kubeconfig", str(kubeconfig), "apply", "-f", "-"],
        what="install Calico",
        timeout=deadline.left(),
        stdin=for_family(manifest.path.read_text(encoding="utf-8"), ip_family),
        cancel=cancel,
    )
    labels = "k8s-app=calico-node"
    try:
        kube.wait(
            "apps/v1",
            "DaemonSet",
            "",
            _rolled_out,
            what="calico-node on every node",
            timeout=deadline.left(),
            labels=labels,
            abort=cancel.check,
        )
    except KubeTimeoutError as error:
        raise PreparationError(
            f"Calico is not ready within {deadline.seconds:.0f} s; can the nodes get its images?",
            detail=f"{error.detail}\n{_pods(kube, labels)}",
        ) from error


def for_family(manifest: str, ip_family: IpFamily) -> str:
    """The manifest with the settings that Calico's documentation gives for IPv6; as it is for IPv4 alone.

    Raises:
        PreparationError: It has no CNI configuration, or no DaemonSet, to set anything in.
    """
    if ip_family == "ipv4":
        return manifest
    documents = [each for each in yaml.load_all(manifest, Loader=_LOADER) if each]
    configured = [each for each in documents if each["kind"] == "ConfigMap" and _CNI_CONFIG in each.get("data", {})]
    nodes = [each for each in documents if (each["kind"], each["metadata"]["name"]) == ("DaemonSet", "calico-node")]
    if not configured or not nodes:
        raise PreparationError(
            f"Calico's manifest has no {_CNI_CONFIG} or no calico-node: cannot be set to {ip_family}; use {MANIFEST}"
        )
    addresses = {"assign_ipv4": str(ip_family != "ipv6").lower(), "assign_ipv6": "true"}
    said = ", ".join(f'"{key}": "{value}"' for key, value in addresses.items())
    for each in configured:  # placeholders stand in it, so it is no JSON yet
        text = each["data"][_CNI_CONFIG]
        each["data"][_CNI_CONFIG] = text.replace(_IPAM, f"{_IPAM}, {said}")
    for container in nodes[0]["spec"]["template"]["spec"]["containers"]:
        wanted = {**_IPV6, **(_IPV6_ALONE if ip_family == "ipv6" else {})}
        kept = [variable for variable in container.get("env") or [] if variable["name"] not in wanted]
        container["env"] = [*kept, *({"name": name, "value": value} for name, value in wanted.items())]
    return yaml.dump_all(documents, Dumper=_DUMPER, sort_keys=False)


def _rolled_out(found: list[dict[str, Any]]) -> bool:
    return bool(found) and all(
        each["status"].get("observedGeneration") == each["metadata"]["generation"]
        and 0 < each["status"].get("desiredNumberScheduled", 0) == each["status"].get("numberReady", 0)
        for each in found
    )


def _pods(kube: Kube, labels: str) -> str:
    try:
        return summary(kube.list("v1", "Pod", "", labels))
    except KubeError as error:
        return error.message
