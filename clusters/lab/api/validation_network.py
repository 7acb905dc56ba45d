"""Rules for NetworkPolicies, Services and EndpointSlices, in Kubernetes' words."""

from __future__ import annotations

import ipaddress
from typing import Any

from clusters.lab.api.names import (
    PORT_RANGE,
    check_labels,
    check_port,
    check_selector,
    dns_label_problem,
)
from clusters.lab.api.status import Causes

Object = dict[str, Any]
_PROTOCOLS = ["TCP", "UDP", "SCTP"]
_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def network_policy(spec: Object, causes: Causes) -> None:
    """A NetworkPolicy's selector, rules and types."""
    check_selector(causes, spec["podSelector"], "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for place, rule in enumerate(spec.get(direction, [])):
            here = f"spec.{direction}[{place}]"
            for index, port in enumerate(rule.get("ports", [])):
                _policy_port(port, f"{here}.ports[{index}]", causes)
            for index, peer in enumerate(rule.get(peers, [])):
                _peer(peer, f"{here}.{peers}[{index}]", causes)
    kinds = spec.get("policyTypes", [])
    if len(kinds) > 2:
        causes.invalid("spec.policyTypes", kinds, "may not specify more than two policyTypes")
        return
    for place, kind in enumerate(kinds):
        if kind not in {"Ingress", "Egress"}:
            causes.unsupported(f"spec.policyTypes[{place}]", kind, ["Ingress", "Egress"])


def _policy_port(port: Object, here: str, causes: Causes) -> None:
    if port.get("protocol") not in _PROTOCOLS:
        causes.unsupported(f"{here}.protocol", port.get("protocol"), _PROTOCOLS)
    number, end = port.get("port"), port.get("endPort")
    if number is not None:
        check_port(causes, number, f"{here}.port")
        if isinstance(number, str) and end is not None:
            causes.invalid(f"{here}.endPort", end, "may not be specified when `port` is non-numeric")
        elif isinstance(number, int) and end is not None:
            if end < number:
                causes.invalid(f"{here}.endPort", number, "must be greater than or equal to `port`")
            if not 1 <= end <= 65535:
                causes.invalid(f"{here}.endPort", end, PORT_RANGE)
    elif end is not None:
        causes.invalid(f"{here}.endPort", end, "may not be specified when `port` is not specified")


def _peer(peer: Object, here: str, causes: Causes) -> None:
    for key in ("podSelector", "namespaceSelector"):
        if key in peer:
            check_selector(causes, peer[key], f"{here}.{key}")
    if "ipBlock" in peer:
        _ip_block(peer["ipBlock"], f"{here}.ipBlock", causes)
        if len(peer) > 1:
            causes.forbidden(here, "may not specify both ipBlock and another peer")
    elif not peer:
        causes.required(here, "must specify a peer")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _ip_block(block: Object, here: str, causes: Causes) -> None:
    if not block.get("cidr"):
        causes.required(f"{here}.cidr")
        return
    whole = _network(block["cidr"])
    if whole is None:
        causes.invalid(f"{here}.cidr", block["cidr"], _CIDR)
        return
    for place, text in enumerate(block.get("except", [])):
        path, part = f"{here}.except[{place}]", _network(text)
        if part is None:
            causes.invalid(path, text, _CIDR)
            continue
        inside = part.version == whole.version and (int(part.network_address) & int(whole.netmask)) == int(
            whole.network_address
        )
        if not inside or part.prefixlen <= whole.prefixlen:
            causes.invalid(path, text, "must be a strict subset of `cidr`")


def service(obj: Object, before: Object | None, causes: Causes) -> None:
    """A Service's ports, addresses and selector."""
    spec = obj["spec"]
    ports, headless = spec.get("ports", []), spec.get("clusterIP") == "None"
    if not ports and not headless and spec.get("type") != "ExternalName":
        causes.required("spec.ports")
    names: set[str] = set()
    numbers: set[tuple[object, object]] = set()
    for place, port in enumerate(ports):
        here, name = f"spec.ports[{place}]", port.get("name", "")
        if len(ports) > 1 and not name:
            causes.required(f"{here}.name")
        elif name:
            if problem := dns_label_problem(name):
                causes.invalid(f"{here}.name", name, problem)
            elif name in names:
                causes.duplicate(f"{here}.name", name)
            names.add(name)
        check_port(causes, port["port"], f"{here}.port")
        if port.get("protocol") not in _PROTOCOLS:
            causes.unsupported(f"{here}.protocol", port.get("protocol"), _PROTOCOLS)
        check_port(causes, port["targetPort"], f"{here}.targetPort")
    for place, port in enumerate(ports):
        pair = (port.get("protocol"), port["port"])
        if pair in numbers:
            causes.found.append(_repeated_port(place, port))
        numbers.add(pair)
    check_labels(causes, spec.get("selector", {}), "spec.selector")
    if spec.get("type") not in {"ClusterIP", "ExternalName", "NodePort", "LoadBalancer"}:
        causes.unsupported("spec.type", spec.get("type"), ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"])
    if spec.get("sessionAffinity") not in {"ClientIP", "None"}:
        causes.unsupported("spec.sessionAffinity", spec.get("sessionAffinity"), ["ClientIP", "None"])
    _node_ports(spec, causes)
    _cluster_ips(spec, before, causes)


def _node_ports(spec: Object, causes: Causes) -> None:
    """What only a Service that nodes answer for may say."""
    policy, outward = spec.get("externalTrafficPolicy"), spec.get("type") in {"NodePort", "LoadBalancer"}
    if policy and not outward:
        causes.invalid("spec.externalTrafficPolicy", policy, "may only be set for externally-accessible services")
    elif outward and policy not in {"Cluster", "Local"}:
        causes.unsupported("spec.externalTrafficPolicy", policy, ["Cluster", "Local"])
    if outward and spec.get("clusterIP") == "None":
        causes.invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {spec['type']} services")
    seen: set[tuple[object, object]] = set()
    for place, port in enumerate(spec.get("ports", [])):
        here, number = f"spec.ports[{place}].nodePort", port.get("nodePort")
        if number and not outward:
            causes.forbidden(here, f"may not be used when `type` is '{spec.get('type')}'")
        elif number and (port.get("protocol"), number) in seen:
            causes.duplicate(here, number)
        seen.add((port.get("protocol"), number))


def _repeated_port(place: int, port: Object) -> Any:
    collector = Causes()
    internal = {"Name": "", "Protocol": port.get("protocol"), "AppProtocol": None, "Port": port["port"]}
    collector.duplicate(f"spec.ports[{place}]", internal | {"TargetPort": 0, "NodePort": 0})
    return collector.found[0]


def _cluster_ips(spec: Object, before: Object | None, causes: Causes) -> None:
    given = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    for place, address in enumerate(given):
        if address == "None" and len(given) == 1:
            continue
        try:
            ipaddress.ip_address(address)
        except ValueError:
            causes.invalid(f"spec.clusterIPs[{place}]", address, _ADDRESS)
    if spec.get("clusterIP") and spec.get("clusterIPs") and spec["clusterIP"] != spec["clusterIPs"][0]:
        causes.invalid("spec.clusterIPs", spec["clusterIPs"], "first value must match `clusterIP`")
    old = (before or {}).get("spec", {}).get("clusterIPs", [])
    if old and given and given[0] != old[0]:
        causes.invalid("spec.clusterIPs[0]", given, "may not change once set")


def endpoint_slice(obj: Object, before: Object | None, causes: Causes) -> None:
    """An EndpointSlice's addresses and ports."""
    kinds = ["FQDN", "IPv4", "IPv6"]
    kind = obj.get("addressType", "")
    if not kind:
        causes.required("addressType")
    elif kind not in kinds:
        causes.unsupported("addressType", kind, kinds)
    if before is not None and kind != before.get("addressType"):
        causes.invalid("addressType", kind, "field is immutable")
    for place, endpoint in enumerate(obj.get("endpoints") or []):
        if not endpoint.get("addresses"):
            causes.required(f"endpoints[{place}].addresses", "must contain at least 1 address")
        for index, address in enumerate(endpoint.get("addresses") or []):
            version = {"IPv4": 4, "IPv6": 6}.get(kind)
            if version and not _is_address(address, version):
                why = f"must be an {kind} address" if _is_address(address, 10 - version) else _ADDRESS
                causes.invalid(f"endpoints[{place}].addresses[{index}]", address, why)
    seen: set[str] = set()
    for place, port in enumerate(obj.get("ports") or []):
        name = port.get("name", "")
        if name in seen:
            causes.duplicate(f"ports[{place}].name", name)
        seen.add(name)
        if name and (problem := dns_label_problem(name)):
            causes.invalid(f"ports[{place}].name", name, problem)
        if port.get("protocol") not in _PROTOCOLS:
            causes.unsupported(f"ports[{place}].protocol", port.get("protocol"), _PROTOCOLS)


def _is_address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False
