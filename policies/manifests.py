"""The manifests of somebody's repository: which policies and namespaces they hold, and what is left aside, and why.

What belongs here: finding files, telling kinds apart, what stands where. What does not: what a policy means (`oracle`),
who is expected to reach whom (`expectations`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from flows.errors import UsageError
from policies import read
from policies.calico import read as calico
from policies.lines import Locate, documents, file_text
from policies.model import NetworkPolicy

SUFFIXES: Final = (".yaml", ".yml", ".json")
MOST_BYTES: Final = 4 << 20
"""A manifest that is larger is no manifest that a person wrote."""
_CALICO: Final = (*calico.POLICIES, *calico.SETS)
Object = dict[str, Any]
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One policy as somebody wrote it.

    Attributes:
        obj: The object, with its namespace filled in.
        place: File and line.
        typed: What it says, where it is a NetworkPolicy of Kubernetes itself; None for kinds of others.
    """

    obj: Object
    place: str
    typed: NetworkPolicy | None = None

    @property
    def namespace(self) -> str:
        """Where it is applied; empty for what the whole cluster shares."""
        return str(self.obj["metadata"].get("namespace", ""))

    @property
    def key(self) -> str:
        """`shop/default-deny`."""
        return "/".join(part for part in (self.namespace, str(self.obj["metadata"]["name"])) if part)

    @property
    def name(self) -> str:
        """`NetworkPolicy shop/default-deny`."""
        return f"{self.obj['kind']} {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """Everything that was found.

    Attributes:
        namespaces: Name → labels, of the Namespace objects.
        ignored: One line for each object that is left aside: which, where, why.
    """

    policies: tuple[Manifest, ...] = ()
    namespaces: Mapping[str, Labels] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def load(paths: Sequence[Path], *, namespace: str = "", apart_from: Path | None = None) -> Manifests:
    """The manifests of these files and folders; a folder is searched through, hidden files and folders left out.

    Args:
        namespace: Where objects go that name none, as `kubectl -n`; empty where there is no such place.
        apart_from: A file that is none of them.

    Raises:
        UsageError: A file cannot be read, is not YAML, or holds what is no Kubernetes object or no valid
            NetworkPolicy; an object stands twice, or names no namespace. One line with file, line, field and remedy.
    """
    gathering = _Gathering(namespace)
    for path in paths:
        for file in _files(path):
            if apart_from is None or file.resolve() != apart_from.resolve():
                gathering.file(file)
    return Manifests(
        policies=tuple(gathering.policies), namespaces=gathering.namespaces, ignored=tuple(gathering.ignored)
    )


def shown(path: Path) -> str:
    """The path as a person in the current folder would write it, where it lies below that."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def text_of(path: Path) -> str:
    """A manifest's text.

    Raises:
        UsageError: It cannot be read, is not text, or larger than any manifest.
    """
    return file_text(path, name=shown(path), most=MOST_BYTES)


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(names):
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield Path(folder, name)


class _Gathering:
    """Takes one file after the other."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self.policies: list[Manifest] = []
        self.namespaces: dict[str, Labels] = {}
        self.ignored: list[str] = []
        self._places: dict[tuple[str, str, str, str], str] = {}

    def file(self, path: Path) -> None:
        """Take every object of a file."""
        for value, locate in documents(text_of(path), shown(path)):
            self._take(value, locate, "")

    def _take(self, value: object, locate: Locate, at: str) -> None:
        where = locate(at)
        if not isinstance(value, dict):
            raise UsageError(f"{where}: a {type(value).__name__} is no Kubernetes object; leave the file out")
        prefix = f"{at}." if at else ""
        for key in ("apiVersion", "kind"):
            if not isinstance(value.get(key), str) or not value[key]:
                if str(value.get("schema", "")).startswith("eastwest.dev/"):
                    self.ignored.append(f"{where}: a file of eastwest's own, {value['schema']}")
                    return
                raise UsageError(f"{where}: field '{prefix}{key}' is missing; this is no Kubernetes object")
        if value["kind"] == "List" and isinstance(value.get("items"), list):
            for number, each in enumerate(value["items"]):
                self._take(each, locate, f"{prefix}items[{number}]")
            return
        meta = value.get("metadata")
        if not isinstance(meta, dict) or not isinstance(meta.get("name"), str) or not meta["name"]:
            raise UsageError(f"{where}: field '{prefix}metadata.name' is missing; name the {value['kind']}")
        self._sort(value, meta, (lambda path: locate(f"{prefix}{path}")) if at else locate)

    def _sort(self, obj: Object, meta: Object, locate: Locate) -> None:
        kind, version, where = obj["kind"], obj["apiVersion"], locate("")
        if (version, kind) == ("v1", "Namespace"):
            self._once(obj, "", where)
            self.namespaces[meta["name"]] = _labels(meta, locate)
        elif (version, kind) == (read.API_VERSION, read.KIND):
            placed = self._placed(obj, meta, locate)
            self.policies.append(Manifest(obj=placed, place=where, typed=read.read(placed, where, locate=locate)))
        elif calico.is_calico(obj) and kind in _CALICO:
            if kind.startswith("Global"):
                self._once(obj, "", where)
                placed = {**obj, "metadata": {key: value for key, value in meta.items() if key != "namespace"}}
            else:
                placed = self._placed(obj, meta, locate)
            self.policies.append(Manifest(obj=placed, place=where))
        else:
            self.ignored.append(f"{where}: {kind} {meta['name']}: ignored: no policy of Kubernetes or Calico")

    def _placed(self, obj: Object, meta: Object, locate: Locate) -> Object:
        namespace = meta.get("namespace") or self._namespace
        if not isinstance(namespace, str) or not namespace:
            raise UsageError(
                f"{locate('metadata')}: field 'metadata.namespace' of {obj['kind']} {meta['name']} is missing;"
                " write it there, or say 'namespace:' in the expectations"
            )
        self._once(obj, namespace, locate(""))
        return {**obj, "metadata": {**meta, "namespace": namespace}}

    def _once(self, obj: Object, namespace: str, where: str) -> None:
        key = (obj["apiVersion"], obj["kind"], namespace, obj["metadata"]["name"])
        first = self._places.setdefault(key, where)
        if first != where:
            name = f"{namespace}/{key[3]}" if namespace else key[3]
            raise UsageError(f"{where}: {obj['kind']} {name} stands in {first} already; keep one of them")


def _labels(meta: Object, locate: Locate) -> Labels:
    labels = meta.get("labels") or {}
    if not isinstance(labels, dict) or not all(isinstance(each, str) for each in labels.values()):
        raise UsageError(f"{locate('metadata.labels')}: field 'metadata.labels' must hold strings; quote the values")
    return {str(key): value for key, value in labels.items()}
