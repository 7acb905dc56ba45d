"""How cost grows with the number of pods, as one JSON document.

`python -m benchmarks.scale [--pods N…] [--policies N]` makes, for each number, a lab with so many naked workloads in
two namespaces on two nodes, in classes of which one is closed to all but another, with as many policies as asked, and
measures

- `matrix`: every pod to every pod (N × N cells) once, in seconds, with what was not as expected;
- `change`: from the API server's acknowledgement of one policy to the first probe of a small table in the new state;
- `memory`: the proportional set size (PSS) of everything that one naked pod runs, in megabytes.

What does not belong here: asserts. A number is compared with the one of another run on the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.common import Json, Measured, descendants, megabytes, processor
from fixtures.table import column
from fixtures.workloads import Ports, Spec
from fixtures.world import World
from flows.converge import converge
from flows.matrix import Cell
from flows.measure import measure
from flows.model import Kind, answered, denied

PORTS: Final[Ports] = {"http": (8080, "TCP")}
GOALS: Final = {"seconds_over_deny_timeout_at_200": 15.0, "change": 0.1, "pod_pss_mb": 25.0}
CLASSES: Final = 4
"""Workloads of one class carry the same labels; the first class is closed to all but the second."""


def specs(pods: int) -> list[Spec]:
    """So many workloads: half of them in the foreign namespace, in classes of equal labels."""
    return [
        Spec(
            name=f"pod-{number}",
            home="home" if number % 2 == 0 else "foreign",
            slot=number // 2,
            labels={"tier": f"tier-{number // 2 % CLASSES}"},
            ports=PORTS,
        )
        for number in range(pods)
    ]


def _policy(name: str, namespace: str, selects: Json, admits: Json) -> Json:
    spec = {"podSelector": {"matchLabels": selects}, "policyTypes": ["Ingress"], "ingress": [{"from": [admits]}]}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


def _closed(spec: Spec, source: Spec) -> bool:
    """Whether the policies close the first class of `home` to this source: all but the second class there."""
    if (spec.home, spec.labels["tier"]) != ("home", "tier-0") or spec.name == source.name:
        return False
    return (source.home, source.labels["tier"]) != ("home", "tier-1")


def size(pods: int, policies: int) -> Json:
    """One lab with so many pods and policies: what it costs."""
    wanted = specs(pods)
    by_name = {spec.name: spec for spec in wanted}
    with Measured("lab", wanted) as world:
        timeout = world.cluster.profile.deny_timeout
        found: Json = {
            "load": os.getloadavg()[0],
            "cluster_seconds": round(world.seconds["cluster"], 2),
            "pods_ready_seconds": round(world.seconds["ready"], 2),
            "memory": memory(pods),
        }
        admits = {"podSelector": {"matchLabels": {"tier": "tier-1"}}}
        home = world.namespaces["home"]
        world.kube.create(_policy("closed", home, {"tier": "tier-0"}, admits))
        for number in range(policies - 1):  # they select the same pods, so each makes their chains longer
            nobody = {"podSelector": {"matchLabels": {"tier": f"nobody-{number}"}}}
            world.kube.create(_policy(f"stack-{number}", home, {"tier": "tier-0"}, nobody))
        small = [spec for spec in wanted if spec.home == "home"][:8]
        flows = [world.flow(a.name, column(f"{b.name}:8080")) for a in small for b in small]
        cells = [
            Cell(
                flow=flow,
                expected=denied() if _closed(by_name[flow.destination], by_name[flow.source]) else answered(),
            )
            for flow in flows
        ]
        held = converge(world.agents, cells, deny_timeout=timeout, timeout=30, window=timeout).held
        found |= {"policies": policies, "small_table_held": held, "matrix": _matrix(world, by_name, timeout)}
        found["change"] = _change(world, small, timeout)
        found["processor"] = processor()
    return found


def _matrix(world: World, by_name: dict[str, Spec], timeout: float) -> Json:
    flows = [world.flow(source, column(f"{name}:8080")) for source in by_name for name in by_name]
    before = processor()["all"]
    started = time.monotonic()
    verdicts = measure(world.agents, flows, timeout)
    seconds = time.monotonic() - started
    false_drops = opened = undecided = dropped = 0
    for flow, verdict in verdicts.items():
        closed = _closed(by_name[flow.destination], by_name[flow.source])
        dropped += verdict.kind is Kind.DROPPED
        undecided += verdict.kind is Kind.PROBE_ERROR
        opened += closed and verdict.kind is Kind.ANSWERED
        false_drops += not closed and verdict.kind not in {Kind.ANSWERED, Kind.PROBE_ERROR}
    return {
        "cells": len(flows),
        "seconds": round(seconds, 2),
        "over_deny_timeout": round(seconds - timeout, 2),
        "dropped": dropped,
        "undecided": undecided,
        "false_drops": false_drops,
        "opened": opened,
        "asked_again": sum(verdict.evidence.attempts > 1 for verdict in verdicts.values()),
        "worst_lag": round(max(verdict.evidence.lag for verdict in verdicts.values()), 3),
        "processor_seconds": round(processor()["all"] - before, 1),
    }


def _change(world: World, small: Sequence[Spec], timeout: float) -> Json:
    """One more policy closes one pod to its neighbours: how long until none gets through, several times."""
    target = next(spec for spec in small if spec.labels["tier"] == "tier-2")
    others = [spec for spec in small if spec is not target]
    took = []
    for number in range(5):
        cells = [Cell(flow=world.flow(spec.name, column(f"{target.name}:8080")), expected=denied()) for spec in others]
        obj = _policy(
            f"change-{number}",
            world.namespaces["home"],
            {"tier": "tier-2"},
            {"podSelector": {"matchLabels": {"a": "b"}}},
        )
        world.kube.create(obj)
        acknowledged = time.monotonic()
        outcome = converge(
            world.agents, cells, deny_timeout=timeout, timeout=30, window=timeout / 2, applied_at=acknowledged
        )
        took.append(outcome.latency if outcome.latency is not None else float("inf"))
        world.kube.delete("networking.k8s.io/v1", "NetworkPolicy", obj["metadata"]["name"], world.namespaces["home"])
        opened = [Cell(flow=cell.flow, expected=answered()) for cell in cells]
        converge(world.agents, opened, deny_timeout=timeout, timeout=30, window=0.0)
    return {"min": min(took), "median": statistics.median(took), "max": max(took)}


def memory(pods: int) -> Json:
    """Megabytes that the pods' processes have, all of them together and a pod; `agents` are the interpreters alone."""
    inside: dict[str, list[float]] = {}
    for pid in descendants(os.getpid()):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"/eastwest/" in words or b"bwrap" in words.partition(b"\0")[0]:
                kind = (
                    "bwrap" if b"bwrap" in words.partition(b"\0")[0] else "agent" if b"agent.py" in words else "relay"
                )
                inside.setdefault(kind, []).append(megabytes(pid)["Pss"])
        except OSError:
            continue  # it has ended meanwhile
    total = sum(sum(each) for each in inside.values())
    parts = {kind: {"count": len(each), "median": round(statistics.median(each), 2)} for kind, each in inside.items()}
    return {"pod_pss_mb": round(total / pods, 2), **parts}


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pods", type=int, nargs="+", default=[50, 100, 200], help="how many there are at once")
    parser.add_argument("--policies", type=int, default=100, help="how many there are in force")
    given = parser.parse_args()
    document: Json = {
        "machine": {"processors": os.cpu_count(), "system": platform.platform()},
        "goals": GOALS,
        "sizes": {str(pods): size(pods, given.policies) for pods in given.pods},
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
