"""What callers' proxies send: an identity that nobody can claim, nothing in plaintext, and rules that disagree."""

from __future__ import annotations

import pytest

from fixtures import table
from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.mesh import Access, ClientMode, ClientTls, Meshes, Mode, Mtls, Rule, Source, namespace, workload
from fixtures.table import Column
from fixtures.wire import Wire
from flows.model import Path, Protocol, answered, unavailable

OPEN = """
            server:8080/http@dns  server:9090@dns
caller      .                     .
peer        .                     .
scraper     .                     .
intruder    .                     .
"""
HTTP, TCP = "server:8080/http@dns", "server:9090@dns"


@pytest.fixture
def answered_before(matrix: MatrixAsker) -> None:
    """Everybody has been answered by the server before anything is asked of it: the positive control."""
    matrix.baseline(table.read(OPEN))


def claiming(mesh: Meshes, name: str) -> Column:
    """A request whose sender writes a workload's identity into it himself."""
    headers = mesh.claim(name)
    return Column(
        name="server", port=8080, protocol=Protocol.HTTP, path=Path.DNS, headers=headers, variant=f"as-{name}"
    )


@pytest.mark.usefixtures("answered_before")
def test_server_sees_who_calls(mesh: Meshes, caller: Actor, scraper: Actor) -> None:
    """The server's application is told its caller's own identity, whoever calls."""
    assert caller.call(HTTP).evidence.identity == mesh.identity("caller")
    assert scraper.call(HTTP).evidence.identity == mesh.identity("scraper")


@pytest.mark.usefixtures("answered_before")
def test_naked_caller_has_no_identity(intruder: Actor) -> None:
    """Without a proxy a caller is answered, in permissive mode, and is nobody."""
    verdict = intruder.call(HTTP)
    assert verdict == answered()
    assert verdict.evidence.identity == ""


@pytest.mark.usefixtures("answered_before")
def test_identity_cannot_be_claimed(mesh: Meshes, intruder: Actor, scraper: Actor) -> None:
    """Who writes another's identity into his request is nobody without a proxy, and himself with one."""
    nobody, himself = intruder.ask(claiming(mesh, "caller")), scraper.ask(claiming(mesh, "caller"))
    assert nobody == answered()
    assert himself == answered()
    assert (nobody.evidence.identity, himself.evidence.identity) == ("", mesh.identity("scraper"))
    assert mesh.identity("caller") not in repr(nobody.evidence.request_headers)


def test_identity_on_raw_tcp(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Raw TCP carries the identity too: the server's proxy tells one certificate's owner from another's."""
    callers = (Rule(sources=(Source(identities=("caller",)),)),)
    mesh(Access(name="caller-alone", scope=workload("server"), rules=callers))
    matrix.becomes("""
                server:9090@dns
    caller      .
    scraper     reset|closed
    intruder    reset|closed
    """)
    assert mesh.proxy("caller").identity == mesh.identity("caller")


@pytest.mark.checks("plaintext")
@pytest.mark.usefixtures("answered_before")
def test_nothing_in_plaintext(wire: Wire, caller: Actor, peer: Actor, intruder: Actor) -> None:
    """Between pods with proxies nobody on the wire reads a word; of a caller without a proxy everything is read."""
    meshed = [each.call(target) for each in (caller, peer) for target in (HTTP, TCP)]
    naked = [intruder.call(TCP), intruder.call(HTTP)]
    assert [*meshed, *naked] == [answered()] * 6
    assert wire.read(*meshed, *naked, control=naked[-1]) == naked


@pytest.mark.usefixtures("answered_before")
def test_own_address_is_plaintext(wire: Wire, caller: Actor, intruder: Actor) -> None:
    """A trap: HTTP that dials a pod's own address, and not its Service, is not secured: all of it can be read."""
    dialled = caller.call("server:8080/http")
    control = intruder.call(HTTP)
    assert dialled == answered()
    assert dialled.evidence.identity == ""
    assert wire.read(dialled, control=control) == [dialled]


def test_own_address_is_refused(mesh: Meshes, matrix: MatrixAsker, caller: Actor) -> None:
    """The same trap under strict: HTTP to its pod's own address is unavailable even to callers with a proxy.

    Raw TCP is secured on that way, as long as a headless Service makes the pods' addresses known to callers' proxies.
    """
    mesh(Mtls(scope=namespace(), mode=Mode.STRICT))
    matrix.becomes("""
                server:8080/http@dns  server:9090@dns  server:8080/http  server:9090
    caller      .                     .                unavailable       .
    """)
    verdict = caller.call("server:8080/http")
    assert verdict == unavailable()
    assert "plaintext" in mesh.culprit(verdict)


def test_mutual_tls_to_a_naked_server(mesh: Meshes, matrix: MatrixAsker, caller: Actor, intruder: Actor) -> None:
    """A rule for all hosts that asks for mutual TLS makes servers without a proxy unavailable, and it is blamed."""
    rule = mesh(ClientTls(pattern="*.local", mode=ClientMode.MUTUAL))
    matrix.becomes("""
                server:8080/http@dns  intruder:8080/http@dns
    caller      .                     #
    """)
    verdict = caller.call("intruder:8080/http@dns")
    assert verdict == unavailable()
    assert not intruder.heard(verdict.nonce)
    assert rule.names[0] in mesh.culprit(verdict)


def test_plaintext_to_a_strict_server(mesh: Meshes, matrix: MatrixAsker, caller: Actor) -> None:
    """A rule that sends plaintext to a strict server makes it unavailable to callers with a proxy, and it is blamed."""
    mesh(Mtls(scope=workload("server"), mode=Mode.STRICT))
    rule = mesh(ClientTls(to="server", mode=ClientMode.DISABLE))
    matrix.becomes("""
                server:8080/http@dns  server:9090@dns  peer:8080/http@dns
    caller      unavailable           reset            .
    """)
    verdict = caller.call(HTTP)
    assert verdict == unavailable()
    assert rule.names[0] in mesh.culprit(verdict)
