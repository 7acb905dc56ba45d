"""The bench with its pods, and the snapshot that everything starts from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clusters.lab.policy.snapshot import Pod, Snapshot
from tests.lab.policy.bench import Bench
from tests.lab.policy.world import HOSTED, NAMESPACES, PODS, services


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    made = Bench(PODS)
    yield made
    made.close()


@pytest.fixture
def world(bench: Bench) -> Iterator[Snapshot]:
    """Every pod and Service, no policy; in force on both nodes before and after the test."""
    known = Snapshot(pods=(*bench.pods, HOSTED), namespaces=NAMESPACES, services=services(bench.pod))
    bench.program(known)
    yield known
    bench.program(known)


@pytest.fixture
def snapshot() -> Snapshot:
    """The same world without a kernel; pods have made-up addresses."""
    pods = {
        pod.name: Pod(
            namespace=pod.namespace,
            name=pod.name,
            uid=pod.uid,
            labels=pod.labels,
            ports=pod.ports,
            addresses=(f"10.244.{node}.{index + 2}",),
        )
        for index, (pod, node) in enumerate(PODS)
    }
    return Snapshot(pods=tuple(pods.values()), namespaces=NAMESPACES, services=services(pods.__getitem__))
