"""How long the things take that a person waits for, as one JSON document.

`python -m benchmarks.run [--profile PROFILE] [--rounds N]` measures, on a cluster of the profile made for it:

- `first-verdict`: from the start of a fresh process to the first answered flow (the lab only);
- `matrix`: 9 pods, 2 ports, TCP and UDP: 324 cells with at least 80 dropped, in seconds and as the ratio to the
  deny-timeout, which is the least that such a matrix can cost;
- `policy`: from the API server's acknowledgement of a policy to the first probe in the lasting new state.

What does not belong here: asserts. A number is compared with the one of another run on the same machine.
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

from benchmarks.common import Json, Measured, spread
from fixtures.table import column
from fixtures.workloads import CALLER, SERVER, Ports, Spec
from fixtures.world import World
from flows.converge import converge
from flows.matrix import Cell
from flows.measure import measure
from flows.model import Flow, Kind, answered, denied

PODS, CLOSED = 9, 3
PORTS: Ports = {"http": (8080, "TCP"), "metrics": (9090, "TCP"), "datagram": (8080, "UDP"), "more": (9090, "UDP")}


def first_verdict(profile: str) -> Json:
    """Seconds of a whole process that makes a cluster and asks one flow, and where they went."""
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.run", "--profile", profile, "--once"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    seconds = time.monotonic() - started
    process.wait(timeout=60)
    return {"seconds": round(seconds, 3), **json.loads(line or "{}")}


def _once(profile_name: str) -> None:
    """What `first_verdict` runs: cluster, two pods, one answered flow; prints one line, then takes it all down."""
    marks = {"imported": time.monotonic()}
    with Measured(profile_name, [CALLER, SERVER]) as world:
        marks["ready"] = time.monotonic()
        flow = world.flow("caller", column("server:8080"))
        verdict = measure(world.agents, [flow], world.cluster.profile.deny_timeout)[flow]
        took = time.monotonic() - marks["imported"]
        parts = {"cluster": world.seconds["cluster"], "pods": world.seconds["ready"]}
        sys.stdout.write(json.dumps({"verdict": verdict.kind, "after_imports": round(took, 3), **parts}) + "\n")
        sys.stdout.flush()


def _specs() -> list[Spec]:
    tiers = ["closed" if number < CLOSED else "open" for number in range(PODS)]
    return [Spec(name=f"pod-{n}", slot=n, labels={"tier": tier}, ports=PORTS) for n, tier in enumerate(tiers)]


def _cells(world: World, closed: frozenset[str]) -> list[Cell]:
    columns = [f"{name}:{port}/{protocol.lower()}" for name in world.workloads for port, protocol in PORTS.values()]
    flows = [world.flow(source, column(each)) for source in world.workloads for each in columns]
    return [Cell(flow=flow, expected=denied() if _dropped(flow, closed) else answered()) for flow in flows]


def _dropped(flow: Flow, closed: frozenset[str]) -> bool:
    return flow.destination in closed and flow.source != flow.destination


def matrix(profile_name: str, rounds: int) -> Json:
    """The 324-cell matrix under a policy, asked `rounds` times, and how long the policy took."""
    with Measured(profile_name, _specs()) as world:
        timeout = world.cluster.profile.deny_timeout
        closed = frozenset(f"pod-{number}" for number in range(CLOSED))
        cells = _cells(world, closed)
        world.kube.create(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": "closed", "namespace": world.namespaces["home"]},
                "spec": {"podSelector": {"matchLabels": {"tier": "closed"}}, "policyTypes": ["Ingress"]},
            }
        )
        acknowledged = time.monotonic()
        outcome = converge(
            world.agents, cells, deny_timeout=timeout, timeout=60, window=timeout, applied_at=acknowledged
        )
        took, kinds = [], []
        verdicts = outcome.verdicts
        for _ in range(rounds):
            started = time.monotonic()
            verdicts = measure(world.agents, [cell.flow for cell in cells], timeout)
            took.append(time.monotonic() - started)
            kinds.append([verdict.kind for verdict in verdicts.values()])
        wrong = sum(not cell.expected.matches(verdicts[cell.flow]) for cell in cells if cell.expected)
        return {
            "cells": len(cells),
            "dropped": kinds[-1].count(Kind.DROPPED),
            "undecided": [each.count(Kind.PROBE_ERROR) for each in kinds],
            "not_as_expected": wrong,
            "deny_timeout": timeout,
            "seconds": spread(took),
            "over_deny_timeout": round(statistics.median(took) - timeout, 3),
            "ratio_to_deny_timeout": round(statistics.median(took) / timeout, 3),
            "policy": {"held": outcome.held, "enforcement_latency": outcome.latency},
            "cluster_seconds": round(world.seconds["cluster"], 2),
            "pods_ready_seconds": round(world.seconds["ready"], 2),
        }


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--profile", default="lab", help="lab, kind-calico, or a YAML file")
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is measured")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        _once(given.profile)
        return
    document: Json = {
        "machine": {"processors": os.cpu_count(), "load": os.getloadavg()[0], "system": platform.platform()},
        "profile": given.profile,
        "matrix": matrix(given.profile, given.rounds),
    }
    if given.profile == "lab":
        document["first-verdict"] = [first_verdict(given.profile) for _ in range(given.rounds)]
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
