"""Which version a request reaches: by header, cookie, path, method and source, and which match wins."""

from __future__ import annotations

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.mesh import Backend, HttpRoute, Meshes, RequestMatch, Routing, Text
from fixtures.table import Column, Headers
from fixtures.workloads import MESH_WORLD, SERVER_V2
from flows.model import Path, Protocol

WORKLOADS = (*MESH_WORLD, SERVER_V2)
"""Workloads with proxies; the server in two versions."""
TO_V1 = HttpRoute(backends=(Backend(version="v1"),))
HEADERS = {
    "jason": {"x-user": "jason"},
    "jasonette": {"x-user": "jasonette"},
    "cookie": {"cookie": "theme=dark; group=beta"},
    "other-cookie": {"cookie": "theme=dark; group=gamma"},
}


def to_v2(*matches: RequestMatch) -> Routing:
    """What matches goes to v2, everything else to v1."""
    return Routing(service="server", routes=(HttpRoute(matches=matches, backends=(Backend(version="v2"),)), TO_V1))


def to(path: str, headers: Headers = ()) -> Column:
    """One request to the server by its name."""
    return Column(name="server", port=8080, protocol=Protocol.HTTP, path=Path.DNS, url_path=path, headers=headers)


def test_header(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A header's exact value picks the version; a longer one, or none, does not."""
    mesh(to_v2(RequestMatch(headers=(("x-user", Text(exact="jason")),))))
    matrix.requests(
        """
        caller  GET  server:8080/ +jason       =v2
        caller  GET  server:8080/ +jasonette   =v1
        caller  GET  server:8080/              =v1
        """,
        HEADERS,
    )


def test_cookie(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A cookie among others picks the version, by pattern."""
    mesh(to_v2(RequestMatch(headers=(("cookie", Text(regex="^(.*?; )?group=beta(;.*)?$")),))))
    matrix.requests(
        """
        caller  GET  server:8080/ +cookie        =v2
        caller  GET  server:8080/ +other-cookie  =v1
        caller  GET  server:8080/                =v1
        """,
        HEADERS,
    )


def test_path_exact_and_prefix(mesh: Meshes, matrix: MatrixAsker) -> None:
    """An exact path is that path alone; a prefix is everything that begins so."""
    mesh(to_v2(RequestMatch(path=Text(exact="/exact")), RequestMatch(path=Text(prefix="/pre"))))
    matrix.requests("""
        caller  GET  server:8080/exact    =v2
        caller  GET  server:8080/exact/x  =v1
        caller  GET  server:8080/pre      =v2
        caller  GET  server:8080/prefix   =v2
        caller  GET  server:8080/pr       =v1
    """)


def test_method(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A method picks the version."""
    mesh(to_v2(RequestMatch(method=Text(exact="POST"))))
    matrix.requests("""
        caller  POST  server:8080/  =v2
        caller  GET   server:8080/  =v1
        caller  PUT   server:8080/  =v1
    """)


def test_source(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Who calls picks the version, by the caller's own labels."""
    mesh(to_v2(RequestMatch(source="peer")))
    matrix.requests("""
        peer    GET  server:8080/  =v2
        caller  GET  server:8080/  =v1
    """)


def test_conditions_of_one_match_add_up(mesh: Meshes, matrix: MatrixAsker) -> None:
    """All conditions of one match must hold; of several matches one is enough."""
    both = RequestMatch(path=Text(prefix="/api"), headers=(("x-user", Text(exact="jason")),))
    mesh(to_v2(both, RequestMatch(method=Text(exact="PUT"))))
    matrix.requests(
        """
        caller  GET  server:8080/api +jason   =v2
        caller  GET  server:8080/api          =v1
        caller  GET  server:8080/ +jason      =v1
        caller  PUT  server:8080/             =v2
        """,
        HEADERS,
    )


def test_first_match_wins(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Of two routes that match, the one that is written first decides, however general it is."""
    general = HttpRoute(matches=(RequestMatch(path=Text(prefix="/")),), backends=(Backend(version="v1"),))
    special = HttpRoute(matches=(RequestMatch(path=Text(exact="/api")),), backends=(Backend(version="v2"),))
    order = mesh(Routing(service="server", routes=(general, special)))
    matrix.requests("""
        caller  GET  server:8080/api  =v1
    """)
    order.becomes(Routing(service="server", routes=(special, general)))
    matrix.requests("""
        caller  GET  server:8080/api  =v2
    """)


def test_nothing_matches(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A request that no route takes is answered 404 by the caller's proxy."""
    only = HttpRoute(matches=(RequestMatch(path=Text(prefix="/api")),), backends=(Backend(version="v1"),))
    mesh(Routing(service="server", routes=(only,)))
    matrix.requests("""
        caller  GET  server:8080/api    =v1
        caller  GET  server:8080/other  no-route
    """)


def test_empty_subset(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A route to a version that nobody has is 503, made by the caller's proxy, with its flag in the log."""
    nowhere = HttpRoute(matches=(RequestMatch(path=Text(prefix="/v9")),), backends=(Backend(version="v9"),))
    mesh(Routing(service="server", routes=(nowhere, TO_V1), versions=("v1", "v9")))
    matrix.requests("""
        caller  GET  server:8080/    =v1
        caller  GET  server:8080/v9  unavailable
    """)
    assert any(entry.flags == "UH" and entry.status == 503 for entry in mesh.logged("caller", "/v9", " UH "))


def test_rewrite(mesh: Meshes, matrix: MatrixAsker, caller: Actor) -> None:
    """A matched prefix is replaced before the server sees the request; other paths arrive as they were sent."""
    old = HttpRoute(
        matches=(RequestMatch(path=Text(prefix="/old/")),),
        rewrite_path="/new/",
        rewrite_host="renamed",
        backends=(Backend(version="v2"),),
    )
    mesh(Routing(service="server", routes=(old, TO_V1)))
    matrix.requests("""
        caller  GET  server:8080/old/x  =v2
        caller  GET  server:8080/       =v1
    """)
    moved, left = caller.ask(to("/old/x")).evidence, caller.ask(to("/elsewhere")).evidence
    assert (moved.request_path, dict(moved.request_headers)["host"]) == ("/new/x", "renamed")
    assert (left.request_path, dict(left.request_headers)["host"].partition(".")[0]) == ("/elsewhere", "server")


def test_redirect(mesh: Meshes, matrix: MatrixAsker, caller: Actor, server: Actor) -> None:
    """A redirect is the caller's proxy's own answer: status and place as the route says, and no server hears of it."""
    gone = HttpRoute(matches=(RequestMatch(path=Text(exact="/gone")),), redirect=("/here", "elsewhere.example", 302))
    mesh(Routing(service="server", routes=(gone, TO_V1)))
    matrix.requests("""
        caller  GET  server:8080/      =v1
        caller  GET  server:8080/gone  #
    """)
    verdict = caller.ask(to("/gone"))
    assert verdict.evidence.http_status == 302
    assert dict(verdict.evidence.http_headers)["location"] == "http://elsewhere.example/here"
    assert not server.heard(verdict.nonce)


def test_headers(mesh: Meshes, matrix: MatrixAsker, caller: Actor) -> None:
    """A route sets and removes headers of requests before the server sees them, and adds some to its answers."""
    changed = HttpRoute(
        matches=(RequestMatch(path=Text(prefix="/changed")),),
        backends=(Backend(version="v2"),),
        set_request=(("x-set", "by the route"),),
        remove_request=("x-secret",),
        add_response=(("x-added", "to the answer"),),
    )
    mesh(Routing(service="server", routes=(changed, TO_V1)))
    matrix.requests("""
        caller  GET  server:8080/changed  =v2
        caller  GET  server:8080/         =v1
    """)
    sent = (("x-set", "by the caller"), ("x-secret", "told"))
    seen = {path: caller.ask(to(path, sent)).evidence for path in ("/changed", "/")}
    there = {path: dict(each.request_headers) for path, each in seen.items()}
    assert (there["/changed"]["x-set"], there["/changed"].get("x-secret")) == ("by the route", None)
    assert (there["/"]["x-set"], there["/"].get("x-secret")) == ("by the caller", "told")
    assert [dict(seen[path].http_headers).get("x-added") for path in seen] == ["to the answer", None]


def test_abort(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A fault that the mesh injects is the caller's proxy's answer; other paths are untouched."""
    fault = HttpRoute(matches=(RequestMatch(path=Text(prefix="/fault")),), backends=(Backend(version="v1"),), abort=503)
    mesh(Routing(service="server", routes=(fault, TO_V1)))
    matrix.requests("""
        caller  GET  server:8080/       =v1
        caller  GET  server:8080/fault  unavailable
    """)
