"""Node ports: given from 30000 to 32767, kept over updates, free again when the Service is gone.

What belongs here: the numbers. What does not: cluster addresses (`addressing`), and a Service's other rules
(`validation_network`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from clusters.lab.api import resources
from clusters.lab.api.status import Causes, invalid
from clusters.lab.api.store import Store

Object = dict[str, Any]
FIRST, LAST = 30000, 32767
"""As `--service-node-port-range` has it where nobody says otherwise."""
_TYPE: Final = "NodePort"
_RANGE: Final = f"provided port is not in the valid range. The range of valid ports is {FIRST}-{LAST}"
_TAKEN: Final = "provided port is already allocated"
Place = tuple[str, int]
"""Protocol and number: TCP and UDP may share a number."""


class NodePorts:
    """Gives each port of a NodePort Service its number on the nodes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._next = FIRST

    def settle(self, service: Object) -> None:
        """Give every port that has none a number; ports of one number and several protocols share theirs.

        Raises:
            StatusError: 422; a number that was asked for is taken or outside the range.
        """
        spec, meta = service["spec"], service["metadata"]
        if spec.get("type") != _TYPE:
            return
        taken, causes = set(self._taken(meta.get("uid", ""))), Causes()
        shared: dict[int, int] = {}
        for place, port in enumerate(spec.get("ports", [])):
            number, protocol = port.get("nodePort") or 0, port["protocol"]
            if number and not FIRST <= number <= LAST:
                causes.invalid(f"spec.ports[{place}].nodePort", number, _RANGE)
            elif number and (protocol, number) in taken:
                causes.invalid(f"spec.ports[{place}].nodePort", number, _TAKEN)
            taken.add((protocol, number))
            shared.setdefault(port["port"], number)
        if causes.found:
            raise invalid(resources.SERVICES, meta.get("name", ""), causes.found)
        for port in spec.get("ports", []):
            if not port.get("nodePort"):
                same = shared[port["port"]]
                number = same if same and (port["protocol"], same) not in taken else self._free(taken)
                port["nodePort"] = shared[port["port"]] = number
                taken.add((port["protocol"], number))

    @staticmethod
    def keep(service: Object, before: Object) -> None:
        """Carry numbers over to an update that does not mention them; drop them where the type has none any more."""
        spec, old = service["spec"], before["spec"]
        numbers = {(port["protocol"], port["port"]): port.get("nodePort", 0) for port in old.get("ports", [])}
        for port in spec.get("ports", []):
            held = numbers.get((port.get("protocol", "TCP"), port["port"]), 0)
            if spec.get("type", "ClusterIP") == _TYPE and held:
                port.setdefault("nodePort", held)
            elif held and port.get("nodePort") == held:
                del port["nodePort"]
        policy = old.get("externalTrafficPolicy")
        if spec.get("type", "ClusterIP") != _TYPE and policy and spec.get("externalTrafficPolicy") == policy:
            del spec["externalTrafficPolicy"]

    def _taken(self, uid: str) -> Iterator[Place]:
        for entry in self._store.list(resources.SERVICES.qualified):
            if entry.object["metadata"].get("uid") != uid:
                for port in entry.object["spec"].get("ports", []):
                    if port.get("nodePort"):
                        yield port["protocol"], port["nodePort"]

    def _free(self, taken: set[Place]) -> int:
        numbers = {number for _, number in taken}
        for step in range(LAST - FIRST + 1):
            number = FIRST + (self._next - FIRST + step) % (LAST - FIRST + 1)
            if number not in numbers:
                self._next = number + 1
                return number
        causes = Causes()
        causes.invalid("spec.ports[0].nodePort", 0, "failed to allocate a nodePort: range is full")
        raise invalid(resources.SERVICES, "", causes.found)
