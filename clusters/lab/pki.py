"""The lab's trust: one certificate authority, the API server's certificate, and the tokens that open it.

What belongs here: keys, certificates, TLS contexts, the kubeconfig. What does not: who may do what (`api.auth`). No key
ever reaches a disk: OpenSSL wants a file, so it is given a memfd.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
import secrets
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clusters.lab import addresses

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

CONTEXT = "eastwest-lab"
"""Name of the one context in the lab's kubeconfig."""
SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{addresses.CLUSTER_DOMAIN}",
)
_LIFETIME = datetime.timedelta(days=30)
_SKEW = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Everything that proves identity in one lab; it lives in memory only.

    Attributes:
        ca_pem: The certificate that clients trust.
        certificate_pem: The API server's certificate; `key_pem` is its private key.
        admin_token: The bearer token of the kubeconfig; `node_token` that of nodes and controllers.
        signing_secret: Signs ServiceAccount tokens.
    """

    ca_pem: str
    certificate_pem: str = field(repr=False)
    key_pem: str = field(repr=False)
    admin_token: str = field(repr=False)
    node_token: str = field(repr=False)
    signing_secret: bytes = field(repr=False)


def make_authority(extra_sans: Iterable[str] = ()) -> Authority:
    """A fresh authority whose server certificate covers every way to reach the API server.

    Args:
        extra_sans: Further host names or addresses for the certificate.
    """
    # Only the process that makes an authority pays for this import; every process of a lab imports this module.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "eastwest-lab-ca")])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    authority_key_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(authority_key_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    plan = addresses.EVERY
    places = ["127.0.0.1", "::1", *SERVER_NAMES, *plan.control_plane, *plan.api_service, *extra_sans]
    certificate = (
        _certificate(name, ca_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_san(each) for each in dict.fromkeys(places)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_key_id), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Authority(
        ca_pem=ca.public_bytes(serialization.Encoding.PEM).decode(),
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key_pem=private.decode(),
        admin_token=secrets.token_urlsafe(24),
        node_token=secrets.token_urlsafe(24),
        signing_secret=secrets.token_bytes(32),
    )


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFETIME)
    )


def _san(place: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(place))
    except ValueError:
        return x509.DNSName(place)


def server_tls(authority: Authority) -> ssl.SSLContext:
    """The API server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    fd = os.memfd_create("eastwest-key", os.MFD_CLOEXEC)
    try:
        os.write(fd, (authority.certificate_pem + authority.key_pem).encode())
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    return context


def client_tls(ca_pem: str) -> ssl.SSLContext:
    """A client's side of TLS that trusts this authority and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca_pem)
    return context


def kubeconfig(authority: Authority, url: str, name: str = "lab") -> dict[str, Any]:
    """A kubeconfig for the admin, certificates inline, with the single context `eastwest-lab`."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {
                    "server": url,
                    "certificate-authority-data": base64.b64encode(authority.ca_pem.encode()).decode(),
                },
            }
        ],
        "users": [{"name": f"{name}-admin", "user": {"token": authority.admin_token}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": name, "user": f"{name}-admin"}}],
        "current-context": CONTEXT,
    }
