"""What a run leaves behind as data: `results.json`, written once at the end, read by reports, comparisons and scripts.

What belongs here: the records, their strict reader and their atomic writer. What does not: counting (`summary`),
hiding secrets (`redact`), layout (`html`, `terminal`, `allure`). All durations are seconds, all times Unix seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, cast, get_args

from clusters.cluster import Cluster
from flows.errors import UsageError
from reports.redact import scrub
from reports.summary import Summary, summarise

SCHEMA = "eastwest.dev/results/v1"
SCHEMA_FILE = Path(__file__).parent / "results.schema.json"
RESULTS = "results.json"
Outcome = Literal["passed", "failed", "broken", "skipped"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

_Record = TypeVar("_Record", bound="TestRecord | ClusterRecord | RunRecord")


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRecord:
    """One test: what must hold, whether it does, and everything a report shows about it.

    Attributes:
        id: The node id; the same test has the same id in every run.
        area: The folder under `suites/` (`network`), or the test's own folder elsewhere.
        sentence: The docstring's first line, or the test's name and id as words.
        outcome: `failed` is the system under test, `broken` is us; see `flows.errors`.
        first_line: The failure's first line, at most 100 characters; empty when passed.
        message: The whole failure as text.
        started: Unix seconds.
        worker: The xdist worker (`gw0`), or empty.
        reason: Why it was skipped.
        matrices: Each exactly what `flows.matrix.Matrix.record()` returns.
        policies: `name`, `namespace`, `manifest` (YAML text), `enforcement_latency` and `release_latency` (seconds or
            None where it was not measured).
        attachments: `name`, `type` (media type) and `text`: events, logs, rules.
        behaviours: `name`, `value` and `detail`: what the cluster does where the specification leaves it open.
        timings: Phase → seconds (`namespace`, `workloads`, `baseline`, `converge`…).
        capability: The capability that the test needs, or empty.
    """

    __test__: ClassVar[bool] = False

    id: str
    name: str
    file: str
    area: str
    sentence: str
    outcome: Outcome
    first_line: str = ""
    message: str = ""
    duration: float = 0.0
    started: float = 0.0
    worker: str = ""
    reason: str = ""
    capability: str = ""
    matrices: list[dict[str, Any]] = field(default_factory=list)
    policies: list[dict[str, Any]] = field(default_factory=list)
    attachments: list[dict[str, Any]] = field(default_factory=list)
    behaviours: list[dict[str, Any]] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The test as it stands in `results.json`, secrets hidden."""
        return cast("dict[str, Any]", scrub(_shallow(self)))

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back; it travels from a worker to the controller."""
        return json.dumps(self.record())

    @staticmethod
    def from_json(text: str) -> TestRecord:
        """The record that `to_json` wrote."""
        return _build(TestRecord, json.loads(text), "a worker's record", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRecord:
    """The fingerprint of the cluster that was measured; a field that is not known is empty."""

    profile: str = ""
    provider: str = ""
    context: str = ""
    kubernetes: str = ""
    cni: str = ""
    nodes: str = ""
    kernel: str = ""
    mutant: str = ""
    facts: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(cluster: Cluster) -> ClusterRecord:
        """The fingerprint of a cluster that is up: what it said of itself, else what its profile says."""
        own = {"profile", "provider", "context"}  # they have fields of their own
        facts = {name: str(value) for name, value in cluster.facts.items() if name not in own}
        profile = cluster.profile
        return ClusterRecord(
            profile=profile.name,
            provider=profile.provider,
            context=cluster.context,
            kubernetes=facts.pop("kubernetes", profile.kubernetes),
            cni=facts.pop("cni", profile.cni),
            nodes=facts.pop("nodes", str(profile.nodes) if cluster.ours else ""),
            kernel=facts.pop("kernel", ""),
            mutant=facts.pop("mutant", ""),
            facts=facts,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run: everything that reports and comparisons are made from.

    Attributes:
        run: The run's id, as on the objects' label `eastwest.dev/run`.
        command: The command line that repeats the run.
        seed: What random choices of the run came from, or empty.
        exit_code: The process's exit code (see `docs/reference/results.md`).
        timings: `cluster` (start), `canary`, `baseline`, `suite`, `total`… in seconds.
        problems: One line each: what stood in the way of the whole run.
        left_behind: One line each: what should have gone and did not.
        kept: One line each: what stays on request, with the command that removes it.
    """

    run: str
    started: float
    finished: float
    schema: str = SCHEMA
    command: str = ""
    eastwest: str = ""
    python: str = ""
    platform: str = ""
    seed: str = ""
    exit_code: int = 0
    cluster: ClusterRecord = field(default_factory=ClusterRecord)
    timings: dict[str, float] = field(default_factory=dict)
    tests: list[TestRecord] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @property
    def summary(self) -> Summary:
        """Counts of tests, flows and enforcement latencies, always computed from the records."""
        return summarise(self)

    def outcomes(self, *wanted: Outcome) -> list[TestRecord]:
        """The tests that ended in one of these ways, in the order they ran."""
        return [test for test in self.tests if test.outcome in wanted]

    def record(self) -> dict[str, Any]:
        """The run as it stands in `results.json`, secrets hidden, with its summary."""
        data = _shallow(self)
        data["cluster"] = _shallow(self.cluster)
        data["tests"] = [_shallow(test) for test in self.tests]
        first = {"schema": data.pop("schema"), "run": data.pop("run"), "summary": asdict(self.summary)}
        return cast("dict[str, Any]", scrub({**first, **data}))

    def scrubbed(self) -> RunRecord:
        """The same run with every secret hidden, as each report shows it."""
        return _run(self.record(), "this run")


def _shallow(record: TestRecord | ClusterRecord | RunRecord) -> dict[str, Any]:
    """The record's fields; `scrub` copies what is inside, which is most of the work of `asdict`."""
    return {each.name: getattr(record, each.name) for each in fields(record)}


def write(run: RunRecord, folder: Path) -> Path:
    """Write `results.json` into a folder as a whole or not at all; returns its path.

    Raises:
        UsageError: The folder cannot be made or written.
    """
    return write_text(folder / RESULTS, json.dumps(run.record(), indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> Path:
    """Put a report's text at `path` as a whole or not at all: no reader ever sees half a file.

    Raises:
        UsageError: The folder cannot be made or written.
    """
    partial = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        Path(partial).chmod(0o644)
        Path(partial).replace(path)
    except OSError as error:
        if partial:
            with contextlib.suppress(OSError):
                Path(partial).unlink()
        raise UsageError(
            f"reports: {path} cannot be written ({error.strerror}); give a writable folder with --out"
        ) from None
    return path


def read(path: Path) -> RunRecord:
    """Read a `results.json`, or the one inside a folder.

    Raises:
        UsageError: The file is missing, is not a run's results, or a field is unknown, missing or of the wrong type.
    """
    path = path / RESULTS if path.is_dir() else path
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"results {path}: cannot be read ({error.strerror}); give the results.json of a run") from None
    except ValueError as error:
        raise UsageError(f"results {path}: not JSON ({error}); give the results.json of a run") from None
    return _run(data, str(path))


def _run(data: object, source: str) -> RunRecord:
    values = _object(data, source, "the file")
    found = values.get("schema")
    if found != SCHEMA:
        raise UsageError(
            f"results {source}: field 'schema' is {found!r}, not {SCHEMA!r}; use the eastwest that wrote it"
        )
    values.pop("summary", None)
    return _build(RunRecord, values, source, "")


def _object(data: object, source: str, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise UsageError(f"results {source}: {where} must be an object, not {type(data).__name__}")
    return {str(key): value for key, value in data.items()}


_SHAPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "Outcome": (str,),
    "ClusterRecord": (dict,),
    "list": (list,),
    "dict": (dict,),
}
_ITEMS: dict[str, tuple[type, ...]] = {
    "list[str]": (str,),
    "dict[str, str]": (str,),
    "dict[str, float]": (int, float),
    "list[dict[str, Any]]": (dict,),
    "list[TestRecord]": (dict,),
}
_NEEDED: dict[str, tuple[str, ...]] = {
    "matrices": ("title", "rows", "columns", "cells", "text"),
    "policies": ("name", "namespace", "manifest"),
    "attachments": ("name", "type", "text"),
    "behaviours": ("name", "value"),
    "cells": ("row", "column", "flow", "expected_mark", "observed_mark", "finding", "evidence"),
}


def _build(kind: type[_Record], data: object, source: str, prefix: str) -> _Record:
    values = _object(data, source, prefix.rstrip(".") or "the file")
    known: dict[str, Field[Any]] = {each.name: each for each in fields(kind)}
    for name in values:
        if name not in known:
            raise UsageError(f"results {source}: unknown field '{prefix}{name}'; use the eastwest that wrote it")
    for name, each in known.items():
        if name not in values:
            if each.default is MISSING and each.default_factory is MISSING:
                raise UsageError(f"results {source}: field '{prefix}{name}' is missing; the file is not whole")
            continue
        values[name] = _value(str(each.type), values[name], source, f"{prefix}{name}")
    return kind(**values)


def _value(shape: str, value: object, source: str, where: str) -> object:
    _typed(value, _SHAPES[shape.partition("[")[0]], source, where)
    if shape == "Outcome" and value not in OUTCOMES:
        raise UsageError(f"results {source}: field '{where}' is {value!r}; use one of {', '.join(OUTCOMES)}")
    if shape == "ClusterRecord":
        return _build(ClusterRecord, value, source, f"{where}.")
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        _typed(item, _ITEMS[shape], source, f"{where}[{key}]")
    if shape == "list[TestRecord]":
        tests = cast("list[object]", value)
        return [_build(TestRecord, test, source, f"{where}[{index}].") for index, test in enumerate(tests)]
    if shape == "list[dict[str, Any]]":
        _needed(where.rpartition(".")[2], cast("list[dict[str, Any]]", value), source, where)
    return value


def _needed(name: str, items: list[dict[str, Any]], source: str, where: str) -> None:
    for index, item in enumerate(items):
        missing = [key for key in _NEEDED[name] if key not in item]
        if missing:
            raise UsageError(
                f"results {source}: field '{where}[{index}].{missing[0]}' is missing; the file is not whole"
            )
        if name == "matrices":
            inside = f"{where}[{index}].cells"
            _typed(item["cells"], (list,), source, inside)
            for number, cell in enumerate(item["cells"]):
                _typed(cell, (dict,), source, f"{inside}[{number}]")
            _needed("cells", item["cells"], source, inside)


def _typed(value: object, allowed: tuple[type, ...], source: str, where: str) -> None:
    if not isinstance(value, allowed) or isinstance(value, bool):
        wanted = " or ".join(kind.__name__ for kind in allowed)
        raise UsageError(f"results {source}: field '{where}' is {_short(value)}, not {wanted}; the file is not whole")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
