"""The seams at which a mesh mutant may stand, in control plane, admission and node; a sound one changes nothing there.

What belongs here: the seams' types, and finding the one that a lab is asked for. What does not: any mutant (`faults`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clusters.lab.mesh.model import Config, Mesh, Proxy
from clusters.lab.mesh.redirect import Redirection

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a proxy's certificate is issued.

    Attributes:
        identity: The SPIFFE URI in it.
        life: Seconds from now until it ends; negative for one that has ended already.
        renewed: Whether another one is sent when half of that is over.
        foreign: Whether an authority signs it that nobody trusts.
    """

    identity: str
    life: float
    renewed: bool = True
    foreign: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A configuration that differs from what a proxy has.

    Attributes:
        pushes: How many this proxy was sent on this connection; 0 for the first.
        connected: Monotonic seconds of the connection; `now` of this moment.
    """

    proxy: Proxy
    mesh: Mesh
    pushes: int
    connected: float
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A pod that may get a proxy; the fields are the arguments of `injection.inject`."""

    pod: Object
    namespace: Object
    webhooks: Sequence[Object]
    control_planes: Mapping[str, bool]


Inject = Callable[[Admission], Object | None]
"""The pod with its proxy, None without one; raises InjectionError."""


def _same_mesh(mesh: Mesh, _: Proxy) -> Mesh:
    return mesh


def _same_config(config: Config, _: Proxy) -> Config:
    return config


def _same_terms(terms: Terms, _: Proxy) -> Terms:
    return terms


def _at_once(_: Delivery) -> float:
    return 0.0


def _soundly(asked: Admission, inject: Inject) -> Object | None:
    return inject(asked)


def _same_redirection(wanted: Redirection) -> Redirection:
    return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What stands at each seam.

    Attributes:
        mesh: What this proxy is compiled from. The same Mesh and Proxy must give the same object where it can: what
            proxies share is then compiled once.
        config: What this proxy is sent instead; what it is given is shared between proxies and must not be changed.
        issuing: How this proxy's certificate is issued.
        delivery: Seconds after which this proxy is sent the newest configuration; None: not this one, nor any before
            something changes again.
        admission: The pod that is created instead of the one that was sent; it is given the sound injection.
        redirection: What is put in force in a pod instead of what its `istio-init` asks for.
    """

    mesh: Callable[[Mesh, Proxy], Mesh] = _same_mesh
    config: Callable[[Config, Proxy], Config] = _same_config
    issuing: Callable[[Terms, Proxy], Terms] = _same_terms
    delivery: Callable[[Delivery], float | None] = _at_once
    admission: Callable[[Admission, Inject], Object | None] = _soundly
    redirection: Callable[[Redirection], Redirection] = _same_redirection


SOUND = Fault()
"""What stands there without a mutant."""


def chosen(mutant: str) -> Fault:
    """What stands at the seams in a lab with this mutant; `SOUND` for none, and for mutants of the network.

    Args:
        mutant: A name that the lab has accepted, or nothing; without a name nothing of any mutant is imported.
    """
    if not mutant:
        return SOUND
    faults: Mapping[str, Callable[[], Fault]] = importlib.import_module("clusters.lab.mesh.faults").FAULTS
    return faults[mutant]() if mutant in faults else SOUND
