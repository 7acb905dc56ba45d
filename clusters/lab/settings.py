"""What an owner asks of a supervisor and what the supervisor says back: plain values, one JSON object a line.

What belongs here: the two ends' shared shapes. What does not: what either end does with them.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any

from clusters.lab.options import LabOptions

Message = dict[str, Any]
"""One line between the processes of a lab: `ready`, `error` (with `detail`), `detached`, `ended`, `op`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One lab as its owner wants it.

    Attributes:
        id: Its name, as the record and `lab down` have it.
        options: What every process of the lab inherits.
        port: The API server's port on 127.0.0.1, or 0 for any.
        kubeconfig: The kubeconfig path that was asked for, or empty (the owner writes it).
        ready_timeout: Seconds until the lab must be ready.
        started: The owner's monotonic clock when it asked, for the account of where time goes.
    """

    id: str
    options: LabOptions
    port: int = 0
    kubeconfig: str = ""
    ready_timeout: float = 30.0
    started: float = 0.0

    def to_message(self) -> Message:
        """One message that `from_message` reads back."""
        return asdict(self)

    @staticmethod
    def from_message(message: Message) -> Settings:
        """The settings that `to_message` wrote."""
        rest = dict(message)
        return Settings(options=LabOptions(**rest.pop("options")), **rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What a lab says once it can be used.

    Attributes:
        kubeconfig: Parsed content with one context, certificates inline.
        record: Path of the state record, which is a kubeconfig too.
        pid: The supervisor.
        facts: The fingerprint for reports.
        timings: (step, seconds since the owner asked), in order.
    """

    kubeconfig: dict[str, Any]
    record: str
    pid: int
    port: int
    facts: dict[str, str]
    timings: list[tuple[str, float]] = field(default_factory=list)


class Lines:
    """Lines out of a file descriptor: reads what is there, keeps an unfinished line for the next time."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.ended = False
        self._rest = b""

    def fileno(self) -> int:
        """For `select`."""
        return self.fd

    def read(self) -> list[Message]:
        """The messages of one read; call it when the descriptor is readable. `ended` is set at its end."""
        data = os.read(self.fd, 65536)
        self.ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines if line.strip()]


def say(fd: int, message: Message) -> None:
    """Write one message, whole.

    Raises:
        BrokenPipeError: Nobody listens any more.
    """
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(fd, data) :]
