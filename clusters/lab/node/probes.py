"""Probes and hooks: asked from the node as kubelet asks, with thresholds, and quick until the first success.

What belongs here: one question (HTTP, TCP, command) and the loop around it. What does not: restarting (`containers`).

The lab asks startup and readiness probes again after 50 ms, then ever slower up to the probe's own period, until the
first success, so a pod is Ready some 100 ms after its server listens. A failure counts towards the threshold once a
period, as in Kubernetes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from clusters.lab.client import Object
from clusters.lab.node.environment import ConfigError
from clusters.lab.node.execution import run_command
from clusters.lab.node.joining import JoinError, Target

_QUICK: Final = 0.05
"""Seconds to the second question before the first success; grows by half each time."""
_GROWTH: Final = 1.5
_HEAD_LIMIT: Final = 16 * 1024
"""Bytes of an HTTP answer that are read; only its first line matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The answer to one question: whether it was good, and the words for the event."""

    good: bool
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a container's probes go.

    Attributes:
        address: The pod's; ports: the container's named ports.
        target: For commands.
    """

    address: str
    ports: Mapping[str, int]
    target: Target


def port_names(container: Object) -> dict[str, int]:
    """The container's named ports."""
    return {str(each["name"]): int(each["containerPort"]) for each in container.get("ports") or [] if each.get("name")}


def _port(value: object, place: Place) -> int:
    if isinstance(value, int):
        return value
    text = str(value)
    if text.isdigit():
        return int(text)
    if text not in place.ports:
        raise ConfigError(f"the container has no port named {text!r}")
    return place.ports[text]


def unverified() -> ssl.SSLContext:
    """A TLS context that takes any certificate, as kubelet's HTTPS probes do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def ask(action: Mapping[str, Any], place: Place, deadline: float) -> Asked:
    """Ask once; a failure of any kind is an answer, not an exception."""
    try:
        async with asyncio.timeout(deadline):
            if "httpGet" in action:
                return await _http(action["httpGet"], place)
            if "tcpSocket" in action:
                return await _tcp(action["tcpSocket"], place)
            if "exec" in action:
                code, words = await run_command(place.target, action["exec"].get("command") or [], deadline)
                return Asked(good=code == 0, words=words.strip() or f"exit code {code}")
            if "sleep" in action:
                await asyncio.sleep(float(action["sleep"]["seconds"]))
                return Asked(good=True)
    except TimeoutError:
        return Asked(good=False, words=f"no answer within {deadline:g} s")
    except (OSError, JoinError, ConfigError, ValueError, EOFError) as error:
        return Asked(good=False, words=str(error))
    return Asked(good=False, words="the lab offers httpGet, tcpSocket and exec here, and nothing else")


async def _tcp(action: Mapping[str, Any], place: Place) -> Asked:
    host = str(action.get("host") or place.address)
    _, writer = await asyncio.open_connection(host, _port(action["port"], place))
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Asked(good=True)


async def _http(action: Mapping[str, Any], place: Place) -> Asked:
    host, port = str(action.get("host") or place.address), _port(action["port"], place)
    path = str(action.get("path") or "/")
    secure = str(action.get("scheme") or "HTTP").upper() == "HTTPS"
    literal = f"[{host}]" if ":" in host else host
    headers = {"Host": f"{literal}:{port}", "User-Agent": "kube-probe/1.34", "Accept": "*/*", "Connection": "close"}
    for each in action.get("httpHeaders") or []:
        name = str(each["name"])
        headers = {key: value for key, value in headers.items() if key.lower() != name.lower()}
        headers[name] = str(each.get("value") or "")
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    if any(sign in path + lines.replace("\r\n", "") for sign in "\r\n"):
        raise ConfigError("httpGet: a line break in path or headers")
    slashed = path if path.startswith("/") else f"/{path}"
    reader, writer = await asyncio.open_connection(host, port, ssl=unverified() if secure else None, limit=_HEAD_LIMIT)
    try:
        writer.write(f"GET {slashed} HTTP/1.1\r\n{lines}\r\n".encode())
        first = await reader.readline()
        words = first.decode(errors="replace").split()
        if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
            return Asked(good=False, words=f"no HTTP answer: {first[:80]!r}")
        status = int(words[1])
        await reader.read(_HEAD_LIMIT)  # an answer read in full ends in order, not with a reset
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return Asked(good=200 <= status < 400, words=f"HTTP probe failed with statuscode: {status}")


class Probe:
    """One probe's loop.

    Args:
        kind: `startup`, `readiness` or `liveness`.
        on_change: Called with the new state when a threshold is reached; False of a liveness or startup probe ends
            the container.
        on_failure: Called with the words of a failure that counts.
    """

    def __init__(
        self,
        kind: str,
        probe: Mapping[str, Any],
        place: Place,
        on_change: Callable[[bool], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._kind, self._probe, self._place = kind, probe, place
        self._on_change, self._on_failure = on_change, on_failure
        self.period = float(probe.get("periodSeconds") or 10)
        self._deadline = float(probe.get("timeoutSeconds") or 1)
        self._success = int(probe.get("successThreshold") or 1)
        self._failure = int(probe.get("failureThreshold") or 3)

    async def run(self) -> None:
        """Ask until cancelled, or (startup, liveness) until it is decided."""
        await asyncio.sleep(float(self._probe.get("initialDelaySeconds") or 0))
        began = time.monotonic()
        state: bool | None = None
        goods = bads = counted = 0
        pause = self.period if self._kind == "liveness" else _QUICK
        while True:
            asked = await ask(self._probe, self._place, self._deadline)
            if asked.good:
                goods, bads = goods + 1, 0
                if goods >= self._success and state is not True:
                    state = True
                    self._on_change(True)
                    if self._kind == "startup":
                        return
                if state is True:
                    pause = self.period
            else:
                elapsed = int((time.monotonic() - began) / self.period) + 1
                goods = 0
                if pause >= self.period or elapsed > counted:
                    counted = elapsed
                    bads += 1
                    if pause > _QUICK:  # the very first question comes before any server can listen
                        self._on_failure(asked.words)
                if bads >= self._failure and state is not False:
                    state = False
                    self._on_change(False)
                    if self._kind != "readiness":
                        return
            await asyncio.sleep(min(pause, self.period))
            if state is not True and pause < self.period:
                pause *= _GROWTH
