"""What a workload's proxy and the control plane say: state, certificate, sync, modes by port, access log.

What belongs here: reading. What does not: judging verdicts by it (`explain`), why there is no proxy (`injection`).
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from clusters.kube import Kube, KubeError
from clusters.mesh.dialect import LogEntry, Object, ProxyState
from clusters.mesh.istio import accesslog, admin
from clusters.mesh.istio.words import CONTROL_PLANE, PROXY
from flows.errors import HarnessError
from flows.model import Workload

INFO: Final = "server_info"
CERTIFICATES: Final = "certs"
LISTENERS: Final = "config_dump?resource=dynamic_listeners"
CLUSTERS: Final = "config_dump?resource=dynamic_active_clusters"

CATCH_ALL: Final = 0
"""The port that stands for all ports without a chain of their own in `ProxyState.server_modes`."""
_BLACKHOLE: Final = 15006
LOG_LINES: Final = 5000
"""The newest lines of a proxy's log that are looked through."""
_KINDS: Final = ("cluster", "listener", "route", "endpoint")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """What a control plane says of one proxy.

    Attributes:
        waiting: The kinds of configuration that were sent and not acknowledged.
        error: Why the newest configuration is not in force, in the control plane's words; Istio's own says nothing.
    """

    waiting: tuple[str, ...] = ()
    error: str = ""

    @property
    def done(self) -> bool:
        """Whether the newest configuration is in force."""
        return not self.waiting and not self.error


def proxy(kube: Kube, workload: Workload, timeout: float = admin.TIMEOUT) -> ProxyState:
    """What the workload's proxy says of itself.

    Raises:
        HarnessError: It has no proxy, or the proxy does not answer in time.
    """
    deadline = time.monotonic() + timeout

    def ask(path: str) -> dict[str, Any]:
        left = max(deadline - time.monotonic(), 0.1)
        return admin.ask_json(kube, workload.namespace, workload.pod, path, left)

    info, certificates, listeners = ask(INFO), ask(CERTIFICATES), ask(LISTENERS)
    return state(info, certificates, listeners, synced(kube, workload, max(deadline - time.monotonic(), 0.1)))


def state(
    info: Mapping[str, Any], certificates: Mapping[str, Any], listeners: Mapping[str, Any], told: Sync | None
) -> ProxyState:
    """What the answers of a proxy's admin interface and of its control plane say together."""
    identity, expires = certificate(certificates)
    return ProxyState(
        ready=info.get("state") == "LIVE",
        version=_version(info),
        synced=told.done if told else None,
        identity=identity,
        expires=expires,
        server_modes=server_modes(listeners),
        rejected=rejected(listeners) or (told.error if told else ""),
    )


def _version(info: Mapping[str, Any]) -> str:
    """Istio's version where the proxy was told it, else Envoy's own."""
    metadata = (info.get("node") or {}).get("metadata") or {}
    envoy = str(info.get("version", "")).split("/")
    return str(metadata.get("ISTIO_VERSION") or (envoy[1] if len(envoy) > 1 else envoy[0]))


def certificate(certificates: Mapping[str, Any]) -> tuple[str, float]:
    """The proxy's identity without scheme and when its certificate expires; the one that lasts longest counts."""
    found: list[tuple[float, str]] = []
    for each in certificates.get("certificates") or []:
        for link in each.get("cert_chain") or []:
            names = [str(name.get("uri", "")) for name in link.get("subject_alt_names") or []]
            spiffe = [name.removeprefix("spiffe://") for name in names if name.startswith("spiffe://")]
            if spiffe:
                end = datetime.datetime.fromisoformat(str(link["expiration_time"])).timestamp()
                found.append((end, spiffe[0]))
    expires, identity = max(found, default=(0.0, ""))
    return identity, expires


def inbound_chains(listeners: Mapping[str, Any]) -> list[Object]:
    """The filter chains of the listener that takes what comes from outside the pod."""
    for each in listeners.get("configs") or []:
        if each.get("name") == "virtualInbound":
            listener = (each.get("active_state") or {}).get("listener") or {}
            return list(listener.get("filter_chains") or [])
    return []


def server_modes(listeners: Mapping[str, Any]) -> dict[int, str]:
    """Port → `strict`, `permissive` or `disable`, from the chains; `CATCH_ALL` for all other ports."""
    secure: dict[int, bool] = {}
    plain: dict[int, bool] = {}
    for chain in inbound_chains(listeners):
        match = chain.get("filter_chain_match") or {}
        port = int(match.get("destination_port") or CATCH_ALL)
        if port != _BLACKHOLE:
            taken = secure if chain.get("transport_socket") else plain
            taken[port] = True
    ports = dict.fromkeys([*secure, *plain])
    return {
        port: "permissive" if port in secure and port in plain else "strict" if port in secure else "disable"
        for port in ports
    }


def rejected(listeners: Mapping[str, Any]) -> str:
    """The proxy's own words about a listener that it did not take; empty when it took all."""
    for each in listeners.get("configs") or []:
        state = each.get("error_state") or {}
        if state:
            return f"{each.get('name')}: {state.get('details', 'refused')}"
    return ""


def synced(kube: Kube, workload: Workload, timeout: float) -> Sync | None:
    """What `sync` says; None when nobody could tell, too."""
    try:
        return sync(kube, workload, timeout)
    except HarnessError:
        return None


def sync(kube: Kube, workload: Workload, timeout: float = admin.TIMEOUT) -> Sync | None:
    """Whether the workload's proxy has acknowledged all that it was sent; None when no control plane knows it.

    Raises:
        HarnessError: No control plane could be asked.
    """
    deadline = time.monotonic() + timeout
    known: Sync | None = None
    failed: HarnessError | None = None
    asked = False
    for pod in kube.list("v1", "Pod", labels=CONTROL_PLANE):
        if (pod.get("status") or {}).get("phase") != "Running" or pod["metadata"].get("deletionTimestamp"):
            continue
        meta = pod["metadata"]
        left = max(deadline - time.monotonic(), 0.1)
        try:
            answer = admin.debug(kube, meta["namespace"], meta["name"], "/debug/syncz", left)
        except HarnessError as error:
            failed = error
            continue
        asked = True
        found = acknowledged(answer, f"{workload.pod}.{workload.namespace}")
        known = found if found is not None else known
    if not asked:
        raise failed or HarnessError("no control plane runs; look: kubectl get pods -A -l " + CONTROL_PLANE)
    return known


def acknowledged(answer: object, name: str) -> Sync | None:
    """What `/debug/syncz` answers of this proxy; None when it is not in the answer."""
    entries = answer if isinstance(answer, list) else []
    mine = [each for each in entries if each.get("proxy") == name]
    if not mine:
        return None
    newest = mine[-1]
    waiting = tuple(kind for kind in _KINDS if newest.get(f"{kind}_sent", "") != newest.get(f"{kind}_acked", ""))
    return Sync(waiting=waiting, error=str(newest.get("error") or ""))


def log(kube: Kube, workload: Workload, contains: str = "", since_seconds: float = 60.0) -> Sequence[LogEntry]:
    """The proxy's access log of the last seconds, newest last; only lines that contain the text.

    Raises:
        HarnessError: The log cannot be read.
    """
    try:
        text = kube.logs(workload.namespace, workload.pod, PROXY, tail=LOG_LINES)
    except KubeError as error:
        raise HarnessError(f"log of {workload.name}'s proxy: {error.message}", detail=error.detail) from error
    begin = time.time() - since_seconds
    found = []
    for line in text.splitlines():
        entry = accesslog.parse(line, workload.addresses) if contains in line else None
        if entry and accesslog.ended(line) >= begin:
            found.append(entry)
    return found


def seen_identity(headers: Sequence[tuple[str, str]]) -> str:
    """The caller's identity, without scheme, that the server's own proxy put last into the request; else empty."""
    given = [value for name, value in headers if name.lower() == "x-forwarded-client-cert"]
    nearest = given[-1].rpartition(",")[2] if given else ""
    for part in nearest.split(";"):
        key, _, value = part.strip().partition("=")
        if key.lower() == "uri":
            return value.strip('"').removeprefix("spiffe://")
    return ""
