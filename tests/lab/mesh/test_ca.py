"""The mesh's authority: what its certificates say, and that both sides of TLS take them."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from clusters.lab.mesh.ca import Authority, Issued

IDENTITY = "spiffe://cluster.local/ns/shop/sa/server"
HOUR = datetime.timedelta(hours=1)


def _names(certificate: x509.Certificate) -> x509.Extension[x509.SubjectAlternativeName]:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def _parsed(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.chain.encode())


def test_a_workloads_certificate_names_its_identity_and_nothing_else() -> None:
    certificate = _parsed(Authority.fresh().workload(IDENTITY, HOUR))
    names = _names(certificate)
    assert names.critical
    assert names.value.get_values_for_type(x509.UniformResourceIdentifier) == [IDENTITY]
    assert len(list(names.value)) == 1
    assert not list(certificate.subject)
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(uses) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def test_a_certificate_lives_as_long_as_asked() -> None:
    issued = Authority.fresh().workload(IDENTITY, HOUR)
    certificate, now = _parsed(issued), datetime.datetime.now(datetime.UTC)
    assert certificate.not_valid_before_utc < now < certificate.not_valid_after_utc <= now + HOUR
    assert abs(certificate.not_valid_after_utc.timestamp() - issued.expires) < 1


def test_one_that_is_over_can_be_asked_for() -> None:
    certificate = _parsed(Authority.fresh().workload(IDENTITY, -HOUR))
    assert certificate.not_valid_before_utc < certificate.not_valid_after_utc < datetime.datetime.now(datetime.UTC)


def test_the_root_lives_ten_years_and_signs() -> None:
    root = x509.load_pem_x509_certificate(Authority.fresh().roots.encode())
    assert (root.not_valid_after_utc - datetime.datetime.now(datetime.UTC)).days in {3649, 3650}
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_an_authority_comes_back_from_its_texts(tmp_path: Path) -> None:
    first = Authority.fresh()
    again = Authority(first.roots, first.key)
    assert _shaken(tmp_path, again.server(["istiod.istio-system.svc"]), first.roots) == ""


def test_texts_of_different_authorities_are_refused() -> None:
    with pytest.raises(ValueError, match="the key is not the certificate's"):
        Authority(Authority.fresh().roots, Authority.fresh().key)


def test_a_server_is_taken_under_its_name_by_who_trusts_its_authority(tmp_path: Path) -> None:
    authority = Authority.fresh()
    issued = authority.server(["istiod.istio-system.svc", "istiod-canary.istio-system.svc"])
    assert _shaken(tmp_path, issued, authority.roots, "istiod-canary.istio-system.svc") == ""
    assert "Hostname mismatch" in _shaken(tmp_path, issued, authority.roots, "istiod.shop.svc")
    assert "unable to get local issuer" in _shaken(tmp_path, issued, Authority.fresh().roots)


def _shaken(folder: Path, issued: Issued, roots: str, name: str = "istiod.istio-system.svc") -> str:
    """What a client says to a server with this certificate; empty when it takes it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = folder / "server.pem"
    file.write_text(issued.chain + issued.key, encoding="ascii")
    server.load_cert_chain(file)
    client = ssl.create_default_context(cadata=roots)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (ours, theirs, ours):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
    return ""
