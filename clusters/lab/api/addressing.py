"""What Services are given, kept over updates, free again when they are gone: ClusterIPs and node ports.

What belongs here: families and addresses of Services, by `ipFamilyPolicy`, and when either is given. What does not:
the numbers of node ports (`node_ports`), and whether what was written is well formed (`validation_network`).
"""

from __future__ import annotations

import ipaddress
from typing import Any

from clusters.lab.addresses import AddressPlan, version
from clusters.lab.api import resources
from clusters.lab.api.node_ports import NodePorts
from clusters.lab.api.resources import ResourceType
from clusters.lab.api.status import Causes, invalid
from clusters.lab.api.store import Store

Object = dict[str, Any]
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
_POLICIES = [SINGLE, PREFER, REQUIRE]
_ALLOCATED = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


class Addresses:
    """Gives each Service one address of each family that it has.

    Args:
        plan: The lab's families and its ranges.
    """

    def __init__(self, store: Store, plan: AddressPlan) -> None:
        self._store, self._reserved = store, {*plan.api_service, *plan.dns_service}
        self._node_ports = NodePorts(store)
        self._ranges = {f"IPv{version(each)}": ipaddress.ip_network(each) for each in plan.services}
        self._next = dict.fromkeys(self._ranges, 256)

    def allocate(self, resource: ResourceType, service: Object) -> None:
        """Settle the families and addresses of a new Service.

        Raises:
            StatusError: 422; a family that this lab has not, an address that is taken or outside its range.
        """
        if resource == resources.SERVICES:
            self._settle(service, held=[])
            self._node_ports.settle(service)

    def update(self, resource: ResourceType, service: Object) -> None:
        """Settle what an update asks for anew: the node ports of a Service that has become one with some.

        Raises:
            StatusError: 422; as `allocate`.
        """
        if resource == resources.SERVICES:
            self._node_ports.settle(service)

    def keep(self, resource: ResourceType, service: Object, before: Object) -> None:
        """Carry the addresses over to an update that does not mention them; another `ipFamilyPolicy` adds or drops one.

        Raises:
            StatusError: 422; as `allocate`.
        """
        if resource != resources.SERVICES:
            return
        spec, old = service["spec"], before["spec"]
        for key in _ALLOCATED:
            if key in old:
                spec.setdefault(key, old[key])
        if spec["clusterIP"] != old["clusterIP"] and spec["clusterIPs"] == old["clusterIPs"]:
            spec["clusterIPs"] = [spec["clusterIP"]]
        if spec["ipFamilyPolicy"] != old.get("ipFamilyPolicy"):
            single = spec["ipFamilyPolicy"] == SINGLE
            for key in ("clusterIPs", "ipFamilies"):
                spec[key] = spec[key][:1] if single else spec[key]
            self._settle(service, held=old["clusterIPs"])
        self._node_ports.keep(service, before)

    def _settle(self, service: Object, held: list[str]) -> None:
        spec, causes = service["spec"], Causes()
        asked: list[str] = list(spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else []))
        headless = asked[:1] == ["None"]
        families = self._families(spec, [] if headless else asked, causes)
        taken = self._taken() - set(held)
        for address in [] if headless else asked:
            self._check(address, taken, causes)
        if causes.found:
            raise invalid(resources.SERVICES, service["metadata"]["name"], causes.found)
        if not headless:
            asked += [self._free(family, taken) for family in families[len(asked) :]]
        spec.update(clusterIP=asked[0], clusterIPs=asked, ipFamilies=families)

    def _families(self, spec: Object, asked: list[str], causes: Causes) -> list[str]:
        """What the Service asks for by its policy, its families and its addresses, in order."""
        policy = spec.setdefault("ipFamilyPolicy", SINGLE)
        if policy not in _POLICIES:
            causes.unsupported("spec.ipFamilyPolicy", policy, _POLICIES)
            return []
        written = list(spec.get("ipFamilies") or [])
        for place, family in enumerate(written):
            if family not in self._ranges:
                causes.invalid(f"spec.ipFamilies[{place}]", family, "not configured on this cluster")
        if policy == REQUIRE and len(self._ranges) == 1:
            causes.invalid("spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services")
        if policy == SINGLE and max(len(written), len(asked)) > 1:
            why = "must be RequireDualStack or PreferDualStack when several families or addresses are asked for"
            causes.invalid("spec.ipFamilyPolicy", policy, why)
        families = written or [f"IPv{version(each)}" for each in asked] or [next(iter(self._ranges))]
        for place, (family, address) in enumerate(zip(families, asked, strict=False)):
            if family != f"IPv{version(address)}":
                causes.invalid(f"spec.clusterIPs[{place}]", address, f"expected an {family} value")
        return families if policy == SINGLE else list(dict.fromkeys([*families, *self._ranges]))

    def _taken(self) -> set[str]:
        found = (each.object["spec"].get("clusterIPs", []) for each in self._store.list(resources.SERVICES.qualified))
        return {address for given in found for address in given}

    def _check(self, address: str, taken: set[str], causes: Causes) -> None:
        parsed = ipaddress.ip_address(address)
        if not any(parsed in each for each in self._ranges.values()):
            why = f"failed to allocate IP {address}: the provided network does not match the current range"
            causes.invalid("spec.clusterIPs", [address], why)
        elif address in taken:
            why = f"failed to allocate IP {address}: provided IP is already allocated"
            causes.invalid("spec.clusterIPs", [address], why)

    def _free(self, family: str, taken: set[str]) -> str:
        network = self._ranges[family]
        size = min(network.num_addresses, 1 << 16)
        for _ in range(size):
            at = self._next[family]
            self._next[family] = at + 1 if at + 2 < size else 16
            if str(network[at]) not in self._reserved | taken:
                return str(network[at])
        raise invalid(resources.SERVICES, "", [])
