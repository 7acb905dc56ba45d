"""Pods that are all on this machine: addresses of loopback, and an exec that runs the command here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from clusters.kube import KubeError
from flows.stream import ChannelClosed
from tests.flows.pipes import PipeChannel

Object = dict[str, Any]
ELSEWHERE = {key: value for key, value in os.environ.items() if not key.startswith("EASTWEST_")}
NO_PYTHON = 'exec: "python3": executable file not found in $PATH'


def pod(name: str, address: str = "127.0.0.1", **changes: Any) -> Object:
    """A ready pod `NAMESPACE/NAME` with one container.

    Args:
        changes: labels, ports (`[(number, protocol)]`), named (`{name: number}`), ready, phase, addresses.
    """
    namespace, _, bare = name.partition("/")
    ports = [{"containerPort": number, "protocol": protocol} for number, protocol in changes.get("ports", [])]
    ports += [{"containerPort": number, "name": key} for key, number in changes.get("named", {}).items()]
    ready = "True" if changes.get("ready", True) else "False"
    addresses = changes.get("addresses", [address])
    return {
        "metadata": {"name": bare, "namespace": namespace, "uid": name, "labels": changes.get("labels", {})},
        "spec": {"nodeName": "here", "containers": [{"name": "app", "ports": ports}]},
        "status": {
            "phase": changes.get("phase", "Running"),
            "podIP": addresses[0],
            "podIPs": [{"ip": each} for each in addresses],
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "app", "state": {"running": {}}}],
        },
    }


class Here:
    """An API server with pods and policies, all of whose containers are this machine.

    Args:
        without: Pods without a Python; forbidden: what the credentials may not, as `list Pod` or `exec`.
        calico: It serves Calico's own kinds, of which there are none.
    """

    def __init__(
        self,
        pods: Sequence[Object],
        policies: Sequence[Object] = (),
        *,
        without: Sequence[str] = (),
        forbidden: Sequence[str] = (),
        namespaces: dict[str, dict[str, str]] | None = None,
        calico: bool = False,
    ) -> None:
        self.calico = calico
        self.objects = {"Pod": list(pods), "NetworkPolicy": list(policies)}
        self.without, self.forbidden, self.namespaces = set(without), set(forbidden), namespaces or {}
        self.channels: list[PipeChannel] = []

    def _check(self, what: str) -> None:
        if what in self.forbidden:
            raise KubeError(f"{what}: 403 Forbidden", status=403)

    def serves(self, api: str, _kind: str) -> bool:
        return self.calico and api == "projectcalico.org/v3"

    def list(self, api: str, kind: str, namespace: str = "") -> list[Object]:
        self._check(f"list {kind}")
        if "calico" in api:
            return []
        return [each for each in self.objects[kind] if namespace in {"", each["metadata"]["namespace"]}]

    def get(self, _api: str, kind: str, name: str) -> Object:
        self._check(f"get {kind}")
        if name not in {each["metadata"]["namespace"] for each in self.objects["Pod"]} | set(self.namespaces):
            raise KubeError(f"get {kind} {name}: 404", status=404)
        return {"metadata": {"name": name, "labels": self.namespaces.get(name, {})}}

    def channel(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> PipeChannel:
        self._check("exec")
        assert (container, command[0]) == ("app", "python3")
        if f"{namespace}/{pod}" in self.without:
            return Unstarted()
        self.channels.append(PipeChannel([sys.executable, *command[1:]], ELSEWHERE))
        return self.channels[-1]


class Unstarted(PipeChannel):
    """An exec whose command is not there."""

    def __init__(self) -> None:
        """Nothing is started."""

    def send(self, data: bytes) -> None:
        raise ChannelClosed(f"{NO_PYTHON}; {len(data)} bytes were not sent")

    def receive(self, timeout: float) -> bytes:
        raise ChannelClosed(f"{NO_PYTHON}; nothing came within {timeout} s")

    def close(self) -> None:
        """Nothing is open."""
