"""Typed NetworkPolicy v1: exactly what was written, and nothing that was inferred from it.

What belongs here: frozen values in which *absent*, *null* and *empty* stay three things. What does not: their
meaning. The lab's compiler and the oracle each infer policyTypes, default protocols and read empty lists on their own,
so that each is a check on the other; they share these types and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, Literal, TypeAlias, TypeVar


class Absent(Enum):
    """The one value that says: this field was not written at all (`None` says it was written as null)."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> Literal[False]:
        return False


ABSENT: Final = Absent.ABSENT

T = TypeVar("T")
Written: TypeAlias = T | Absent | None
"""What stands in the manifest: a value (perhaps empty), null, or nothing."""


class Operator(StrEnum):
    """The operators of a label selector's expression."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class PolicyType(StrEnum):
    """The directions a policy can isolate."""

    INGRESS = "Ingress"
    EGRESS = "Egress"


class Transport(StrEnum):
    """The protocols a policy's port can name."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """One line of `matchExpressions`."""

    key: str
    operator: Operator
    values: Written[tuple[str, ...]] = ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A label selector; `{}` has both fields absent.

    Attributes:
        labels: `matchLabels`, as pairs in the order written.
        expressions: `matchExpressions`.
    """

    labels: Written[tuple[tuple[str, str], ...]] = ABSENT
    expressions: Written[tuple[Expression, ...]] = ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class IpBlock:
    """A range of addresses with holes; the ranges are the written text, known to parse and to nest."""

    cidr: str
    excepts: Written[tuple[str, ...]] = ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One entry of `from` or `to`: selectors, or an ipBlock, never both."""

    pods: Written[Selector] = ABSENT
    namespaces: Written[Selector] = ABSENT
    block: Written[IpBlock] = ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One entry of `ports`: a number, a container port's name, or (port absent) a whole protocol."""

    port: Written[int | str] = ABSENT
    end: Written[int] = ABSENT
    protocol: Written[Transport] = ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One entry of `ingress` or `egress`; `peers` is its `from` or `to`."""

    peers: Written[tuple[Peer, ...]] = ABSENT
    ports: Written[tuple[Port, ...]] = ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy:
    """One NetworkPolicy as it was written.

    Attributes:
        namespace: `metadata.namespace`; empty where the manifest leaves it to the client.
        uid: Set by the API server; empty in a manifest. `created` likewise (RFC 3339).
        source: Where it was read: a file with line, or an API server's object.
    """

    name: str
    namespace: str = ""
    uid: str = ""
    created: str = ""
    source: str = ""
    pods: Written[Selector] = ABSENT
    types: Written[tuple[PolicyType, ...]] = ABSENT
    ingress: Written[tuple[Rule, ...]] = ABSENT
    egress: Written[tuple[Rule, ...]] = ABSENT

    @property
    def key(self) -> str:
        """`namespace/name`, as people say it."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name
