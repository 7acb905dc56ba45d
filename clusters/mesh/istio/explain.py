"""The mesh's part of the layered check: which layer explains a verdict, in the proxies' own words.

What belongs here: one step a layer, in the order in which a call passes them. What does not: asking (`inquiry`).
At most one step is `wrong`: the first that accounts for the verdict. An unwanted answer is accounted for only by a
proxy that is missing or does not know the latest rules.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from clusters.kube import Kube
from clusters.mesh.dialect import Place, Step
from clusters.mesh.istio import mtls, policies
from clusters.mesh.istio.inquiry import Answer, End, Inquiry, inquire
from flows.model import Flow, Kind, Verdict

_LET_PASS: Final = ("injected", "proxies")
_SYNC: Final = {
    True: "ready and in sync",
    False: "ready, has not acknowledged the latest configuration",
    None: "ready, sync unknown",
}
_FLAGS: Final = {
    "NR": "no route or filter chain matched",
    "NC": "the route's cluster does not exist",
    "UH": "no healthy endpoint (does the subset pick any pod?)",
    "UF": "the connection to the endpoint failed",
    "UC": "the endpoint ended the connection",
    "UO": "overflow: a limit of the connection pool",
    "UT": "the route's timeout",
    "URX": "all retries were used up",
    "FI": "a fault was injected",
    "DC": "the caller went away",
    "DPE": "the caller's bytes are no HTTP",
}


def explain(kube: Kube, flow: Flow, verdict: Verdict, place: Place) -> list[Step]:
    """Injected, proxies, mTLS, authorization, tokens, route, log: one step each; questions that failed say so."""
    found = inquire(kube, flow, verdict, place.workloads)
    steps = [
        _injected(found),
        _proxies(found),
        mtls.step(kube, found),
        policies.access(kube, found),
        policies.tokens(found),
        _route(found),
        _log(found),
    ]
    if not any(step.wrong for step in steps) and _stale(found):
        steps[1] = replace(steps[1], wrong=True)  # only where nothing that a proxy said accounts for the verdict
    return _first_wrong(steps, verdict)


def _stale(found: Inquiry) -> bool:
    """Whether a proxy works with an older configuration than the control plane has sent."""
    return any(end.proxy.value is not None and end.proxy.value.synced is False for end in _ends(found))


def _first_wrong(steps: Iterable[Step], verdict: Verdict) -> list[Step]:
    """The steps with at most one marked."""
    answered, marked = verdict.kind is Kind.ANSWERED, False
    kept = []
    for step in steps:
        blamed = step.wrong and not marked and (not answered or step.layer in _LET_PASS)
        kept.append(replace(step, wrong=blamed))
        marked = marked or blamed
    return kept


def _failed(answer: Answer[Any]) -> str:
    """How a question without an answer is written."""
    return f"could not be asked: {answer.failed}"


def _ends(found: Inquiry) -> list[End]:
    return [end for end in (found.caller, found.server) if end is not None]


def _injected(found: Inquiry) -> Step:
    says, wrong = [], False
    for end in _ends(found):
        name, seen = end.workload.name, end.injected.value
        if seen is None:
            says.append(f"{name}: {_failed(end.injected)}")
        elif seen.form == "none":
            says.append(f"{name}: no proxy ({seen.count}): {seen.reason}")
            wrong = wrong or end.workload.meshed
        else:
            says.append(f"{name}: {seen.count}, {seen.form}, revision {seen.revision}, proxy {seen.version}")
    return Step(layer="injected", says="; ".join(says) or "neither end is a workload of ours", wrong=wrong)


def _proxies(found: Inquiry) -> Step:
    says, wrong = [], False
    for end in _ends(found):
        name, state = end.workload.name, end.proxy.value
        if end.injected.value is not None and not end.has_proxy:
            continue
        if state is None:
            says.append(f"{name}: {_failed(end.proxy)}")
            continue
        faults = [] if state.ready else ["not ready"]
        if state.rejected:
            faults.append(f"its newest configuration is not in force: {state.rejected}")
        if state.expires and state.expires < time.time():
            faults.append("its certificate has expired")
        calm = _SYNC[state.synced]
        says.append(f"{name}: {', '.join(faults) or calm}")
        wrong = wrong or bool(faults)
    return Step(layer="proxies", says="; ".join(says) or "there is none", wrong=wrong)


def _route(found: Inquiry) -> Step:
    caller, line = found.caller, found.caller_line
    if caller is None or (caller.injected.value is not None and not caller.has_proxy):
        return Step(layer="route", says="the caller has no proxy that routes")
    if line is None:
        why = _failed(caller.log) if caller.log.failed else "the caller's log has no line of this flow"
        return Step(layer="route", says=why)
    flags = [each for each in line.flags.split(",") if each]
    words = "; ".join(f"{flag}: {_FLAGS.get(flag, 'see the proxy')}" for flag in flags)
    says = f"{line.cluster or 'no cluster'} → {line.upstream or 'nobody'}" + (f" ({words})" if words else "")
    return Step(layer="route", says=says, wrong=bool(set(flags) - {"DC"}))


def _log(found: Inquiry) -> Step:
    lines = [("caller", found.caller_line), ("server", found.server_line)]
    said = [f"{name}: {entry.text}" for name, entry in lines if entry]
    return Step(layer="log", says="\n".join(said) or "no line of this flow in either proxy's log")
