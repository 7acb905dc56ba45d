"""Who reaches whom: every class of pods that lets a visitor in asks every class on every port, once.

What belongs here: what is read, what is asked, and the oracle's word beside each answer. What does not: how it is shown
(`reports.reach`), and judging: nothing here is expected, so nothing can fail.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from clusters import calico
from clusters.kube import Kube, KubeError
from clusters.reach import census, visits, words
from clusters.reach.census import Class, Port, Resident
from clusters.reach.words import Word
from flows.errors import HarnessError, PreparationError, UsageError
from flows.measure import SLACK, by_source, send
from flows.model import Evidence, Flow, Kind, Protocol, Verdict
from policies import oracle, read
from policies.model import Transport

Object = dict[str, Any]
MOST_AT_ONCE: Final = 300
"""Flows that one pod asks at once."""
HOW: Final = "docs/how-to/matrix.md"
_FORBIDDEN, _NOT_FOUND = 403, 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line asks for.

    Attributes:
        namespaces: Empty means all.
        ports: Further ports that everybody is asked on.
        deny_timeout: Seconds of silence that count; within: seconds for everything.
    """

    namespaces: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    every_pod: bool = False
    deny_timeout: float = 3.0
    within: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One flow between two classes, in one family.

    Attributes:
        source, target: The classes' names; asked is the pod that was dialled.
        word: What became of it; why: what the word leaves open.
        decision: What NetworkPolicy says; None where the oracle cannot know.
    """

    source: str
    target: str
    asked: str
    port: Port
    family: int
    address: str
    word: Word
    why: str = ""
    evidence: Evidence = field(default_factory=Evidence)
    decision: oracle.Decision | None = None

    @property
    def agrees(self) -> bool | None:
        """Whether the oracle says what was seen; None where either could not tell."""
        mark = words.MARKS[self.word]
        if self.decision is None or mark not in {".", "X"}:
            return None
        return self.decision.allowed == (mark == ".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Everything that was found.

    Attributes:
        sources: Every class, in order; targets: those that are asked.
        refused: Class → why nobody could ask from it.
        notes: What a reader must know to read it right.
    """

    sources: tuple[Class, ...]
    targets: tuple[Class, ...]
    seen: tuple[Seen, ...]
    refused: Mapping[str, str]
    notes: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def measure(kube: Kube, wanted: Wanted, facts: Mapping[str, str] | None = None) -> Reach:
    """Ask every flow once and put the oracle's word beside it.

    Raises:
        UsageError: A namespace that was named is not there, or holds no ready pod.
        PreparationError: The credentials may not list pods, or may not exec.
        HarnessError: Nobody could ask.
    """
    started = time.monotonic()
    found, notes = census.take(_pods(kube, wanted.namespaces))
    where = f"namespace {', '.join(wanted.namespaces)}" if wanted.namespaces else "the cluster"
    if not found:
        raise UsageError(f"{where} holds no ready pod; name another with -n, or all with -A")
    groups = census.classes(found, wanted.ports, every_pod=wanted.every_pod)
    rules, unknown, more = _rules(kube, dict.fromkeys(each.seen.namespace for each in found))
    targets = [each for each in groups if each.ports]
    with visits.visiting(kube, [each.one for each in groups], wanted.within) as visitors:
        if not visitors.agents:
            few = "; ".join(f"{name}: {why}" for name, why in list(visitors.refused.items())[:3])
            raise HarnessError(f"no pod of {where} can be asked from: no running container has python3", detail=few)
        flows = {
            flow: (source, target)
            for source in groups
            if source.one.name in visitors.agents
            for flow, target in _flows(source, targets)
        }
        verdicts = _ask(visitors, list(flows), wanted, started + wanted.within)
        refused = {each.name: visitors.refused[each.one.name] for each in groups if each.one.name in visitors.refused}
    seen = []
    for flow, (source, target) in flows.items():
        dialled = target.answering(source) or target.one
        word, why = words.told(verdicts[flow], ours=dialled.ours)
        known = not {source.one.seen.namespace, target.one.seen.namespace} & unknown
        transport = Transport.UDP if flow.protocol is Protocol.UDP else Transport.TCP
        seen.append(
            Seen(
                source=source.name,
                target=target.name,
                asked=dialled.name,
                port=Port(flow.port, transport),
                family=flow.family,
                address=flow.host,
                word=word,
                why=why,
                evidence=verdicts[flow].evidence,
                decision=oracle.decide(rules, source.one.seen, dialled.seen, flow.port, transport, family=flow.family)
                if known
                else None,
            )
        )
    return Reach(
        sources=tuple(groups),
        targets=tuple(targets),
        seen=tuple(seen),
        refused=refused,
        notes=(*_about(groups, refused), *notes, *more),
        facts=facts or {},
        seconds=time.monotonic() - started,
    )


def _flows(source: Class, targets: Iterable[Class]) -> Iterable[tuple[Flow, Class]]:
    """What one class asks, a flow a family that both ends have; SCTP is left out."""
    for target in targets:
        dialled = target.answering(source)
        for port in target.ports if dialled is not None else ():
            for family in (4, 6):
                host = dialled.address(family) if dialled is not None else ""
                if dialled is None or not host or not source.one.address(family) or port.protocol is Transport.SCTP:
                    continue
                yield _flow(source.one, dialled, port, host), target


def _flow(source: Resident, target: Resident, port: Port, host: str) -> Flow:
    tcp = Protocol.TCP if target.ours and port in target.ports else Protocol.CONNECT
    return Flow(
        source=source.name,
        destination=target.name,
        host=host,
        port=port.number,
        protocol=Protocol.UDP if port.protocol is Transport.UDP else tcp,
        pod=target.seen.name,
    )


def _ask(visitors: visits.Visits, flows: Sequence[Flow], wanted: Wanted, deadline: float) -> dict[Flow, Verdict]:
    """Every flow once, so many at a time from each pod; what is not asked when time is up could not be told."""
    rows = by_source(flows)
    found: dict[Flow, Verdict] = {}
    longest = max((len(row) for row in rows.values()), default=0)
    for start in range(0, longest, MOST_AT_ONCE):
        part = [flow for row in rows.values() for flow in row[start : start + MOST_AT_ONCE]]
        if time.monotonic() + wanted.deny_timeout > deadline:
            late = Evidence(detail=f"not asked within {wanted.within:g} s; give more with --timeout")
            found |= {flow: Verdict(kind=Kind.PROBE_ERROR, flow=flow, evidence=late) for flow in part}
            continue
        until = min(deadline, time.monotonic() + 4 * wanted.deny_timeout + SLACK)
        try:
            found |= send(visitors.agents, part, wanted.deny_timeout).verdicts(until)
        except HarnessError as error:  # a pod that went away while it was visited
            gone = Evidence(detail=error.message)
            found |= {flow: Verdict(kind=Kind.PROBE_ERROR, flow=flow, evidence=gone) for flow in part}
    return found


def _pods(kube: Kube, namespaces: Sequence[str]) -> list[Object]:
    """The pods of these namespaces, or all.

    Raises:
        UsageError: A namespace is not there. PreparationError: The credentials may not list pods.
    """
    found = []
    for namespace in namespaces or [""]:
        try:
            pods = kube.list("v1", "Pod", namespace)
        except KubeError as error:
            if error.status != _FORBIDDEN:
                raise
            where = f"in namespace {namespace}" if namespace else "in all namespaces; name some with -n"
            raise PreparationError(f"these credentials may not list pods {where}; {HOW} has the role") from error
        if namespace and not pods and _absent(kube, namespace):
            raise UsageError(f"-n {namespace}: the cluster has no such namespace")
        found += pods
    return found


def _absent(kube: Kube, namespace: str) -> bool:
    try:
        kube.get("v1", "Namespace", namespace)
    except KubeError as error:
        return error.status == _NOT_FOUND
    return False


def _rules(kube: Kube, namespaces: Iterable[str]) -> tuple[oracle.World, set[str], list[str]]:
    """What the oracle knows: the policies and labels; the namespaces of which it cannot speak; a line for each gap."""
    policies, labels, lines = [], dict[str, Mapping[str, str]](), []
    unknown: set[str] = set()
    for namespace in namespaces:
        try:
            policies += [
                read.read(each, f"NetworkPolicy {namespace}/{each['metadata']['name']}")
                for each in kube.list(read.API_VERSION, read.KIND, namespace)
            ]
        except KubeError as error:
            unknown.add(namespace)
            lines.append(f"no word of the oracle for namespace {namespace}: {_short(error)}")
        except UsageError as error:
            unknown.add(namespace)
            lines.append(f"no word of the oracle for namespace {namespace}: {error.message}")
        try:
            labels[namespace] = kube.get("v1", "Namespace", namespace)["metadata"].get("labels") or {}
        except KubeError as error:
            lines.append(f"the labels of namespace {namespace} are not known to the oracle: {_short(error)}")
            unknown.add(namespace)
    own = calico.Own()
    try:
        own = calico.own(kube, labels)
        if own.hidden:
            lines.append("no word of the oracle: these credentials may not read Calico's global policies")
            unknown |= labels.keys()
    except KubeError as error:
        lines.append(f"no word of the oracle: Calico's own policies: {_short(error)}")
        unknown |= labels.keys()
    except UsageError as error:
        lines.append(f"no word of the oracle: {error.message}")
        unknown |= labels.keys()
    world = oracle.World(
        policies=tuple(policies),
        namespaces=labels,
        accounts=own.accounts,
        calico=own.policies,
        network_sets=own.network_sets,
    )
    return world, unknown, lines


def _short(error: KubeError) -> str:
    return "these credentials may not read it" if error.status == _FORBIDDEN else error.message


def _about(groups: Sequence[Class], refused: Mapping[str, str]) -> list[str]:
    """What stands for what, who is not asked, and who could not ask."""
    lines = []
    for each in groups:
        if len(each.members) > 1:
            others = ", ".join(one.seen.name for one in each.members[1:])
            lines.append(f"{each.one.name} stands for {others}: equal labels and ports (--every-pod asks each)")
    portless = [each.name for each in groups if not each.ports]
    if portless:
        lines.append(f"declare no port, so nobody asks them (--port adds one): {', '.join(portless)}")
    lines += [f"{name} cannot be asked from: {why}" for name, why in refused.items()]
    lines += [f"{each.name}: SCTP ports are not asked" for each in groups if _has_sctp(each)]
    return lines


def _has_sctp(group: Class) -> bool:
    return any(port.protocol is Transport.SCTP for port in group.ports)
