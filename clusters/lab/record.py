"""State records: one file per lab, so that the next command finds, ends or forgets it.

A record is a kubeconfig (what `export KUBECONFIG=…` may point at) that carries the lab's facts as an extension: one
file is all a lab leaves on disk. What belongs here: writing, reading, clearing, ending by pidfd. What does not: what
a lab is made of.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

from flows.errors import HarnessError, PreparationError

EXTENSION: Final = "eastwest.dev/lab"
"""The kubeconfig extension that holds a record."""
END_DEADLINE: Final = 5.0
"""Seconds that a lab may take to end after SIGTERM; it promises two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known about one lab.

    Attributes:
        id: The lab's name, as `lab down` takes it.
        pid: Its supervisor.
        start: That process's start time in clock ticks since boot, so that a reused pid is told apart.
        port: The API server's port on 127.0.0.1.
        kubeconfig: The kubeconfig path that was asked for, or empty.
        created: Seconds since the epoch.
        detached: Whether it outlives the command that started it.
        nodes: How many nodes; mesh: `istio` or `none`; mutant: the broken data plane, or empty.
        ended: The last words of a lab that ended by itself, or empty.
    """

    id: str
    pid: int
    start: int
    port: int = 0
    kubeconfig: str = ""
    created: float = 0.0
    detached: bool = False
    nodes: int = 0
    mesh: str = "none"
    mutant: str = ""
    ended: str = ""

    @property
    def path(self) -> Path:
        """Where the record lies."""
        return folder() / f"{self.id}.json"


def folder() -> Path:
    """Where records lie: `$EASTWEST_STATE`, or `eastwest` under `$XDG_STATE_HOME`, or `~/.local/state/eastwest`."""
    given = os.environ.get("EASTWEST_STATE")
    if given:
        return Path(given) / "labs"
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path("~/.local/state").expanduser()) / "eastwest" / "labs"


def start_ticks(pid: int) -> int:
    """The start time of a process in clock ticks since boot, or -1 when there is none (a zombie counts as none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return -1 if fields[0] in {"Z", "X"} else int(fields[19])


def write(record: Record, kubeconfig: dict[str, Any] | None = None) -> None:
    """Write the record in one step: a reader sees the old one or the new one, and only the owner can read it.

    Raises:
        PreparationError: The folder cannot be written; the message names it and the remedy.
    """
    document: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", **(kubeconfig or {})}
    document["extensions"] = [{"name": EXTENSION, "extension": asdict(record)}]
    path = record.path
    part = path.with_name(f".{record.id}.{record.pid}.{record.start}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.touch(mode=0o600)
        part.write_text(json.dumps(document, indent=1), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise PreparationError(
            f"state folder {path.parent}: cannot be written ({error.strerror}); make it writable or set EASTWEST_STATE"
        ) from None


def check_folder() -> None:
    """Raise `PreparationError` where records cannot be written, before anything is started."""
    place = folder()
    there = next(each for each in (place, *place.parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise PreparationError(
            f"state folder {place}: cannot be written ({there} is not ours); make it writable or set EASTWEST_STATE"
        )


def parse(text: str) -> Record | None:
    """The record inside a kubeconfig's text (JSON, or YAML once kubectl has rewritten it); None when there is none."""
    try:
        document = json.loads(text)
    except ValueError:
        import yaml  # kubectl has rewritten it; the common case does without

        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError:
            return None
    if not isinstance(document, dict):
        return None
    for each in document.get("extensions") or []:
        if isinstance(each, dict) and each.get("name") == EXTENSION:
            with contextlib.suppress(TypeError):
                return Record(**cast("dict[str, Any]", each.get("extension")))
    return None


def alive(record: Record) -> bool:
    """Whether the very process that wrote the record still runs."""
    return start_ticks(record.pid) == record.start


def running() -> list[Record]:
    """The records of the labs that run, oldest first."""
    found = [record for _, record in _read() if record is not None and alive(record)]
    return sorted(found, key=lambda each: each.created)


def clear_stale() -> list[Record]:
    """Remove the records of labs that ended without removing their own; returns those that could be read."""
    gone: list[Record] = []
    for path, record in _read():
        if record is not None and alive(record):
            continue
        if record is None and path.suffix == ".part":
            _, _, pid, start, _ = path.name.rsplit(".", 4)
            if start_ticks(int(pid)) == int(start):
                continue
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            if record is not None:
                gone.append(record)
    return gone


def _read() -> Iterator[tuple[Path, Record | None]]:
    place = folder()
    if not place.is_dir():
        return
    for path in sorted(place.iterdir()):
        if path.suffix not in {".json", ".part"} or (path.suffix == ".part" and path.name.count(".") < 4):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        yield path, None if path.suffix == ".part" else parse(text)


def end(record: Record) -> None:
    """End the lab of a record and wait until its supervisor is gone; nothing else is ever signalled.

    Raises:
        HarnessError: It belongs to another user, or does not end.
    """
    try:
        handle = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    try:
        if not alive(record):
            return
        for sig, deadline in ((signal.SIGTERM, END_DEADLINE), (signal.SIGKILL, END_DEADLINE)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, sig)
            if _ended(handle, deadline):
                return
    except PermissionError:
        raise HarnessError(f"lab {record.id}: belongs to another user; end it as the user who started it") from None
    finally:
        os.close(handle)
    raise HarnessError(f"lab {record.id}: its supervisor (pid {record.pid}) does not end, not even by SIGKILL")


def _ended(handle: int, deadline: float) -> bool:
    until = time.monotonic() + deadline
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(max(0.0, until - time.monotonic()) * 1000))
