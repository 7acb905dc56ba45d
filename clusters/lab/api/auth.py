"""Who asks, and whether they may: bearer tokens, ServiceAccount tokens, and the lab's small rule book."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

from clusters.lab.api import resources
from clusters.lab.api.resources import ResourceType
from clusters.lab.api.status import StatusError, forbidden
from clusters.lab.pki import Authority

Object = dict[str, Any]
ISSUER = "https://kubernetes.default.svc.cluster.local"
OPEN_PATHS = ("/healthz", "/readyz", "/livez", "/version")
"""Paths that need no token, as in a default cluster."""
_READING = {"get", "list", "watch"}


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who asks.

    Attributes:
        namespace: A ServiceAccount's namespace; empty for admin and nodes, who may do everything.
    """

    name: str
    groups: tuple[str, ...]
    namespace: str = ""
    uid: str = ""


_ADMIN = User(name="kubernetes-admin", groups=("system:masters", "system:authenticated"))
_NODE = User(name="system:node", groups=("system:nodes", "system:masters", "system:authenticated"))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def issue_token(
    authority: Authority, account: Object, *, seconds: int, audiences: list[str], bound: Object | None = None
) -> tuple[str, float]:
    """A signed token for a ServiceAccount object, and the time (Unix) at which it ends."""
    meta, now = account["metadata"], int(time.time())
    claims: Object = {
        "aud": audiences or [ISSUER],
        "exp": now + seconds,
        "iat": now,
        "iss": ISSUER,
        "jti": str(uuid.uuid4()),
        "kubernetes.io": {
            "namespace": meta["namespace"],
            "serviceaccount": {"name": meta["name"], "uid": meta["uid"]},
            **({bound["kind"].lower(): {"name": bound.get("name", ""), "uid": bound.get("uid", "")}} if bound else {}),
        },
        "nbf": now,
        "sub": f"system:serviceaccount:{meta['namespace']}:{meta['name']}",
    }
    header = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = f"{header}.{_encode(json.dumps(claims).encode())}"
    return f"{signed}.{_signature(authority, signed)}", float(now + seconds)


def _signature(authority: Authority, signed: str) -> str:
    return _encode(hmac.digest(authority.signing_secret, signed.encode(), hashlib.sha256))


def authenticate(authority: Authority, header: str) -> User:
    """The user behind an `Authorization` header.

    Raises:
        StatusError: 401; no token, or not one of ours.
    """
    scheme, _, token = header.partition(" ")
    if scheme.lower() == "bearer" and token:
        token = token.strip()
        if hmac.compare_digest(token.encode(), authority.admin_token.encode()):
            return _ADMIN
        if hmac.compare_digest(token.encode(), authority.node_token.encode()):
            return _NODE
        if (claims := claims_of(authority, token)) and ISSUER in claims["aud"]:
            return account_of(claims)
    raise StatusError(401, "Unauthorized", "Unauthorized")


def claims_of(authority: Authority, token: str) -> Object | None:
    """What a ServiceAccount token says, for whatever audience; None when it is not ours or over."""
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature.encode(), _signature(authority, signed).encode()):
        return None
    try:
        claims: Object = json.loads(_decode(signed.partition(".")[2]))
    except (ValueError, binascii.Error):
        return None
    return None if claims["exp"] < time.time() else claims


def account_of(claims: Object) -> User:
    """The ServiceAccount behind a token."""
    who = claims["kubernetes.io"]
    namespace = str(who["namespace"])
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(name=claims["sub"], groups=groups, namespace=namespace, uid=who["serviceaccount"]["uid"])


_CONTROL_PLANE = "system:serviceaccount:istio-system:istiod"
_CONTROL_PLANE_WRITES = {"configmaps", "events", "leases", "secrets", "tokenreviews", "mutatingwebhookconfigurations"}


def may(user: User, verb: str, plural: str = "") -> bool:
    """Whether the rule book lets the user do this.

    Admin and nodes may everything, ServiceAccounts of kube-system read; a mesh's control plane reads and keeps what
    is its own.
    """
    if not user.namespace or (user.namespace == "kube-system" and verb in _READING):
        return True
    return user.name.startswith(_CONTROL_PLANE) and (verb in _READING or plural in _CONTROL_PLANE_WRITES)


def authorize(user: User, verb: str, resource: ResourceType, namespace: str, name: str, subresource: str) -> None:
    """Pass, or refuse as Kubernetes' RBAC words it.

    Raises:
        StatusError: 403.
    """
    if may(user, verb, resource.plural) or resource in {resources.ACCESS_REVIEWS, resources.SELF_REVIEWS}:
        return
    what = f"{resource.plural}/{subresource}" if subresource else resource.plural
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {verb} resource "{what}" in API group "{resource.group}" {where}'
    raise forbidden(resource, name, why)
