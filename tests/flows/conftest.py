"""Fixtures of the tests of flows: agents that really run."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from tests.flows.pipes import Namespace, Served


@pytest.fixture
def port() -> int:
    """A TCP and UDP port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Starts agents; they end with the test."""
    running: list[Served] = []

    def start(workload: str = "server", ports: str = "", pod: str = "", namespace: Namespace | None = None) -> Served:
        running.append(Served(workload, ports, namespace.prefix if namespace else (), pod))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    """A network namespace of our own, or a skip where none may be made."""
    made = Namespace()
    yield made
    made.close()
