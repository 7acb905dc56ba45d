"""How long the things of a mesh take that a person waits for, and what its proxies weigh, as one JSON document.

`python -m benchmarks.mesh [--rounds N] [--proxies N…] [--only PART…]` measures, in labs made for it:

- `first-verdict`: from the start of a fresh process to the first answered flow between two of three meshed workloads;
- `pod`: from the API server's acknowledgement of a pod to its 2/2 Ready, beside one of the same namespace that refuses
  a proxy;
- `change`: from the acknowledgement of a policy for a whole namespace to the last acknowledgement of its proxies;
- `memory`: the proportional set size (PSS) of each Envoy and of the agent beside it.

What does not belong here: asserts. A number is compared with the one of another run on the same machine; the load of
the machine before each part is told with it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.common import Json, Measured, descendants, megabytes, processor, spread
from clusters.mesh.istio import admin
from clusters.resources import ready
from fixtures.table import column
from fixtures.workloads import CALLER, PEER, SERVER, in_mesh
from fixtures.world import World
from flows.converge import converge
from flows.errors import HarnessError
from flows.matrix import Cell
from flows.model import answered

GOALS: Final = {"first-verdict": 4.0, "envoy_pss_mb": 70.0, "change": 0.3}
"""Seconds and megabytes that an otherwise idle machine of two processors should keep."""
PATIENCE: Final = 60.0
"""Seconds after which a part is given up."""
_SECURITY: Final = "security.istio.io/v1"


def first_verdict() -> Json:
    """Seconds of a whole process that makes a lab with three meshed workloads and asks one flow."""
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.mesh", "--once"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    seconds = time.monotonic() - started
    process.wait(timeout=PATIENCE)
    return {"seconds": round(seconds, 3), **json.loads(line or "{}")}


def _once() -> None:
    """What `first_verdict` runs; prints one line, then takes it all down."""
    started = time.monotonic()
    with Measured("lab", [in_mesh(each) for each in (CALLER, SERVER, PEER)]) as world:
        ready = time.monotonic()
        cell = Cell(flow=world.flow("caller", column("server:8080/http@dns")), expected=answered())
        timeout = world.cluster.profile.deny_timeout
        outcome = converge(world.agents, [cell], deny_timeout=timeout, timeout=PATIENCE, window=0, applied_at=ready)
        now = time.monotonic()
        parts = {
            "cluster": round(world.seconds["cluster"], 3),
            "pods": round(world.seconds["ready"], 3),
            "flow": round(now - ready, 3),
            "after_imports": round(now - started, 3),
        }
        verdicts = [verdict.kind for verdict in outcome.verdicts.values()]
        sys.stdout.write(json.dumps({"verdicts": verdicts, **parts, "processor_seconds": processor()}) + "\n")
        sys.stdout.flush()


def pod(rounds: int) -> Json:
    """Seconds from a pod's creation to Ready, with a proxy and without one."""
    with Measured("lab", [in_mesh(SERVER)]) as world:
        assert world.dialect is not None
        space, template = world.namespaces["home"], world.cluster.profile.pods
        took: dict[str, list[float]] = {"meshed": [], "naked": []}
        counts = set()
        for number in range(rounds):
            for form, labels in (("meshed", {}), ("naked", world.dialect.pod_labels(meshed=False))):
                name = f"{form}-{number}"
                container = {
                    "name": "app",
                    "image": template.image,
                    "command": ["python3", "-I", "-S", "-c", "import signal; signal.pause()"],
                }
                meta = {"name": name, "namespace": space, "labels": {"bench": name, **labels}}
                spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
                world.kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
                acknowledged = time.monotonic()
                seen = world.kube.wait(
                    "v1", "Pod", space, _all_ready, what=f"pod {name}", timeout=PATIENCE, labels=f"bench={name}"
                )
                took[form].append(time.monotonic() - acknowledged)
                found = world.dialect.injection(seen[0], world.kube.get("v1", "Namespace", space))
                counts.add(f"{form} {found.count} {found.form}")
        medians = {form: statistics.median(each) for form, each in took.items()}
        return {
            "seconds": {form: spread(each) for form, each in took.items()},
            "ratio_to_naked": round(medians["meshed"] / medians["naked"], 2),
            "ready": sorted(counts),
        }


def _all_ready(seen: list[Json]) -> bool:
    return bool(seen) and all(ready(each) for each in seen)


class _ControlPlane:
    """What istiod says of its proxies in one namespace."""

    def __init__(self, world: World) -> None:
        self._kube, self._space = world.kube, world.namespaces["home"]
        found = world.kube.list("v1", "Pod", "istio-system", labels="app=istiod")
        self._pod = str(found[0]["metadata"]["name"])

    def acknowledged(self, count: int, since: float) -> list[float]:
        """When each of so many proxies acknowledged the latest it was sent, all after `since`, on the monotonic clock.

        Raises:
            HarnessError: One of them has not; names how many have.
        """
        deadline = time.monotonic() + PATIENCE
        late: list[str] = []
        while time.monotonic() < deadline:
            answer = admin.debug(self._kube, "istio-system", self._pod, "/debug/syncz", PATIENCE)
            mine = [each for each in answer if each["proxy"].endswith(f".{self._space}")]
            late = [
                each["proxy"]
                for each in mine
                if each["version_sent"] != each["version_acked"] or each["acked_at"] < since
            ]
            if len(mine) == count and not late:
                return [float(each["acked_at"]) for each in mine]
        raise HarnessError(f"{len(late)} of {count} proxies have not acknowledged: {', '.join(late)}")


def change(world: World, proxies: int, rounds: int) -> Json:
    """Seconds until every proxy of the namespace works with a changed policy."""
    space, control_plane = world.namespaces["home"], _ControlPlane(world)

    def policy(kind: str, spec: Json) -> Json:
        return {
            "apiVersion": _SECURITY,
            "kind": kind,
            "metadata": {"name": "bench", "namespace": space},
            "spec": spec,
        }

    def modes(number: int) -> None:
        spec = {"mtls": {"mode": ("STRICT", "PERMISSIVE")[number % 2]}}
        world.kube.patch(_SECURITY, "PeerAuthentication", "bench", space, {"spec": spec})

    def access(number: int) -> None:
        rules = [{"to": [{"operation": {"paths": [f"/{number}"]}}]}]
        world.kube.patch(_SECURITY, "AuthorizationPolicy", "bench", space, {"spec": {"action": "DENY", "rules": rules}})

    found: Json = {}
    writes: dict[str, Callable[[int], None]] = {"modes": modes, "access": access}
    before = time.monotonic()
    world.kube.create(policy("PeerAuthentication", {"mtls": {"mode": "PERMISSIVE"}}))
    nowhere = [{"to": [{"operation": {"paths": ["/nowhere"]}}]}]
    world.kube.create(policy("AuthorizationPolicy", {"action": "DENY", "rules": nowhere}))
    control_plane.acknowledged(proxies, before)
    for name, write in writes.items():
        last, middle = [], []
        for number in range(rounds):
            write(number)
            told = time.monotonic()
            at = [each - told for each in control_plane.acknowledged(proxies, told)]
            last.append(max(at))
            middle.append(statistics.median(at))
        found[name] = {
            "last_proxy": spread(last),
            "median_proxy": spread(middle),
            "each": [round(x, 3) for x in last],
        }
    return found


def memory() -> Json:
    """Megabytes of each Envoy and each agent that descend from this process.

    Other labs' processes share the same files' pages, which flatters the PSS; `alone` is what it would be without them,
    were every shared page shared by all of ours.
    """
    sizes: dict[str, list[dict[str, float]]] = {"envoy": [], "agent": []}
    for pid in descendants(os.getpid()):
        kind = _kind(pid)
        if kind:
            sizes[kind].append(megabytes(pid))
    found: Json = {}
    for kind, each in sizes.items():
        private = [one["Private_Clean"] + one["Private_Dirty"] for one in each]
        alone = [mine + (one["Rss"] - mine) / len(each) for one, mine in zip(each, private, strict=True)]
        if each:
            found[kind] = {
                "count": len(each),
                "pss_mb": spread([one["Pss"] for one in each]),
                "alone_mb": spread(alone),
                "private_mb": spread(private),
            }
    return found


def _kind(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    if words[0].rpartition(b"/")[2] == b"envoy":
        return "envoy"
    return "agent" if words[0].rpartition(b"/")[2].startswith(b"python") and b"sidecar" in words else ""


def crowd(proxies: int, rounds: int, *, changes: bool) -> Json:
    """A lab with so many meshed workloads: what they weigh, and how long a change takes."""
    load = os.getloadavg()[0]
    specs = [in_mesh(SERVER, name=f"server-{number}", slot=number) for number in range(proxies)]
    with Measured("lab", specs) as world:
        found: Json = {
            "load": load,
            "cluster_seconds": round(world.seconds["cluster"], 2),
            "pods_ready_seconds": round(world.seconds["ready"], 2),
            "memory": memory(),
        }
        if changes:
            found |= {"load_before_changes": os.getloadavg()[0], "change": change(world, proxies, rounds)}
            found["memory_after_changes"] = memory()
    return found


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is measured")
    parser.add_argument("--proxies", type=int, nargs="+", default=[4, 20], help="how many there are at once")
    parser.add_argument("--only", nargs="+", choices=["first-verdict", "pod", "crowd"], default=[])
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        _once()
        return
    parts: dict[str, Callable[[], Any]] = {
        "first-verdict": lambda: [first_verdict() for _ in range(given.rounds)],
        "pod": lambda: pod(given.rounds),
        "crowd": lambda: {
            str(number): crowd(number, given.rounds, changes=number == max(given.proxies)) for number in given.proxies
        },
    }
    document: Json = {
        "machine": {"processors": os.cpu_count(), "system": platform.platform()},
        "goals": GOALS,
    }
    for name, measure in parts.items():
        if not given.only or name in given.only:
            document[name] = {"load": os.getloadavg()[0], "result": measure()}
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
