"""What a cluster does where the specification leaves it open, in words that are the same for the same behaviour."""

from __future__ import annotations

import ipaddress

from fixtures import table
from fixtures.actor import Actor
from flows.errors import VerdictError
from flows.matrix import Matrix
from flows.model import Kind, Verdict


def happened(matrix: Matrix, source: str, *destinations: str) -> str:
    """What became of a source's flows to each of these, as `DESTINATION: verdict`; every family's where they differ.

    Args:
        destinations: Columns as the table has them.
    """
    told = []
    for each in destinations:
        column = table.column(each)
        kinds = {
            str(cell.verdict.kind)
            for cell in matrix.cells
            if cell.verdict is not None
            and cell.flow.source == source
            and (cell.flow.destination, cell.flow.port) == (column.name, column.port)
            and (cell.flow.protocol, cell.flow.path) == (column.protocol, column.path)
        }
        told.append(f"{each}: {' and '.join(sorted(kinds))}")
    return "; ".join(told)


def source_of(verdict: Verdict, **owners: Actor) -> str:
    """Whose address a server saw: an owner's own, or its node's; `another` where it is nobody's of these.

    Raises:
        VerdictError: Nothing was answered, so nobody saw anything.
    """
    if verdict.kind is not Kind.ANSWERED:
        raise VerdictError(f"{verdict.flow}: expected answered, got {verdict.kind}")
    address = host(verdict.evidence.peer_seen)
    for name, owner in owners.items():
        if address in owner.addresses:
            return f"the {name}'s own"
    for name, owner in owners.items():
        if address in owner.workload.node_addresses:
            return f"the {name}'s node's"
    return "another"


def seen_sources(caller: Actor, server: Actor, port: int) -> tuple[str, ...]:
    """The caller's addresses as the server sees them, one for each family that the server has."""
    families = [ipaddress.ip_address(each).version for each in server.addresses]
    verdicts = [caller.call(f"{server}:{port}%ipv{family}") for family in families]
    return tuple(host(each.evidence.peer_seen) for each in verdicts)


def host(endpoint: str) -> str:
    """The address of `10.0.0.1:80` or `[fd00::1]:80`."""
    return endpoint.rpartition(":")[0].strip("[]")
