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

from clusters.command import Cancel, Deadline, run
from clusters.kube import Kube, KubeError, KubeTimeoutError
from clusters.resources import summary
from flows.errors import PreparationError, UsageError

VERSION: Final = "v3.28.5"
MANIFEST: Final = f"https://raw.githubusercontent.com/projectcalico/calico/{VERSION}/manifests/calico-vxlan.yaml"
SHA256: Final = "034b15449b896732fd65e30ec109fb469fa97b78d0d8b6986dac478f7a960629"
"""Of the manifest above, as its release has it."""

VARIABLE: Final = "EASTWEST_CALICO_MANIFEST"
DOWNLOAD_TIMEOUT: Final = 30.0
"""Seconds of silence that end a download; the manifest has 250 kB."""
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
    manifest: Manifest, kube: Kube, *, kubectl: str, kubeconfig: Path, deadline: Deadline, cancel: Cancel
) -> None:
    """Apply the manifest; returns once `calico-node` is ready on every node.

    Raises:
        CommandError: kubectl failed; its own words are in the detail.
        PreparationError: Calico did not become ready in time; the detail has the pods' state.
    """
    run(
        [kubectl, "--kubeconfig", str(kubeconfig), "apply", "-f", str(manifest.path)],
        what="install Calico",
        timeout=deadline.left(),
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
