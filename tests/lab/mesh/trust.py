"""Certificates for tests: an authority of its own, SPIFFE identities, and the clients and secrets made of them."""

from __future__ import annotations

import datetime
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from clusters.lab.mesh.bootstrap import IDENTITY, ROOTS

_HOUR = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate and its key, PEM."""

    certificate: str
    key: str


class Authority:
    """A certificate authority that signs whatever a test asks for."""

    def __init__(self, name: str = "mesh") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, name)])
        builder = self._builder(self._name, self._key.public_key(), expired=False)
        self._certificate = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True).sign(
            self._key, hashes.SHA256()
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, uri: str, *, expired: bool = False) -> Identity:
        """A certificate with this SPIFFE URI and no subject, as the mesh's own."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([]), key.public_key(), expired=expired)
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        signed = builder.add_extension(names, True).add_extension(uses, False).sign(self._key, hashes.SHA256())
        return Identity(
            certificate=signed.public_bytes(serialization.Encoding.PEM).decode(),
            key=key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
        )

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, expired: bool) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        begin, end = (now - 2 * _HOUR, now - _HOUR) if expired else (now - _HOUR, now + _HOUR)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )


def write_secrets(folder: Path, identity: Identity, roots: str) -> None:
    """The secrets that `bootstrap.sds` names, where `secrets_by_file` says."""
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    chain = {
        "certificate_chain": {"inline_string": identity.certificate},
        "private_key": {"inline_string": identity.key},
    }
    secrets = {
        IDENTITY: {"tls_certificate": chain},
        ROOTS: {"validation_context": {"trusted_ca": {"inline_string": roots}}},
    }
    for name, secret in secrets.items():
        found = {"resources": [{"@type": kind, "name": name} | secret]}
        _file(folder, name).write_text(json.dumps(found), encoding="utf-8")


def secrets_by_file(config: Any, folder: Path) -> Any:
    """The same JSON with each secret read from the folder, since no agent is there to be asked."""
    if isinstance(config, dict):
        changed = {key: secrets_by_file(each, folder) for key, each in config.items()}
        if "sds_config" in changed:
            source = {"path_config_source": {"path": str(_file(folder, changed["name"]))}, "resource_api_version": "V3"}
            changed["sds_config"] = source
        return changed
    return [secrets_by_file(each, folder) for each in config] if isinstance(config, list) else config


def _file(folder: Path, name: str) -> Path:
    return folder / f"secret-{name}.json"


def client_context(
    folder: Path, authority: Authority, identity: Identity | None, alpn: Sequence[str] = ("istio",)
) -> ssl.SSLContext:
    """What a caller's proxy uses: the server's name is in no certificate, its authority is checked."""
    context = ssl.create_default_context(cadata=authority.pem)
    context.check_hostname = False
    context.set_alpn_protocols(list(alpn))
    if identity:
        file = folder / "client.pem"
        file.write_text(identity.certificate + identity.key, encoding="utf-8")
        context.load_cert_chain(file)
    return context
