"""What Istio's webhook refuses in DestinationRule, VirtualService and ServiceEntry, in its words.

What belongs here: messages as seen at Istio 1.31. What does not: the definitions' own rules (`rules`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any, Final

from policies.istio.rules import (
    domain_problem,
    export_problems,
    label_problem,
    port_problem,
    precision_problems,
    tag_problems,
)

Object = dict[str, Any]
_HEADER: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_LIMITS: Final = {
    "http1MaxPendingRequests": "http1 max pending requests",
    "http2MaxRequests": "http2 max requests",
    "maxRequestsPerConnection": "max requests per connection",
    "maxRetries": "max retries",
}
_RETRY_ON: Final = {
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
}
_PROTOCOLS: Final = {
    *("TCP", "UDP", "GRPC", "GRPC-WEB", "HTTP", "HTTP_PROXY", "HTTP2", "HTTPS", "TLS", "MONGO", "REDIS", "MYSQL"),
    *("HBONE", "DOUBLE-HBONE", ""),
}


def destination_rule(spec: Object) -> list[str]:
    """What is wrong, or nothing."""
    return [*_destination_rule(spec)]


def _destination_rule(spec: Object) -> Iterator[str]:
    if spec["host"] != "*" and (problem := domain_problem(spec["host"])):
        yield problem
    yield from _traffic_policy(spec.get("trafficPolicy"))
    names: set[str] = set()
    for subset in spec.get("subsets", []):
        name = subset["name"]
        if not name:
            yield "subset name cannot be empty"
        elif label_problem(name):
            yield f"subset name is invalid: {name}"
        elif name in names:
            yield f"duplicate subset names: {name}"
        names.add(name)
        yield from tag_problems(subset.get("labels", {}))
        yield from _traffic_policy(subset.get("trafficPolicy"))
    yield from export_problems(spec)


def _traffic_policy(policy: Object | None) -> Iterator[str]:
    if policy is None:
        return
    if not policy:
        yield "traffic policy must have at least one field"
    yield from _settings(policy)
    for each in policy.get("portLevelSettings", []):
        if "port" not in each:
            yield "portTrafficPolicy must have valid port"
        if not {"connectionPool", "loadBalancer", "outlierDetection", "tls"} & each.keys():
            yield "port traffic policy must have at least one field"
        yield from _settings(each)


def _settings(policy: Object) -> Iterator[str]:
    pool = policy.get("connectionPool")
    if pool is not None:
        if not pool:
            yield "connection pool must have at least one field"
        tcp, http = pool.get("tcp", {}), pool.get("http", {})
        if tcp.get("maxConnections", 0) < 0:
            yield "max connections must be non-negative"
        yield from precision_problems(tcp.get("connectTimeout"))
        for key, said in _LIMITS.items():
            if http.get(key, 0) < 0:
                yield f"{said} must be non-negative"
    tls = policy.get("tls", {})
    if tls.get("mode") == "MUTUAL" and not tls.get("credentialName"):
        if not tls.get("clientCertificate"):
            yield "client certificate required for mutual tls"
        if not tls.get("privateKey"):
            yield "private key required for mutual tls"


def virtual_service(spec: Object) -> list[str]:
    """What is wrong, or nothing."""
    return [*_virtual_service(spec)]


def _virtual_service(spec: Object) -> Iterator[str]:
    hosts: list[str] = spec.get("hosts", [])
    for host in hosts:
        if host == "*":
            yield "wildcard host * is not allowed for virtual services bound to the mesh gateway"
        elif not _is_address(host) and (problem := domain_problem(host)):
            yield problem
    for place, host in enumerate(hosts):
        if host in hosts[:place]:
            yield f"duplicate hosts in virtual service: {host} & {host}"
    if not any(spec.get(key) for key in ("http", "tcp", "tls")):
        yield "http, tcp or tls must be provided in virtual service"
    for route in spec.get("http", []):
        yield from _http(route)
    for route in spec.get("tcp", []):
        if not route.get("route"):
            yield "TCP route is required"
        for match in route.get("match", []):
            yield from port_problem(match["port"]) if match.get("port") else ()
            yield from tag_problems(match.get("sourceLabels", {}))
        yield from _routes(route.get("route", []))
    yield from export_problems(spec)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _http(route: Object) -> Iterator[str]:
    redirect, direct = route.get("redirect"), route.get("directResponse")
    for key, other in (("route", "redirect"), ("fault", "redirect")):
        if route.get(key) is not None and redirect is not None:
            yield f"HTTP route cannot contain both {key} and {other}"
    for key in ("route", "fault"):
        if route.get(key) is not None and direct is not None:
            yield f"HTTP route cannot contain both {key} and direct_response"
    if redirect is not None and "rewrite" in route:
        yield "HTTP route rule cannot contain both rewrite and redirect"
    if direct is not None and redirect is not None:
        yield "HTTP route rule cannot contain both direct_response and redirect"
    if direct is not None and "rewrite" in route:
        yield "HTTP route rule cannot contain both rewrite and direct_response"
    if not route.get("route") and redirect is None and direct is None and "delegate" not in route:
        yield "HTTP route, redirect or direct_response is required"
    for match in route.get("match", []):
        yield from _match(match)
    yield from _changes(route.get("headers", {}))
    yield from _redirect(redirect)
    if direct is not None:
        yield from _status(direct["status"])
    yield from _rewrite(route.get("rewrite"))
    yield from _fault(route.get("fault"))
    yield from precision_problems(route.get("timeout"))
    yield from _retries(route.get("retries"))
    yield from _routes(route.get("route", []))


def _match(match: Object) -> Iterator[str]:
    for key in ("uri", "method", "authority", "scheme"):
        yield from _string_match(match.get(key, {}), key, empty=True)
    for key in ("headers", "withoutHeaders", "queryParams"):
        for name, text in match.get(key, {}).items():
            if key != "queryParams":
                yield from _header_name(name)
            yield from _string_match(text, key, empty=key == "queryParams")
    yield from port_problem(match["port"]) if match.get("port") else ()
    yield from tag_problems(match.get("sourceLabels", {}))
    namespace = match.get("sourceNamespace", "")
    if namespace and label_problem(namespace):
        yield f"sourceNamespace match {namespace} is invalid"


def _string_match(text: Object, where: str, *, empty: bool) -> Iterator[str]:
    if not empty:
        for key in ("prefix", "regex"):
            if text.get(key) == "":
                yield f'"{where}": {key} string match should not be empty'
    if regex := text.get("regex"):
        try:
            re.compile(regex)
        except re.error as error:
            hint = "Istio uses RE2 style regex-based match (https://github.com/google/re2/wiki/Syntax)"
            yield f'"{where}": error parsing regexp: {error.msg}: `{regex}`; {hint}'


def _header_name(name: str) -> Iterator[str]:
    if not name:
        yield "header name cannot be empty"
    elif not _HEADER.fullmatch(name.removeprefix(":")):
        yield f"header name {name} is not a valid header name"


def _changes(headers: Object) -> Iterator[str]:
    for side in ("request", "response"):
        change = headers.get(side, {})
        for key in ("set", "add", "remove"):
            for name in change.get(key, ()):
                if not name:
                    yield "header name cannot be empty"
                elif name.startswith(":") and not (key == "set" and name == ":authority"):
                    yield f'invalid header "{name}": header cannot have ":" prefix'
                elif key == "remove" and name.lower() == "host":
                    yield f'invalid header "{name}": cannot set Host header'


def _redirect(redirect: Object | None) -> Iterator[str]:
    if redirect is None:
        return
    if not any(redirect.get(key) for key in ("uri", "authority", "scheme", "port", "derivePort")):
        yield "redirect must specify URI, authority, scheme, or port"
    if redirect.get("scheme", "http") not in {"http", "https", ""}:
        yield 'invalid redirect scheme, must be "http" or "https"'
    code = redirect.get("redirectCode", 0)
    if code and not 300 <= code <= 399:
        yield f"{code} is not a valid redirect code, must be 3xx"
    yield from port_problem(redirect["port"]) if redirect.get("port") else ()


def _status(status: int) -> Iterator[str]:
    if not 200 <= status <= 599:
        yield f"HTTP status {status} is not in range 200-599"


def _rewrite(rewrite: Object | None) -> Iterator[str]:
    if rewrite is None:
        return
    if rewrite.get("uri") and "uriRegexRewrite" in rewrite:
        yield "rewrite may only contain one of URI or UriRegexRewrite"
    elif not any(rewrite.get(key) for key in ("uri", "uriRegexRewrite", "authority")):
        yield (
            "rewrite must specify at least one of URI, UriRegexRewrite, or authority. Only one of URI or "
            "UriRegexRewrite may be specified"
        )


def _fault(fault: Object | None) -> Iterator[str]:
    if fault is None:
        return
    if not {"abort", "delay"} & fault.keys():
        yield "HTTP fault injection must have an abort and/or a delay"
    abort, delay = fault.get("abort", {}), fault.get("delay", {})
    if "httpStatus" in abort:
        yield from _status(abort["httpStatus"])
    for each in (abort, delay):
        value = each.get("percentage", {}).get("value", 0)
        if value and not 0.0001 <= value <= 100:
            yield f"percentage {value:g} is neither 0.0, nor in range [0.0001, 100.0]"
    yield from precision_problems(delay.get("fixedDelay"))


def _retries(retries: Object | None) -> Iterator[str]:
    if retries is None:
        return
    attempts = retries.get("attempts", 0)
    if attempts < 0:
        yield "attempts cannot be negative"
    if attempts == 0 and ({"perTryTimeout", "retryRemoteLocalities"} & retries.keys() or retries.get("retryOn")):
        yield "http retry policy configured when attempts are set to 0 (disabled)"
    yield from precision_problems(retries.get("perTryTimeout"))
    for each in filter(None, retries.get("retryOn", "").split(",")):
        if each not in _RETRY_ON and not (each.isdigit() and 100 <= int(each) <= 599):
            yield f'"{each}" is not a valid retryOn policy'


def _routes(routes: list[Object]) -> Iterator[str]:
    for each in routes:
        destination = each["destination"]
        if problem := domain_problem(destination["host"]):
            yield problem
        subset = destination.get("subset", "")
        if subset and label_problem(subset):
            yield f"subset name is invalid: {subset}"
        if "port" in destination:
            yield from port_problem(destination["port"].get("number", 0))
        if each.get("weight", 0) < 0:
            yield f"weight {each['weight']} < 0"
        yield from _changes(each.get("headers", {}))
    if len(routes) > 1 and not sum(each.get("weight", 0) for each in routes):
        yield "total destination weight = 0"


def service_entry(spec: Object) -> list[str]:
    """What is wrong, or nothing."""
    return [*_service_entry(spec)]


def _service_entry(spec: Object) -> Iterator[str]:
    resolution, endpoints = spec.get("resolution", "NONE"), spec.get("endpoints", [])
    yield from _entry_hosts(spec["hosts"], resolution, endpoints=bool(endpoints))
    names = {port["name"] for port in spec.get("ports", [])}
    for address in spec.get("addresses", []):
        if "/" in address:
            try:
                ipaddress.ip_network(address, strict=False)
            except ValueError:
                yield f"{address} is not a valid CIDR block"
        elif not _is_address(address):
            yield f"{address} is not a valid IP"
    for port in spec.get("ports", []):
        if label_problem(port["name"]):
            yield f"invalid port name: {port['name']}"
        if port.get("protocol", "").upper() not in _PROTOCOLS:
            yield f"unsupported protocol: {port['protocol']}"
    for each in endpoints:
        address = each.get("address", "")
        if resolution == "STATIC" and not address.startswith("unix:") and not _is_address(address):
            yield f'endpoint address "{address}" is not a valid IP address'
        if resolution == "DNS" and not _is_address(address) and (problem := domain_problem(address, wildcard=False)):
            yield f"endpoint address {address} is not a valid FQDN or an IP address: {problem}"
        for name, number in each.get("ports", {}).items():
            if name not in names:
                yield f"endpoint port {number} is not defined by the service entry"
        yield from tag_problems(each.get("labels", {}))
    yield from export_problems(spec)


def _entry_hosts(hosts: list[str], resolution: str, *, endpoints: bool) -> Iterator[str]:
    for host in hosts:
        if problem := domain_problem(host):
            yield problem
        elif resolution == "DNS" and not endpoints and "*" in host:
            yield (
                "hosts must be FQDN or contain only prefix wildcards if no endpoints are provided for resolution mode "
                f'DNS, domain name "{host}" invalid (label "*" invalid)'
            )
        elif resolution == "DYNAMIC_DNS" and not host.startswith("*."):
            yield "host must be wildcarded for resolution mode DYNAMIC_DNS"
