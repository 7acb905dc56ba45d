"""Removes what runs of ours left in a cluster, and nothing else.

What belongs here: finding objects by our marks and deleting them. What does not: deleting clusters.
An object goes only when its run is named, or its lease is over: nightlies that share a cluster never sweep each other.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from clusters.kube import Kube, KubeError, KubeTimeoutError
from clusters.marks import LEASE, MANAGED_BY, MANAGER, RUN, run_selector

KINDS: Final = (
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "ServiceAccount"),
)
"""What we create inside namespaces, in the order it is removed: policies first, they hinder others most.

What a mesh's behaviours are written as (`clusters.mesh.dialects.kinds`) goes before all of it, and Calico's own
policies (`clusters.calico.kinds`) before that.
"""

GONE_TIMEOUT: Final = 60.0
"""Seconds for an object to be really gone; a namespace with pods takes about ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One object that carries our marks.

    Attributes:
        lease: When others may remove it; None when it says nothing readable.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    run_id: str
    lease: datetime.datetime | None

    def __str__(self) -> str:
        place = "/".join(part for part in (self.namespace, self.name) if part)
        until = f"lease until {self.lease:%Y-%m-%d %H:%M}Z" if self.lease else "no readable lease"
        return f"{self.kind} {place} (run {self.run_id or 'unknown'}, {until})"


@dataclass(slots=True)
class Swept:
    """What a sweep did: what was removed (or would be), what was spared, what could not be removed and why."""

    removed: list[Leftover] = field(default_factory=list)
    spared: list[Leftover] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def find(kube: Kube, *, run_id: str = "", namespace: str = "") -> list[Leftover]:
    """Everything with our marks, namespaces first.

    Args:
        run_id: Only this run's; empty for every run's.
        namespace: Look only in here, and for a named run also at Calico's global kinds and in the mesh's root
            namespace, where its mesh-wide objects are; empty for the whole cluster, as far as we may look.
    """
    from clusters import calico  # only a sweep pays for these
    from clusters.mesh import dialects

    labels = run_selector(run_id) if run_id else f"{MANAGED_BY}={MANAGER},{RUN}"
    found: list[Leftover] = []
    if not namespace:
        found += _listed(kube, "v1", "Namespace", "", labels)
    ours = {each.name for each in found}
    root = dialects.root(kube) if run_id and namespace else ""
    own = [(namespace, kind) for kind in calico.kinds(kube) if not calico.is_global(kind[1])]
    places = [*own, *((namespace, kind) for kind in (*dialects.kinds(), *KINDS))]
    if run_id or not namespace:
        places = [*(("", kind) for kind in calico.kinds(kube) if calico.is_global(kind[1])), *places]
    places += [(root, kind) for kind in dialects.kinds() if root not in {"", namespace}]
    for place, (api_version, kind) in places:
        # What lives in a namespace of ours goes with it.
        found += [each for each in _listed(kube, api_version, kind, place, labels) if each.namespace not in ours]
    return found


def sweep(
    kube: Kube,
    *,
    run_id: str = "",
    namespace: str = "",
    dry_run: bool = False,
    now: datetime.datetime | None = None,
    timeout: float = GONE_TIMEOUT,
) -> Swept:
    """Remove this run's objects, or without `run_id` every object whose lease is over; returns once they are gone.

    Args:
        dry_run: Only tell what would be removed.
        now: The time to judge leases by.
        timeout: Seconds to wait for the objects to be really gone.
    """
    moment = now or datetime.datetime.now(datetime.UTC)
    result = Swept()
    for each in find(kube, run_id=run_id, namespace=namespace):
        due = bool(run_id) or (each.lease is not None and each.lease < moment)
        (result.removed if due else result.spared).append(each)
    if dry_run:
        return result
    asked: list[Leftover] = []
    for each in result.removed:
        try:
            kube.delete(each.api_version, each.kind, each.name, each.namespace, grace=_grace(each), uid=each.uid)
            asked.append(each)
        except KubeError as error:
            if error.status != 409:  # the name belongs to a successor now
                result.failed.append(f"{each}: {error.message}")
    result.failed += _await_gone(kube, asked, timeout)
    result.removed = [each for each in asked if not any(str(each) in line for line in result.failed)]
    return result


def _grace(each: Leftover) -> int | None:
    return 1 if each.kind == "Pod" else None


def _await_gone(kube: Kube, asked: Iterable[Leftover], timeout: float) -> list[str]:
    groups: dict[tuple[str, str, str], list[Leftover]] = {}
    for each in asked:
        groups.setdefault((each.api_version, each.kind, each.namespace), []).append(each)
    lines: list[str] = []
    for (api_version, kind, namespace), members in groups.items():
        wanted = {each.uid for each in members}

        def gone(objects: list[dict[str, Any]], wanted: set[str] = wanted) -> bool:
            return not any(obj["metadata"]["uid"] in wanted for obj in objects)

        try:
            kube.wait(
                api_version,
                kind,
                namespace,
                gone,
                what=f"{len(members)} {kind} objects to go",
                timeout=timeout,
                labels=f"{MANAGED_BY}={MANAGER},{RUN}",
            )
        except KubeTimeoutError:
            lines += [f"{each}: still being deleted after {timeout:.0f} s" for each in members]
        except KubeError as error:
            lines += [f"{each}: {error.message}" for each in members]
    return lines


def _listed(kube: Kube, api_version: str, kind: str, namespace: str, labels: str) -> list[Leftover]:
    try:
        objects = kube.list(api_version, kind, namespace, labels)
    except KubeError as error:
        if error.status in {403, 404}:  # what we may not see we did not make
            return []
        raise
    return [_leftover(api_version, kind, obj["metadata"]) for obj in objects]


def _leftover(api_version: str, kind: str, meta: dict[str, Any]) -> Leftover:
    try:
        lease = datetime.datetime.fromisoformat(str((meta.get("annotations") or {}).get(LEASE)))
    except ValueError:
        lease = None
    if lease is not None and lease.tzinfo is None:
        lease = lease.replace(tzinfo=datetime.UTC)
    return Leftover(
        api_version=api_version,
        kind=kind,
        namespace=str(meta.get("namespace", "")),
        name=str(meta["name"]),
        uid=str(meta.get("uid", "")),
        run_id=str((meta.get("labels") or {}).get(RUN, "")),
        lease=lease,
    )
