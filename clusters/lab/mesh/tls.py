"""TLS of proxies, both directions: what a server demands of its callers, what a caller demands of a server.

What belongs here: transport sockets. What does not: certificates (`ca`), which connections use which socket
(`inbound`, `clusters`).
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from clusters.lab.mesh.bootstrap import IDENTITY, ROOTS, sds
from clusters.lab.mesh.model import TRUST_DOMAIN, Json
from flows.errors import HarnessError

CIPHERS: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
)
"""What Istio's servers take in TLS 1.2; TLS 1.3 has its own."""
MESH_ALPN: Final = ("istio",)
MESH_H2_ALPN: Final = ("istio", "h2")
"""For ports that speak HTTP/2; without Istio's own ALPN filter these two are all that callers offer."""
_CONTEXTS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
_VERSIONS: Final[Json] = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}


def downstream_context() -> Json:
    """The socket of a server that takes only callers with a certificate of its own trust domain."""
    return _socket(
        "DownstreamTlsContext",
        {
            "common_tls_context": {
                "tls_params": _VERSIONS | {"cipher_suites": list(CIPHERS)},
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificate_sds_secret_configs": [sds(IDENTITY)],
                "combined_validation_context": _validation([{"prefix": f"spiffe://{TRUST_DOMAIN}/"}]),
            },
            "require_client_certificate": True,
        },
    )


def upstream_context(*, sni: str, identities: Sequence[str], alpn: Sequence[str] = MESH_ALPN) -> Json:
    """The socket of a caller that shows its own certificate and takes only these servers (ISTIO_MUTUAL).

    Args:
        sni: As `server_name` makes it, unless a rule says otherwise.
        identities: SPIFFE URIs that the server may have; none: any of the mesh's CA, as in Istio.
        alpn: `MESH_ALPN`, or `MESH_H2_ALPN` for ports that speak HTTP/2.
    """
    context: Json = {
        "common_tls_context": {
            "tls_params": _VERSIONS,
            "alpn_protocols": list(alpn),
            "tls_certificate_sds_secret_configs": [sds(IDENTITY)],
            "combined_validation_context": _validation([{"exact": each} for each in identities]),
        },
    }
    return _socket("UpstreamTlsContext", context | ({"sni": sni} if sni else {}))


def simple_context(*, sni: str, names: Sequence[str] = (), alpn: Sequence[str] = ()) -> Json:
    """The socket of a caller without a certificate, for servers of a public authority (mode SIMPLE).

    Such a caller trusts the system's authorities and not the mesh's, so a meshed server is an error to it, as in Istio.

    Args:
        sni: What it asks for.
        names: Subject alternative names that the server may have; none: any.
        alpn: `h2` for ports that speak HTTP/2.
    """
    validation: Json = {"trusted_ca": {"inline_string": system_roots()}}
    if names:
        validation["match_subject_alt_names"] = [{"exact": each} for each in names]
    common: Json = {"tls_params": _VERSIONS, "validation_context": validation}
    if alpn:
        common["alpn_protocols"] = list(alpn)
    return _socket("UpstreamTlsContext", {"common_tls_context": common} | ({"sni": sni} if sni else {}))


def plaintext() -> Json:
    """The socket without TLS."""
    return {
        "name": "envoy.transport_sockets.raw_buffer",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"},
    }


def server_name(host: str, port: int, subset: str = "") -> str:
    """The SNI by which a caller's proxy names what it calls: `outbound_.8080_.v1_.server.shop.svc.cluster.local`."""
    return f"outbound_.{port}_.{subset or ''}_.{host}"


@functools.cache
def system_roots() -> str:
    """This machine's certificate authorities, PEM.

    Raises:
        HarnessError: It has none where OpenSSL looks.
    """
    paths = ssl.get_default_verify_paths()
    for file in (paths.cafile, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"):
        if file and Path(file).is_file():
            return Path(file).read_text(encoding="utf-8")
    raise HarnessError("TLS mode SIMPLE needs this machine's certificate authorities; install ca-certificates")


def _validation(names: Sequence[Json]) -> Json:
    default: Json = {"match_subject_alt_names": list(names)} if names else {}
    return {"default_validation_context": default, "validation_context_sds_secret_config": sds(ROOTS)}


def _socket(kind: str, context: Json) -> Json:
    return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": f"{_CONTEXTS}{kind}"} | context}
