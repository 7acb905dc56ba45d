"""What the benchmarks share: a cluster with workloads for a while, processor time, memory, and how numbers are told.

What belongs here: measuring. What does not: what is measured.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clusters import profile as profiles
from clusters import providers
from clusters.cluster import Options
from clusters.kube import Kube, preload
from fixtures.workloads import Spec
from fixtures.world import World

Json = dict[str, Any]


class Measured:
    """A cluster of the profile with these workloads in it, gone afterwards."""

    def __init__(self, profile: str, specs: Sequence[Spec]) -> None:
        self._profile, self._specs = profiles.load(profile), specs
        self._provider = providers.make(self._profile, Options(), secrets.token_hex(3))

    def __enter__(self) -> World:
        preload(official=self._profile.provider != "lab")
        started = time.monotonic()
        cluster = self._provider.up()
        up = time.monotonic() - started
        with contextlib.ExitStack() as undone:  # what cannot be started is not left running
            undone.callback(self._provider.down, failed=True)
            self.world = World(cluster, Kube(cluster), "bench").start(self._specs)
            undone.pop_all()
        self.world.seconds["cluster"] = up
        return self.world

    def __exit__(self, *_: object) -> None:
        for agent in self.world.agents.values():
            agent.close()
        self._provider.down(failed=False)


def processor() -> dict[str, float]:
    """Seconds that this process, its descendants and what these have reaped have used, by name; whatever the load."""
    tick = os.sysconf("SC_CLK_TCK")
    found: dict[str, float] = {}
    for pid in (os.getpid(), *descendants(os.getpid())):
        try:
            head, _, rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
        except OSError:
            continue  # it has ended meanwhile
        name = head.partition("(")[2]
        used = [int(each) / tick for each in rest.split()[11:15]]
        found[name] = found.get(name, 0.0) + used[0] + used[1]
        found["of the reaped"] = found.get("of the reaped", 0.0) + used[2] + used[3]
    return {"all": round(sum(found.values()), 2), **{name: round(each, 2) for name, each in sorted(found.items())}}


def descendants(root: int) -> list[int]:
    """The processes that descend from this one."""
    parents: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(place.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended meanwhile
        parents.setdefault(parent, []).append(int(place.parent.name))
    found = [root]
    for each in found:
        found.extend(parents.get(each, []))
    return found[1:]


def megabytes(pid: int) -> dict[str, float]:
    """What a process has of memory, by kind (`Pss`, `Rss`, …)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    return {line.partition(":")[0]: int(line.split()[1]) / 1024 for line in lines}


def spread(values: Sequence[float]) -> Json:
    """The smallest, the middle and the largest, in thousandths."""
    return {
        "min": round(min(values), 3),
        "median": round(statistics.median(values), 3),
        "max": round(max(values), 3),
    }
