"""Typed policies of Calico (`projectcalico.org/v3`, 3.28): exactly what was written, and nothing inferred from it.

What belongs here: frozen values in which *absent*, *null* and *empty* stay three things. What does not: their meaning,
types' inference and the default order included; the lab's compiler and the oracle each infer on their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from policies.calico.selectors import Expression
from policies.model import ABSENT, PolicyType, Written


class Action(StrEnum):
    """What a rule does with what it matches: Log lets the next rule decide, Pass leaves it to the next tier."""

    ALLOW = "Allow"
    DENY = "Deny"
    LOG = "Log"
    NEXT_TIER = "Pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRange:
    """Numbers from `low` to `high`, both included; one number where they are the same."""

    low: int
    high: int


Port: TypeAlias = PortRange | str
"""Numbers, or the name of container ports."""
Protocol: TypeAlias = str | int
"""A protocol's name as Calico writes it (`TCP`), or its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """`serviceAccounts` of a rule: by name, by label, or both at once."""

    names: Written[tuple[str, ...]] = ABSENT
    selector: Written[Expression] = ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One end of a rule; every field that is written must hold.

    Attributes:
        nets, not_nets: Ranges as written, known to parse.
        namespaces: `namespaceSelector`.
    """

    nets: Written[tuple[str, ...]] = ABSENT
    not_nets: Written[tuple[str, ...]] = ABSENT
    ports: Written[tuple[Port, ...]] = ABSENT
    not_ports: Written[tuple[Port, ...]] = ABSENT
    selector: Written[Expression] = ABSENT
    not_selector: Written[Expression] = ABSENT
    namespaces: Written[Expression] = ABSENT
    accounts: Written[Accounts] = ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One entry of `ingress` or `egress`."""

    action: Action
    version: Written[int] = ABSENT
    protocol: Written[Protocol] = ABSENT
    not_protocol: Written[Protocol] = ABSENT
    source: Entity = field(default_factory=Entity)
    destination: Entity = field(default_factory=Entity)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalicoPolicy:
    """One NetworkPolicy or GlobalNetworkPolicy of Calico.

    Attributes:
        name: As people write it, without the tier that the stored form puts before it.
        namespace: Empty for a GlobalNetworkPolicy, and where a manifest leaves it to the client.
        is_global: Whether it is a GlobalNetworkPolicy.
        stored: Whether it was read in the form of `crd.projectcalico.org/v1`.
        selector: Whom it is about; absent means everybody.
        namespaces: `namespaceSelector`, which only a GlobalNetworkPolicy has.
        accounts: `serviceAccountSelector`.
    """

    name: str
    namespace: str = ""
    is_global: bool = False
    stored: bool = False
    uid: str = ""
    created: str = ""
    source: str = ""
    order: Written[float] = ABSENT
    selector: Written[Expression] = ABSENT
    namespaces: Written[Expression] = ABSENT
    accounts: Written[Expression] = ABSENT
    types: Written[tuple[PolicyType, ...]] = ABSENT
    ingress: Written[tuple[Rule, ...]] = ABSENT
    egress: Written[tuple[Rule, ...]] = ABSENT

    @property
    def key(self) -> str:
        """`namespace/name`, as people say it; a global one's name alone."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSet:
    """Ranges with labels, which selectors find like pods; `namespace` is empty for a GlobalNetworkSet."""

    name: str
    namespace: str = ""
    is_global: bool = False
    uid: str = ""
    source: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    nets: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """`namespace/name`, as people say it; a global one's name alone."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name
