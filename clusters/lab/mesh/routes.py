"""Route configurations: which request of a client goes to which cluster, by VirtualServices or plainly by Service.

What belongs here: virtual hosts and their routes, TCP routes' choice. What does not: which VirtualService is for which
host (`hosts`), the listeners that name these configurations (`outbound`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from clusters.lab.mesh import rewrites
from clusters.lab.mesh.clusters import PASSTHROUGH, cluster_name, origin, seconds
from clusters.lab.mesh.hosts import HTTP, Names, Route, full_names, matches, resolve
from clusters.lab.mesh.model import Json, Service, ServicePort
from policies.istio.model import Destination, HttpMatch, HttpRoute, StringMatch, TcpRoute

_TYPE: Final = "type.googleapis.com/envoy."
_RETRY_ON: Final = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_ATTEMPTS: Final = 2
_OTHER_HOST: Final = {
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": f"{_TYPE}extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
        }
    ],
    "host_selection_retry_max_attempts": 5,
}


class Router:
    """Routes as clients of one namespace with these labels have them.

    Args:
        labels: Those of the client that any route asks for.
    """

    def __init__(self, names: Names, namespace: str, labels: Mapping[str, str]) -> None:
        self._names, self._namespace, self._labels = names, namespace, labels
        self._services = {each.host: each for each in names.visible(namespace)}

    def of_port(self, port: int) -> Json:
        """The configuration of every HTTP listener on a wildcard address; what no virtual host names passes through."""
        used: set[str] = set()
        found: list[Json] = []
        for name, domains, routes in self._virtual_hosts(port):
            free = [each for each in dict.fromkeys(domains) if each.lower() not in used]
            used.update(each.lower() for each in free)
            if free:
                found.append(_virtual_host(f"{name}:{port}", free, routes))
        found.sort(key=lambda each: str(each["name"]))
        through = {
            "name": "allow_any",
            "match": {"prefix": "/"},
            "route": {"cluster": PASSTHROUGH, "timeout": "0s", "max_grpc_timeout": "0s"},
        }
        return _configuration(str(port), [*found, _virtual_host("allow_any", ["*"], [through])])

    def of_service(self, service: Service, port: ServicePort) -> Json:
        """The configuration of the listener on a Service's address, for ports whose protocol is told by the bytes."""
        name = f"{service.host}:{port.number}"
        found = (self._routes(route, port.number) for route in self._names.routes_of(service.host))
        routes = next(filter(None, found), None)
        return _configuration(name, [_virtual_host(name, ["*"], routes or [_plain(service.host, port.number)])])

    def tcp(self, service: Service, port: int) -> Json:
        """What of a tcp_proxy says where connections to a Service's port go: `cluster` or `weighted_clusters`."""
        for route in self._names.routes:
            if not any(matches(host, service.host) for host in route.hosts):
                continue
            for each in route.written.tcp:
                if self._tcp_matches(each, port):
                    return self._tcp_destinations(route, each.destinations, port)
        name = cluster_name(service.host, port)
        return {"stat_prefix": name, "cluster": name}

    def _virtual_hosts(self, port: int) -> Iterable[tuple[str, list[str], list[Json]]]:
        """`(host, domains, routes)`: first what VirtualServices say, oldest first, then the Services they leave."""
        here = {
            service.host: service
            for service in self._services.values()
            if any(each.number == port and each.protocol in HTTP for each in service.ports)
        }
        routed: set[str] = set()
        for route in self._names.routes:
            mine = [service for host, service in here.items() if route in self._names.routes_of(host)]
            # As Istio: a VirtualService is on a port for one of its hosts, then for all; on port 80 it always is.
            if not mine and port != 80:
                continue
            routes = self._routes(route, port)
            if not routes:
                continue
            for service in mine:
                routed.add(service.host)
                yield service.host, full_names(service, self._namespace), routes
            for host in route.hosts:
                if not any(matches(host, each) for each in here):
                    yield host, [host], routes
        for host, service in here.items():
            if host not in routed:
                yield host, full_names(service, self._namespace), [_plain(host, port)]

    def _routes(self, route: Route, port: int) -> list[Json]:
        """A VirtualService's routes for this client and port, until one takes everything."""
        found: list[Json] = []
        for each in route.written.http:
            for match in each.matches or (None,):
                if match is not None and not self._for_client(match, port):
                    continue
                found.append(self._route(route, each, match, port))
                if _catches_all(match):
                    return found
        return found

    def _for_client(self, match: HttpMatch, port: int) -> bool:
        return (
            (match.port is None or match.port == port)
            and match.source_namespace in {"", self._namespace}
            and all(self._labels.get(key) == value for key, value in match.source_labels.items())
        )

    def _route(self, route: Route, each: HttpRoute, match: HttpMatch | None, port: int) -> Json:
        found: Json = {
            "match": _match(match),
            "metadata": {"filter_metadata": {"istio": {"config": origin(route.written.meta, "virtual-service")}}},
        }
        if each.name:
            found["name"] = each.name
        if each.redirect:
            found["redirect"] = rewrites.redirect(each.redirect)
        elif each.direct_response:
            status, body = each.direct_response
            found["direct_response"] = {"status": status} | ({"body": {"inline_string": body}} if body else {})
        else:
            found["route"] = self._action(route, each, port)
        alone = [each.destinations[0].headers] if "cluster" in found.get("route", {}) else []
        found |= rewrites.headers([each.headers, *alone])
        fault = rewrites.fault(each)
        if fault:
            found["typed_per_filter_config"] = {"envoy.filters.http.fault": fault}
        return found

    def _action(self, route: Route, each: HttpRoute, port: int) -> Json:
        timeout = seconds(each.timeout or 0)
        action: Json = {"timeout": timeout, "max_grpc_timeout": timeout}
        if len(each.destinations) == 1:
            action["cluster"] = self._cluster(route, each.destinations[0], port)
            authority = rewrites.authority([each.headers, each.destinations[0].headers])
        else:
            weighted = [
                {"name": self._cluster(route, to, port), "weight": to.weight}
                | rewrites.headers([to.headers])
                | _host(rewrites.authority([to.headers]))
                for to in each.destinations
                if to.weight
            ]
            action["weighted_clusters"] = {"clusters": weighted}
            authority = rewrites.authority([each.headers])
        action |= _host(each.rewrite_authority or authority)
        if each.rewrite_uri:
            action["prefix_rewrite"] = each.rewrite_uri
        retry = _retry(each)
        return action | ({"retry_policy": retry} if retry else {})

    def _cluster(self, route: Route, to: Destination, port: int) -> str:
        return cluster_name(resolve(to.host, route.written.meta.namespace), to.port or port, to.subset)

    def _tcp_matches(self, route: TcpRoute, port: int) -> bool:
        return (not route.ports or port in route.ports) and all(
            self._labels.get(key) == value for key, value in route.source_labels.items()
        )

    def _tcp_destinations(self, route: Route, destinations: Sequence[Destination], port: int) -> Json:
        named = [(self._tcp_cluster(route, to, port), to.weight or 0) for to in destinations]
        if len(named) == 1:
            return {"stat_prefix": named[0][0], "cluster": named[0][0]}
        meta = route.written.meta
        weighted = [{"name": name, "weight": weight} for name, weight in named if weight]
        return {"stat_prefix": f"{meta.name}.{meta.namespace}", "weighted_clusters": {"clusters": weighted}}

    def _tcp_cluster(self, route: Route, to: Destination, port: int) -> str:
        """A destination without a port means the Service's only one, else the one that was called."""
        host = resolve(to.host, route.written.meta.namespace)
        service = self._services.get(host)
        alone = service.ports[0].number if service and len(service.ports) == 1 else port
        return cluster_name(host, to.port or alone, to.subset)


def _match(match: HttpMatch | None) -> Json:
    if match is None:
        return {"prefix": "/"}
    found: Json = {"case_sensitive": not match.ignore_uri_case}
    uri = match.uri or StringMatch(prefix="/")
    if uri.exact is not None:
        found["path"] = uri.exact
    elif uri.regex is not None:
        found["safe_regex"] = {"regex": uri.regex}
    else:
        found["prefix"] = uri.prefix or "/"
    headers = [
        *((name, text, False) for name, text in match.headers),
        *((name, text, True) for name, text in match.without_headers),
        *((":method", text, False) for text in (match.method,) if text),
        *((":authority", text, False) for text in (match.authority,) if text),
    ]
    if headers:
        found["headers"] = [_header(*each) for each in headers]
    if match.query:
        found["query_parameters"] = [{"name": name} | _text(text) for name, text in match.query]
    return found


def _header(name: str, text: StringMatch, absent: bool) -> Json:
    found: Json = {"name": name} | _text(text)
    if absent:
        found["invert_match"] = True
        if "string_match" in found:
            # A request without the header is one that does not have this value.
            found["treat_missing_header_as_empty"] = True
    return found


def _text(text: StringMatch) -> Json:
    """How a header's or parameter's value is matched; a match that takes anything asks for presence."""
    if text.exact is not None:
        return {"string_match": {"exact": text.exact}}
    if text.prefix:
        return {"string_match": {"prefix": text.prefix}}
    if text.regex:
        return {"string_match": {"safe_regex": {"regex": text.regex}}}
    return {"present_match": True}


def _catches_all(match: HttpMatch | None) -> bool:
    """Whether no route after this one can ever be reached."""
    if match is None:
        return True
    narrowed = match.headers or match.without_headers or match.query or match.method or match.authority
    return not narrowed and (match.uri is None or match.uri.prefix == "/")


def _retry(each: HttpRoute) -> Json | None:
    """Istio's own policy unless the route has one; none for zero attempts."""
    if each.attempts is None and not each.retry_on and each.per_try_timeout is None:
        return {"retry_on": _RETRY_ON, "num_retries": _ATTEMPTS} | _OTHER_HOST
    attempts = _ATTEMPTS if each.attempts is None else each.attempts
    if attempts <= 0:
        return None
    found: Json = {"num_retries": attempts} | _OTHER_HOST
    words = [word.strip() for word in (each.retry_on or _RETRY_ON).split(",") if word.strip()]
    codes = [int(word) for word in words if word.isdigit()]
    kept = [word for word in words if not word.isdigit()]
    if codes:
        kept += [] if "retriable-status-codes" in kept else ["retriable-status-codes"]
        found["retriable_status_codes"] = codes
    found["retry_on"] = ",".join(kept)
    if each.per_try_timeout is not None:
        found["per_try_timeout"] = seconds(each.per_try_timeout)
    return found


def _host(authority: str) -> Json:
    return {"host_rewrite_literal": authority} if authority else {}


def _plain(host: str, port: int) -> Json:
    """What becomes of requests to a Service that no VirtualService is for."""
    return {
        "name": "default",
        "match": {"prefix": "/"},
        "route": {
            "cluster": cluster_name(host, port),
            "timeout": "0s",
            "max_grpc_timeout": "0s",
            "retry_policy": {"retry_on": _RETRY_ON, "num_retries": _ATTEMPTS} | _OTHER_HOST,
        },
    }


def _virtual_host(name: str, domains: Sequence[str], routes: Sequence[Json]) -> Json:
    return {"name": name, "domains": list(domains), "routes": list(routes), "include_request_attempt_count": True}


def _configuration(name: str, virtual_hosts: Sequence[Json]) -> Json:
    return {
        "name": name,
        "virtual_hosts": list(virtual_hosts),
        "validate_clusters": False,
        "max_direct_response_body_size_bytes": 1048576,
        "ignore_port_in_host_matching": True,
    }
