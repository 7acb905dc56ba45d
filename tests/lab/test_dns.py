"""The cluster's DNS: what each name answers, and that it does so over real sockets and from a real list and watch."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import struct
from collections.abc import Awaitable, Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from aiohttp import web

from clusters.lab.client import Client, Object, in_cluster, key
from clusters.lab.dns import Server, Zone, answer, serve

DEADLINE = 10.0


def _service(name: str, address: str, *ports: tuple[str, int, str], namespace: str = "shop") -> Object:
    spec = {"clusterIP": address, "ports": [{"name": n, "port": p, "protocol": t} for n, p, t in ports]}
    return {"metadata": {"name": name, "namespace": namespace, "resourceVersion": "1"}, "spec": spec}


def _endpoint(address: str, *, ready: bool = True, hostname: str = "") -> Object:
    found: Object = {"addresses": [address], "conditions": {"ready": ready}}
    return {**found, "hostname": hostname} if hostname else found


def _slice(service: str, *endpoints: Object, family: str = "IPv4") -> Object:
    labels = {"kubernetes.io/service-name": service}
    meta = {"name": f"{service}-{family.lower()}", "namespace": "shop", "labels": labels, "resourceVersion": "1"}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    return {"metadata": meta, "addressType": family, "ports": ports, "endpoints": list(endpoints)}


SERVICES = [
    _service("web", "10.96.1.1", ("http", 80, "TCP"), ("stats", 9000, "UDP")),
    _service("db", "None", ("http", 80, "TCP")),
    _service("sleepy", "None", ("http", 80, "TCP")),
    _service("big", "None", ("http", 80, "TCP")),
    _service("kubernetes", "10.96.0.1", ("https", 443, "TCP"), namespace="default"),
    _service("kube-dns", "10.96.0.10", ("dns", 53, "UDP"), namespace="kube-system"),
    {
        "metadata": {"name": "away", "namespace": "shop", "resourceVersion": "1"},
        "spec": {"type": "ExternalName", "externalName": "example.org"},
    },
]
SLICES = [
    _slice("web", _endpoint("10.244.0.5")),
    _slice(
        "db", _endpoint("10.244.0.7", hostname="db-0"), _endpoint("10.244.1.8"), _endpoint("10.244.1.9", ready=False)
    ),
    _slice("db", _endpoint("fd00::7", hostname="db-0"), family="IPv6"),
    _slice("sleepy", _endpoint("10.244.1.10", ready=False)),
    _slice("big", *(_endpoint(f"10.244.2.{n}") for n in range(1, 200))),
]
NAMESPACES = [{"metadata": {"name": name, "resourceVersion": "1"}} for name in ("default", "kube-system", "shop")]
ZONE = Zone(SERVICES, SLICES, NAMESPACES)


def _ask(name: str, kind: str = "A") -> tuple[str, list[str]]:
    response = answer(ZONE, dns.message.make_query(name, kind))
    texts = [item.to_text() for each in response.answer for item in each]
    return dns.rcode.to_text(response.rcode()), sorted(texts)


NAMES = [
    ("web.shop.svc.cluster.local", "A", ["10.96.1.1"]),
    ("WEB.Shop.svc.Cluster.Local", "A", ["10.96.1.1"]),
    ("kubernetes.default.svc.cluster.local", "A", ["10.96.0.1"]),
    ("ns.dns.cluster.local", "A", ["10.96.0.10"]),
    (
        "web.shop.svc.cluster.local",
        "SRV",
        ["0 100 80 web.shop.svc.cluster.local.", "0 100 9000 web.shop.svc.cluster.local."],
    ),
    ("_http._tcp.web.shop.svc.cluster.local", "SRV", ["0 100 80 web.shop.svc.cluster.local."]),
    ("_stats._udp.web.shop.svc.cluster.local", "SRV", ["0 100 9000 web.shop.svc.cluster.local."]),
    ("db.shop.svc.cluster.local", "A", ["10.244.0.7", "10.244.1.8"]),
    ("db.shop.svc.cluster.local", "AAAA", ["fd00::7"]),
    ("db-0.db.shop.svc.cluster.local", "A", ["10.244.0.7"]),
    ("10-244-1-8.db.shop.svc.cluster.local", "A", ["10.244.1.8"]),
    (
        "_http._tcp.db.shop.svc.cluster.local",
        "SRV",
        ["0 100 8080 10-244-1-8.db.shop.svc.cluster.local.", "0 100 8080 db-0.db.shop.svc.cluster.local."],
    ),
    ("away.shop.svc.cluster.local", "A", ["example.org."]),
    ("1.1.96.10.in-addr.arpa", "PTR", ["web.shop.svc.cluster.local."]),
    ("7.0.244.10.in-addr.arpa", "PTR", ["db-0.db.shop.svc.cluster.local."]),
    ("10-244-0-9.shop.pod.cluster.local", "A", ["10.244.0.9"]),
    ("dns-version.cluster.local", "TXT", ['"1.1.0"']),
]


@pytest.mark.parametrize(("name", "kind", "texts"), NAMES, ids=[f"{kind}-{name}" for name, kind, _ in NAMES])
def test_name_answers(name: str, kind: str, texts: list[str]) -> None:
    assert _ask(name, kind) == ("NOERROR", texts)


NEGATIVE = [
    ("web.shop.svc.cluster.local", "AAAA", "NOERROR"),
    ("shop.svc.cluster.local", "A", "NOERROR"),
    ("svc.cluster.local", "A", "NOERROR"),
    ("_tcp.web.shop.svc.cluster.local", "SRV", "NOERROR"),
    ("10-244-0-9.shop.pod.cluster.local", "AAAA", "NOERROR"),
    ("nobody.shop.svc.cluster.local", "A", "NXDOMAIN"),
    ("web.nowhere.svc.cluster.local", "A", "NXDOMAIN"),
    ("sleepy.shop.svc.cluster.local", "A", "NXDOMAIN"),
    ("web.shop.svc.cluster.local.shop.svc.cluster.local", "A", "NXDOMAIN"),
    ("10-244-0-9.nowhere.pod.cluster.local", "A", "NXDOMAIN"),
    ("words.shop.pod.cluster.local", "A", "NXDOMAIN"),
    ("9.9.9.10.in-addr.arpa", "PTR", "NXDOMAIN"),
    ("example.org", "A", "REFUSED"),
    ("notcluster.local", "A", "REFUSED"),
]


@pytest.mark.parametrize(("name", "kind", "code"), NEGATIVE, ids=[f"{code}-{name}" for name, _, code in NEGATIVE])
def test_name_without_records(name: str, kind: str, code: str) -> None:
    assert _ask(name, kind) == (code, [])


def test_negative_answers_carry_the_zones_authority() -> None:
    response = answer(ZONE, dns.message.make_query("nobody.shop.svc.cluster.local", "A"))
    assert response.authority[0].to_text().startswith("cluster.local. 5 IN SOA ns.dns.cluster.local.")
    assert response.flags & dns.flags.AA


def test_srv_brings_the_targets_addresses() -> None:
    response = answer(ZONE, dns.message.make_query("_http._tcp.db.shop.svc.cluster.local", "SRV"))
    assert sorted(item.to_text() for each in response.additional for item in each) == [
        "10.244.0.7",
        "10.244.1.8",
        "fd00::7",
    ]


def _server() -> Server:
    server = Server(Client("http://127.0.0.1:1", "", ssl.create_default_context()))
    for informer, objects in zip(server.informers, (SERVICES, SLICES, NAMESPACES), strict=True):
        informer.cache.update({key(each): each for each in objects})
        informer.synced.set()
    return server


async def _by_udp(port: int, wire: bytes) -> dns.message.Message:
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[bytes] = loop.create_future()

    class Ear(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _: object) -> None:
            heard.set_result(data)

    transport, _ = await loop.create_datagram_endpoint(Ear, remote_addr=("127.0.0.1", port))
    transport.sendto(wire)
    async with asyncio.timeout(DEADLINE):
        data = await heard
    transport.close()
    return dns.message.from_wire(data)


async def _by_tcp(port: int, wire: bytes) -> dns.message.Message:
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(struct.pack("!H", len(wire)) + wire)
        data = await reader.readexactly(struct.unpack("!H", await reader.readexactly(2))[0])
    writer.close()
    return dns.message.from_wire(data)


Way = Callable[[int, bytes], Awaitable[dns.message.Message]]


def _over(way: Way, name: str, server: Server | None = None) -> dns.message.Message:
    async def run() -> dns.message.Message:
        port = await (server or _server()).listen(0, "127.0.0.1")
        return await way(port, dns.message.make_query(name, "A").to_wire())

    return asyncio.run(run())


@pytest.mark.parametrize("way", [_by_udp, _by_tcp], ids=["udp", "tcp"])
def test_sockets_answer(way: Way) -> None:
    assert [item.to_text() for each in _over(way, "web.shop.svc.cluster.local").answer for item in each] == [
        "10.96.1.1"
    ]


def test_what_does_not_fit_a_datagram_is_truncated_and_tcp_has_it_all() -> None:
    name = "big.shop.svc.cluster.local"
    short, whole = _over(_by_udp, name), _over(_by_tcp, name)
    assert (bool(short.flags & dns.flags.TC), len(short.answer), len(whole.answer[0])) == (True, 0, 199)


def test_server_that_is_not_synced_says_so() -> None:
    server = _server()
    server.informers[0].synced.clear()
    assert _over(_by_udp, "web.shop.svc.cluster.local", server).rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize(
    "wire",
    [b"", b"nonsense", dns.message.make_response(dns.message.make_query("a", "A")).to_wire()],
    ids=["empty", "nonsense", "response"],
)
def test_what_is_no_query_is_not_answered(wire: bytes) -> None:
    assert _server().respond(wire) == b""


async def _status(port: int) -> str:
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /ready HTTP/1.1\r\nHost: dns\r\n\r\n")
        line = await reader.readline()
    writer.close()
    return line.decode().split(" ", 1)[1].strip()


@pytest.mark.parametrize(("synced", "status"), [(True, "200 OK"), (False, "503 Service Unavailable")])
def test_ready_tells_whether_it_is_synced(synced: bool, status: str) -> None:
    async def run() -> str:
        server = _server()
        if not synced:
            server.informers[1].synced.clear()
        return await _status(await server.serve_ready(0, "127.0.0.1"))

    assert asyncio.run(run()) == status


async def _api(objects: dict[str, list[Object]], news: asyncio.Queue[Object]) -> tuple[web.AppRunner, int]:
    """An API server of three lists, and a watch of Services that tells the news."""

    async def collection(request: web.Request) -> web.StreamResponse:
        plural = request.path.rsplit("/", 1)[1]
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": objects[plural]})
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            event = await news.get() if plural == "services" else await asyncio.Future[Object]()
            await response.write(json.dumps(event).encode() + b"\n")

    app = web.Application()
    app.router.add_get("/{path:.*}", collection)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, int(runner.addresses[0][1])


def test_serve_follows_the_api_and_ends_on_sigterm() -> None:
    async def until(server_port: int, name: str, code: dns.rcode.Rcode) -> None:
        query = dns.message.make_query(name, "A").to_wire()
        async with asyncio.timeout(DEADLINE):
            seen = None
            while seen != code:
                seen = (await _by_udp(server_port, query)).rcode()

    async def run() -> None:
        news: asyncio.Queue[Object] = asyncio.Queue()
        lists = {"services": SERVICES, "endpointslices": SLICES, "namespaces": NAMESPACES}
        runner, api = await _api(lists, news)
        client = Client(f"http://127.0.0.1:{api}", "token", ssl.create_default_context())
        said: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(serve(client, 0, 0, "127.0.0.1", said.set_result))
        async with asyncio.timeout(DEADLINE):
            port = int((await said).split("on port ")[1].split(",")[0])
        await until(port, "web.shop.svc.cluster.local", dns.rcode.NOERROR)
        await news.put({"type": "ADDED", "object": _service("late", "10.96.9.9")})
        await until(port, "late.shop.svc.cluster.local", dns.rcode.NOERROR)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(DEADLINE):
            await task
        await runner.cleanup()

    asyncio.run(run())


def test_outside_a_pod_it_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(SystemExit, match="KUBERNETES_SERVICE_HOST is not set; run this in a pod"):
        in_cluster("dns")
