"""Which pairs of workloads the lines of an expectations file mean, and what the oracle says of each.

What belongs here: from lines to pairs, contradictions, prediction. What does not: the file's form (`expectations`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from flows.errors import UsageError
from policies import oracle
from policies.calico import read as calico
from policies.calico.model import CalicoPolicy, NetworkSet
from policies.expectations import EVERYONE, EVERYONE_ELSE, Expectations, Line, StandIn, Who
from policies.oracle import NamedPort


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Who is to reach whom, or not.

    Attributes:
        places: The lines that say so; the file's default where none does.
    """

    source: str
    target: str
    port: NamedPort
    allowed: bool
    places: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """`allowed` or `denied`."""
        return "allowed" if self.allowed else "denied"

    def __str__(self) -> str:
        return f"{self.source} → {self.target}:{self.port.number}/{self.port.protocol.lower()} {self.verdict}"


Key = tuple[str, str, NamedPort]


def pairs(expectations: Expectations) -> tuple[Pair, ...]:
    """Every pair that the file says something about, in the order of its lines; then those of its default.

    A workload is no pair with itself, unless a line names it on both sides.

    Raises:
        UsageError: A line means nobody, or two lines contradict one another; names both.
    """
    found: dict[Key, Pair] = {}
    named = [line for line in expectations.lines if line.source != EVERYONE_ELSE]
    said = {line.field: list(_of(expectations, line)) for line in named}
    spoken = {key for keys in said.values() for key in keys}
    for line in expectations.lines:
        keys = said.get(line.field)
        if keys is None:
            everyone = list(_of(expectations, replace(line, source=EVERYONE)))
            keys = [key for key in everyone if key not in spoken]
        if not keys:
            raise UsageError(
                f"{line.place}: field '{line.field}' means no pair of workloads; "
                f"{'every source has a line of its own' if line.source == EVERYONE_ELSE else 'name two'}"
            )
        for key in keys:
            _note(found, key, line)
    if expectations.default != "ignore":
        place = f"{expectations.place}: default {expectations.default}"
        for source in expectations.workloads.values():
            for target in expectations.workloads.values():
                for port in target.ports if source.name != target.name else ():
                    key = (source.name, target.name, port)
                    allowed = expectations.default == "allowed"
                    pair = Pair(source=key[0], target=key[1], port=port, allowed=allowed, places=(place,))
                    found.setdefault(key, pair)
    return tuple(found.values())


def _note(found: dict[Key, Pair], key: Key, line: Line) -> None:
    before = found.get(key)
    if before is None:
        found[key] = Pair(source=key[0], target=key[1], port=key[2], allowed=line.allowed, places=(line.place,))
    elif before.allowed == line.allowed:
        found[key] = replace(before, places=(*before.places, line.place))
    else:
        raise UsageError(f"{line.place}: contradicts {before.places[0]}: {before}; keep one of them")


def _of(expectations: Expectations, line: Line) -> Iterator[Key]:
    """The pairs of one line that names its sources."""
    sources = _picked(expectations, line, line.source, "from")
    targets = _picked(expectations, line, line.target, "to")
    ports = {target.name: _ports(target, line) for target in targets}
    missing = next((wanted for wanted in line.ports if not any(_called(t, wanted) for t in targets)), None)
    if missing is not None or not any(ports.values()):
        there = [each for target in targets for port in target.ports for each in (port.name, _numbered(port))]
        near = difflib.get_close_matches(missing or "", there, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(dict.fromkeys(there)) or 'none'}"
        what = f"port {missing!r}" if missing else "a port"
        raise UsageError(f"{line.place}: field '{line.field}.to' means no workload with {what}; {hint}")
    itself = isinstance(line.source, str) and line.source == line.target != EVERYONE
    for source in sources:
        for target in targets:
            for port in ports[target.name] if itself or source.name != target.name else ():
                yield source.name, target.name, port


def _picked(expectations: Expectations, line: Line, who: Who, field: str) -> list[StandIn]:
    workloads = expectations.workloads
    if who == EVERYONE:
        return list(workloads.values())
    if isinstance(who, str):
        return [workloads[who]]
    found = [each for each in workloads.values() if who.picks(each, expectations.namespaces.get(each.namespace, {}))]
    if not found:
        raise UsageError(
            f"{line.place}: field '{line.field}.{field}' is {who}: no workload has these labels; {_like(workloads)}"
        )
    return found


def _like(workloads: Mapping[str, StandIn]) -> str:
    shown = [f"{name} has {dict(each.labels) or 'none'}" for name, each in list(workloads.items())[:3]]
    return ", ".join(shown)


def _numbered(port: NamedPort) -> str:
    return f"{port.number}/{port.protocol.lower()}"


def _called(target: StandIn, wanted: str) -> list[NamedPort]:
    return [port for port in target.ports if wanted in {port.name, _numbered(port)}]


def _ports(target: StandIn, line: Line) -> list[NamedPort]:
    if not line.ports:
        return list(target.ports)
    return [port for port in target.ports if any(port in _called(target, wanted) for wanted in line.ports)]


def predicted(
    expectations: Expectations, pair: Pair, addresses: Mapping[str, tuple[str, ...]]
) -> oracle.Decision | None:
    """What the policies as written say of a pair; None where one of Calico's says what is not read here.

    Args:
        addresses: Workload → its addresses in the one family that is asked; one that is missing has none, so no ipBlock
            covers it.
    """
    written = expectations.manifests.policies
    try:
        own = [calico.read(each.obj, each.place) for each in written if each.typed is None]
    except UsageError:
        return None
    world = oracle.World(
        policies=tuple(each.typed for each in written if each.typed is not None),
        namespaces=expectations.namespaces,
        calico=tuple(each for each in own if isinstance(each, CalicoPolicy)),
        network_sets=tuple(each for each in own if isinstance(each, NetworkSet)),
    )
    source, target = (
        oracle.Pod(
            name=each.name.partition("/")[2],
            namespace=each.namespace,
            labels=each.labels,
            addresses=addresses.get(each.name, ()),
            ports=each.ports,
        )
        for each in (expectations.workloads[pair.source], expectations.workloads[pair.target])
    )
    return oracle.decide(world, source, target, pair.port.number, pair.port.protocol)
