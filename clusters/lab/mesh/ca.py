"""The mesh's certificate authority: roots that outlive istiod, short-lived certificates for workloads.

What belongs here: keys and certificates. What does not: who may have one (`sessions`), where the roots are kept
(`istiod`).
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clusters.lab.mesh.model import TRUST_DOMAIN

ROOT_LIFE: Final = datetime.timedelta(days=3650)
WORKLOAD_LIFE: Final = datetime.timedelta(hours=1)
SERVER_LIFE: Final = datetime.timedelta(days=30)
_SKEW: Final = datetime.timedelta(minutes=2)
"""A certificate begins that much earlier, as Istio's do: clocks differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate with its private key; `expires` in seconds since the epoch."""

    chain: str
    key: str = field(repr=False)
    expires: float


class Authority:
    """Issues certificates under one root.

    Raises:
        ValueError: The PEM texts are no certificate with its key.
    """

    def __init__(self, certificate: str, key: str) -> None:
        self.roots = certificate
        self.key = key
        self._root = x509.load_pem_x509_certificate(certificate.encode())
        loaded = serialization.load_pem_private_key(key.encode(), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.public_key() != self._root.public_key():
            raise ValueError("the key is not the certificate's")
        self._key = loaded

    @staticmethod
    def fresh(life: datetime.timedelta = ROOT_LIFE) -> Authority:
        """A new authority with a root of its own."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, TRUST_DOMAIN)])
        now = _now()
        root = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return Authority(_pem(root), _private(key))

    def workload(self, identity: str, life: datetime.timedelta = WORKLOAD_LIFE) -> Issued:
        """A certificate for a SPIFFE id, good for both ends of a connection."""
        return self._issue([x509.UniformResourceIdentifier(identity)], life, critical=True)

    def server(self, names: Sequence[str], life: datetime.timedelta = SERVER_LIFE) -> Issued:
        """A certificate for a server of these DNS names."""
        return self._issue([x509.DNSName(each) for each in names], life, critical=False)

    def _issue(self, names: Sequence[x509.GeneralName], life: datetime.timedelta, *, critical: bool) -> Issued:
        """Without a subject, as Istio's, so the names must be critical; clients of TLS want a server's otherwise."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = _now()
        ends = min(now + life, self._root.not_valid_after_utc)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, ends) - _SKEW)
            .not_valid_after(ends)
            .add_extension(x509.SubjectAlternativeName(names), critical=critical)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Issued(chain=_pem(certificate), key=_private(key), expires=ends.timestamp())


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=not signs,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _private(key: ec.EllipticCurvePrivateKey) -> str:
    """In PKCS 8, which Envoy and OpenSSL both take."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode()
