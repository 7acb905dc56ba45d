"""Translations that outlive their backend: UDP has no end, so the kernel must be told to forget them.

What belongs here: which ones (pure), and the netlink messages that delete them. What does not: TCP, whose
connections to a vanished pod end by themselves.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from clusters.lab.addresses import version as family
from clusters.lab.policy.snapshot import Service

NETLINK_NETFILTER: Final = 12
DEADLINE: Final = 5.0
"""Seconds that the kernel may take for one answer; it needs microseconds."""
_SUBSYSTEM: Final = 1 << 8
_GET, _DELETE = _SUBSYSTEM | 1, _SUBSYSTEM | 2
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_NESTED: Final = 0x8000
_TYPE: Final = 0x3FFF
_TUPLE_ORIGINAL, _TUPLE_REPLY = 1, 2
_ADDRESSES, _PROTOCOL = 1, 2
_DESTINATIONS: Final = {4: 2, 16: 4}
"""Bytes of an address → the attribute's number, as linux/netfilter/nfnetlink_conntrack.h has them."""
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_UDP: Final = _ATTRIBUTE.pack(5, 1) + bytes([socket.IPPROTO_UDP])
"""The attribute of a tuple whose protocol is UDP."""


@dataclass(frozen=True, slots=True, order=True)
class Translation:
    """One way that datagrams to a Service took; `address` is empty for a node port: any address of any node."""

    address: str
    port: int
    backend: str
    backend_port: int


def translations(services: Iterable[Service]) -> frozenset[Translation]:
    """Every way that a datagram to a Service can take."""
    return frozenset(
        Translation(address, dialled, backend, number)
        for service in services
        for port in service.ports
        if port.protocol == "udp"
        for backend, number in port.backends
        for address, dialled in (
            *((each, port.port) for each in service.addresses if family(each) == family(backend)),
            *((("", port.node_port),) if port.node_port else ()),
        )
    )


def forget(gone: Iterable[Translation]) -> int:
    """Delete the entries of these translations in this network namespace; how many there were.

    Raises:
        OSError: The kernel gave no proper answer.
    """
    wanted = set(gone)
    signs = {_sign(each.address) if each.address else b"" for each in wanted}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as channel:
        channel.settimeout(DEADLINE)
        channel.bind((0, 0))
        found = [
            (version, original)
            for version in sorted({family(each.backend) for each in wanted})
            for message in list(_ask(channel, _GET, _DUMP, version, b""))
            if _UDP in message and any(sign in message for sign in signs)  # a table has thousands of others
            if (original := _match(message, wanted)) is not None
        ]
        for version, original in found:
            body = _ATTRIBUTE.pack(4 + len(original), _TUPLE_ORIGINAL | _NESTED) + original
            list(_ask(channel, _DELETE, _ACK, version, body))
    return len(found)


def _ask(channel: socket.socket, kind: int, flags: int, version: int, body: bytes) -> Iterator[bytes]:
    number = socket.AF_INET if version == 4 else socket.AF_INET6
    payload = struct.pack("=BBH", number, 0, 0) + body
    channel.send(_HEADER.pack(16 + len(payload), kind, _REQUEST | flags, 1, 0) + payload)
    while True:
        data, start = channel.recv(1 << 18), 0
        while len(data) - start >= 16:
            length, answer, _, _, _ = _HEADER.unpack_from(data, start)
            if answer == _DONE:
                return
            if answer == _ERROR:
                code = -struct.unpack_from("=i", data, start + 16)[0]
                # ENOENT: the entry ended by itself between the dump and now, which is what we want.
                if code and code != 2:
                    raise OSError(code, f"conntrack: {os.strerror(code)}")
                return
            yield data[start + 20 : start + length]
            start += (length + 3) & ~3


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < 4:
            break
        found[kind & _TYPE] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _ends(data: bytes) -> tuple[int, str, int, str, int]:
    """Protocol, source address and port, destination address and port of a tuple."""
    parts = _attributes(data)
    addresses, protocol = _attributes(parts[_ADDRESSES]), _attributes(parts[_PROTOCOL])
    source, target = (str(ipaddress.ip_address(addresses.get(n) or addresses[n + 2])) for n in (1, 2))
    ports = [int.from_bytes(protocol.get(n, b""), "big") for n in (2, 3)]
    return protocol[1][0], source, ports[0], target, ports[1]


def _sign(address: str) -> bytes:
    """The attribute of a tuple that has this address as its destination."""
    packed = ipaddress.ip_address(address).packed
    return _ATTRIBUTE.pack(4 + len(packed), _DESTINATIONS[len(packed)]) + packed


def _match(message: bytes, wanted: set[Translation]) -> bytes | None:
    parts = _attributes(message)
    kind, _, _, address, port = _ends(parts[_TUPLE_ORIGINAL])
    _, backend, backend_port, _, _ = _ends(parts[_TUPLE_REPLY])
    ways = {Translation(each, port, backend, backend_port) for each in (address, "")}
    hit = kind == socket.IPPROTO_UDP and not wanted.isdisjoint(ways)
    return parts[_TUPLE_ORIGINAL] if hit else None
