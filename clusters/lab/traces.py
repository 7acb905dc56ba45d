"""What a lab has on this machine while it lives, and whether anything of it is left afterwards.

What belongs here: reading /proc. What does not: ending anything.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from clusters.lab import record
from clusters.lab.handle import MARK

_PROC: Final = Path("/proc")
_KINDS: Final = ("net", "mnt", "pid", "user")
_GONE = (FileNotFoundError, ProcessLookupError)


def processes() -> list[int]:
    """Every process that this user can see."""
    return [int(each.name) for each in _PROC.iterdir() if each.name.isdigit()]


def marked(lab_id: str) -> list[int]:
    """The processes that carry a lab's mark in their environment."""
    wanted, found = f"{MARK}={lab_id}".encode(), []
    for pid in processes():
        with contextlib.suppress(*_GONE, PermissionError):
            if wanted in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def descendants(root: int) -> list[int]:
    """A process and everything below it."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for pid in processes():
        with contextlib.suppress(*_GONE):
            stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            children[int(stat[1])].append(pid)
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children[pid]
    return found


def namespaces(pids: list[int]) -> dict[str, list[int]]:
    """The namespaces that these processes are in, as `net:[4026532008]` → pids."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for pid in pids:
        for kind in _KINDS:
            with contextlib.suppress(*_GONE, PermissionError):
                found[str((_PROC / str(pid) / "ns" / kind).readlink())].append(pid)
    return dict(found)


def mounts() -> list[str]:
    """The mounts of this process's own namespace."""
    lines = (_PROC / "self/mountinfo").read_text(encoding="utf-8").splitlines()
    return sorted(line.split(" ", 2)[2] for line in lines)


@dataclass(slots=True)
class Traces:
    """A lab's processes and namespaces, gathered by `look` while it lives.

    Attributes:
        lab_id: The lab.
        starts: pid → start time in ticks.
        own: Namespaces that are not this process's.
    """

    lab_id: str
    starts: dict[int, int] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)

    def look(self) -> None:
        """Add what is there now."""
        pids = set(marked(self.lab_id))
        for pid in tuple(pids):
            pids.update(descendants(pid))
        self.starts |= {pid: ticks for pid in pids if (ticks := record.start_ticks(pid)) >= 0}
        self.own |= namespaces(list(pids)).keys() - namespaces([os.getpid()]).keys()

    def wait(self, deadline: float) -> list[str]:
        """Wait until nothing is left; a line for each thing that still is when the time is over."""
        until = time.monotonic() + deadline
        while True:
            pids = self._alive()
            if not pids:
                return self._left_namespaces()
            for pid in pids:
                if not _ended(pid, until - time.monotonic()):
                    return [f"process {each}: {_command(each)}" for each in self._alive()] + self._left_namespaces()

    def _alive(self) -> list[int]:
        known = [pid for pid, ticks in self.starts.items() if record.start_ticks(pid) == ticks]
        return sorted({*known, *(pid for pid in marked(self.lab_id) if record.start_ticks(pid) >= 0)})

    def _left_namespaces(self) -> list[str]:
        # What died and waits for its parent to notice holds nothing any more.
        there = namespaces([pid for pid in processes() if record.start_ticks(pid) >= 0])
        return [f"namespace {each}: processes {there[each]}" for each in sorted(self.own & there.keys())]


def _ended(pid: int, seconds: float) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))
    finally:
        os.close(handle)


def _command(pid: int) -> str:
    with contextlib.suppress(*_GONE):
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return "?"
