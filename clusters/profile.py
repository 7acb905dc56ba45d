"""Profiles: which cluster, made how, and what a denial looks like there.

What belongs here: the typed profile and its strict YAML reader. What does not: making the cluster (`provider`).
"""

from __future__ import annotations

import difflib
import math
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import yaml

from flows.errors import UsageError

PROFILES = Path(__file__).parent / "profiles"
POD_IMAGE = "EASTWEST_POD_IMAGE"
"""Environment variable that goes before the profile's `pods.image` (a registry mirror, an air-gapped site)."""
ProviderName = Literal["lab", "kind", "existing"]
Deny = Literal["drop", "reject"]
IpFamily = Literal["ipv4", "ipv6", "dual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTemplate:
    """What every workload pod of a run is given (`pods:` in the profile).

    Attributes:
        image: An image with `python3` on its PATH (3.9 or later).
        requests: Resource requests, as in a pod spec; `limits` likewise.
        pull_secret: Name of an image pull secret that exists in the namespace, or empty.
        tolerations: As in a pod spec.
        labels: Extra labels on every pod; never overriding a workload's own.
    """

    image: str = "python:3-slim"
    pull_policy: str = "IfNotPresent"
    requests: dict[str, str] = field(default_factory=lambda: {"cpu": "10m", "memory": "32Mi"})
    limits: dict[str, str] = field(default_factory=lambda: {"memory": "128Mi"})
    pull_secret: str = ""
    tolerations: list[dict[str, object]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One cluster's description. All durations are seconds.

    Attributes:
        ip_family: Of the cluster that is made: `ipv4`, `ipv6` or `dual`; one that is there has what its pods have.
        mesh_revisions: Control planes that the lab's mesh has besides its default one.
        deny: How NetworkPolicy denies here: `drop` (silence) or `reject` (RST or ICMP).
        deny_timeout: Silence counts as a drop after this long.
        window: What is expected must show through this long to count as in force; in a file that does not say it, as
            long as the deny-timeout.
        converge_timeout: A policy must be in force within this long.
        ready_timeout: A workload pod must be ready within this long.
        up_timeout: The whole cluster must be ready within this long.
        addons: Add-on name → its settings (`calico: {manifest: FILE}`), installed in order.
        images: Image archives to load into a kind cluster's nodes (for clusters without a registry).
    """

    name: str
    provider: ProviderName
    description: str = ""
    nodes: int = 2
    kubernetes: str = ""
    node_image: str = ""
    ip_family: IpFamily = "ipv4"
    cni: str = ""
    mesh: str = "none"
    mesh_revisions: list[str] = field(default_factory=list)
    deny: Deny = "drop"
    deny_timeout: float = 1.0
    window: float = 1.0
    converge_timeout: float = 15.0
    ready_timeout: float = 60.0
    up_timeout: float = 300.0
    pods: PodTemplate = field(default_factory=PodTemplate)
    addons: dict[str, dict[str, str]] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)

    @property
    def patience(self) -> float:
        """Seconds that one question may take which no other round repeats: a slow machine's silence is no drop."""
        return 4 * self.deny_timeout


def load(name_or_file: str) -> Profile:
    """Read a profile by its name (shipped with eastwest) or from a YAML file, with the environment's pod image.

    Raises:
        UsageError: No such profile, or a field that is unknown or of the wrong type; names file, field and remedy.
    """
    path = Path(name_or_file)
    if not (path.suffix in {".yaml", ".yml"} or "/" in name_or_file):
        path = PROFILES / f"{name_or_file}.yaml"
        if not path.is_file():
            known = sorted(found.stem for found in PROFILES.glob("*.yaml"))
            near = difflib.get_close_matches(name_or_file, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(known)}, or a path to a YAML file"
            raise UsageError(f"profile {name_or_file!r}: no such profile; {hint}")
    try:
        text = path.read_text(encoding="utf-8")
        data = yaml.safe_load(text)
    except OSError as error:
        raise UsageError(
            f"profile {path}: cannot be read ({error.strerror}); give a profile's name or a readable file"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"profile {path}: not YAML ({first}); mend the file") from None
    profile = parse(data, source=str(path), name=path.stem)
    image = os.environ.get(POD_IMAGE, "")
    return replace(profile, pods=replace(profile.pods, image=image)) if image else profile


def parse(data: object, *, source: str, name: str) -> Profile:
    """Turn a profile's parsed YAML into a `Profile`, refusing what it does not know."""
    values = _mapping(data, source, "the file")
    values.setdefault("name", name)
    pods = values.pop("pods", None)
    checked = _checked(Profile, values, source, "")
    if "provider" not in checked:
        raise UsageError(
            f"profile {source}: field 'provider' is missing; set it to one of {', '.join(get_args(ProviderName))}"
        )
    words = (("provider", get_args(ProviderName)), ("deny", get_args(Deny)), ("ip_family", get_args(IpFamily)))
    for key, choices in words:
        if key in checked and checked[key] not in choices:
            raise UsageError(f"profile {source}: field '{key}' is {checked[key]!r}; use one of {', '.join(choices)}")
    if "deny_timeout" in checked:
        checked.setdefault("window", checked["deny_timeout"])
    if pods is not None:
        template = _checked(PodTemplate, _mapping(pods, source, "pods"), source, "pods.")
        checked["pods"] = PodTemplate(**cast("dict[str, Any]", template))
    return Profile(**cast("dict[str, Any]", checked))


def _mapping(data: object, source: str, where: str) -> dict[str, object]:
    if not isinstance(data, dict):
        raise UsageError(f"profile {source}: {where} must be a mapping of fields, not {type(data).__name__}")
    return {str(key): value for key, value in data.items()}


_SHAPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "ProviderName": (str,),
    "Deny": (str,),
    "IpFamily": (str,),
}


def _checked(kind: type, values: dict[str, object], source: str, prefix: str) -> dict[str, object]:
    known = {each.name: str(each.type) for each in fields(kind)}
    for key, value in values.items():
        if key not in known or key == "pods":
            near = difflib.get_close_matches(key, list(known), n=1)
            hint = f"did you mean '{prefix}{near[0]}'?" if near else f"known fields: {', '.join(sorted(known))}"
            raise UsageError(f"profile {source}: unknown field '{prefix}{key}'; {hint}")
        shape = known[key].partition("[")[0]
        allowed = _SHAPES.get(shape, (dict,) if shape == "dict" else (list,))
        if not isinstance(value, allowed) or isinstance(value, bool):
            raise UsageError(f"profile {source}: field '{prefix}{key}' is {value!r}; it must be {shape}")
        if shape == "float" and not 0 < cast("float", value) < math.inf:
            raise UsageError(f"profile {source}: field '{prefix}{key}' is {value!r}; give seconds, more than 0")
    return values
