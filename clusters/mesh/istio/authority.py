"""Istio's certificate authority, as the cluster keeps it.

What belongs here: where its key and certificates are, and Istio's words in a handshake and a header. What does not:
issuing (`clusters.mesh.signer`).
"""

from __future__ import annotations

import base64
from typing import Final

from clusters.kube import Kube, KubeError
from clusters.mesh.signer import Signer
from flows.errors import HarnessError
from flows.offer import Secret

_SECRETS: Final = ("cacerts", "istio-ca-secret")
"""The operator's own authority, which Istio takes where it is there, before the one that Istio made itself."""
_ALPN: Final = ("istio", "http/1.1")
"""Without the first, a server that takes both has the connection for an application's own TLS."""
_NOT_FOUND: Final = 404


def signer(kube: Kube, root: str, trust_domain: str) -> Signer:
    """The authority whose certificates the mesh's proxies take.

    Args:
        root: The namespace of the control plane.

    Raises:
        HarnessError: Its key is not in the cluster, or these credentials may not read it.
    """
    for name in _SECRETS:
        try:
            data = kube.get("v1", "Secret", name, root).get("data") or {}
        except KubeError as error:
            if error.status == _NOT_FOUND:
                continue
            raise HarnessError(f"the mesh's authority: secret {root}/{name}: {error.message}") from error
        text = {key: base64.b64decode(value).decode() for key, value in data.items()}
        if not text.get("ca-cert.pem") or not text.get("ca-key.pem"):
            raise HarnessError(f"the mesh's authority: secret {root}/{name} has no ca-cert.pem or no ca-key.pem")
        issued = text["ca-cert.pem"] != text.get("root-cert.pem", text["ca-cert.pem"])
        return Signer(
            certificate=text["ca-cert.pem"],
            key=Secret(text["ca-key.pem"]),
            chain=text.get("cert-chain.pem") or (text["ca-cert.pem"] if issued else ""),
            roots=text.get("root-cert.pem") or text["ca-cert.pem"],
            trust_domain=trust_domain,
            alpn=_ALPN,
        )
    raise HarnessError(f"the mesh's authority: {root} has no secret {' or '.join(_SECRETS)}; its key is elsewhere")


def claim(identity: str) -> tuple[tuple[str, str], ...]:
    """The header by which a proxy tells an application who calls, as an impostor would write it himself."""
    return (("x-forwarded-client-cert", f'By=spiffe://{identity};Hash=00;Subject="";URI=spiffe://{identity}'),)


def lifetime(seconds: float) -> dict[str, str]:
    """Annotations of a pod whose proxy asks for certificates that live no longer."""
    asked = f'{{"proxyMetadata": {{"SECRET_TTL": "{seconds:g}s"}}}}'
    return {"proxy.istio.io/config": asked}
