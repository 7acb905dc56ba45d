"""The handshake: which certificates a strict server takes, and which version and cipher it agrees on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.certificates import Certificates
from fixtures.mesh import Meshes, Mode, Mtls, namespace
from fixtures.table import Column
from flows.errors import InconclusiveError
from flows.model import Protocol, answered, tls_refused

STRICT = """
            server:8080/http@dns  server:9090@dns
caller      .                     .
intruder    reset                 reset
"""
HTTP = Column(name="server", port=8080, protocol=Protocol.HTTP)
TCP = Column(name="server", port=9090)
CIPHERS = {
    "1.2": {
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
    },
    "1.3": {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
}
"""What may be agreed on: forward secrecy and authenticated encryption only."""
ALERT = "ALERT_PROTOCOL_VERSION"
"""How a caller's library calls the alert of a server to which the version is too old; its own failures differ."""


@pytest.fixture
def certificates(mesh: Meshes) -> Certificates:
    """Genuine and false ones, in the caller's name."""
    return Certificates(mesh.signer(), mesh.identity("caller"))


@pytest.fixture
def strict(mesh: Meshes, matrix: MatrixAsker) -> None:
    """Everybody takes mutual TLS only."""
    mesh(Mtls(scope=namespace(), mode=Mode.STRICT))
    matrix.becomes(STRICT)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("target", [HTTP, TCP], ids=["http", "tcp"])
def test_only_certificates_of_the_mesh(
    certificates: Certificates, intruder: Actor, server: Actor, target: Column
) -> None:
    """False certificates are refused, and so is a caller that shows none; one of the mesh is taken."""
    refused = {
        name: intruder.ask(replace(target, tls=offer, variant=name)) for name, offer in certificates.false().items()
    }
    taken = intruder.ask(replace(target, tls=certificates.genuine(), variant="genuine"))
    assert taken == answered()
    assert {name: str(each.kind) for name, each in refused.items() if each != tls_refused()} == {}
    heard = server.heard(taken.nonce, *(each.nonce for each in refused.values()))
    assert taken.nonce in heard, "the journal lacks what was answered, so it proves nothing"
    assert [name for name, each in refused.items() if each.nonce in heard] == []


@pytest.mark.usefixtures("strict")
def test_both_ends_are_proved(mesh: Meshes, certificates: Certificates, intruder: Actor) -> None:
    """In one handshake the server sees the identity of the caller's certificate, and the caller the server's."""
    verdict = intruder.ask(replace(HTTP, tls=certificates.genuine(), variant="genuine"))
    assert verdict.evidence.identity == mesh.identity("caller")
    assert verdict.evidence.tls_peer == (f"spiffe://{mesh.identity('server')}",)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_version_and_cipher(certificates: Certificates, intruder: Actor, version: str) -> None:
    """TLS 1.2 and 1.3 are agreed on when asked for, each with a cipher that keeps what was said secret for good."""
    offer = replace(certificates.genuine(), minimum=version, maximum=version)
    verdict = intruder.ask(replace(HTTP, tls=offer, variant=f"tls-{version}"))
    assert verdict == answered()
    assert verdict.evidence.tls_version == f"TLSv{version}"
    assert verdict.evidence.tls_cipher in CIPHERS[version]


@pytest.mark.usefixtures("strict")
def test_old_version_is_refused(certificates: Certificates, intruder: Actor) -> None:
    """A caller that knows nothing newer than TLS 1.1 is refused, by an alert of the server's own."""
    offer = replace(certificates.genuine(), minimum="1.1", maximum="1.1")
    verdict = intruder.ask(replace(HTTP, tls=offer, variant="tls-1.1"))
    assert verdict == tls_refused()
    if ALERT not in verdict.evidence.detail:
        raise InconclusiveError(
            f"{verdict.flow}: refused ({verdict.evidence.detail or verdict.kind}), but not by the server's alert; "
            "use an image for the agents whose TLS library still speaks TLS 1.1"
        )
