"""Which version a request reaches: by header, cookie, path, method and source, and which match wins."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fixtures.asking import MatrixAsker
from fixtures.mesh import Backend, HttpRoute, Meshes, RequestMatch, Routing, Text
from fixtures.workloads import MESH_WORLD, SERVER_V2, Spec

TO_V1 = HttpRoute(backends=(Backend(version="v1"),))
HEADERS = {
    "jason": {"x-user": "jason"},
    "jasonette": {"x-user": "jasonette"},
    "cookie": {"cookie": "theme=dark; group=beta"},
    "other-cookie": {"cookie": "theme=dark; group=gamma"},
}


@pytest.fixture(scope="module")
def world_specs() -> Sequence[Spec]:
    """Workloads with proxies; the server in two versions."""
    return (*MESH_WORLD, SERVER_V2)


def to_v2(*matches: RequestMatch) -> Routing:
    """What matches goes to v2, everything else to v1."""
    return Routing(service="server", routes=(HttpRoute(matches=matches, backends=(Backend(version="v2"),)), TO_V1))


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
    assert any(entry.flags == "UH" and entry.status == 503 for entry in mesh.log("caller", "/v9"))


def test_abort(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A fault that the mesh injects is the caller's proxy's answer; other paths are untouched."""
    fault = HttpRoute(matches=(RequestMatch(path=Text(prefix="/fault")),), backends=(Backend(version="v1"),), abort=503)
    mesh(Routing(service="server", routes=(fault, TO_V1)))
    matrix.requests("""
        caller  GET  server:8080/       =v1
        caller  GET  server:8080/fault  unavailable
    """)
