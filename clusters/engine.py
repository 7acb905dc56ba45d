"""The container engine under kind: is it there, what of a cluster is left in it, and how to get rid of that.

What belongs here: docker (or podman) commands. What does not: clusters (`kind`).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from clusters.command import CommandError, find, run
from flows.errors import PreparationError

CHECK_TIMEOUT: Final = 20.0
"""Seconds for the engine to answer at all; a healthy one needs a tenth of one."""
REMOVE_TIMEOUT: Final = 60.0
_LABEL: Final = "io.x-k8s.kind.cluster"
_FREEZER: Final = Path("/sys/fs/cgroup/freezer")


class Engine:
    """The engine that kind will use: docker, or what `KIND_EXPERIMENTAL_PROVIDER` names.

    Raises:
        PreparationError: It is not installed or does not answer.
    """

    def __init__(self) -> None:
        self.name = os.environ.get("KIND_EXPERIMENTAL_PROVIDER", "") or "docker"
        self._binary = find(self.name, "", "", "install it, or use --profile lab, which needs none")
        try:
            self._run("info", "--format", "{{.ID}}", timeout=CHECK_TIMEOUT)
        except CommandError as error:
            raise PreparationError(
                f"{self.name} does not answer; start its daemon (and may you use it?), or use --profile lab",
                detail=error.output,
            ) from error

    def _run(self, *args: str, timeout: float) -> str:
        return run([self._binary, *args], what=f"run {self.name} {args[0]}", timeout=timeout)

    def containers(self, cluster: str) -> dict[str, str]:
        """Names of the cluster's containers, running or not → their ids."""
        listed = self._run(
            "ps", "-a", "--no-trunc", "--filter", f"label={_LABEL}={cluster}", "--format", "{{.Names}} {{.ID}}",
            timeout=CHECK_TIMEOUT,
        )  # fmt: skip
        return dict(line.split(maxsplit=1) for line in listed.splitlines() if line.strip())

    @contextlib.contextmanager
    def thawing(self, cluster: str) -> Iterator[None]:
        """While the cluster is being deleted, thaw what it left frozen, each second: a frozen process cannot die."""
        ids = list(self.containers(cluster).values())
        done = threading.Event()

        def watch() -> None:
            while not done.wait(1.0):
                for container in ids:
                    thaw(container)

        thread = threading.Thread(target=watch, name="thaw", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def remove(self, cluster: str) -> None:
        """Remove the cluster's containers by force; what refuses is found by `containers` afterwards."""
        for container in self.containers(cluster).values():
            thaw(container)
            with contextlib.suppress(CommandError):
                self._run("rm", "--force", "--volumes", container, timeout=REMOVE_TIMEOUT)


def thaw(container: str) -> int:
    """Thaw every frozen group of processes inside a container; how many there were.

    With cgroup v1 a frozen process cannot even be killed, and a container runtime that is itself killed while it sets
    up a pod leaves that pod frozen. The engine then waits for an exit that never comes. Needs root; without it,
    and with cgroup v2, where frozen processes can be killed, this does nothing.
    """
    thawed = 0
    with contextlib.suppress(OSError):
        for state in _FREEZER.glob(f"**/*{container}*/**/freezer.state"):
            with contextlib.suppress(OSError):
                if state.read_text().strip() != "THAWED":
                    state.write_text("THAWED")
                    thawed += 1
    return thawed
