"""Who reaches whom, as a table for people and as a record for programs.

What belongs here: layout. What does not: measuring (`clusters.reach`).
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import Any, Final

import yaml

from clusters.reach.census import Class, Port
from clusters.reach.measure import Reach, Seen
from clusters.reach.words import MARKS
from flows.errors import UsageError

SCHEMA: Final = "eastwest.dev/reach/v1"
FORMATS: Final = ("table", "json", "yaml")
LEGEND: Final = (
    ". open   X dropped or rejected   r refused: nobody listens, or a policy rejects   ? could not tell   - itself"
)
DISAGREES: Final = "! the policies say otherwise"
MOST_TOLD: Final = 20
"""Disagreements that a table tells; the record has all."""
_NUMBERS: Final = "123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def check(form: str) -> str:
    """The format that `-o` names.

    Raises:
        UsageError: There is no such format.
    """
    if form not in FORMATS:
        raise UsageError(f"-o {form}: use one of {', '.join(FORMATS)}")
    return form


def render(reach: Reach, form: str, width: int = 100) -> str:
    """The text in one of `FORMATS`."""
    if form == "table":
        return table(reach, width)
    if form == "json":
        return json.dumps(record(reach), indent=1)
    return str(yaml.safe_dump(record(reach), sort_keys=False, allow_unicode=True)).rstrip()


Column = tuple[str, Port, int]
"""A target, its port, and the family; 0 where both families show the same."""


def table(reach: Reach, width: int = 100) -> str:
    """Sources against targets, columns numbered; the oracle's disagreements and everything to be known below.

    Only notes, which are wrapped, and names of pods can be wider than `width`.
    """
    at = {(each.source, each.target, each.port, each.family): each for each in reach.seen}
    columns = _columns(reach, at)
    label = max((len(each.name) for each in reach.sources), default=0)
    chunk = max(1, (width - label - 2) // 3)
    lines = []
    for start in range(0, len(columns), chunk):
        part = columns[start : start + chunk]
        numbers = [_NUMBERS[(start + place) % len(_NUMBERS)] for place in range(len(part))]
        lines.append(f"{'':{label}}  {' '.join(f'{each:<2}' for each in numbers)}".rstrip())
        for source in reach.sources:
            cells = [_cell(at, source, each) for each in part]
            lines.append(f"{source.name:{label}}  {' '.join(f'{each:<2}' for each in cells)}".rstrip())
        for number, (target, port, family) in zip(numbers, part, strict=True):
            lines.append(f"  {number} {target}:{port}{' over IPv6' if family == 6 else ''}")
        lines.append("")
    lines += [LEGEND, *_disagreements(reach)]
    for note in reach.notes:
        lines += textwrap.wrap(note, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    asked = len({each.source for each in reach.seen})
    lines.append(f"{len(reach.seen)} flows asked from {asked} pods in {reach.seconds:.1f} s")
    return "\n".join(lines)


Asked = dict[tuple[str, str, Port, int], Seen]


def _columns(reach: Reach, at: Asked) -> list[Column]:
    """Each target's ports; one column for both families where they show the same."""
    found: list[Column] = []
    for target in reach.targets:
        for port in target.ports:
            families = sorted({family for _, name, number, family in at if (name, number) == (target.name, port)})
            rows = [
                [_mark(at.get((source.name, target.name, port, family))) for source in reach.sources]
                for family in families
            ]
            same = all(row == rows[0] for row in rows)
            found += [(target.name, port, 0)] if same else [(target.name, port, family) for family in families]
    return found


def _mark(seen: Seen | None) -> str:
    if seen is None:
        return ""
    return MARKS[seen.word] + ("!" if seen.agrees is False else "")


def _cell(at: Asked, source: Class, column: Column) -> str:
    target, port, family = column
    wanted = [family] if family else [4, 6]
    found = next(
        (at[source.name, target, port, each] for each in wanted if (source.name, target, port, each) in at), None
    )
    if found is not None:
        return _mark(found)
    return "-" if source.name == target and len(source.members) == 1 else "?"


def _disagreements(reach: Reach) -> list[str]:
    """One line for each flow of which the oracle says otherwise, with the policy that decides."""
    wrong = [each for each in reach.seen if each.agrees is False]
    if not wrong:
        return []
    lines = [DISAGREES]
    for each in wrong[:MOST_TOLD]:
        decision = each.decision
        six = " over IPv6" if each.family == 6 else ""
        said = decision.words() if decision is not None else ""
        lines.append(f"  {each.source} → {each.target}:{each.port}{six}: {each.word}; {said}")
    if len(wrong) > MOST_TOLD:
        lines.append(f"  and {len(wrong) - MOST_TOLD} more; -o json has them all")
    return lines


def record(reach: Reach) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "schema": SCHEMA,
        "cluster": dict(reach.facts),
        "seconds": round(reach.seconds, 3),
        "classes": [_class(each, reach) for each in reach.sources],
        "flows": [_flow(each) for each in reach.seen],
        "notes": list(reach.notes),
    }


def _class(group: Class, reach: Reach) -> dict[str, Any]:
    return {
        "name": group.name,
        "asks": group.name not in reach.refused,
        "why_not": reach.refused.get(group.name, ""),
        "ports": [str(each) for each in group.ports],
        "labels": dict(group.one.seen.labels),
        "agent": group.one.ours,
        "pods": [
            {"name": each.name, "node": each.node, "addresses": list(each.seen.addresses)} for each in group.members
        ],
    }


def _flow(each: Seen) -> dict[str, Any]:
    return {
        "source": each.source,
        "target": each.target,
        "asked": each.asked,
        "address": each.address,
        "port": each.port.number,
        "protocol": str(each.port.protocol).lower(),
        "family": each.family,
        "mark": MARKS[each.word],
        "verdict": str(each.word),
        "why": each.why,
        "evidence": {name: value for name, value in _plain(asdict(each.evidence)).items() if value},
        "oracle": _oracle(each),
        "agrees": each.agrees,
    }


def _oracle(each: Seen) -> dict[str, Any] | None:
    decision = each.decision
    if decision is None:
        return None
    policies = sorted({name for ruling in decision.closing() or decision.by for name in ruling.isolating})
    return {"allowed": decision.allowed, "says": decision.words(), "policies": policies}


def _plain(evidence: dict[str, Any]) -> dict[str, Any]:
    """Only what JSON and YAML both know."""
    plain: dict[str, Any] = json.loads(json.dumps(evidence))
    return plain
