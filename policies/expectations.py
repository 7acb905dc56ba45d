"""Who is to reach whom, as a person wrote it beside their manifests: typed, and read strictly.

`expectations.schema.json` beside this file says the same to editors. What belongs here: the file's form. What does
not: which pairs of workloads the lines mean (`pairs`), the manifests (`manifests`), asking (`fixtures.expectations`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeVar, get_args

from flows.errors import UsageError
from policies import manifests
from policies.lines import Locate, documents
from policies.manifests import Labels, Manifests
from policies.model import Transport
from policies.oracle import NAMESPACE_LABEL, NamedPort

SCHEMA: Final = "eastwest.dev/expectations/v1"
FAMILY: Final = "eastwest.dev/expectations/"
"""What the schema of every version begins with."""
EVERYONE: Final = "everyone"
EVERYONE_ELSE: Final = "everyone-else"
READY_PORT: Final = 8079
"""Where the stand-ins' own readiness probe knocks."""
OURS: Final = ("eastwest.dev/", "app.kubernetes.io/managed-by")
"""Labels that every pod of a run has for the run's own sake."""
Default = Literal["ignore", "denied", "allowed"]
_RECOGNISED: Final = re.compile(rf"^[\"']?schema[\"']?\s*:\s*[\"']?{re.escape(FAMILY)}", re.MULTILINE)
_WORKLOAD: Final = re.compile(
    r"(?P<namespace>[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)/(?P<name>[a-z]([-a-z0-9]{0,38}[a-z0-9])?)"
)
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
_PORT: Final = re.compile(r"(?P<number>[0-9]{1,5})(/(?P<protocol>[A-Za-z]+))?")
_LABEL_KEY: Final = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """A pod of ours that stands for somebody's workload: its namespace, labels and ports, and nothing else of it.

    Attributes:
        name: `shop/frontend`: namespace and name.
    """

    name: str
    labels: Labels = field(default_factory=dict)
    ports: tuple[NamedPort, ...] = ()

    @property
    def namespace(self) -> str:
        """Where it lives."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Workloads by labels: their own, their namespace's, or both; None asks nothing."""

    namespaces: Labels | None = None
    pods: Labels | None = None

    def picks(self, workload: StandIn, namespace: Labels) -> bool:
        """Whether the workload, in a namespace with these labels, is one of them."""
        there = {**namespace, NAMESPACE_LABEL: workload.namespace}
        return _within(self.namespaces, there) and _within(self.pods, workload.labels)

    def __str__(self) -> str:
        parts = (("namespaces", self.namespaces), ("pods", self.pods))
        shown = (f"{name}: {{{', '.join(f'{k}: {v}' for k, v in each.items())}}}" for name, each in parts if each)
        return f"{{{', '.join(shown)}}}"


Who = str | Selector
"""A workload's name, `everyone`, `everyone-else` (as a source only), or a selector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of `expect`.

    Attributes:
        place: File and line; field: `expect[3]`.
        ports: By name, number or `53/udp`; empty means every port that a destination has.
    """

    place: str
    field: str
    source: Who
    target: Who
    ports: tuple[str, ...] = ()
    allowed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """One file.

    Attributes:
        namespaces: Name → labels, of the manifests and of the file together.
        default: What holds for pairs that no line names.
    """

    path: Path
    workloads: Mapping[str, StandIn]
    namespaces: Mapping[str, Labels]
    lines: tuple[Line, ...] = ()
    default: Default = "ignore"
    manifests: Manifests = field(default_factory=Manifests)

    @property
    def place(self) -> str:
        """The file, as a person in the current folder would write it."""
        return manifests.shown(self.path)


def recognised(text: str) -> bool:
    """Whether a YAML text says that it is a file of expectations, of whatever version."""
    return bool(_RECOGNISED.search(text))


def read(path: Path) -> Expectations:
    """The file's expectations, with the manifests that it names.

    Raises:
        UsageError: Something in it, or in a manifest, cannot be used; one line with file, line, field and remedy.
    """
    place = manifests.shown(path)
    found = list(documents(manifests.text_of(path), place))
    if len(found) != 1:
        raise UsageError(f"{place}: {len(found)} YAML documents; expectations are one, in a file of their own")
    value, locate = found[0]
    return _Reader(path, locate).expectations(value)


class _Reader:
    """Walks the file and knows where each field stands."""

    def __init__(self, path: Path, locate: Locate) -> None:
        self._path, self._locate = path, locate

    def expectations(self, value: object) -> Expectations:
        """The whole file."""
        known = ["schema", "namespace", "manifests", "namespaces", "workloads", "expect", "default"]
        fields = self._fields(value, "", known)
        if fields.get("schema") != SCHEMA:
            self._fail("schema", f"is {_shown(fields.get('schema'))}", f"this release reads {SCHEMA}")
        given = self._name(fields["namespace"], "namespace") if "namespace" in fields else ""
        paths = self._list(fields.get("manifests", []), "manifests", self._path_of)
        there = manifests.load(paths, namespace=given, apart_from=self._path)
        namespaces = {**there.namespaces, **self._namespaces(fields.get("namespaces", {}), there.namespaces)}
        workloads = self._workloads(fields.get("workloads"), namespaces)
        default = fields.get("default", "ignore")
        if default not in get_args(Default):
            self._fail("default", f"is {_shown(default)}", self._near(default, get_args(Default)))
        lines = self._list(fields.get("expect", []), "expect", lambda each, at: self._line(each, at, workloads))
        if not lines and default == "ignore":
            self._fail("expect", "expects nothing", "write at least one line, or a default")
        return Expectations(
            path=self._path,
            workloads=workloads,
            namespaces=namespaces,
            lines=lines,
            default=default,
            manifests=there,
        )

    def _fail(self, path: str, problem: str, remedy: str) -> NoReturn:
        said = f"field '{path}' {problem}" if path else f"the file {problem}"
        raise UsageError(f"{self._locate(path)}: {said}; {remedy}")

    @staticmethod
    def _near(value: object, known: Sequence[str]) -> str:
        near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.5)
        return f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known) or 'none'}"

    def _fields(self, value: object, path: str, known: Sequence[str], *, needed: Sequence[str] = ()) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._fail(path, f"is {_shown(value)}", f"it must be an object with {', '.join(known)}")
        for key in value:
            if key not in known:
                self._fail(f"{path}.{key}" if path else str(key), "is unknown", self._near(key, known))
        for key in needed:
            if key not in value:
                self._fail(f"{path}.{key}", "is missing", f"a whole entry has {', '.join(needed)}")
        return value

    def _object(self, value: object, path: str, holds: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._fail(path, f"is {_shown(value)}", f"it must be an object of {holds}")
        for key in value:
            if not isinstance(key, str):
                self._fail(path, f"has the key {_shown(key)}", "quote it")
        return value

    def _list(self, value: object, path: str, of: Callable[[Any, str], T]) -> tuple[T, ...]:
        if not isinstance(value, list):
            self._fail(path, f"is {_shown(value)}", "it must be a list; begin its entries with '- '")
        return tuple(of(each, f"{path}[{number}]") for number, each in enumerate(value))

    def _path_of(self, value: object, path: str) -> Path:
        if not isinstance(value, str) or not value:
            self._fail(path, f"is {_shown(value)}", "name a file or a folder, relative to this file")
        found = self._path.parent / value
        if not found.exists():
            beside = sorted(each.name for each in self._path.parent.iterdir() if not each.name.startswith("."))
            self._fail(path, f"is {value!r}, which does not exist", self._near(value.rstrip("/"), beside))
        return found

    def _name(self, value: object, path: str) -> str:
        if not isinstance(value, str) or not _NAMESPACE.fullmatch(value):
            self._fail(path, f"is {_shown(value)}", "a namespace's name has lower case letters, digits and '-'")
        return value

    def _namespaces(self, value: object, written: Mapping[str, Labels]) -> dict[str, Labels]:
        found: dict[str, Labels] = {}
        for name, each in self._object(value, "namespaces", "namespaces' names").items():
            path = f"namespaces.{name}"
            if not _NAMESPACE.fullmatch(name):
                self._fail(path, "is no namespace's name", "use lower case letters, digits and '-'")
            fields = self._fields({} if each is None else each, path, ["labels"])
            labels = self._labels(fields.get("labels", {}), f"{path}.labels")
            for key, label in labels.items():
                if written.get(name, {}).get(key, label) != label:
                    said = f"is {label!r}, and {written[name][key]!r} in the manifests"
                    self._fail(f"{path}.labels.{key}", said, "leave it out here")
            found[name] = {**written.get(name, {}), **labels}
        return found

    def _labels(self, value: object, path: str) -> Labels:
        found: dict[str, str] = {}
        for key, each in self._object(value, path, "label keys and values").items():
            if not _LABEL_KEY.fullmatch(key):
                self._fail(f"{path}.{key}", "is no label's key", "a key is [prefix/]name of at most 63 characters")
            if not isinstance(each, str) or not _LABEL_VALUE.fullmatch(each):
                self._fail(f"{path}.{key}", f"is {_shown(each)}", "a label's value is a string; quote it")
            found[key] = each
        return found

    def _workloads(self, value: object, namespaces: Mapping[str, Labels]) -> dict[str, StandIn]:
        found = {}
        for name, each in self._object(value, "workloads", "NAMESPACE/NAME and what it is").items():
            path = f"workloads.{name}"
            match = _WORKLOAD.fullmatch(name)
            if match is None:
                self._fail(path, "is not NAMESPACE/NAME", "lower case letters, digits and '-'; at most 40 in the name")
            if match["namespace"] not in namespaces:
                near = difflib.get_close_matches(match["namespace"], list(namespaces), n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"add '{match['namespace']}: {{}}' to 'namespaces'"
                self._fail(path, "is in a namespace that neither the manifests nor 'namespaces' name", hint)
            fields = self._fields({} if each is None else each, path, ["labels", "ports"])
            labels = self._labels(fields.get("labels", {}), f"{path}.labels")
            taken = next((key for key in labels if key.startswith(OURS)), None)
            if taken is not None:
                self._fail(f"{path}.labels.{taken}", "is a label that eastwest sets itself", "leave it out")
            ports = self._ports(fields.get("ports", {}), f"{path}.ports")
            found[name] = StandIn(name=name, labels=labels, ports=ports)
        if not found:
            self._fail("workloads", "names nobody", "write at least one workload")
        return found

    def _ports(self, value: object, path: str) -> tuple[NamedPort, ...]:
        found: list[NamedPort] = []
        for name, each in self._object(value, path, "names and numbers").items():
            here = f"{path}.{name}"
            if not _PORT_NAME.fullmatch(name):
                self._fail(here, "is no port's name", "at most 15 of a-z, 0-9 and '-', with a letter")
            number, protocol = self._port(each, here)
            if any((number, protocol) == (other.number, other.protocol) for other in found):
                self._fail(here, f"is {number}/{protocol} once more", "give each port one name")
            if (number, protocol) == (READY_PORT, Transport.TCP):
                self._fail(here, f"is {READY_PORT}", "there the stand-in's own readiness probe knocks; use another")
            found.append(NamedPort(name=name, number=number, protocol=protocol))
        return tuple(found)

    def _port(self, value: object, path: str) -> tuple[int, Transport]:
        match = None if isinstance(value, bool) else _PORT.fullmatch(str(value))
        if match is None or not 1 <= int(match["number"]) <= 65535:
            self._fail(path, f"is {_shown(value)}", "write a number from 1 to 65535, for UDP as 53/UDP")
        protocol = (match["protocol"] or "TCP").upper()
        if protocol not in {Transport.TCP, Transport.UDP}:
            self._fail(path, f"is {_shown(value)}", "the protocols that are asked are TCP and UDP")
        return int(match["number"]), Transport(protocol)

    def _line(self, value: object, path: str, workloads: Mapping[str, StandIn]) -> Line:
        fields = self._fields(value, path, ["from", "to", "verdict"], needed=["from", "to", "verdict"])
        if fields["verdict"] not in {"allowed", "denied"}:
            self._fail(f"{path}.verdict", f"is {_shown(fields['verdict'])}", "write allowed or denied")
        source, _ = self._who(fields["from"], f"{path}.from", workloads, [EVERYONE, EVERYONE_ELSE])
        target, ports = self._who(fields["to"], f"{path}.to", workloads, [EVERYONE], ports=True)
        return Line(
            place=self._locate(path),
            field=path,
            source=source,
            target=target,
            ports=ports,
            allowed=fields["verdict"] == "allowed",
        )

    def _who(
        self, value: object, path: str, workloads: Mapping[str, StandIn], words: list[str], *, ports: bool = False
    ) -> tuple[Who, tuple[str, ...]]:
        """Who is meant, and of a destination which ports."""
        if isinstance(value, str):
            name, colon, port = value.partition(":")
            if name not in words and name not in workloads:
                self._fail(path, f"is {value!r}: no such workload", self._near(name, [*workloads, *words]))
            if colon and not ports:
                self._fail(path, f"is {value!r}", "a source has no port; leave it out")
            return name, (self._wanted(port, path),) if colon else ()
        fields = self._fields(value, path, ["namespaces", "pods", *(["ports"] if ports else [])])
        labels = {
            key: self._labels(fields[key], f"{path}.{key}") if key in fields else None for key in ("namespaces", "pods")
        }
        if not any(labels.values()):
            self._fail(path, "asks for no label", f"write {EVERYONE} where all are meant")
        wanted = self._list(fields.get("ports", []), f"{path}.ports", self._wanted)
        if "ports" in fields and not wanted:
            self._fail(f"{path}.ports", "is empty", "leave it out where all are meant")
        return Selector(namespaces=labels["namespaces"], pods=labels["pods"]), wanted

    def _wanted(self, value: object, path: str) -> str:
        """A port as a line names it: `http`, `8080/tcp`, `53/udp`."""
        if isinstance(value, str) and _PORT_NAME.fullmatch(value):
            return value
        number, protocol = self._port(value, path)
        return f"{number}/{protocol.lower()}"


def _within(wanted: Labels | None, labels: Labels) -> bool:
    return wanted is None or all(labels.get(key) == value for key, value in wanted.items())


def _shown(value: object) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
