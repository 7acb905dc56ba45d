"""Whether what the caller sends and what the server takes fit together, and who wrote what disagrees.

What belongs here: the modes of one flow's two ends. What does not: certificates' trust (a proxy's log says that).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from clusters.kube import Kube, KubeError
from clusters.mesh.dialect import Object, Step
from clusters.mesh.istio.inquiry import End, Inquiry
from clusters.mesh.istio.read import CATCH_ALL
from clusters.mesh.istio.words import ROOT_NAMESPACE, SECURITY
from flows.model import Path

_TLS_MODE: Final = "tlsMode"


@dataclass(frozen=True, slots=True)
class Sent:
    """What reaches the server: `plaintext`, `mutual TLS` or `TLS`, and who says so (a DestinationRule, or a reason)."""

    mode: str
    by: str = ""
    known: bool = True


def step(kube: Kube, found: Inquiry) -> Step:
    """What is sent against what is taken on this port; wrong when they cannot meet."""
    server = found.server
    if server is None:
        return Step(layer="mtls", says="the destination is not a workload of ours")
    port = _port(found, server)
    sent = _sent(found)
    if server.has_proxy and server.proxy.value is None:
        return Step(layer="mtls", says=f"could not be asked: {server.proxy.failed}")
    modes = server.proxy.value.server_modes if server.proxy.value else {}
    taken = modes.get(port, modes.get(CATCH_ALL, "disable")) if server.has_proxy else "no proxy"
    says = f"sent: {sent.mode}{f' ({sent.by})' if sent.by else ''}; taken on {port}: {taken}"
    if not sent.known:
        return Step(layer="mtls", says=says)
    if taken == "strict" and sent.mode != "mutual TLS":
        return Step(layer="mtls", says=f"{says} ({_peer_authentication(kube, server, port)})", wrong=True)
    if taken in {"disable", "no proxy"} and sent.mode == "mutual TLS":
        return Step(layer="mtls", says=says, wrong=True)
    return Step(layer="mtls", says=says)


def _port(found: Inquiry, server: End) -> int:
    """The workload's port: of the endpoint that the caller's proxy chose, else the one that was dialled."""
    line = found.caller_line
    upstream = line.upstream.rpartition(":")[2] if line else ""
    if upstream.isdigit():
        return int(upstream)
    declared = dict(server.workload.ports).values()
    return found.flow.port if found.flow.port in declared or not declared else next(iter(declared))


def _sent(found: Inquiry) -> Sent:
    caller = found.caller
    if caller is None or (caller.injected.value is not None and not caller.has_proxy):
        return Sent("TLS of the caller's own" if found.flow.tls else "plaintext", "the caller has no proxy")
    if caller.clusters.value is None:
        return Sent("unknown", f"could not be asked: {caller.clusters.failed}", known=False)
    line = found.caller_line
    name = line.cluster if line else ""
    if not name and found.flow.path is Path.POD_IP:
        name = "PassthroughCluster"
    for cluster in _clusters(caller.clusters.value):
        if cluster.get("name") == name or (not name and _is_for(cluster, found)):
            return _of(cluster, found.server)
    return Sent("unknown", f"the caller's proxy has no cluster {name or found.flow.host}", known=False)


def _clusters(dump: Mapping[str, Any]) -> list[Object]:
    return [each.get("cluster") or {} for each in dump.get("configs") or []]


def _is_for(cluster: Object, found: Inquiry) -> bool:
    """Whether it is the service's own cluster for the port that was dialled."""
    if found.server is None:
        return False
    target = found.server.workload
    parts = str(cluster.get("name", "")).split("|")
    full = f"{target.service}.{target.namespace}.svc."
    return len(parts) == 4 and parts[1] == str(found.flow.port) and parts[2] == "" and parts[3].startswith(full)


def _of(cluster: Object, server: End | None) -> Sent:
    istio = ((cluster.get("metadata") or {}).get("filter_metadata") or {}).get("istio") or {}
    rule = _named(str(istio.get("config", "")))
    matches = cluster.get("transport_socket_matches") or []
    if any(_TLS_MODE in (each.get("match") or {}) for each in matches):
        labels = ((server.pod.value or {}).get("metadata") or {}).get("labels") or {} if server else {}
        meshed = labels.get("security.istio.io/tlsMode") == "istio"
        return Sent("mutual TLS" if meshed else "plaintext", "; ".join(each for each in ("auto mTLS", rule) if each))
    socket = cluster.get("transport_socket")
    if not socket:
        return Sent("plaintext", rule or f"cluster {cluster.get('name')} has no TLS")
    context = (socket.get("typed_config") or {}).get("common_tls_context") or {}
    own = bool(context.get("tls_certificate_sds_secret_configs") or context.get("tls_certificates"))
    return Sent("mutual TLS" if own else "TLS", rule)


def _named(config: str) -> str:
    """`…/namespaces/NS/destination-rule/NAME` as a person writes it."""
    parts = config.strip("/").split("/")
    return f"DestinationRule {parts[-3]}/{parts[-1]}" if len(parts) > 3 and parts[-2] == "destination-rule" else ""


def _peer_authentication(kube: Kube, server: End, port: int) -> str:
    """The PeerAuthentication that asks for it: the narrowest that covers the pod."""
    labels = ((server.pod.value or {}).get("metadata") or {}).get("labels") or {}
    namespace = server.workload.namespace
    try:
        found = kube.list(SECURITY, "PeerAuthentication", namespace)
        wide = [] if namespace == ROOT_NAMESPACE else kube.list(SECURITY, "PeerAuthentication", ROOT_NAMESPACE)
    except KubeError as error:
        return f"PeerAuthentications could not be asked: {error.message}"
    ranked: list[tuple[int, str, str]] = []
    for each in [*found, *wide]:
        spec, meta = each.get("spec") or {}, each["metadata"]
        wanted = (spec.get("selector") or {}).get("matchLabels") or {}
        if any(labels.get(key) != value for key, value in wanted.items()):
            continue
        by_port = (spec.get("portLevelMtls") or {}).get(str(port)) or {}
        mode = by_port.get("mode") or (spec.get("mtls") or {}).get("mode") or "UNSET"
        if mode != "UNSET":
            rank = 0 if wanted else 1 if meta["namespace"] == namespace else 2
            ranked.append((rank, str(meta.get("creationTimestamp", "")), f"{meta['namespace']}/{meta['name']}: {mode}"))
    return f"PeerAuthentication {min(ranked)[2]}" if ranked else "no PeerAuthentication asks for it: the mesh's default"
