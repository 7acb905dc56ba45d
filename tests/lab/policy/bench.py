"""Two nodes and their pods on the real kernel, in a child's namespaces: what the data plane's tests dial through.

The child unshares user and network namespaces, builds the lab's own fabric, and answers requests on a pipe. Sockets
stay in the namespace they were made in, so one process can be every pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from clusters.lab import addresses, fabric, system
from clusters.lab.node import network
from clusters.lab.policy import conntrack
from clusters.lab.policy.engine import compile_ruleset, service_routes
from clusters.lab.policy.mutation import Around, World
from clusters.lab.policy.ruleset import Ruleset, of_family
from clusters.lab.policy.snapshot import Attachment, Pod, Service, Snapshot
from clusters.lab.policy.transaction import EMPTY, steps

PLAN = addresses.EVERY
"""Of both families, whatever is asked."""
DEADLINE = 0.4
"""Seconds of silence that count as dropped: everything here answers within a few milliseconds."""
PORTS = (53, 80, 81, 8080, 8081, 8085)
ANSWER = 30.0
"""Seconds until the child must have answered one request."""
NODE = "node"
"""As the source of a probe: the first node itself; `node2` is the other one."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One flow: `source` and, where the address is a pod's, `host` are pods' names."""

    source: str
    host: str
    port: int = 80
    protocol: str = "tcp"
    count: int = 1
    version: int = 4


def probes(text: str) -> list[Probe]:
    """`a>b:80/udp`, by default port 80 and tcp."""
    found = []
    for each in text.split():
        source, _, rest = each.partition(">")
        rest, _, protocol = rest.partition("/")
        host, _, port = rest.partition(":")
        found.append(Probe(source, host, int(port or 80), protocol or "tcp"))
    return found


class Bench:
    """The parent's side."""

    def __init__(self, pods: Iterable[tuple[Pod, int]]) -> None:
        self._pipe, theirs = Pipe()
        command = [sys.executable, "-m", "tests.lab.policy.bench", str(theirs.fileno())]
        self._child = subprocess.Popen(command, pass_fds=(theirs.fileno(),), cwd=Path(__file__).parents[3])
        theirs.close()
        self.pods: tuple[Pod, ...] = self._ask("build", tuple(pods))

    def _ask(self, name: str, *args: object) -> Any:
        self._pipe.send((name, args))
        assert self._pipe.poll(ANSWER), f"the bench did not {name} within {ANSWER} s"
        answer = self._pipe.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """End the child; its namespaces end with it."""
        self._pipe.close()
        self._child.wait(timeout=10)

    def pod(self, name: str) -> Pod:
        """The pod of this name, with its address."""
        return next(each for each in self.pods if each.name == name)

    def program(self, snapshot: Snapshot, mutant: str = "") -> list[str]:
        """Put the snapshot in force on both nodes by differences; the transactions."""
        scripts: list[str] = self._ask("program", snapshot, mutant)
        return scripts

    def probe(self, *probes: Probe) -> list[str]:
        """All at once: the name of the pod that answered and what it saw as source, or what happened instead."""
        results: list[str] = self._ask("probe", probes)
        return results

    def nft(self, script: str) -> None:
        """A script on the first node."""
        self._ask("nft", script)

    def ruleset(self, node: int = 0) -> list[str]:
        """All that is in force on a node: rules in their chain's order, elements sorted, no handles and counters."""
        found: list[str] = self._ask("ruleset", node)
        return found

    def rebuild(self, snapshot: Snapshot) -> None:
        """Put the snapshot in force on both nodes afresh, as if nothing had been there."""
        self._ask("rebuild", snapshot)

    def heard(self, name: str) -> int:
        """How many datagrams have reached the pod; 0 for what is no pod."""
        count: int = self._ask("heard", name)
        return count

    def forget(self, gone: frozenset[conntrack.Translation]) -> int:
        """Delete UDP translations on the first node."""
        count: int = self._ask("forget", gone)
        return count

    def open_udp(self, source: str, host: str, port: int) -> str:
        """Ask over a UDP socket that stays open; the same socket every time."""
        answer: str = self._ask("open_udp", source, host, port)
        return answer

    def open_tcp(self, source: str, host: str, port: int) -> str:
        """Ask over one connection that stays open; made at the first call."""
        answer: str = self._ask("open_tcp", source, host, port)
        return answer


class _Child:
    def __init__(self) -> None:
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.nodes = fabric.build(2, PLAN)
        self.namespaces: dict[str, int] = {NODE: self.nodes[0], "node2": self.nodes[1]}
        self.where: dict[str, int] = {}
        self.pods: dict[str, Pod] = {}
        self.programmed: list[Ruleset] = [EMPTY, EMPTY]
        self.worlds: dict[tuple[str, int], World] = {}
        self.datagrams: Counter[str] = Counter()
        self.open: dict[tuple[str, str, int], socket.socket] = {}

    async def build(self, pods: tuple[tuple[Pod, int], ...]) -> tuple[Pod, ...]:
        pools = [network.AddressPool(PLAN.pod_cidrs(index)) for index in (0, 1)]
        for index, node in enumerate(self.nodes):
            self._enter(node)
            for name, value in fabric._ROUTER.items():
                fabric.sysctl(name, value)
            system.ip(service_routes(PLAN))
            for pod, place in pods:
                if place == index:
                    made = network.connect(pod.uid, pools[index].take(), PLAN.node_addresses(index))
                    self.namespaces[pod.name], self.where[pod.name] = made.netns, index
                    self.pods[pod.name] = replace(pod, addresses=tuple(made.addresses))
            self._enter(self.home)
        for pod in self.pods.values():
            for port in PORTS:
                await self._serve(pod, port)
        return tuple(self.pods.values())

    def _enter(self, namespace: int) -> None:
        system.setns(namespace, system.CLONE_NEWNET)

    def _socket(self, name: str, kind: socket.SocketKind, version: int = 4) -> socket.socket:
        self._enter(self.namespaces[name])
        try:
            made = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, kind)
        finally:
            self._enter(self.home)
        made.setblocking(False)
        return made

    async def _serve(self, pod: Pod, port: int) -> None:
        loop = asyncio.get_running_loop()
        tcp = self._socket(pod.name, socket.SOCK_STREAM, 6)
        tcp.bind(("::", port))

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(100):
                writer.write(f"{pod.name} {_plain(writer.get_extra_info('peername')[0])}".encode())
            writer.close()

        self._keep = [*getattr(self, "_keep", []), await asyncio.start_server(answer, sock=tcp)]
        udp = self._socket(pod.name, socket.SOCK_DGRAM, 6)
        udp.bind(("::", port))
        await loop.create_datagram_endpoint(lambda: _Echo(pod.name, self.datagrams), sock=udp)

    async def program(self, snapshot: Snapshot, mutant: str) -> list[str]:
        around = _around(mutant)
        scripts = []
        for index, node in enumerate(self.nodes):
            services = tuple(self._on_node(each, index) for each in snapshot.services)
            mine = replace(snapshot, attachments=self._attachments(snapshot, index), services=services)
            world = self.worlds.setdefault(
                (mutant, index), World(node=addresses.node_name(index), now=lambda: 0.0, wake=lambda _: None)
            )
            wanted = around(mine, world, compile_ruleset)
            todo = steps(self.programmed[index], wanted)
            if self.programmed[index] is EMPTY:
                todo = ["add table inet eastwest\n", *todo]
            for script in todo:
                system.nft(script, netns=node)
            self.programmed[index] = wanted
            scripts.append("".join(todo))
        return scripts

    async def rebuild(self, snapshot: Snapshot) -> None:
        for node in self.nodes:
            system.nft("add table inet eastwest\ndelete table inet eastwest\n", netns=node)
        self.programmed = [EMPTY, EMPTY]
        await self.program(snapshot, "")

    def _on_node(self, service: Service, index: int) -> Service:
        mine = {each for name, pod in self.pods.items() if self.where[name] == index for each in pod.addresses}
        ports = (
            replace(port, local=tuple(each for each in port.backends if each[0] in mine)) for port in service.ports
        )
        return replace(service, ports=tuple(ports))

    def _attachments(self, snapshot: Snapshot, index: int) -> tuple[Attachment, ...]:
        local = [each for each in snapshot.pods if self.where.get(each.name) == index]
        return tuple(Attachment(pod=each, interface=network.interface_name(each.uid)) for each in local)

    async def nft(self, script: str) -> None:
        system.nft(script, netns=self.nodes[0])

    async def ruleset(self, node: int) -> list[str]:
        listing = json.loads(system.run(["nft", "-j", "-s", "list", "ruleset"], netns=self.nodes[node]))
        found: dict[tuple[str, str], list[str]] = {}
        for each in listing["nftables"]:
            ((kind, value),) = each.items()
            value.pop("handle", None)
            if "elem" in value:
                value["elem"] = sorted(value["elem"], key=json.dumps)
            place = (kind, value.get("chain") or value.get("name", ""))
            found.setdefault(place, []).append(json.dumps(value, sort_keys=True))
        return [f"{place}: {line}" for place in sorted(found) for line in found[place]]

    async def heard(self, name: str) -> int:
        return self.datagrams[name]

    async def forget(self, gone: frozenset[conntrack.Translation]) -> int:
        self._enter(self.nodes[0])
        try:
            return conntrack.forget(gone)
        finally:
            self._enter(self.home)

    async def open_udp(self, source: str, host: str, port: int) -> str:
        key = (source, host, port)
        if key not in self.open:
            self.open[key] = self._socket(source, socket.SOCK_DGRAM)
            self.open[key].connect((host, port))
        return await self._ask(self.open[key])

    async def open_tcp(self, source: str, host: str, port: int) -> str:
        key = (source, host, port)
        if key not in self.open:
            self.open[key] = self._socket(source, socket.SOCK_STREAM)
            target = self.pods[host].addresses[0]
            await asyncio.get_running_loop().sock_connect(self.open[key], (target, port))
        return await self._ask(self.open[key])

    async def _ask(self, channel: socket.socket) -> str:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DEADLINE):
                await loop.sock_sendall(channel, b"who?")
                return (await loop.sock_recv(channel, 200)).decode() or "closed"
        except TimeoutError:
            return "silent"
        except OSError as error:
            return error.__class__.__name__

    async def probe(self, probes: tuple[Probe, ...]) -> list[str]:
        return list(await asyncio.gather(*(self._one(each) for each in probes)))

    async def _one(self, probe: Probe) -> str:
        answers = await asyncio.gather(*(self._once(probe) for _ in range(probe.count)))
        return " | ".join(sorted(set(answers)))

    async def _once(self, probe: Probe) -> str:
        kind = socket.SOCK_STREAM if probe.protocol == "tcp" else socket.SOCK_DGRAM
        pod = self.pods.get(probe.host)
        target = of_family(pod.addresses, probe.version)[0] if pod else probe.host
        with self._socket(probe.source, kind, probe.version) as channel:
            try:
                async with asyncio.timeout(DEADLINE):
                    await asyncio.get_running_loop().sock_connect(channel, (target, probe.port))
            except TimeoutError:
                return "dropped"
            except OSError as error:
                return error.__class__.__name__
            answer = await self._ask(channel)
            return "dropped" if answer == "silent" and probe.protocol == "udp" else answer


def _around(mutant: str) -> Around:
    from clusters.lab import mutants

    return mutants.get(mutant).around if mutant else lambda snapshot, _, sound: sound(snapshot)


def _plain(address: str) -> str:
    """As the caller has it: an IPv4 caller of an IPv6 socket is written otherwise there."""
    return address.removeprefix("::ffff:")


class _Echo(asyncio.DatagramProtocol):
    def __init__(self, name: str, heard: Counter[str]) -> None:
        self._name, self._heard = name, heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, _: bytes, addr: tuple[Any, ...]) -> None:
        self._heard[self._name] += 1
        self._transport.sendto(f"{self._name} {_plain(addr[0])}".encode(), addr)


async def _main() -> None:
    child = _Child()
    pipe = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError):
        while True:
            name, args = await asyncio.to_thread(pipe.recv)
            try:
                answer = await getattr(child, name)(*args)
            except (OSError, system.KernelError, AssertionError, LookupError) as error:
                answer = error
            pipe.send(answer)


def unshare() -> None:
    """Go into user and network namespaces of this process's own."""
    uid, gid = os.getuid(), os.getgid()
    system.unshare(system.CLONE_NEWUSER | system.CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")


if __name__ == "__main__":
    unshare()
    asyncio.run(_main())
