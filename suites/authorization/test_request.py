"""What may be called: methods, paths, hosts, ports and headers; what raw TCP makes of them; the ways round a path."""

from __future__ import annotations

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.mesh import Access, Action, Condition, Meshes, Operation, Rule, Source, workload
from fixtures.table import Column
from flows.model import Protocol

HOSTS = {
    "a": {"host": "a.example"},
    "upper": {"host": "A.Example"},
    "port": {"host": "a.example:8080"},
    "dot": {"host": "a.example."},
    "sub": {"host": "x.a.example"},
    "b": {"host": "b.example"},
    "b-port": {"host": "b.example:8080"},
    "c": {"host": "c.example"},
}
TEAMS = {
    "red": {"x-team": "red"},
    "redder": {"x-team": "redder"},
    "blue": {"x-team": "blue-7"},
    "named": {"X-Team": "red"},
    "twice": {"x-team": "green, red"},
    "green": {"x-team": "green"},
}
PORTS = """
            server:8080/http@dns  server:8081/http@dns  server:9090@dns
caller      {http}                {admin}               {kept}
intruder    {http}                {admin}               {tcp}
"""
THE_CALLER = Source(identities=("caller",))
ALL_BUT_THE_CALLER = Source(not_identities=("caller",))
"""One caller keeps its raw TCP where a rule closes it, or a dead port would pass for a closed one."""


def only(*operations: Operation) -> Access:
    """Only these operations of the server are allowed."""
    return Access(name="only", scope=workload("server"), rules=(Rule(operations=operations),))


def never(*operations: Operation) -> Access:
    """These operations of the server are denied."""
    return Access(name="never", scope=workload("server"), action=Action.DENY, rules=(Rule(operations=operations),))


def when(path: str, condition: Condition) -> Rule:
    """A path, where this condition holds."""
    return Rule(operations=(Operation(paths=(path,)),), conditions=(condition,))


@pytest.mark.checks("l7")
def test_method(mesh: Meshes, matrix: MatrixAsker) -> None:
    """The methods that are named are answered and no others; or every method but those that are named."""
    mesh(
        only(
            Operation(paths=("/named",), methods=("GET", "PUT")),
            Operation(paths=("/others",), not_methods=("GET", "DELETE")),
        )
    )
    matrix.requests("""
        caller    GET      server:8080/named   .
        caller    PUT      server:8080/named   .
        caller    POST     server:8080/named   forbidden
        caller    HEAD     server:8080/named   forbidden
        caller    OPTIONS  server:8080/named   forbidden
        intruder  POST     server:8080/named   forbidden
        caller    PUT      server:8080/others  .
        caller    PATCH    server:8080/others  .
        caller    GET      server:8080/others  forbidden
        caller    DELETE   server:8080/others  forbidden
    """)


@pytest.mark.checks("l7")
def test_path(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A path is that path alone, `/api/*` what lies below it, `/v1*` what begins so, `*/info` what ends so.

    No query makes a path another one.
    """
    mesh(only(Operation(paths=("/exact", "/api/*", "/v1*", "*/info"))))
    matrix.requests("""
        caller  GET  server:8080/exact          .
        caller  GET  server:8080/exact?a=b      .
        caller  GET  server:8080/exact/         forbidden
        caller  GET  server:8080/exact/x        forbidden
        caller  GET  server:8080/exactly        forbidden
        caller  GET  server:8080/EXACT          forbidden
        caller  GET  server:8080/api/x          .
        caller  GET  server:8080/api/x/y        .
        caller  GET  server:8080/api/           .
        caller  GET  server:8080/api            forbidden
        caller  GET  server:8080/apis           forbidden
        caller  GET  server:8080/v1             .
        caller  GET  server:8080/v10/x          .
        caller  GET  server:8080/v              forbidden
        caller  GET  server:8080/info           .
        caller  GET  server:8080/a/b/info?x=1   .
        caller  GET  server:8080/info/          forbidden
        caller  GET  server:8080/myinfo         forbidden
        caller  GET  server:8080/admin?x=/info  forbidden
    """)


def test_path_template(mesh: Meshes, matrix: MatrixAsker) -> None:
    """`{*}` is exactly one part of a path, `{**}` any number of them."""
    mesh(only(Operation(paths=("/users/{*}/posts", "/files/{**}"))))
    matrix.requests("""
        caller  GET  server:8080/users/7/posts    .
        caller  GET  server:8080/users/posts      forbidden
        caller  GET  server:8080/users//posts     forbidden
        caller  GET  server:8080/users/7/8/posts  forbidden
        caller  GET  server:8080/users/7/posts/   forbidden
        caller  GET  server:8080/files/a          .
        caller  GET  server:8080/files/a/b/c      .
        caller  GET  server:8080/file/a           forbidden
    """)


def test_paths_that_are_made_plain(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A denied path is denied in its spellings too: dots, coded letters, backslashes and fragments are resolved."""
    mesh(never(Operation(paths=("/admin",))))
    matrix.requests(r"""
        caller    GET  server:8080/admin              forbidden
        caller    GET  server:8080/x/../admin         forbidden
        caller    GET  server:8080/x/%2e%2e/admin     forbidden
        caller    GET  server:8080/%61dmin            forbidden
        caller    GET  server:8080/admin?x=y          forbidden
        intruder  GET  server:8080/admin              forbidden
        intruder  GET  server:8080/./admin            forbidden
        intruder  GET  server:8080/x/../admin         forbidden
        intruder  GET  server:8080/x/y/../../admin    forbidden
        intruder  GET  server:8080/x/%2E%2E/admin     forbidden
        intruder  GET  server:8080/%61dmin            forbidden
        intruder  GET  server:8080/x\..\admin         forbidden
        intruder  GET  server:8080/public             .
    """)


def test_paths_that_walk_around_a_denial(mesh: Meshes, matrix: MatrixAsker) -> None:
    """The hole: a denied path's other spellings get through, and many servers take them for the same resource.

    A slash at the end, two slashes, a coded slash, capitals and path parameters make another path for the proxy.
    Allow what is wanted instead of denying what is not, or deny `/admin*`, which still lets `//admin` through.
    """
    mesh(never(Operation(paths=("/admin",))))
    matrix.requests("""
        intruder  GET  server:8080/admin    forbidden
        caller    GET  server:8080//admin   .
        caller    GET  server:8080/admin/   .
        intruder  GET  server:8080/admin/   .
        intruder  GET  server:8080//admin   .
        intruder  GET  server:8080/admin%2F .
        intruder  GET  server:8080/x/..%2Fadmin  .
        intruder  GET  server:8080/Admin    .
        intruder  GET  server:8080/admin;x  .
    """)


def test_traversal_out_of_what_is_allowed(mesh: Meshes, matrix: MatrixAsker) -> None:
    """`..` does not lead out of an allowed prefix; the hole is a coded slash, which only the server may decode."""
    mesh(only(Operation(paths=("/public/*",))))
    matrix.requests(r"""
        intruder  GET  server:8080/public/x             .
        intruder  GET  server:8080/public/../admin      forbidden
        intruder  GET  server:8080/public/%2e%2e/admin  forbidden
        intruder  GET  server:8080/public/x/../../admin forbidden
        intruder  GET  server:8080/public\..\admin      forbidden
        intruder  GET  server:8080/public/..%2Fadmin    .
    """)


def test_host(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A host is matched whatever its letters' case, and with its port where the caller sends one."""
    mesh(only(Operation(hosts=("a.example", "b.example*"))))
    matrix.requests(
        """
        intruder  GET  server:8080/ +a       .
        intruder  GET  server:8080/ +upper   .
        intruder  GET  server:8080/ +b       .
        intruder  GET  server:8080/ +b-port  .
        intruder  GET  server:8080/ +port    forbidden
        intruder  GET  server:8080/ +sub     forbidden
        intruder  GET  server:8080/ +c       forbidden
        intruder  GET  server:8080/          forbidden
        """,
        HOSTS,
    )


def test_hosts_that_walk_around_a_denial(mesh: Meshes, matrix: MatrixAsker) -> None:
    """The hole: a denied host gets through with its port, or with the dot at its end."""
    mesh(never(Operation(hosts=("a.example",))))
    matrix.requests(
        """
        intruder  GET  server:8080/ +a      forbidden
        intruder  GET  server:8080/ +upper  forbidden
        intruder  GET  server:8080/ +port   .
        intruder  GET  server:8080/ +dot    .
        intruder  GET  server:8080/ +c      .
        """,
        HOSTS,
    )


def test_port(mesh: Meshes, matrix: MatrixAsker) -> None:
    """One port is open for one method, every port but two for whatever is spoken there."""
    one = Rule(operations=(Operation(ports=(8080,), methods=("GET",)),))
    others = Rule(operations=(Operation(not_ports=(8080, 8081)),))
    mesh(Access(name="ports", scope=workload("server"), rules=(one, others)))
    matrix.becomes(PORTS.format(http=".", admin="forbidden", kept=".", tcp="."))


def test_header(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A header must say this or begin so, must be there at all, or must not say that; its name's case is nothing.

    Who sends none does not say what is ruled out.
    """
    mesh(
        Access(
            name="when",
            scope=workload("server"),
            rules=(
                when("/value", Condition(key="header:x-team", values=("red", "blue*"))),
                when("/there", Condition(key="header:x-team", values=("*",))),
                when("/other", Condition(key="header:x-team", not_values=("red",))),
            ),
        )
    )
    matrix.requests(
        """
        caller  GET  server:8080/value +red     .
        caller  GET  server:8080/value +named   .
        caller  GET  server:8080/value +blue    .
        caller  GET  server:8080/value +redder  forbidden
        caller  GET  server:8080/value +twice   forbidden
        caller  GET  server:8080/value          forbidden
        caller  GET  server:8080/there +green   .
        caller  GET  server:8080/there          forbidden
        caller  GET  server:8080/other +red     forbidden
        caller  GET  server:8080/other +redder  .
        caller  GET  server:8080/other +twice   .
        caller  GET  server:8080/other          .
        """,
        TEAMS,
    )


def test_http_rules_close_raw_tcp(mesh: Meshes, matrix: MatrixAsker) -> None:
    """An allowed method grants nothing on raw TCP, which has none: the port stays closed, but to whom it is granted."""
    granted = Rule(sources=(THE_CALLER,), operations=(Operation(ports=(9090,)),))
    method = Rule(operations=(Operation(methods=("GET",)),))
    mesh(Access(name="only", scope=workload("server"), rules=(method, granted)))
    matrix.becomes(PORTS.format(http=".", admin=".", kept=".", tcp="reset|closed"))


def test_http_denial_closes_raw_tcp(mesh: Meshes, matrix: MatrixAsker) -> None:
    """A denied method denies raw TCP altogether, since nobody can tell there that it is another one.

    Whom the rule is not for keeps it.
    """
    denied = Rule(sources=(ALL_BUT_THE_CALLER,), operations=(Operation(methods=("POST",)),))
    mesh(Access(name="never", scope=workload("server"), action=Action.DENY, rules=(denied,)))
    matrix.becomes(PORTS.format(http=".", admin=".", kept=".", tcp="reset|closed"))


def test_http_denial_of_one_port_leaves_raw_tcp(mesh: Meshes, matrix: MatrixAsker) -> None:
    """With its port beside it, a denied method leaves raw TCP on other ports as it was."""
    mesh(never(Operation(methods=("GET",), ports=(8081,))))
    matrix.becomes(PORTS.format(http=".", admin="forbidden", kept=".", tcp="."))


def test_the_applications_own_403(mesh: Meshes, matrix: MatrixAsker, caller: Actor) -> None:
    """A 403 of the application is an answer: only the proxy's own is a denial, and they are told apart."""
    mesh(only(Operation(methods=("GET",))))
    matrix.requests("""
        caller  GET   server:8080/status/403  .
        caller  POST  server:8080/status/403  forbidden
    """)
    own = caller.ask(Column(name="server", port=8080, protocol=Protocol.HTTP, url_path="/status/403"))
    assert (own.evidence.http_status, own.evidence.answered_by) == (403, "server")
