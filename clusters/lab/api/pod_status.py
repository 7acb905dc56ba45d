"""How a pod reads in one line: the READY, STATUS and RESTARTS that kubectl shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Object = dict[str, Any]


def _reason(state: Object) -> str:
    """A finished container's word: its reason, or its signal or exit code."""
    ended = state["terminated"]
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def pod_cells(pod: Object, age: Callable[[str | None], str]) -> list[Any]:
    """The cells of one pod's row, the wide ones included."""
    spec, status, meta = pod["spec"], pod["status"], pod["metadata"]
    early = {each["name"]: each for each in spec.get("initContainers", [])}
    sidecars = {name for name, each in early.items() if each.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or []) + len(sidecars)
    word = status.get("reason") or status.get("phase", "")
    if any(each["type"] == "PodScheduled" and each.get("reason") == "SchedulingGated" for each in _conditions(status)):
        word = "SchedulingGated"
    starting, ready, restarts, restarts_of_sidecars, last = False, 0, 0, 0, ""
    for place, each in enumerate(status.get("initContainerStatuses", [])):
        state, mine = each.get("state", {}), each["name"] in sidecars
        restarts += each.get("restartCount", 0)
        if mine:
            restarts_of_sidecars += each.get("restartCount", 0)
        last = max(last, _ended(each))
        if state.get("terminated", {}).get("exitCode", -1) == 0:
            continue
        if mine and each.get("started"):
            ready += bool(each.get("ready"))
            continue
        starting = True
        if "terminated" in state:
            word = f"Init:{_reason(state)}"
        elif state.get("waiting", {}).get("reason", "PodInitializing") not in {"", "PodInitializing"}:
            word = f"Init:{state['waiting']['reason']}"
        else:
            word = f"Init:{place}/{len(early)}"
        break
    if not starting or _is_true(status, "Initialized"):
        word, ready, restarts, last = _main(status, word, ready, restarts_of_sidecars, last)
    if "deletionTimestamp" in meta:
        if status.get("reason") == "NodeLost":
            word = "Unknown"
        elif status.get("phase") not in {"Failed", "Succeeded"}:
            word = "Terminating"
    shown = f"{restarts} ({age(last)} ago)" if restarts and last else str(restarts)
    addresses = status.get("podIPs") or [{"ip": status.get("podIP", "")}]
    gates = spec.get("readinessGates", [])
    passed = sum(_is_true(status, each["conditionType"]) for each in gates)
    return [
        meta["name"],
        f"{ready}/{total}",
        word,
        shown,
        age(meta.get("creationTimestamp")),
        addresses[0].get("ip") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        f"{passed}/{len(gates)}" if gates else "<none>",
    ]


def _main(status: Object, word: str, ready: int, restarts: int, last: str) -> tuple[str, int, int, str]:
    """Word, ready count, restarts and last end with the main containers taken in."""
    running = False
    for each in reversed(status.get("containerStatuses", [])):
        state = each.get("state", {})
        restarts += each.get("restartCount", 0)
        last = max(last, _ended(each))
        if state.get("waiting", {}).get("reason"):
            word = state["waiting"]["reason"]
        elif "terminated" in state:
            word = _reason(state)
        elif each.get("ready") and "running" in state:
            running = True
            ready += 1
    if word == "Completed" and running:
        word = "Running" if _is_true(status, "Ready") else "NotReady"
    return word, ready, restarts, last


def _ended(container: Object) -> str:
    return str(container.get("lastState", {}).get("terminated", {}).get("finishedAt") or "")


def _conditions(status: Object) -> list[Object]:
    found: list[Object] = status.get("conditions", [])
    return found


def _is_true(status: Object, kind: str) -> bool:
    return any(each["type"] == kind and each.get("status") == "True" for each in _conditions(status))
