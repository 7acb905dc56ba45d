"""Asks a whole cluster the scenes: its API server, its network plugin, real pods, several worlds side by side.

What belongs here: pods that stay while labels and policies change from scene to scene, and waiting for what the oracle
says. What does not: what the oracle says (`agree`), and probing itself (`flows`).

A scene is agreed on when everything that the oracle says holds through one window; what still differs when time is up
is a difference. Silence is not taken for a denial unless the server's own journal knows nothing of the flow.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from clusters.cluster import Cluster
from clusters.kube import Kube
from fixtures.workloads import Spec
from fixtures.world import World
from flows.converge import shows
from flows.errors import HarnessError
from flows.matrix import Cell
from flows.measure import measure
from flows.model import Flow as Probe
from flows.model import Kind, Protocol, Verdict, answered, denied
from policies.model import Transport
from tests.agreement.scene import Flow, Ground, Object, Scene, Seat, asked, pod
from tests.agreement.strategies import NAMESPACE_LABELS, POD_LABELS

NAMESPACES: Final = ("blue", "green", "red")
NUMBERS: Final = (8080, 8081, 8082)
_ALL: Final = tuple((number, protocol) for number in NUMBERS for protocol in ("TCP", "UDP"))
_NAMED: Final[tuple[dict[str, tuple[int, str]], ...]] = (
    {"web": (8080, "TCP"), "dns": (8081, "UDP")},
    {"web": (8081, "TCP"), "dns": (8080, "UDP")},
    {"web": (8080, "UDP"), "dns": (8082, "TCP")},
    {"dns": (8081, "TCP")},
)
"""What the names mean at each pod: the same, another number, another protocol, not at all."""
PAUSE: Final = 0.2
"""Seconds between two rounds while something else shows than what is expected."""
POLICY: Final = ("networking.k8s.io/v1", "NetworkPolicy")


def specs() -> tuple[Spec, ...]:
    """Four pods over three namespaces and two nodes, all of which listen on the same numbers by other names."""
    homes = (NAMESPACES[0], NAMESPACES[0], NAMESPACES[1], NAMESPACES[2])
    return tuple(
        Spec(name=f"pod-{index}", home=home, slot=index % 2, ports=_ports(_NAMED[index]))
        for index, home in enumerate(homes)
    )


def _ports(named: dict[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    rest = [each for each in _ALL if each not in named.values()]
    return {**named, **{f"p{number}-{protocol.lower()}": (number, protocol) for number, protocol in rest}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The last round, and every nonce of the rounds since when all was as expected."""

    held: bool
    verdicts: Mapping[Probe, Verdict]
    nonces: Mapping[Probe, AbstractSet[str]]


def settle(
    ask: Callable[[], Mapping[Probe, Verdict]], cells: Sequence[Cell], *, within: float, window: float
) -> Outcome:
    """Rounds one after another, until what is expected has shown in every one of a window, or time is up.

    They do not overlap, as those of `converge` do: several worlds are asked at the same time.

    Args:
        ask: Asks every cell once.
        within: Seconds; window: seconds between the first and the last round that must show it.
    """
    deadline, since = time.monotonic() + within, 0.0
    nonces: dict[Probe, set[str]] = {}
    while True:
        began = time.monotonic()
        verdicts = ask()
        as_expected = shows(cells, verdicts)
        if as_expected is False:
            since, nonces = 0.0, {}
        else:
            since = since or (began if as_expected else 0.0)
            for flow, verdict in verdicts.items():
                nonces.setdefault(flow, set()).add(verdict.nonce)
        held = bool(as_expected and began - since >= window)
        if held or time.monotonic() > deadline:
            return Outcome(held=held, verdicts=verdicts, nonces=nonces)
        threading.Event().wait(window if since else PAUSE)


def differing(cells: Mapping[Flow, Cell], outcome: Outcome, heard: AbstractSet[str]) -> dict[Flow, str]:
    """The flows that are not as expected, each with a word for what was seen.

    Args:
        heard: Every nonce in the servers' journals.

    Raises:
        HarnessError: Nothing differs, and what is expected did not last or could not be told.
    """
    found: dict[Flow, str] = {}
    untold = []
    for flow, cell in cells.items():
        verdict, expected = outcome.verdicts.get(cell.flow), cell.expected
        if verdict is None or expected is None or verdict.kind is Kind.PROBE_ERROR:
            untold.append(flow)
        elif not expected.matches(verdict):
            found[flow] = str(verdict.kind)
        elif not expected.allows and outcome.nonces.get(cell.flow, frozenset()) & heard:
            found[flow] = "dropped, and the server's journal knows of it"
    if not outcome.held and not found:
        what = f"{untold[0]} could not be told" if untold else "what is expected showed, but did not last"
        raise HarnessError(f"{what}; ask again when less goes on")
    return found


class Pods:
    """One world of real pods, in which scenes are put in force one after another.

    Raises:
        HarnessError: The pods do not become ready, or something denies their flows before any policy of ours.
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._kube = Kube(cluster)
        self._profile = cluster.profile
        self._world = World(cluster, self._kube, name)
        self._applied: list[Object] = []
        self._before: dict[Flow, bool] = {}
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix=name)

    def start(self) -> Ground:
        """Make the pods, and see every flow answered before any policy; what scenes can be made up on them."""
        self._world.start(specs())
        pods = {
            name: self._kube.get("v1", "Pod", each.pod, each.namespace) for name, each in self._world.workloads.items()
        }
        hosts = {name: tuple(host["ip"] for host in each["status"]["hostIPs"]) for name, each in pods.items()}
        nodes = tuple(dict.fromkeys(hosts.values()))
        ground = Ground(
            seats=tuple(
                Seat(
                    name=name,
                    node=nodes.index(hosts[name]),
                    addresses=each.addresses,
                    namespace=each.namespace,
                    ports=tuple(pods[name]["spec"]["containers"][0]["ports"]),
                )
                for name, each in sorted(self._world.workloads.items())
            ),
            nodes=nodes,
            namespaces=tuple(self._world.namespaces[each] for each in NAMESPACES),
            numbers=NUMBERS,
            from_nodes=False,
            protocols=("UDP", "TCP") if self._profile.provider == "lab" else ("UDP", "TCP", "SCTP"),
        )
        bare = Scene(namespaces=(), pods=tuple(pod(seat, seat.namespace, {}, [], ground) for seat in ground.seats))
        denied_already = self.check(bare, dict.fromkeys(asked(bare, ground), True), self._profile.converge_timeout)
        if denied_already:
            flow, word = next(iter(denied_already.items()))
            raise HarnessError(f"{flow}: {word} before any policy of ours")
        return ground

    def close(self) -> list[str]:
        """Remove everything; a line for what stays behind."""
        self._pool.shutdown(cancel_futures=True)
        try:
            return self._world.close(keep=False)
        finally:
            self._kube.close()

    def check(self, scene: Scene, expected: dict[Flow, bool], within: float) -> dict[Flow, str]:
        """Put the scene in force; the words of the flows that are not as expected when time is up.

        Args:
            expected: Flow → whether it should be answered.
            within: Seconds until all of it must show.

        Raises:
            HarnessError: A flow or a journal could not tell.
        """
        changed = expected != self._before
        self._put(scene)
        cells = {flow: self._cell(flow, allowed) for flow, allowed in expected.items()}
        window = max(self._profile.window, self._profile.deny_timeout) * (1 if changed else 3)
        probes = [cell.flow for cell in cells.values()]
        outcome = settle(
            lambda: measure(self._world.agents, probes, self._profile.deny_timeout),
            list(cells.values()),
            within=within,
            window=window,
        )
        self._before = expected if outcome.held else {}
        return differing(cells, outcome, self._heard(cells))

    def _heard(self, cells: dict[Flow, Cell]) -> frozenset[str]:
        journals = self._world.journals({flow.target for flow in cells})
        incomplete = [name for name, journal in journals.items() if not journal.complete]
        if incomplete:
            raise HarnessError(f"the journal of {incomplete[0]} could not be read after a control flow")
        return frozenset(each.nonce for journal in journals.values() for each in journal.arrivals)

    def _cell(self, flow: Flow, allowed: bool) -> Cell:
        target = self._world.workloads[flow.target]
        host = next(each for each in target.addresses if (":" in each) == (flow.family == 6))
        probe = Probe(
            source=flow.source,
            destination=flow.target,
            host=host,
            port=flow.port,
            protocol=Protocol.TCP if flow.protocol is Transport.TCP else Protocol.UDP,
            pod=target.pod,
            instance=self._world.agents[flow.target].instance,
        )
        return Cell(flow=probe, expected=answered() if allowed else denied(self._profile.deny))

    def _put(self, scene: Scene) -> None:
        """Labels and policies of the scene in the place of the former one's; all at once, as nobody would."""
        gone, self._applied = self._applied, list(scene.policies)
        self._all(
            lambda each: self._kube.delete(*POLICY, each["metadata"]["name"], each["metadata"]["namespace"]), gone
        )
        self._all(lambda each: self._label(each, POD_LABELS), scene.pods)
        self._all(lambda each: self._label(each, NAMESPACE_LABELS), scene.namespaces)
        self._all(self._kube.create, scene.policies)

    def _label(self, manifest: Object, alphabet: Iterable[str]) -> None:
        meta = manifest["metadata"]
        labels = {key: meta["labels"].get(key) for key in alphabet}
        patch = {"metadata": {"labels": labels}}
        self._kube.patch("v1", manifest["kind"], meta["name"], meta.get("namespace", ""), patch)

    def _all(self, act: Callable[[Object], object], objects: Sequence[Object]) -> None:
        list(self._pool.map(act, objects))
