"""The lab's cluster DNS: `python3 -m clusters.lab.dns` in a pod of kube-system, an ordinary client of the API.

What belongs here: names of Services and of headless pods, and the two transports. What does not: any upstream,
because the lab has no network outside: names that are not the cluster's are *refused*.

Answers follow CoreDNS's kubernetes plugin: authoritative, a TTL of 5 s; a name that exists without records of the asked
type is an empty answer, any other name of the zone is NXDOMAIN, and so is a headless Service without a ready pod.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import random
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Final, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from clusters.lab.addresses import CLUSTER_DOMAIN
from clusters.lab.client import ENDPOINT_SLICES, NAMESPACES, SERVICES, Client, Informer, Object, in_cluster

TTL: Final = 5
"""Seconds; CoreDNS's kubernetes plugin gives the same by default."""
PORT: Final = 53
READY_PORT: Final = 8181
"""Where `/ready` answers 200 once everything is synced, as CoreDNS's ready plugin does."""
IDLE: Final = 10.0
"""Seconds that a TCP connection may be silent."""
_MOST_SAID = 4096
_PLAIN_UDP: Final = 512
_REVERSE: Final = ("in-addr.arpa", "ip6.arpa")
_SOA: Final = f"ns.dns.{CLUSTER_DOMAIN}. hostmaster.{CLUSTER_DOMAIN}. 1 7200 1800 86400 {TTL}"


class Zone:
    """Every name of the cluster with its records, built at once from the API's objects.

    Names are in lower case without the last dot; a name without records is there because something is below it.
    """

    def __init__(self, services: Iterable[Object], slices: Iterable[Object], namespaces: Iterable[Object]) -> None:
        self._names: dict[str, dict[str, list[str]]] = {}
        self._namespaces = {each["metadata"]["name"] for each in namespaces}
        self._add(CLUSTER_DOMAIN, "SOA", _SOA)
        self._add(CLUSTER_DOMAIN, "NS", f"ns.dns.{CLUSTER_DOMAIN}.")
        self._add(f"dns-version.{CLUSTER_DOMAIN}", "TXT", '"1.1.0"')
        for name in self._namespaces:
            self._touch(f"{name}.svc.{CLUSTER_DOMAIN}")
            self._touch(f"{name}.pod.{CLUSTER_DOMAIN}")
        endpoints: dict[tuple[str, str], list[Object]] = {}
        for each in slices:
            meta = each["metadata"]
            owner = (meta.get("labels") or {}).get("kubernetes.io/service-name", "")
            endpoints.setdefault((meta.get("namespace", ""), owner), []).append(each)
        for each in services:
            self._service(each, endpoints.get((each["metadata"].get("namespace", ""), each["metadata"]["name"]), []))

    def records(self, name: str, kind: str) -> tuple[str, list[str]] | None:
        """Type and texts of what answers; no texts where the name has no such record, None without such a name."""
        held = self._names.get(name)
        if held is None:
            return self._pod(name, kind)
        if kind not in held and "CNAME" in held:
            return "CNAME", held["CNAME"]
        return kind, held.get(kind, [])

    def _service(self, obj: Object, slices: list[Object]) -> None:
        meta, spec = obj["metadata"], obj.get("spec", {})
        name = f"{meta['name']}.{meta.get('namespace', '')}.svc.{CLUSTER_DOMAIN}"
        if spec.get("type") == "ExternalName":
            self._add(name, "CNAME", spec["externalName"].rstrip(".") + ".")
            return
        addresses = [each for each in spec.get("clusterIPs") or [spec.get("clusterIP")] if each and each != "None"]
        for address in addresses:
            self._address(name, address)
            self._add(ipaddress.ip_address(address).reverse_pointer, "PTR", f"{name}.")
            if (meta.get("namespace"), meta["name"]) == ("kube-system", "kube-dns"):
                self._address(f"ns.dns.{CLUSTER_DOMAIN}", address)
        if addresses:
            for port in spec.get("ports") or []:
                self._srv(name, port, f"{name}.")
        self._endpoints(name, slices, headless=not addresses)

    def _endpoints(self, name: str, slices: list[Object], *, headless: bool) -> None:
        for each in slices:
            for endpoint in each.get("endpoints") or []:
                if (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                for address in endpoint.get("addresses") or []:
                    host = endpoint.get("hostname") or address.replace(".", "-").replace(":", "-")
                    own = f"{host}.{name}"
                    self._address(own, address)
                    self._add(ipaddress.ip_address(address).reverse_pointer, "PTR", f"{own}.")
                    if headless:
                        self._address(name, address)
                        for port in each.get("ports") or []:
                            self._srv(name, port, f"{own}.")

    def _srv(self, name: str, port: Object, target: str) -> None:
        text = f"0 100 {port['port']} {target}"
        self._add(name, "SRV", text)
        if port.get("name"):
            self._add(f"_{port['name']}._{port.get('protocol', 'TCP').lower()}.{name}", "SRV", text)

    def _address(self, name: str, address: str) -> None:
        self._add(name, "A" if ipaddress.ip_address(address).version == 4 else "AAAA", address)

    def _add(self, name: str, kind: str, text: str) -> None:
        texts = self._touch(name.lower()).setdefault(kind, [])
        if text not in texts:
            texts.append(text)

    def _touch(self, name: str) -> dict[str, list[str]]:
        above = name
        while above not in self._names:
            self._names[above] = {}
            _, dot, rest = above.partition(".")
            if not dot or rest in _REVERSE or above == CLUSTER_DOMAIN:
                break
            above = rest
        return self._names[name]

    def _pod(self, name: str, kind: str) -> tuple[str, list[str]] | None:
        """`10-244-0-2.NAMESPACE.pod…` says its own address, as CoreDNS's `pods insecure` has it."""
        host, _, rest = name.partition(".")
        namespace, _, domain = rest.partition(".")
        if domain != f"pod.{CLUSTER_DOMAIN}" or namespace not in self._namespaces:
            return None
        for text in (host.replace("-", "."), host.replace("-", ":")):
            with contextlib.suppress(ValueError):
                own = "A" if ipaddress.ip_address(text).version == 4 else "AAAA"
                return kind, [text] if own == kind else []
        return None


def answer(zone: Zone, query: dns.message.Message) -> dns.message.Message:
    """The response to a query, of whatever size."""
    response = dns.message.make_response(query, our_payload=1232)
    if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
        response.set_rcode(dns.rcode.NOTIMP)
        return response
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    apex = next((each for each in (CLUSTER_DOMAIN, *_REVERSE) if name == each or name.endswith(f".{each}")), "")
    if not apex or question.rdclass != dns.rdataclass.IN:
        response.set_rcode(dns.rcode.REFUSED)
        return response
    response.flags |= dns.flags.AA
    found = zone.records(name, dns.rdatatype.to_text(question.rdtype))
    if found is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
    if not found or not found[1]:
        response.authority.append(dns.rrset.from_text(f"{apex}.", TTL, "IN", "SOA", _SOA))
        return response
    kind, texts = found
    response.answer.append(dns.rrset.from_text(question.name, TTL, "IN", kind, *random.sample(texts, len(texts))))
    if kind == "SRV":
        for target in dict.fromkeys(each.split()[-1] for each in texts):
            for family in ("A", "AAAA"):
                extra = zone.records(target.rstrip("."), family)
                if extra and extra[1]:
                    response.additional.append(dns.rrset.from_text(target, TTL, "IN", family, *extra[1]))
    return response


class Server:
    """Answers on UDP and TCP from what the informers have; the zone is rebuilt when asked after a change."""

    def __init__(self, client: Client) -> None:
        resources = (SERVICES, ENDPOINT_SLICES, NAMESPACES)
        self.informers = [Informer(client, each, on_event=self.changed) for each in resources]
        self._zone: Zone | None = None
        self._said: dict[tuple[bytes, int], bytes] = {}

    def changed(self, _event: str = "", _obj: Object | None = None) -> None:
        """Tell that an informer's cache has changed."""
        self._zone = None
        self._said.clear()

    @property
    def synced(self) -> bool:
        """Whether every informer has had its first list."""
        return all(each.synced.is_set() for each in self.informers)

    def respond(self, wire: bytes, limit: int = 65535) -> bytes:
        """The response's bytes; empty for what is no query. What does not fit says so (TC), and TCP is asked next.

        A question of the same words is answered from memory until something changes: thousands of probes a minute walk
        the same search list.
        """
        known = self._said.get((wire[2:], limit))
        if known is not None:
            return wire[:2] + known
        reply, same = self._respond(wire, limit)
        if same and len(self._said) < _MOST_SAID:
            self._said[wire[2:], limit] = reply[2:]
        return reply

    def _respond(self, wire: bytes, limit: int) -> tuple[bytes, bool]:
        """The response, and whether it is the same each time (several records take turns)."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return b"", False
        if query.flags & dns.flags.QR:
            return b"", False
        if not self.synced:
            response = dns.message.make_response(query)
            response.set_rcode(dns.rcode.SERVFAIL)
            return response.to_wire(), False
        if self._zone is None:
            self._zone = Zone(*(list(each.cache.values()) for each in self.informers))
        response = answer(self._zone, query)
        size = min(limit, max(_PLAIN_UDP, query.payload)) if limit < 65535 else limit
        try:
            return response.to_wire(max_size=size), all(len(each) == 1 for each in response.answer)
        except dns.exception.TooBig:
            response.answer.clear()
            response.additional.clear()
            response.flags |= dns.flags.TC
            return response.to_wire(), True

    async def listen(self, port: int = PORT, host: str = "") -> int:
        """Serve UDP and TCP until the event loop ends; the port (another one where 0 was asked for)."""
        dual = not host and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        stream = socket.create_server((host, port), family=family, dualstack_ipv6=dual)
        taken: int = stream.getsockname()[1]
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        if dual:
            datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        datagrams.bind((host, taken))
        datagrams.setblocking(False)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Datagrams(self), sock=datagrams)
        self._streams = await asyncio.start_server(self._stream, sock=stream)
        return taken

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError, ConnectionError):
            while True:
                async with asyncio.timeout(IDLE):
                    size = struct.unpack("!H", await reader.readexactly(2))[0]
                    reply = self.respond(await reader.readexactly(size))
                if not reply:
                    break
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()
        writer.close()

    async def serve_ready(self, port: int = READY_PORT, host: str = "") -> int:
        """Answer HTTP on `/ready`: 200 when synced, 503 before; the port."""
        self._ready = await asyncio.start_server(self._http, host or None, port)
        taken: int = self._ready.sockets[0].getsockname()[1]
        return taken

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError):
            async with asyncio.timeout(IDLE):
                await reader.readuntil(b"\r\n\r\n")
            status = b"200 OK" if self.synced else b"503 Service Unavailable"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if reply := self._server.respond(data, 1232):
            self._transport.sendto(reply, addr)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def serve(
    client: Client, port: int, ready_port: int, host: str = "", announce: Callable[[str], None] = _say
) -> None:
    """Serve until SIGTERM or SIGINT (as PID 1 nothing else would end us); `announce` is told once we listen."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with client:
        server = Server(client)
        tasks = [asyncio.create_task(each.run()) for each in server.informers]
        ports = await server.listen(port, host), await server.serve_ready(ready_port, host)
        announce(f"dns: serving {CLUSTER_DOMAIN} on port {ports[0]}, /ready on {ports[1]}")
        tasks.append(asyncio.create_task(_until(stop)))
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


def main() -> None:
    """The command line; its defaults are what the pod uses."""
    parser = argparse.ArgumentParser(prog="clusters.lab.dns", description="The lab's cluster DNS.")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--ready-port", type=int, default=READY_PORT)
    parser.add_argument("--host", default="", help="listen on this address only")
    options = parser.parse_args()
    asyncio.run(serve(in_cluster("dns"), options.port, options.ready_port, options.host))


if __name__ == "__main__":
    main()
