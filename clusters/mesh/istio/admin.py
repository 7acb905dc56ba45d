"""One question to a proxy or to the control plane, by a command in its container or through the API server.

What belongs here: asking, with a deadline. What does not: what the answers mean (`read`).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any, Final

from clusters.api import Connection
from clusters.kube import Kube
from clusters.mesh.istio.words import PROXY
from flows.errors import HarnessError
from flows.stream import ChannelClosed

TIMEOUT: Final = 20.0
"""Seconds for one question; a proxy answers in a tenth of one, a machine under load takes its time."""


def execute(
    kube: Kube, namespace: str, pod: str, container: str, command: Sequence[str], timeout: float = TIMEOUT
) -> str:
    """What the command wrote to its standard output, once it has ended well.

    Raises:
        HarnessError: It failed, or did not end in time; with its own words.
    """
    deadline = time.monotonic() + timeout
    channel = kube.channel(namespace, pod, container, command)
    said = bytearray()
    try:
        while (left := deadline - time.monotonic()) > 0:
            said += channel.receive(left)
    except ChannelClosed as error:
        if re.search(r"exit code 0\b", str(error)):
            return said.decode(errors="replace")
        where, _, words = str(error).partition(": ")
        raise HarnessError(f"{where}: {' '.join(command[:3])}: {words}", detail=said.decode(errors="replace")) from None
    finally:
        channel.close()
    raise HarnessError(f"Pod {namespace}/{pod}: {' '.join(command)}: no end within {timeout:.0f} s")


def ask(kube: Kube, namespace: str, pod: str, path: str, timeout: float = TIMEOUT) -> str:
    """What the admin interface of a pod's proxy answers to GET.

    Raises:
        HarnessError: There is no proxy, or it does not answer.
    """
    return execute(kube, namespace, pod, PROXY, ["pilot-agent", "request", "GET", path], timeout)


def ask_json(kube: Kube, namespace: str, pod: str, path: str, timeout: float = TIMEOUT) -> dict[str, Any]:
    """The same, as a JSON object."""
    answer = parsed(ask(kube, namespace, pod, path, timeout), f"proxy of {namespace}/{pod}: {path}")
    return answer if isinstance(answer, dict) else {}


def debug(kube: Kube, namespace: str, pod: str, path: str, timeout: float = TIMEOUT) -> Any:
    """What an istiod pod's debug interface answers: by its own command, else through the API server's pod proxy.

    Raises:
        HarnessError: Neither way answered; both reasons are named.
    """
    what = f"istiod {namespace}/{pod}: {path}"
    command = ["pilot-discovery", "request", "GET", path]
    try:
        return parsed(execute(kube, namespace, pod, "discovery", command, timeout), what)
    except HarnessError as first:
        try:
            return parsed(proxied(kube, namespace, pod, 8080, path, timeout), what)
        except HarnessError as second:
            raise HarnessError(f"{what}: cannot be asked", detail=f"{first.message}\n{second.message}") from second


def proxied(kube: Kube, namespace: str, pod: str, port: int, path: str, timeout: float = TIMEOUT) -> str:
    """What a pod's port answers to GET through the API server's proxy."""
    connection = Connection(kube.cluster.kubeconfig, kube.cluster.context)
    where = f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}"
    try:
        return connection.text(where, f"ask Pod {namespace}/{pod} on {port}", params={}, read_timeout=timeout)
    finally:
        connection.close()


def parsed(text: str, what: str) -> Any:
    """The JSON of an answer.

    Raises:
        HarnessError: It is none; with its beginning.
    """
    try:
        return json.loads(text)
    except ValueError:
        raise HarnessError(f"{what}: the answer is no JSON", detail=text[:400]) from None
