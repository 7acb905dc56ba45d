"""ClusterIPs: given from the lab's service range, kept over updates, free again when the Service is gone."""

from __future__ import annotations

import ipaddress
from typing import Any

from clusters.lab import addresses
from clusters.lab.api import resources
from clusters.lab.api.resources import ResourceType
from clusters.lab.api.status import Causes, invalid
from clusters.lab.api.store import Store

Object = dict[str, Any]
_ALLOCATED = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


def _family(address: str) -> str:
    return f"IPv{ipaddress.ip_address(address).version}"


class Addresses:
    """Gives each Service one address of each family that it asks for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ranges = [ipaddress.ip_network(each) for each in addresses.SERVICES]
        self._next = dict.fromkeys((4, 6), 256)

    def allocate(self, resource: ResourceType, service: Object) -> None:
        """Settle the addresses of a new Service.

        Raises:
            StatusError: 422; the asked address is taken or outside the range.
        """
        if resource != resources.SERVICES:
            return
        spec, name, causes = service["spec"], service["metadata"]["name"], Causes()
        asked = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
        primary = f"IPv{self._ranges[0].version}"
        if asked == ["None"]:
            spec.update(clusterIP="None", clusterIPs=["None"])
            spec.setdefault("ipFamilies", [primary])
        else:
            families = [_family(each) for each in asked] or spec.get("ipFamilies") or [primary]
            taken = self._taken()
            for address in asked:
                self._check(address, taken, causes)
            for place, family in enumerate(families):
                if family not in {f"IPv{each.version}" for each in self._ranges}:
                    causes.invalid(f"spec.ipFamilies[{place}]", family, "not configured on this cluster")
            if causes.found:
                raise invalid(resource, name, causes.found)
            given = asked or [self._free(int(family[-1]), taken) for family in families]
            spec.update(clusterIP=given[0], clusterIPs=given, ipFamilies=families)
        spec.setdefault("ipFamilyPolicy", "SingleStack")

    def keep(self, resource: ResourceType, service: Object, before: Object) -> None:
        """Carry the addresses over to an update that does not mention them."""
        if resource == resources.SERVICES:
            spec, old = service["spec"], before["spec"]
            for key in _ALLOCATED:
                if key in old:
                    spec.setdefault(key, old[key])
            if spec["clusterIP"] != old["clusterIP"] and spec["clusterIPs"] == old["clusterIPs"]:
                spec["clusterIPs"] = [spec["clusterIP"]]

    def _taken(self) -> set[str]:
        found = (each.object["spec"].get("clusterIPs", []) for each in self._store.list(resources.SERVICES.qualified))
        return {address for given in found for address in given}

    def _check(self, address: str, taken: set[str], causes: Causes) -> None:
        parsed = ipaddress.ip_address(address)
        if not any(parsed in each for each in self._ranges):
            why = f"failed to allocate IP {address}: the provided network does not match the current range"
            causes.invalid("spec.clusterIPs", [address], why)
        elif address in taken:
            why = f"failed to allocate IP {address}: provided IP is already allocated"
            causes.invalid("spec.clusterIPs", [address], why)

    def _free(self, version: int, taken: set[str]) -> str:
        network = next(each for each in self._ranges if each.version == version)
        reserved = {*addresses.API_SERVICE, *addresses.DNS_SERVICE, *taken}
        size = min(network.num_addresses, 1 << 16)
        for _ in range(size):
            at = self._next[version]
            self._next[version] = at + 1 if at + 2 < size else 16
            if str(network[at]) not in reserved:
                return str(network[at])
        raise invalid(resources.SERVICES, "", [])
