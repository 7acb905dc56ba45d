"""The lab's state: an ordered log whose row number is the resourceVersion, and an index of the objects that live.

What belongs here: rows, the index, compaction, telling subscribers. What does not: what a write means (`operations`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Object = dict[str, Any]
ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
KEEP = 10_000
"""How many changes a watcher may lag behind before it must list again."""
_COMPACT_EVERY = 512

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
  revision INTEGER PRIMARY KEY, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  type TEXT NOT NULL, object BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_object ON log (kind, namespace, name, revision);
CREATE TABLE IF NOT EXISTS floor (revision INTEGER NOT NULL);
"""


class CompactedError(Exception):
    """Changes after that revision are no longer complete."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of one object; never changed in place.

    Attributes:
        object: Its JSON, shared: read only. `copy()` gives one to change.
        encoded: The JSON as bytes, beginning with `kind` and `apiVersion`.
    """

    revision: int
    kind: str
    namespace: str
    name: str
    object: Object
    encoded: bytes

    def copy(self) -> Object:
        """The object, free to be changed."""
        fresh: Object = json.loads(self.encoded)
        return fresh


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the log, with the version before it."""

    type: ChangeType
    entry: Entry
    previous: Entry | None


Subscriber = Callable[[Change], None]


class Store:
    """All objects of the lab, keyed by kind (a plural with its group), namespace and name.

    Args:
        path: The database's file, on a tmpfs; `:memory:` for tests.
        keep: How many changes stay readable for watchers.
    """

    def __init__(self, path: str, *, keep: int = KEEP) -> None:
        self._keep = keep
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.executescript(_SCHEMA)
        self._live: dict[str, dict[tuple[str, str], Entry]] = {}
        self._subscribers: dict[str, set[Subscriber]] = {}
        self.revision = 1
        self.floor = 1
        self._load()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _load(self) -> None:
        for (floor,) in self._db.execute("SELECT revision FROM floor"):
            self.floor = floor
        for row in self._db.execute("SELECT * FROM log ORDER BY revision"):
            revision, kind, namespace, name, change, _ = row
            self.revision = revision
            if change == "DELETED":
                self._live.get(kind, {}).pop((namespace, name), None)
            else:
                self._live.setdefault(kind, {})[namespace, name] = _entry(row)

    def get(self, kind: str, namespace: str, name: str) -> Entry | None:
        """The living object of that name."""
        return self._live.get(kind, {}).get((namespace, name))

    def list(self, kind: str, namespace: str = "") -> list[Entry]:
        """The living objects of a kind, in all namespaces or in one, ordered by namespace and name."""
        living = self._live.get(kind, {})
        return [living[place] for place in sorted(living) if not namespace or place[0] == namespace]

    def put(self, kind: str, namespace: str, obj: Object) -> Entry:
        """Write an object as the next row; it becomes the living one and subscribers hear of it."""
        place = (namespace, str(obj["metadata"]["name"]))
        previous = self._live.get(kind, {}).get(place)
        entry = self._append(kind, place, "MODIFIED" if previous else "ADDED", obj)
        self._live.setdefault(kind, {})[place] = entry
        self._tell(Change("MODIFIED" if previous else "ADDED", entry, previous))
        return entry

    def remove(self, kind: str, namespace: str, obj: Object) -> Entry:
        """Write an object's end as the next row; `obj` is its last state."""
        place = (namespace, str(obj["metadata"]["name"]))
        previous = self._live[kind].pop(place)
        entry = self._append(kind, place, "DELETED", obj)
        self._tell(Change("DELETED", entry, previous))
        return entry

    def _append(self, kind: str, place: tuple[str, str], change: ChangeType, obj: Object) -> Entry:
        revision = self.revision + 1
        obj = {
            "kind": obj["kind"],
            "apiVersion": obj["apiVersion"],
            **obj,
            "metadata": obj["metadata"] | {"resourceVersion": str(revision)},
        }
        encoded = json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode()
        self._db.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", (revision, kind, *place, change, encoded))
        self.revision = revision
        if revision % min(_COMPACT_EVERY, self._keep) == 0:
            self.compact(revision - self._keep)
        return Entry(revision, kind, *place, obj, encoded)

    def _tell(self, change: Change) -> None:
        for subscriber in tuple(self._subscribers.get(change.entry.kind, ())):
            subscriber(change)

    def subscribe(self, kind: str, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` for every later change of a kind; returns what ends it."""
        followers = self._subscribers.setdefault(kind, set())
        followers.add(subscriber)
        return lambda: followers.discard(subscriber)

    def since(self, kind: str, revision: int) -> Iterator[Change]:
        """The changes of a kind after a revision, oldest first.

        Raises:
            CompactedError: Some of them are gone.
        """
        if revision < self.floor:
            raise CompactedError(revision)
        rows = self._db.execute(
            "SELECT * FROM log WHERE kind = ? AND revision > ? ORDER BY revision", (kind, revision)
        ).fetchall()
        for row in rows:
            before = self._db.execute(
                "SELECT * FROM log WHERE kind = ? AND namespace = ? AND name = ? AND revision < ?"
                " ORDER BY revision DESC LIMIT 1",
                (kind, row[2], row[3], row[0]),
            ).fetchone()
            living = before is not None and before[4] != "DELETED"
            yield Change(row[4], _entry(row), _entry(before) if living else None)

    def compact(self, floor: int) -> None:
        """Forget changes up to `floor`, but for the last version of what still lived then."""
        if floor <= self.floor:
            return
        self._db.execute(
            "DELETE FROM log WHERE revision <= ?1 AND (type = 'DELETED' OR EXISTS (SELECT 1 FROM log AS later WHERE"
            " later.kind = log.kind AND later.namespace = log.namespace AND later.name = log.name"
            " AND later.revision > log.revision AND later.revision <= ?1))",
            (floor,),
        )
        self._db.execute("DELETE FROM floor")
        self._db.execute("INSERT INTO floor VALUES (?)", (floor,))
        self.floor = floor


def _entry(row: tuple[int, str, str, str, str, bytes]) -> Entry:
    revision, kind, namespace, name, _, encoded = row
    return Entry(revision, kind, namespace, name, json.loads(encoded), encoded)
