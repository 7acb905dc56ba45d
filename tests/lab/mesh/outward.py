"""The outbound half in a real Envoy on loopback: small meshes, and who answers when a client of them calls.

What belongs here: a client's proxy with two versions of a server behind it. What does not: the inbound half (`envoy`).

Nothing is redirected here, so each compiled listener is bound to a free port of loopback, and its routes stand in it.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

from clusters.lab.mesh.model import Endpoint, Json, Mesh, Outbound, Proxy, Service, ServicePort
from clusters.lab.mesh.outbound import Outlook
from policies.istio.model import (
    Destination,
    DestinationRule,
    HttpMatch,
    HttpRoute,
    StringMatch,
    Subset,
    TcpRoute,
    TrafficPolicy,
    VirtualService,
)
from tests.lab.mesh.calls import Answer, call
from tests.lab.mesh.envoy import BINARY, DEADLINE, LOOPBACK, Lines, free_ports
from tests.lab.mesh.trust import Authority, secrets_by_file, write_secrets
from tests.lab.mesh.worlds import meta

VERSIONS = ("v1", "v2")
CLUSTER_IP = "10.96.0.10"
HTTP = ServicePort(number=8080, name="http", protocol="http")
TCP = ServicePort(number=9090, name="tcp", protocol="tcp")
SUBSETS = tuple(Subset(name=each, labels={"version": each}) for each in (*VERSIONS, "v3"))
HOST = "server.shop.svc.cluster.local"


def client(name: str = "caller", namespace: str = "shop", address: str = "10.244.0.9") -> Proxy:
    """A pod that calls."""
    return Proxy(namespace=namespace, pod=name, uid=name, address=address, service_account=name, labels={"app": name})


def endpoint(version: str = "v1", address: str = "10.244.0.1", port: int = 8080, *, meshed: bool = True) -> Endpoint:
    """One pod of the server."""
    labels = {"app": "server", "version": version}
    return Endpoint(
        address=address, port=port, labels=labels, meshed=meshed, namespace="shop", service_account=f"server-{version}"
    )


def server(*ports: ServicePort, name: str = "server", namespace: str = "shop", address: str = CLUSTER_IP) -> Service:
    """A Service of the cluster; without an address it is headless."""
    return Service(
        name=name,
        namespace=namespace,
        host=f"{name}.{namespace}.svc.cluster.local",
        addresses=(address,) if address else (),
        headless=not address,
        ports=ports,
    )


def to(subset: str = "", weight: int | None = None, host: str = "server", port: int | None = None) -> Destination:
    return Destination(host=host, subset=subset, weight=weight, port=port)


def prefix(path: str) -> HttpMatch:
    return HttpMatch(uri=StringMatch(prefix=path))


def virtual_service(
    *http: HttpRoute,
    name: str = "server",
    hosts: tuple[str, ...] = ("server",),
    namespace: str = "shop",
    created: str = "2026-01-01T00:00:00Z",
    tcp: tuple[TcpRoute, ...] = (),
) -> VirtualService:
    return VirtualService(meta=meta(name, namespace, created), hosts=hosts, http=http, tcp=tcp)


def destination_rule(
    policy: TrafficPolicy | None = None,
    *subsets: Subset,
    host: str = "server",
    name: str = "server",
    namespace: str = "shop",
    created: str = "2026-01-01T00:00:00Z",
) -> DestinationRule:
    return DestinationRule(meta=meta(name, namespace, created), host=host, policy=policy, subsets=subsets)


def named(found: tuple[Json, ...], name: str) -> Json:
    """The listener, cluster or other thing of that name."""
    (one,) = [each for each in found if each["name"] == name]
    return one


class _Version(BaseHTTPRequestHandler):
    """Answers with its version and what it saw."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        seen = {
            "by": cast("_Server", self.server).version,
            "path": self.path,
            "headers": {k.lower(): v for k, v in self.headers.items()},
        }
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("x-version", cast("_Server", self.server).version)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the test reads what it asked for."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, version: str) -> None:
        self.version = version
        super().__init__((LOOPBACK, 0), _Version)


@contextmanager
def versions() -> Iterator[tuple[Endpoint, ...]]:
    """Two naked versions of a server that answer until the block ends."""
    with ExitStack() as stack:
        found = []
        for version in VERSIONS:
            one = stack.enter_context(_Server(version))
            thread = threading.Thread(target=one.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            stack.callback(thread.join, DEADLINE)
            stack.callback(one.shutdown)
            found.append(endpoint(version, LOOPBACK, one.server_address[1], meshed=False))
        yield tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """A running Envoy with the listeners of several clients; `ports` by client and listener."""

    ports: Mapping[tuple[str, str], int]
    log: Lines

    def get(
        self,
        path: str = "/",
        *,
        source: str = "caller",
        listener: str = "0.0.0.0_8080",
        host: str = "server",
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request of this client to this host."""
        return call(self.ports[source, listener], path, host=host, method=method, headers=headers)

    def by(self, path: str, *, source: str = "caller", headers: Mapping[str, str] | None = None) -> str:
        """Which version answers."""
        return str(self.get(path, source=source, headers=headers).seen["by"])


@contextmanager
def calling(folder: Path, mesh: Mesh, *clients: Proxy, authority: Authority | None = None) -> Iterator[Calls]:
    """An Envoy with everything outbound of these clients, until the block ends; they are of one namespace.

    Args:
        authority: Of the certificate that the clients show, in the name of the first.
    """
    authority = authority or Authority()
    write_secrets(folder, authority.issue(clients[0].identity), authority.pem)
    outlook = Outlook(mesh)
    compiled = {each.pod: outlook.outbound(each) for each in clients}
    wanted = [
        (pod, str(listener["name"]))
        for pod, outbound in compiled.items()
        for listener in outbound.listeners
        if listener["name"] != "virtualOutbound"
    ]
    ports = dict(zip(wanted, free_ports(len(wanted)), strict=True))
    listeners = [bound(compiled[pod], name, port) | {"name": f"{pod}-{name}"} for (pod, name), port in ports.items()]
    clusters = [_grounded(each) for each in compiled[clients[0].pod].clusters]
    config = {
        "node": {"id": "caller", "cluster": "test"},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }
    file = folder / "caller.json"
    file.write_text(json.dumps(secrets_by_file(config, folder)), encoding="utf-8")
    options = ["--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "10", "--log-level", "info"]
    command = [str(BINARY), "-c", str(file), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stderr
            log, words = Lines(process.stdout), Lines(process.stderr)
            words.wait("starting main dispatch loop")
            yield Calls(ports=ports, log=log)
        finally:
            process.kill()
            process.wait(DEADLINE)


def bound(outbound: Outbound, name: str, port: int) -> Json:
    """A compiled listener on a port of loopback, with its routes in place of their file."""
    listener = named(outbound.listeners, name)
    listener = {key: value for key, value in listener.items() if key != "bind_to_port"}
    listener["address"] = {"socket_address": {"address": LOOPBACK, "port_value": port}}
    return _inline(json.loads(json.dumps(listener)), outbound.routes)


def _grounded(cluster: Json) -> Json:
    """The cluster, empty where it leads to the original destination, which without redirection is the proxy itself."""
    if cluster["type"] != "ORIGINAL_DST":
        return cluster
    return cluster | {
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {"cluster_name": cluster["name"]},
    }


def _inline(value: Json, routes: Mapping[str, Json]) -> Json:
    """The same JSON with each `rds` replaced by the configuration that it names."""
    for key, inner in list(value.items()):
        if key == "rds":
            del value["rds"]
            value["route_config"] = routes[inner["route_config_name"]]
        elif isinstance(inner, dict):
            _inline(inner, routes)
        elif isinstance(inner, list):
            for each in inner:
                if isinstance(each, dict):
                    _inline(each, routes)
    return value
