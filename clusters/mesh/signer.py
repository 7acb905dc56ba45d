"""`Signer`: an authority that issues certificates with identities, a mesh's own or one that nobody trusts.

What belongs here: making certificates. What does not: where a mesh keeps its key (its dialect), who accepts what.
No key is ever written or shown: it travels as a `Secret`.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from flows.errors import HarnessError
from flows.offer import Secret, TlsOffer

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

LIFETIME: Final = 600.0
"""Seconds that a certificate is good for, unless somebody says otherwise."""
_SKEW: Final = datetime.timedelta(minutes=5)
"""Certificates begin this much earlier: clocks differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """An authority.

    Attributes:
        certificate: Of the authority itself, PEM; `key` is its private key, PEM.
        chain: What a leaf is sent with (intermediates), PEM; `roots` is what verifies a server of the mesh.
        trust_domain: Of the identities that the mesh gives.
        alpn: What a proxy of this mesh offers, without which a server may take the connection for an application's own.
    """

    certificate: str
    key: Secret
    chain: str = ""
    roots: str = ""
    trust_domain: str = ""
    alpn: tuple[str, ...] = ()

    def offer(self, identity: str, *, lifetime: float = LIFETIME) -> TlsOffer:
        """What a caller of this identity (no scheme; empty: a certificate without one) shows and expects.

        Args:
            lifetime: Seconds from now; a negative one makes a certificate that has expired.

        Raises:
            HarnessError: The authority's key or certificate cannot be read.
        """
        certificate, key = self._issue(identity, lifetime)
        return TlsOffer(certificate=certificate + self.chain, key=key, ca=self.roots, alpn=self.alpn)

    def bare(self) -> TlsOffer:
        """What a caller shows that has no certificate at all."""
        return TlsOffer(ca=self.roots, alpn=self.alpn)

    def stranger(self) -> Signer:
        """Another authority of the same name and with the same kind of key, which nobody trusts."""
        own, own_key = self._own()
        key = _like(own_key)
        made = _unsigned(own.subject, own.subject, key.public_key(), 3600.0, authority=True)
        return Signer(
            certificate=_pem(_signed(made, key)),
            key=_private(key),
            roots=self.roots,
            trust_domain=self.trust_domain,
            alpn=self.alpn,
        )

    def _own(self) -> tuple[x509.Certificate, Key]:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization

        try:
            certificate = x509.load_pem_x509_certificate(self.certificate.encode())
            key = serialization.load_pem_private_key(self.key.reveal().encode(), password=None)
        except ValueError:
            # Nothing of the cause: its words may quote the key.
            raise HarnessError("the mesh's authority: its certificate or key is no PEM that can be read") from None
        return certificate, cast("Key", key)

    def _issue(self, identity: str, lifetime: float) -> tuple[str, Secret]:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        own, own_key = self._own()
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"spiffe://{identity}")] if identity else []
        made = _unsigned(x509.Name([]), own.subject, key.public_key(), lifetime, authority=False)
        made = made.add_extension(
            x509.SubjectAlternativeName(names or [x509.DNSName("nobody.invalid")]), critical=True
        ).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
            critical=False,
        )
        return _pem(_signed(made, own_key)), _private(key)


def _like(other: Key) -> Key:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(other, rsa.RSAPrivateKey):
        return rsa.generate_private_key(65537, other.key_size)
    return ec.generate_private_key(other.curve)


def _unsigned(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    lifetime: float,
    *,
    authority: bool,
) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    end = now + datetime.timedelta(seconds=lifetime)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - _SKEW)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )


def _signed(made: x509.CertificateBuilder, key: Key) -> x509.Certificate:
    from cryptography.hazmat.primitives import hashes

    return made.sign(key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _private(key: Key) -> Secret:
    from cryptography.hazmat.primitives import serialization

    form = serialization.PrivateFormat.PKCS8
    return Secret(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode())
