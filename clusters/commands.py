"""`eastwest cluster up|down` and `eastwest sweep` as plain functions: they print and return the exit code.

What belongs here: what a person sees of real clusters' commands. What does not: the providers, the options' parser.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path
from typing import Final

import yaml

from clusters import profile as profiles
from clusters import providers
from clusters.cluster import KEPT, Cluster, Options
from clusters.existing import ExistingProvider
from clusters.kind import KindProvider
from clusters.kube import Kube
from clusters.sweep import sweep as sweep_objects
from flows.errors import UsageError

LEFT_BEHIND: Final = 12
PROFILE: Final = "kind-calico"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def up(profile: str = PROFILE, *, name: str = "", write_kubeconfig: str = "") -> int:
    """Create the profile's cluster and leave it running; prints how to reach and how to delete it.

    Raises:
        UsageError: The profile's provider creates no cluster that could be kept here.
    """
    wanted = profiles.load(profile)
    if wanted.provider != "kind":
        other = "`eastwest lab up` starts a lab" if wanted.provider == "lab" else "an existing cluster is up already"
        raise UsageError(f"cluster up --profile {profile}: provider {wanted.provider} is not created here; {other}")
    provider = providers.make(wanted, Options(keep="always", name=name), secrets.token_hex(3))
    cluster = provider.up()
    if write_kubeconfig:
        _write(Path(write_kubeconfig).expanduser(), cluster)
    _say(f"cluster is up: Kubernetes {cluster.facts.get('kubernetes', '')}, {wanted.description or wanted.name}")
    for line in provider.down(failed=False):
        _say(line.removeprefix(KEPT))
    return 0


def _write(path: Path, cluster: Cluster) -> None:
    """A copy for the user; ours stays where `cluster down` finds it."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            yaml.safe_dump(cluster.kubeconfig, file)
    except OSError as error:
        _say(f"--write-kubeconfig {path}: {error.strerror}; use {cluster.kubeconfig_file}")


def down(name: str) -> int:
    """Delete a kind cluster that a run of ours kept.

    Raises:
        UsageError: It is not ours, or there is none of that name.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,48}", name):
        raise UsageError(f"cluster {name!r}: kind's names are up to 49 of a-z, 0-9, '.' and '-'")
    provider = KindProvider(profiles.load(PROFILE), Options(name=name), "down")
    provider.adopt()
    left = provider.down(failed=False)
    for line in left or [f"cluster {name}: deleted"]:
        _say(line)
    return LEFT_BEHIND if left else 0


def sweep(*, kubeconfig: str = "", context: str = "", namespace: str = "", dry_run: bool = False) -> int:
    """Remove what dead runs left in an existing cluster, and say what is spared because its run may live."""
    options = Options(kubeconfig=kubeconfig, context=context, namespace=namespace)
    cluster = ExistingProvider(profiles.load("existing"), options, "sweep").up()
    kube = Kube(cluster)
    try:
        swept = sweep_objects(kube, namespace=namespace, dry_run=dry_run)
    finally:
        kube.close()
    word = "would remove" if dry_run else "removed"
    for each in swept.removed:
        _say(f"{word} {each}")
    for each in swept.spared:
        _say(f"spared {each}: its lease runs on")
    for line in swept.failed:
        _say(line)
    if not (swept.removed or swept.spared or swept.failed):
        _say("nothing of ours is there")
    return LEFT_BEHIND if swept.failed else 0
