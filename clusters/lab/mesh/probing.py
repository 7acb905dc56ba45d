"""Application probes behind a proxy: what the pod says instead, and what the proxy's agent asks in their place.

What belongs here: the rewriting. What does not: asking (`pilot`).
"""

from __future__ import annotations

from typing import Any, Final

Object = dict[str, Any]
AGENT: Final = 15020
_PROBES: Final = {"readinessProbe": "readyz", "livenessProbe": "livez", "startupProbe": "startupz"}
_HOOKS: Final = {"postStart": "poststartz", "preStop": "prestopz"}


def rewrite(spec: Object) -> dict[str, Object]:
    """Send every HTTP and TCP probe and hook of the application's containers to the agent, in place.

    Returns:
        Path on the agent's port → what it has to ask, as `ISTIO_KUBE_APP_PROBERS` has it. Commands stay as they are.
    """
    found: dict[str, Object] = {}
    sidecars = [each for each in spec.get("initContainers") or [] if each.get("restartPolicy") == "Always"]
    for container in (*sidecars, *spec["containers"]):
        ports = {each["name"]: each["containerPort"] for each in container.get("ports") or [] if each.get("name")}
        for field, word in _PROBES.items():
            path = f"/app-health/{container['name']}/{word}"
            probe = container.get(field) or {}
            asked = _asked(probe, ports)
            if asked is not None:
                found[path] = {**asked, "timeoutSeconds": probe.get("timeoutSeconds") or 1}
                _replace(probe, path)
        for field, word in _HOOKS.items():
            path = f"/app-lifecycle/{container['name']}/{word}"
            hook = (container.get("lifecycle") or {}).get(field) or {}
            asked = _asked(hook, ports)
            if asked is not None:
                found[path] = asked
                _replace(hook, path)
    return found


def _asked(action: Object, ports: dict[str, int]) -> Object | None:
    """The question with its port as a number; None for what needs no rewriting."""
    for kind in ("httpGet", "tcpSocket"):
        if kind in action:
            question = dict(action[kind])
            port = question.get("port")
            question["port"] = ports.get(str(port), port)
            if question["port"] == AGENT:
                return None
            if kind == "httpGet":
                question.setdefault("scheme", "HTTP")
            return {kind: question}
    return None


def _replace(action: Object, path: str) -> None:
    """Ask the agent instead; an HTTP question keeps its headers, as at Istio."""
    headers = (action.pop("httpGet", None) or {}).get("httpHeaders")
    action.pop("tcpSocket", None)
    action["httpGet"] = {"path": path, "port": AGENT} | ({"httpHeaders": headers} if headers else {})
