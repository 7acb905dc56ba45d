"""Credentials of an API server on this machine's loopback, for which nobody needs the official client.

What belongs here: telling such a kubeconfig, and what it says. What does not: connections (`api`).
"""

from __future__ import annotations

import base64
import re
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from urllib3 import PoolManager


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """The official client's configuration, as far as a token and an authority need one."""

    host: str
    token: str = field(repr=False)
    ca_cert_data: str
    proxy: str = ""
    tls_server_name: str = ""
    verify_ssl: bool = True
    ssl_ca_cert: None = None
    cert_file: None = None
    key_file: None = None

    def pool(self, size: int) -> PoolManager:
        """Connections that trust the authority alone."""
        from urllib3 import PoolManager

        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trust.load_verify_locations(cadata=self.ca_cert_data)
        return PoolManager(maxsize=size, ssl_context=trust)

    def auth_settings(self) -> dict[str, dict[str, str]]:
        """Who we are, in the official client's shape."""
        return {"BearerToken": {"in": "header", "key": "authorization", "value": f"Bearer {self.token}"}}


def of_this_machine(kubeconfig: dict[str, Any], context: str) -> Bearer | None:
    """The settings for an API server on loopback that wants a token and nothing else; None for every other one.

    The embedded cluster's kubeconfig is such a one, and importing the official client takes longer than its start.
    """
    name = context or kubeconfig.get("current-context")
    try:
        chosen = next(each["context"] for each in kubeconfig["contexts"] if each["name"] == name)
        server = next(each["cluster"] for each in kubeconfig["clusters"] if each["name"] == chosen["cluster"])
        user = next(each["user"] for each in kubeconfig["users"] if each["name"] == chosen["user"])
        plain = set(server) == {"server", "certificate-authority-data"} and set(user) == {"token"}
        if plain and re.fullmatch(r"https://127\.0\.0\.1:\d+", server["server"]):
            authority = base64.b64decode(server["certificate-authority-data"]).decode("ascii")
            return Bearer(host=server["server"], token=user["token"], ca_cert_data=authority)
    except (KeyError, TypeError, ValueError, StopIteration):
        return None  # the official client says what is wrong with it
    return None
