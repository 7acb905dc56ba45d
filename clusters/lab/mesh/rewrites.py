"""What a route does to requests and answers: headers, redirects, faults.

What belongs here: the parts of one route that change something. What does not: which requests it is for and where they
go (`routes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from clusters.lab.mesh.model import Json
from policies.istio.model import HeaderChanges, HttpRoute, Redirect

_FAULT: Final = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
_CODES: Final = {302: "FOUND", 303: "SEE_OTHER", 307: "TEMPORARY_REDIRECT", 308: "PERMANENT_REDIRECT"}
_HOST: Final = frozenset({"host", ":authority"})


def headers(changes: Sequence[HeaderChanges]) -> Json:
    """The header fields of a route, a virtual host or a weighted cluster; later changes come after earlier ones."""
    request = [
        header
        for each in changes
        for header in (
            *(_header(name, value, True) for name, value in each.set_request if name.lower() not in _HOST),
            *(_header(name, value, False) for name, value in each.add_request if name.lower() not in _HOST),
        )
    ]
    response = [
        header
        for each in changes
        for header in (
            *(_header(name, value, True) for name, value in each.set_response),
            *(_header(name, value, False) for name, value in each.add_response),
        )
    ]
    found: Json = {
        "request_headers_to_add": request,
        "request_headers_to_remove": [name for each in changes for name in each.remove_request],
        "response_headers_to_add": response,
        "response_headers_to_remove": [name for each in changes for name in each.remove_response],
    }
    return {key: value for key, value in found.items() if value}


def authority(changes: Sequence[HeaderChanges]) -> str:
    """The host that a `Host` or `:authority` asks for, the first one; Envoy has a field of its own for it."""
    asked = [
        value for each in changes for name, value in (*each.set_request, *each.add_request) if name.lower() in _HOST
    ]
    return asked[0] if asked else ""


def redirect(wanted: Redirect) -> Json:
    """A RedirectAction; 301 is Envoy's default too."""
    found: Json = {}
    if wanted.authority:
        found["host_redirect"] = wanted.authority
    if wanted.uri:
        found["path_redirect"] = wanted.uri
    if wanted.scheme:
        found["scheme_redirect"] = wanted.scheme
    if wanted.port is not None:
        found["port_redirect"] = wanted.port
    if wanted.code in _CODES:
        found["response_code"] = _CODES[wanted.code]
    return found


def fault(route: HttpRoute) -> Json | None:
    """The fault filter's settings for a route; None when it injects none."""
    found: Json = {}
    if route.delay is not None:
        found["delay"] = {"fixed_delay": f"{route.delay:.3f}s", "percentage": _percentage(route.delay_percent)}
    if route.abort_status is not None:
        found["abort"] = {"http_status": route.abort_status, "percentage": _percentage(route.abort_percent)}
    return {"@type": _FAULT} | found if found else None


def _percentage(percent: float) -> Json:
    return {"numerator": round(percent * 10_000), "denominator": "MILLION"}


def _header(name: str, value: str, overwrite: bool) -> Json:
    found: Json = {"header": {"key": name, "value": value}}
    return found | ({"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"} if overwrite else {})
