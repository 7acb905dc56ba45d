"""Certificates that tests show: good ones and each false one in its own way, as OpenSSL judges them."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from clusters.mesh.signer import Signer
from fixtures.certificates import Certificates
from flows.errors import HarnessError
from flows.offer import Secret, TlsOffer

IDENTITY = "cluster.local/ns/shop/sa/caller"


@pytest.fixture(scope="module")
def signer() -> Signer:
    """An authority with an RSA key, as Istio's own."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "cluster.local")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    public = made.public_bytes(serialization.Encoding.PEM).decode()
    return Signer(certificate=public, key=Secret(private), roots=public, trust_domain="cluster.local", alpn=("mesh",))


def leaf(offer: TlsOffer) -> x509.Certificate:
    return x509.load_pem_x509_certificate(offer.certificate.encode())


def identities(offer: TlsOffer) -> list[str]:
    names = leaf(offer).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def test_genuine(signer: Signer) -> None:
    offer = Certificates(signer, IDENTITY).genuine()
    leaf(offer).verify_directly_issued_by(x509.load_pem_x509_certificate(signer.certificate.encode()))
    assert identities(offer) == [f"spiffe://{IDENTITY}"]
    assert leaf(offer).not_valid_after_utc > datetime.datetime.now(datetime.UTC)
    assert (offer.ca, offer.alpn) == (signer.roots, ("mesh",))


def test_each_false_one_differs_in_one_thing(signer: Signer) -> None:
    authority, now = x509.load_pem_x509_certificate(signer.certificate.encode()), datetime.datetime.now(datetime.UTC)
    false = Certificates(signer, IDENTITY).false()
    assert false.pop("none").certificate == ""
    with pytest.raises(InvalidSignature):
        leaf(false["another-authority"]).verify_directly_issued_by(authority)
    assert identities(false["another-authority"]) == [f"spiffe://{IDENTITY}"]
    assert {name for name, each in false.items() if leaf(each).not_valid_after_utc < now} == {"expired"}
    assert identities(false["another-trust-domain"]) == ["spiffe://elsewhere.example/ns/shop/sa/caller"]
    assert identities(false["no-identity"]) == []


def test_keys_are_never_shown(signer: Signer) -> None:
    with pytest.raises(HarnessError) as caught:
        Signer(certificate=signer.certificate, key=Secret("BEGIN nothing")).offer(IDENTITY)
    assert "BEGIN" not in str(caught.value)
    assert "PRIVATE" not in repr(signer) + repr(signer.offer(IDENTITY))
