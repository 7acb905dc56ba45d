"""The agent as a visitor: run over an exec in a container that is somebody else's, without writing anything there.

What belongs here: the command, and what is sent ahead of a session. What does not: whose container (`clusters`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from flows import agent
from flows.stream import Channel

_LOADER: Final = """\
import os, sys
if sys.version_info < (3, 9):
    raise SystemExit("python3 is %d.%d, older than 3.9" % sys.version_info[:2])
left, parts = int(sys.argv.pop()), []
while left:
    part = os.read(0, min(left, 65536))
    if not part:
        raise SystemExit("the agent did not arrive whole")
    parts.append(part)
    left -= len(part)
exec(compile(b"".join(parts), "agent.py", "exec"), {"__name__": "__main__"})
"""
"""Reads the agent from standard input, and not a byte of what follows; then it is as if the file had been run."""


def command(seconds: float) -> list[str]:
    """What the exec runs; it ends with its standard input, and at the latest after `seconds`."""
    return ["python3", "-I", "-S", "-u", "-c", _LOADER, "visit", f"{seconds:g}", str(len(_source()))]


def opened(open_channel: Callable[[], Channel]) -> Channel:
    """A channel to an agent that has just been sent.

    Raises:
        ChannelClosed, HarnessError: As `open_channel` and `Channel.send`.
    """
    channel = open_channel()
    channel.send(_source())
    return channel


@cache
def _source() -> bytes:
    return Path(agent.__file__).read_bytes()
