"""Asking from pods that are there: the agent as a visitor, in the first of a pod's containers that has a Python.

What belongs here: who lets a visitor in, and why others do not. What does not: what is asked (`measure`).
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from clusters.kube import Kube, KubeError
from clusters.reach.census import Resident
from flows import visit
from flows.errors import HarnessError, PreparationError
from flows.stream import Agent, Channel, ChannelClosed

AT_ONCE: Final = 16
LOOK: Final = 15.0
"""Seconds within which a container says whether it has a Python."""
CONNECT: Final = 30.0
"""Seconds within which a visitor must answer."""
_CHECK: Final = ["python3", "-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
_OLDEST: Final = (3, 9)
_FORBIDDEN: Final = 403
_NO_RIGHT: Final = "these credentials may not exec"
_NONE: Final = re.compile(r"executable file not found|no such file or directory|not found in \$PATH|exit code 12[67]")


@dataclass(slots=True)
class Visits:
    """The visitors, by their pods' names; and why each other pod has none."""

    agents: dict[str, Agent] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def visiting(kube: Kube, residents: Sequence[Resident], seconds: float) -> Iterator[Visits]:
    """A visitor in each pod that lets one in, while this lasts; at the latest after `seconds` they go by themselves.

    Raises:
        PreparationError: The credentials allow no exec at all.
    """
    visits = Visits()
    try:
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            outcomes = list(pool.map(lambda each: _enter(kube, each, seconds), residents))
        for resident, (agent, why) in zip(residents, outcomes, strict=True):
            if agent is not None:
                visits.agents[resident.name] = agent
            else:
                visits.refused[resident.name] = why
        forbidden = [why for why in visits.refused.values() if why.startswith(_NO_RIGHT)]
        if forbidden and len(forbidden) == len(residents):
            raise PreparationError(f"{forbidden[0]}; grant create and get of pods/exec (docs/how-to/matrix.md)")
        yield visits
    finally:
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            list(pool.map(Agent.close, visits.agents.values()))


def _enter(kube: Kube, resident: Resident, seconds: float) -> tuple[Agent | None, str]:
    """The visitor in a pod, or why there is none."""
    reasons = []
    for container in resident.containers:
        try:
            why = _python(kube, resident, container)
        except KubeError as error:
            if error.status == _FORBIDDEN:
                return None, f"{_NO_RIGHT} in namespace {resident.seen.namespace}"
            why = error.message
        if why:
            reasons.append(f"container {container}: {why}")
            continue
        agent = Agent(resident.name, partial(_opened, kube, resident, container, seconds))
        try:
            agent.connect(time.monotonic() + CONNECT)
        except HarnessError as error:
            reasons.append(f"container {container}: {(error.detail or error.message).splitlines()[0]}")
            continue
        return agent, ""
    return None, "; ".join(reasons) or "none of its containers runs"


def _opened(kube: Kube, resident: Resident, container: str, seconds: float) -> Channel:
    namespace, _, pod = resident.name.partition("/")
    return visit.opened(lambda: kube.channel(namespace, pod, container, visit.command(seconds)))


def _python(kube: Kube, resident: Resident, container: str) -> str:
    """Why no visitor can run in a container; empty where one can.

    Raises:
        KubeError: The API server refused the exec.
    """
    namespace, _, pod = resident.name.partition("/")
    channel = kube.channel(namespace, pod, container, _CHECK)
    said, deadline = b"", time.monotonic() + LOOK
    try:
        while time.monotonic() < deadline and b"\n" not in said:
            said += channel.receive(max(deadline - time.monotonic(), 0.0))
    except ChannelClosed as ended:
        if b"\n" not in said:
            return "no python3" if _NONE.search(str(ended)) else str(ended).splitlines()[0]
    finally:
        channel.close()
    version = re.fullmatch(r"(\d+)\.(\d+)", said.decode(errors="replace").strip())
    if version is None:
        return f"its python3 did not say its version within {LOOK:g} s"
    if (int(version[1]), int(version[2])) < _OLDEST:
        return f"its python3 is {version[0]}, older than 3.9"
    return ""
