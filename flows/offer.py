"""A caller's own TLS: what it offers in the handshake, with a private key that nothing shows.

What belongs here: the offer as a value. What does not: the handshake (`agent`), certificates (whoever issues them).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class Secret:
    """A text that no repr, JSON or report shows; `reveal` is the only way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "«secret»"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def reveal(self) -> str:
        """The text itself, for the one who must use it."""
        return self._text


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOffer:
    """What a caller without a proxy says in a TLS handshake of its own: which certificate, to which name, how.

    Attributes:
        certificate: PEM, the leaf first; empty to present none. `key` is its private key, PEM.
        ca: PEM to verify the server's certificate with (its chain, not its name: mesh certificates name a URI); empty
            takes any server.
        server_name: What is sent as SNI; empty sends none.
        alpn: Application protocols offered, the most wanted first.
        minimum: Oldest TLS version offered, `1.2`; `maximum` the newest; empty leaves it to the library.
    """

    certificate: str = ""
    key: Secret = field(default_factory=lambda: Secret(""))
    ca: str = ""
    server_name: str = ""
    alpn: tuple[str, ...] = ()
    minimum: str = ""
    maximum: str = ""

    def record(self) -> dict[str, Any]:
        """What a report may show: whether a certificate is presented and the server verified, but neither of them."""
        return {
            "certificate": bool(self.certificate),
            "verifies": bool(self.ca),
            "server_name": self.server_name,
            "alpn": list(self.alpn),
            "minimum": self.minimum,
            "maximum": self.maximum,
        }
