"""Builds DestinationRules and VirtualServices from specs that are known to be right; `read` is the way in."""

from __future__ import annotations

from typing import Any

from policies.istio.model import (
    Destination,
    DestinationRule,
    HeaderChanges,
    HttpMatch,
    HttpRoute,
    Meta,
    Redirect,
    Resource,
    StringMatch,
    Subset,
    TcpRoute,
    TrafficPolicy,
    VirtualService,
)
from policies.istio.shapes import seconds

Object = dict[str, Any]


def destination_rule(meta: Meta, spec: Object) -> Resource:
    """The rule as written."""
    return DestinationRule(
        meta=meta,
        host=spec["host"],
        policy=_policy(spec.get("trafficPolicy")),
        subsets=tuple(
            Subset(name=each["name"], labels=each.get("labels", {}), policy=_policy(each.get("trafficPolicy")))
            for each in spec.get("subsets", [])
        ),
        exports=tuple(spec.get("exportTo", [])),
    )


def _policy(policy: Object | None) -> TrafficPolicy | None:
    if policy is None:
        return None
    pool, tls = policy.get("connectionPool", {}), policy.get("tls")
    tcp, http = pool.get("tcp", {}), pool.get("http", {})
    ports: dict[int, TrafficPolicy] = {}
    for each in policy.get("portLevelSettings", []):
        inner = _policy({key: value for key, value in each.items() if key != "port"})
        if inner is not None:
            ports.setdefault(int(each["port"].get("number", 0)), inner)
    return TrafficPolicy(
        tls=None if tls is None else tls.get("mode", "DISABLE"),
        sni=(tls or {}).get("sni", ""),
        subject_alt_names=tuple((tls or {}).get("subjectAltNames", ())),
        balancer=policy.get("loadBalancer", {}).get("simple"),
        max_connections=tcp.get("maxConnections"),
        max_pending_requests=http.get("http1MaxPendingRequests"),
        max_requests=http.get("http2MaxRequests"),
        max_requests_per_connection=http.get("maxRequestsPerConnection"),
        connect_timeout=_seconds(tcp.get("connectTimeout")),
        ports=ports,
    )


def _seconds(text: str | None) -> float | None:
    return None if text is None else seconds(text)


def virtual_service(meta: Meta, spec: Object) -> Resource:
    """The service's routes as written."""
    return VirtualService(
        meta=meta,
        hosts=tuple(spec.get("hosts", ())),
        http=tuple(_http(each) for each in spec.get("http", [])),
        tcp=tuple(each for route in spec.get("tcp", []) for each in _tcp(route)),
        exports=tuple(spec.get("exportTo", [])),
    )


def _http(route: Object) -> HttpRoute:
    rewrite, redirect, direct = route.get("rewrite", {}), route.get("redirect"), route.get("directResponse")
    fault, retries = route.get("fault", {}), route.get("retries")
    abort, delay = fault.get("abort"), fault.get("delay")
    return HttpRoute(
        name=route.get("name", ""),
        matches=tuple(_match(each) for each in route.get("match", [])),
        destinations=tuple(_destination(each) for each in route.get("route", [])),
        redirect=None if redirect is None else _redirect(redirect),
        direct_response=None if direct is None else (int(direct["status"]), direct.get("body", {}).get("string", "")),
        rewrite_uri=rewrite.get("uri", ""),
        rewrite_authority=rewrite.get("authority", ""),
        headers=_headers(route.get("headers", {})),
        abort_status=None if abort is None else int(abort["httpStatus"]),
        abort_percent=_percent(abort),
        delay=None if delay is None else seconds(delay["fixedDelay"]),
        delay_percent=_percent(delay),
        timeout=_seconds(route.get("timeout")),
        attempts=None if retries is None else int(retries.get("attempts", 0)),
        per_try_timeout=None if retries is None else _seconds(retries.get("perTryTimeout")),
        retry_on="" if retries is None else retries.get("retryOn", ""),
    )


def _percent(fault: Object | None) -> float:
    """How many of a hundred calls; none where no percentage is written."""
    return float((fault or {}).get("percentage", {}).get("value", 0.0))


def _match(match: Object) -> HttpMatch:
    def pairs(key: str) -> tuple[tuple[str, StringMatch], ...]:
        return tuple((name, _text(each)) for name, each in match.get(key, {}).items())

    def one(key: str) -> StringMatch | None:
        return _text(match[key]) if key in match else None

    return HttpMatch(
        uri=one("uri"),
        method=one("method"),
        authority=one("authority"),
        headers=pairs("headers"),
        without_headers=pairs("withoutHeaders"),
        query=pairs("queryParams"),
        port=match.get("port") or None,
        source_labels=match.get("sourceLabels", {}),
        source_namespace=match.get("sourceNamespace", ""),
        ignore_uri_case=match.get("ignoreUriCase", False),
    )


def _text(text: Object) -> StringMatch:
    return StringMatch(exact=text.get("exact"), prefix=text.get("prefix"), regex=text.get("regex"))


def _destination(each: Object) -> Destination:
    to = each["destination"]
    return Destination(
        host=to["host"],
        subset=to.get("subset", ""),
        port=to["port"]["number"] if "port" in to else None,
        weight=each.get("weight"),
        headers=_headers(each.get("headers", {})),
    )


def _headers(headers: Object) -> HeaderChanges:
    request, response = headers.get("request", {}), headers.get("response", {})
    return HeaderChanges(
        set_request=tuple(request.get("set", {}).items()),
        add_request=tuple(request.get("add", {}).items()),
        remove_request=tuple(request.get("remove", ())),
        set_response=tuple(response.get("set", {}).items()),
        add_response=tuple(response.get("add", {}).items()),
        remove_response=tuple(response.get("remove", ())),
    )


def _redirect(redirect: Object) -> Redirect:
    return Redirect(
        uri=redirect.get("uri", ""),
        authority=redirect.get("authority", ""),
        scheme=redirect.get("scheme", ""),
        port=redirect.get("port"),
        code=redirect.get("redirectCode"),
    )


def _tcp(route: Object) -> list[TcpRoute]:
    """One route for each set of source labels, as the matches of a route are alternatives."""
    to = tuple(_destination(each) for each in route.get("route", []))
    matches: list[Object] = route.get("match") or [{}]
    return [
        TcpRoute(
            ports=(match["port"],) if match.get("port") else (),
            source_labels=match.get("sourceLabels", {}),
            destinations=to,
        )
        for match in matches
    ]
