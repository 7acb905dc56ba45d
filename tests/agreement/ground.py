"""The child that owns the namespaces: two nodes, pods, and a way to ask hundreds of flows without waiting for silence.

Between the network namespaces of one kernel a packet is handed on by queues that keep their order, one queue for each
processor. The asking thread stays on one processor, so whatever it sent before a control datagram has come as far as
it will when the control datagram arrives, by a way that is the longest there is and that no policy is about. A few such
passes after each step take the place of a timeout. That this holds is checked in every set: each packet carries its
set's number and place, and a straggler from an earlier set is an error.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final, TypeVar

from clusters.lab import addresses, fabric, mutants, system
from clusters.lab.addresses import version
from clusters.lab.node import network
from clusters.lab.policy.engine import compile_ruleset
from clusters.lab.policy.mutation import World
from clusters.lab.policy.ruleset import Ruleset
from clusters.lab.policy.snapshot import Attachment, Snapshot
from clusters.lab.policy.transaction import EMPTY, difference
from flows.errors import HarnessError
from policies.model import Transport
from tests.agreement.scene import OUTSIDE, PORTS, Flow, Ground, Seat
from tests.lab.policy.bench import unshare

PODS: Final = (0, 0, 0, 1, 1)
"""The node of each pod that has a network of its own; one more is in the network of the second node."""
CONTROL_PORT: Final = 7
FIRST_SOURCE_PORT, SOURCE_PORTS = 20000, 40000
"""Every set has a source port of its own, so no connection that the kernel remembers is ever another set's."""
PASSES: Final = 3
"""A SYN goes there, its answer comes back, the acknowledgement goes there."""
ANSWERED, DROPPED = "answered", "dropped"
_CALL: Final = struct.Struct("!II")
_FORGET: Final = {"udp_timeout": "5", "udp_timeout_stream": "5", "tcp_timeout_syn_sent": "5"}
"""Seconds after which a node forgets what no set will use again; sets take a tenth of one."""
_RESET: Final = struct.pack("ii", 1, 0)
T = TypeVar("T")


@dataclass(slots=True)
class _Seen:
    """What became of one flow, at both ends."""

    accepted: bool = False
    arrived: bool = False
    answered: bool = False
    error: str = ""

    def word(self) -> str:
        """`answered`, `dropped`, or what there is between."""
        if self.error:
            return self.error
        if self.answered:
            return ANSWERED if self.arrived else "answered, and never arrived"
        if self.arrived:
            return "arrived, and its answer was lost"
        return "accepted, and its data was lost" if self.accepted else DROPPED


class Asker:
    """Nodes and pods in this process's namespaces.

    Args:
        patience: Seconds until a control datagram must have arrived; it takes some 50 µs.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self._nft = ThreadPoolExecutor(max_workers=2)
        self._plan = addresses.plan("dual")
        self._nodes = fabric.build(2, self._plan)
        self._places: dict[str, int] = {OUTSIDE: self._home, **{f"node-{n}": fd for n, fd in enumerate(self._nodes)}}
        self._programmed: list[Ruleset] = [EMPTY, EMPTY]
        self._memory: dict[tuple[str, int], World] = {}
        self._sets = 0
        self.ground = self._build()
        processor = sorted(os.sched_getaffinity(0))[os.getpid() % len(os.sched_getaffinity(0))]
        list(self._nft.map(lambda _: None, range(2)))  # its threads are there before this one is tied down
        os.sched_setaffinity(0, {processor})
        self._listeners, self._datagrams = self._serve()
        self._control = [self._bound(f"control-{n}", self._reserved[n], CONTROL_PORT) for n in (0, 1)]
        self._settle()

    def _build(self) -> Ground:
        pools = [network.AddressPool(self._plan.pod_cidrs(index)) for index in (0, 1)]
        seats, self._reserved = [], []
        wanted = [*((f"pod-{n}", node) for n, node in enumerate(PODS)), ("control-0", 0), ("control-1", 1)]
        for name, node in wanted:
            with system.inside(self._nodes[node]):
                made = network.connect(f"uid-{name}", pools[node].take(), self._plan.node_addresses(node))
            self._places[name] = made.netns
            if name.startswith("pod-"):
                seats.append(Seat(name=name, node=node, addresses=tuple(made.addresses)))
            else:
                self._reserved.append(made.addresses[0])
        for node in self._nodes:
            with system.inside(node):
                for name, value in fabric._ROUTER.items():
                    fabric.sysctl(name, value)
        nodes = tuple(tuple(self._plan.node_addresses(index)) for index in (0, 1))
        seats.append(Seat(name="pod-host", node=1, addresses=nodes[1], host_network=True))
        self._places["pod-host"] = self._nodes[1]
        return Ground(seats=tuple(seats), nodes=nodes, outside=self._plan.control_plane)

    def _serve(self) -> tuple[dict[tuple[str, int], socket.socket], dict[tuple[str, int], socket.socket]]:
        listeners, datagrams = {}, {}
        for place in self._places:
            if place.startswith("control-") or place == "pod-host":
                continue
            for family in self.ground.families:
                address = self.ground.address(place, family)
                for port in PORTS:
                    listener = self._socket(place, address, socket.SOCK_STREAM)
                    listener.bind((address, port))
                    listener.listen(1024)
                    listeners[address, port] = listener
                    datagrams[address, port] = self._bound(place, address, port)
        return listeners, datagrams

    def _socket(self, place: str, address: str, kind: socket.SocketKind) -> socket.socket:
        with system.inside(self._places[place]):
            return _new(address, kind)

    def _bound(self, place: str, address: str, port: int) -> socket.socket:
        made = self._socket(place, address, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        made.bind((address, port))
        return made

    def _settle(self) -> None:
        """Load empty rules, see every neighbour once and then know it for good: no packet waits for one later."""
        self._program(Snapshot(), "")
        for node in self._nodes:
            with system.inside(node):
                for name, value in _FORGET.items():
                    fabric.sysctl(f"net.netfilter.nf_conntrack_{name}", value)
        for family in self.ground.families:
            for place in (*(f"node-{n}" for n in range(len(self._nodes))), OUTSIDE):
                self._meet(place, family)
        for fd in (self._home, *self._nodes):
            known = json.loads(system.run(["ip", "-j", "neigh", "show"], netns=fd))
            met = [each for each in known if "lladdr" in each and "PERMANENT" not in each["state"]]
            system.ip(
                (f"neigh replace {e['dst']} lladdr {e['lladdr']} dev {e['dev']} nud permanent" for e in met), netns=fd
            )

    def _meet(self, place: str, family: int) -> None:
        """A datagram from this place to each of the others on the fabric, heard there."""
        for other in (*(f"node-{n}" for n in range(len(self._nodes))), OUTSIDE):
            if other == place:
                continue
            mine, theirs = (self.ground.address(each, family) for each in (place, other))
            server = self._datagrams[theirs, PORTS[0]]
            self._datagrams[mine, PORTS[0]].sendto(b"hello", (theirs, PORTS[0]))
            self._await(server)
            server.recv(100)

    def ask(self, known: Snapshot, flows: Sequence[Flow], mutant: str) -> list[str]:
        """What becomes of each flow with the snapshot in force."""
        self._program(known, mutant)
        self._sets += 1
        with contextlib.ExitStack() as stack:
            asked = _Set(self, flows, self._sets, stack)
            asked.run()
        return [each.word() for each in asked.seen]

    def _program(self, known: Snapshot, mutant: str) -> None:
        around = mutants.get(mutant).around if mutant else None
        scripts: list[tuple[str, int]] = []
        for index, node in enumerate(self._nodes):
            local = [each for each in known.pods if each.counts and self.ground.seat(each.name).node == index]
            attached = tuple(Attachment(pod=each, interface=network.interface_name(each.uid)) for each in local)
            mine = replace(known, attachments=attached)
            world = self._memory.setdefault(
                (mutant, index), World(node=addresses.node_name(index), now=lambda: 0.0, wake=lambda _: None)
            )
            wanted = around(mine, world, compile_ruleset) if around else compile_ruleset(mine)
            script = difference(self._programmed[index], wanted)
            if self._programmed[index] is EMPTY:
                script = f"add table inet eastwest\n{script}"
            self._programmed[index] = wanted
            if script:
                scripts.append((script, node))
        for done in [self._nft.submit(system.nft, script, netns=node) for script, node in scripts]:
            done.result()

    def wait(self) -> None:
        """Return once everything that was sent has come as far as it will."""
        here, there = self._control
        for _ in range(PASSES):
            here.sendto(b"pass", (self._reserved[1], CONTROL_PORT))
            self._await(there)
            there.recv(100)
            here, there = there, here
            self._reserved.reverse()
        if PASSES % 2:
            self._reserved.reverse()

    def enter(self, place: str) -> None:
        """Make what sockets are made from here on those of this place; the outside is where this process began."""
        system.setns(self._places[place], system.CLONE_NEWNET)

    def _await(self, channel: socket.socket) -> None:
        if not select.select([channel], [], [], self._patience)[0]:
            raise HarnessError(f"no control datagram within {self._patience:g} s: what is silent may only be late")

    def nft(self, script: str) -> list[str]:
        """A script on the first node, beside what the data plane has there."""
        system.nft(script, netns=self._nodes[0])
        return []

    def servers(self) -> Iterator[tuple[str, int, socket.socket, socket.socket]]:
        """Address and port with the listener and the datagram socket there."""
        for (address, port), listener in self._listeners.items():
            yield address, port, listener, self._datagrams[address, port]


class _Set:
    """One set of flows: sent, watched at both ends, and let go of.

    Args:
        number: The set's; it is in every packet, and gives the port that all of them come from.
        stack: Closes the sockets.
    """

    def __init__(self, asker: Asker, flows: Sequence[Flow], number: int, stack: contextlib.ExitStack) -> None:
        self._asker, self._flows, self._number, self._stack = asker, flows, number, stack
        self._port = FIRST_SOURCE_PORT + number % SOURCE_PORTS
        self.seen = [_Seen() for _ in flows]
        self._calls: dict[int, socket.socket] = {}
        self._senders: dict[str, socket.socket] = {}
        self._taken: list[tuple[tuple[str, str, int], socket.socket]] = []
        ground = asker.ground
        self._pods = {each for seat in ground.seats if not seat.host_network for each in seat.addresses}
        self._ends = [
            (ground.address(each.source, each.family), ground.address(each.target, each.family), each.port)
            for each in flows
        ]
        tcp = (index for index, each in enumerate(flows) if each.protocol is Transport.TCP)
        self._streams = {self._ends[index]: index for index in tcp}

    def run(self) -> None:
        """Connect and send; accept and answer; read what came back."""
        self._begin()
        self._asker.wait()
        self._speak()
        self._accept()
        self._asker.wait()
        self._answer()
        self._asker.wait()
        self._hear()

    def _begin(self) -> None:
        rows: dict[str, list[int]] = {}
        for index, flow in enumerate(self._flows):
            rows.setdefault(flow.source, []).append(index)
        for place, indices in rows.items():
            self._asker.enter(place)
            for index in indices:
                code = self._send(index) if self._flows[index].protocol is Transport.UDP else self._connect(index)
                if code not in {0, errno.EINPROGRESS}:
                    self.seen[index].error = _name(code)
        self._asker.enter(OUTSIDE)

    def _send(self, index: int) -> int:
        source, target, port = self._ends[index]
        sender = self._senders.get(source)
        if sender is None:
            sender = self._senders[source] = self._stack.enter_context(_new(source, socket.SOCK_DGRAM))
            sender.bind((source, self._port))
        try:
            sender.sendto(_CALL.pack(self._number, index), (target, port))
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def _connect(self, index: int) -> int:
        source, target, port = self._ends[index]
        call = self._calls[index] = self._stack.enter_context(_new(source, socket.SOCK_STREAM))
        call.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        call.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        call.bind((source, self._port))
        return call.connect_ex((target, port))

    def _speak(self) -> None:
        for index, call in self._calls.items():
            with self._noting(index):
                call.send(_CALL.pack(self._number, index))

    def _accept(self) -> None:
        for address, port, listener, _ in self._asker.servers():
            for taken, peer in _every(listener.accept):
                self._stack.enter_context(taken)
                taken.setblocking(False)
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                index = self._streams.get((peer[0], address, port))
                if index is not None and peer[1] == self._port:
                    self.seen[index].accepted = True
                elif address in self._pods:
                    raise HarnessError(f"set {self._number}: {peer[0]}:{peer[1]} → {address}:{port} was never asked")
                self._taken.append(((peer[0], address, port), taken))

    def _answer(self) -> None:
        for ends, taken in self._taken:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                data = taken.recv(100)
                if data:
                    self._arrive(data, ends)
                    taken.send(data)
        for address, port, _, server in self._asker.servers():
            for data, peer in _every(partial(server.recvfrom, 100)):
                self._arrive(data, (peer[0], address, port))
                server.sendto(data, peer)

    def _arrive(self, data: bytes, ends: tuple[str, str, int]) -> None:
        number, index = _CALL.unpack(data)
        if number != self._number:
            raise HarnessError(f"set {self._number}: a straggler of set {number}: the kernel was read too early")
        asked = self._ends[index]
        if asked[1:] != ends[1:] or (asked[0] != ends[0] and ends[1] in self._pods):  # who leaves the pods is rewritten
            raise HarnessError(f"set {number}: {self._flows[index]} arrived as {ends[0]} → {ends[1]}:{ends[2]}")
        self.seen[index].arrived = True

    def _hear(self) -> None:
        for index, call in self._calls.items():
            with self._noting(index):
                self.seen[index].answered = call.recv(100) == _CALL.pack(self._number, index)
        for sender in self._senders.values():
            for data, _ in _every(partial(sender.recvfrom, 100)):
                self.seen[_CALL.unpack(data)[1]].answered = True

    @contextlib.contextmanager
    def _noting(self, index: int) -> Iterator[None]:
        """Silence is no error; a refusal or a reset is the flow's end."""
        try:
            yield
        except BlockingIOError:
            pass
        except OSError as error:
            self.seen[index].error = self.seen[index].error or _name(error.errno or errno.EIO)


def _new(address: str, kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if version(address) == 6 else socket.AF_INET, kind)
    made.setblocking(False)
    return made


def _every(take: Callable[[], tuple[T, Any]]) -> Iterator[tuple[T, Any]]:
    """All that is there, until there is nothing more."""
    with contextlib.suppress(BlockingIOError):
        while True:
            yield take()


def _name(code: int) -> str:
    return errno.errorcode.get(code, str(code))


def _main() -> None:
    pipe = Connection(int(sys.argv[1]))
    asker = Asker(float(sys.argv[2]))
    pipe.send(asker.ground)
    with contextlib.suppress(EOFError):
        while True:
            name, *question = pipe.recv()
            try:
                pipe.send(getattr(asker, name)(*question))
            except (HarnessError, system.KernelError, OSError) as error:
                pipe.send(error)


if __name__ == "__main__":
    unshare()
    _main()
