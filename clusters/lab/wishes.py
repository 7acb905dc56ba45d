"""From what a person typed to a lab's settings, refused in one line where it cannot be done.

What belongs here: checks that need no lab. What does not: starting one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from clusters.lab.addresses import FAMILIES
from clusters.lab.options import LabOptions
from flows.errors import UsageError

MOST_NODES: Final = 32
"""More than a laptop's share; the address plan holds 200."""
MESHES: Final = ("none", "istio", "linkerd")
_REVISION: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$")
"""It becomes a part of the names of a Service and of a pod."""


def lab_options(
    *,
    nodes: int,
    mutant: str = "",
    images: Iterable[str] = (),
    ip_family: str = "ipv4",
    mesh: str = "none",
    mesh_revisions: Iterable[str] = (),
) -> LabOptions:
    """The settings for these wishes.

    Args:
        mutant: One of the mesh switches the mesh on; one of IPv6 makes the lab dual stack, without a mesh.
        images: `NAME=PATH` pairs.
        mesh_revisions: Control planes besides the default one; none without a mesh.

    Raises:
        UsageError: One of them cannot be had; the message names the option and the remedy.
    """
    _choice("--ip-family", ip_family, tuple(FAMILIES))
    _choice("--mesh", mesh, MESHES)
    if mesh == "linkerd":
        raise UsageError(f"--mesh {mesh}: the lab does istio only so far; use --mesh istio, or leave the option out")
    if not 1 <= nodes <= MOST_NODES:
        raise UsageError(f"--nodes {nodes}: a lab has 1 to {MOST_NODES} nodes; give a number in between")
    if mutant:
        from clusters.lab import mutants  # with it comes the policy compiler, which nobody else on this side needs

        broken = mutants.get(mutant)
        mesh = "istio" if broken.mesh else "none" if broken.dual else mesh
        ip_family = "dual" if broken.dual else ip_family
    if mesh != "none" and ip_family != "ipv4":
        raise UsageError(f"--ip-family {ip_family}: the lab's mesh does ipv4 only; use --mesh none")
    revisions = tuple(dict.fromkeys(mesh_revisions))
    for each in revisions:
        if mesh == "none":
            raise UsageError(f"--mesh-revision {each}: there is no mesh; use --mesh istio too")
        if not _REVISION.match(each) or each == "default":
            raise UsageError(f"--mesh-revision {each}: use lower-case letters, digits and '-', and not 'default'")
    return LabOptions(
        nodes=nodes,
        ip_family=ip_family,
        mesh=mesh,
        mesh_revisions=revisions,
        mutant=mutant,
        images=parse_images(images),
    )


def parse_images(pairs: Iterable[str]) -> dict[str, str]:
    """`NAME=PATH` pairs as a mapping to absolute paths that exist."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not (name and equals and path):
            raise UsageError(f"--image {pair}: not of the form NAME=PATH, e.g. --image shop/web:1=web.tar")
        place = Path(path).expanduser()
        if not place.exists():
            raise UsageError(f"--image {pair}: {path} does not exist; give a folder, or an archive of an image")
        found[name] = str(place.resolve())
    return found


def _choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{option} {value}: unknown; use one of {', '.join(choices)}")
