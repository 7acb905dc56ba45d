"""Asks the lab's data plane, as the kernel has it, what becomes of the flows of a scene: the parent's side.

What belongs here: the child's life, and a question that is under way while the oracle thinks. What does not: sockets
and namespaces (`ground`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Final

from flows.errors import HarnessError
from tests.agreement.scene import Flow, Scene, for_lab

PATIENCE: Final = 60.0
"""Seconds for one answer of the child; a set takes a tenth of one."""
CONTROL: Final = 10.0
"""Seconds until a control datagram must have arrived; it takes some 50 µs."""


class Kernel:
    """The lab's data plane on two nodes and six pods.

    Args:
        control: Seconds until a control datagram must have arrived.

    Raises:
        HarnessError: The ground could not be laid, or an answer of the kernel cannot be trusted.
    """

    def __init__(self, control: float = CONTROL) -> None:
        self._pipe, theirs = Pipe()
        command = [sys.executable, "-m", "tests.agreement.ground", str(theirs.fileno()), str(control)]
        self._child = subprocess.Popen(command, pass_fds=(theirs.fileno(),), cwd=Path(__file__).parents[2])
        theirs.close()
        self.ground = self._receive()

    def begin(self, scene: Scene, flows: Sequence[Flow], mutant: str = "") -> Callable[[], list[str]]:
        """Put the scene in force and ask; returns what waits for the words, one for each flow.

        Args:
            mutant: The broken data plane to ask instead of the sound one.
        """
        self._pipe.send(("ask", for_lab(scene), tuple(flows), mutant))
        return self._receive

    def ask(self, scene: Scene, flows: Sequence[Flow], mutant: str = "") -> list[str]:
        """What becomes of each flow: `answered`, `dropped`, or what there is between."""
        return self.begin(scene, flows, mutant)()

    def nft(self, script: str) -> None:
        """A script on the first node, beside what the data plane has there."""
        self._pipe.send(("nft", script))
        self._receive()

    def close(self) -> None:
        """End the child; its namespaces end with it."""
        self._pipe.close()
        self._child.wait(timeout=10)

    def _receive(self) -> Any:
        try:
            if not self._pipe.poll(PATIENCE):
                raise HarnessError(f"the kernel's child gave no answer within {PATIENCE:g} s")
            answer = self._pipe.recv()
        except EOFError:
            raise HarnessError(f"the kernel's child has ended, exit code {self._child.wait(timeout=10)}") from None
        if isinstance(answer, BaseException):
            raise answer
        return answer


@contextmanager
def kernel(control: float = CONTROL) -> Iterator[Kernel]:
    """A kernel to ask, gone afterwards."""
    made = Kernel(control)
    try:
        yield made
    finally:
        made.close()
