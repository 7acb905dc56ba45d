"""What should be in force, as a value: the named sets, maps and chains of the one table that the data plane owns.

What belongs here: the value, and text that is the same for every user of it. What does not: semantics (`compiler`,
`services`) and how one value becomes another (`transaction`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from clusters.lab.addresses import version as family

TABLE = "inet eastwest"
FAMILIES = (4, 6)
IP = {4: "ip", 6: "ip6"}
"""The keyword of a family's header."""
ADDRESS = {4: "ipv4_addr", 6: "ipv6_addr"}
"""A family's address type."""
ALLOW = "return"
"""The verdict of a pod's chain that lets a packet go on to the other direction."""
DROP = "counter drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSet:
    """A named set, or a verdict map where `type` says `: verdict`; elements are key → verdict (empty in a set).

    Attributes:
        ranges: Whether elements may be ranges, none of which meets another.
    """

    type: str
    elements: Mapping[str, str] = field(default_factory=dict)
    ranges: bool = False

    @property
    def keyword(self) -> str:
        """`map` or `set`."""
        return "map" if " : " in self.type else "set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain; `hook` is the definition of a base chain and empty otherwise."""

    rules: tuple[str, ...] = ()
    hook: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """Everything inside the table, by name."""

    sets: Mapping[str, NamedSet] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)


def merged(parts: Iterable[Ruleset]) -> Ruleset:
    """All parts in one; sets of the same name get the elements of both, a chain of the same name is the last one's."""
    sets: dict[str, NamedSet] = {}
    chains: dict[str, Chain] = {}
    for part in parts:
        for name, each in part.sets.items():
            before = sets.get(name)
            elements = {**before.elements, **each.elements} if before else each.elements
            sets[name] = replace(each, elements=elements)
        chains.update(part.chains)
    return Ruleset(sets=sets, chains=chains)


def digest(*parts: object) -> str:
    """A short name for what the parts describe; the same parts always give the same."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def of_family(addresses: Iterable[str], version: int) -> list[str]:
    """The addresses of one family."""
    return [each for each in addresses if family(each) == version]
