"""A pod's status from what its containers are doing. Pure: no clock but the one that is passed in.

What belongs here: phase, conditions, container statuses. What does not: posting them (`pod`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from clusters.lab.client import Object
from clusters.lab.node.containers import Runner

_OURS: Final = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")


def phase(pod: Object, inits: Sequence[Runner], mains: Sequence[Runner]) -> str:
    """`Pending`, `Running`, `Succeeded` or `Failed`."""
    sidecars = [each for each in inits if each.role == "sidecar"]
    if all(each.done.is_set() or "waiting" in each.state for each in sidecars):  # a pod is over when they are, too
        if any(each.role == "init" and each.done.is_set() and each.exit_code != 0 for each in inits):
            return "Failed"
        if all(each.done.is_set() for each in mains):
            return "Succeeded" if all(each.exit_code == 0 for each in mains) else "Failed"
    if any("waiting" in each.state and not each.last_state and not each.restarts for each in mains):
        return "Pending" if pod.get("status", {}).get("phase") != "Running" else "Running"
    return "Running"


def container_status(runner: Runner) -> Object:
    """One entry of `containerStatuses`."""
    result: Object = {
        "name": runner.name,
        "image": runner.spec["image"],
        "imageID": runner.image_id,
        "ready": runner.ready,
        "started": runner.started,
        "restartCount": runner.restarts,
        "state": runner.state,
        "lastState": runner.last_state if runner.last_state is not runner.state else {},
    }
    if runner.container_id:
        result["containerID"] = runner.container_id
    return result


def build(
    pod: Object,
    inits: Sequence[Runner],
    mains: Sequence[Runner],
    *,
    addresses: Sequence[str],
    node_addresses: Sequence[str],
    started: str,
    now: str,
    previous: Object,
) -> Object:
    """The whole status as a merge patch.

    Args:
        previous: The status that was posted last; conditions that did not change keep their transition time.
    """
    current = phase(pod, inits, mains)
    over = current in {"Succeeded", "Failed"}
    initialized = all(
        (each.done.is_set() and each.exit_code == 0) if each.role == "init" else each.up.is_set() for each in inits
    )
    everyone = [*(each for each in inits if each.role == "sidecar"), *mains]
    unready = [each.name for each in everyone if not each.ready]
    why = "" if not unready else f"containers with unready status: [{' '.join(unready)}]"
    others = {each["type"]: each for each in (pod.get("status") or {}).get("conditions") or []}
    gates = [each["conditionType"] for each in pod["spec"].get("readinessGates") or []]
    closed = [gate for gate in gates if others.get(gate, {}).get("status") != "True"]
    reason = "PodCompleted" if current == "Succeeded" else "PodFailed" if over else "ContainersNotReady"
    unfinished = [
        each.name for each in inits if each.role == "init" and not (each.done.is_set() and each.exit_code == 0)
    ]
    wanted = {
        "PodReadyToStartContainers": (bool(addresses) and not over, "", ""),
        "Initialized": (
            initialized,
            "" if initialized else "ContainersNotInitialized",
            "" if initialized else f"containers with incomplete status: [{' '.join(unfinished)}]",
        ),
        "ContainersReady": (not unready and not over, reason if unready or over else "", why),
    }
    ready = not unready and not over and not closed
    gate_words = (
        "" if unready or not closed else f"corresponding condition of pod readiness gate {closed[0]!r} does not exist"
    )
    wanted["Ready"] = (ready, "" if ready else "ReadinessGatesNotReady" if gate_words else reason, gate_words or why)
    before = {each["type"]: each for each in previous.get("conditions") or []}
    conditions = [each for kind, each in others.items() if kind not in _OURS]
    for kind in _OURS:
        truth, code, words = wanted[kind]
        condition: Object = {"type": kind, "status": "True" if truth else "False", "lastProbeTime": None}
        old = before.get(kind, {})
        same = old.get("status") == condition["status"]
        condition["lastTransitionTime"] = old["lastTransitionTime"] if same else now
        if code:
            condition |= {"reason": code}
        if words:
            condition |= {"message": words}
        conditions.append(condition)
    status: Object = {
        "phase": current,
        "startTime": started,
        "hostIP": node_addresses[0],
        "hostIPs": [{"ip": each} for each in node_addresses],
        "qosClass": pod.get("status", {}).get("qosClass") or "BestEffort",
        "conditions": conditions,
        "containerStatuses": [container_status(each) for each in mains],
    }
    if addresses:
        status |= {"podIP": addresses[0], "podIPs": [{"ip": each} for each in addresses]}
    if inits:
        status["initContainerStatuses"] = [container_status(each) for each in inits]
    return status
