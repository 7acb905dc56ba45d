"""What the oracle must know of a pod, from the pod as the API server has it.

What belongs here: reading a pod's JSON. What does not: fetching it, and what policies make of it (`oracle`).
"""

from __future__ import annotations

from typing import Any

from policies import oracle
from policies.model import Transport

Object = dict[str, Any]


def as_pod(pod: Object) -> oracle.Pod:
    """A pod's JSON as policies see it."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    addresses_of = [each["ip"] for each in status.get("podIPs") or []] or [status.get("podIP")]
    nodes = [each["ip"] for each in status.get("hostIPs") or []] or [status.get("hostIP")]
    return oracle.Pod(
        name=meta["name"],
        namespace=meta["namespace"],
        labels=meta.get("labels") or {},
        account=spec.get("serviceAccountName") or "default",
        addresses=tuple(each for each in addresses_of if each),
        ports=tuple(
            oracle.NamedPort(
                name=port["name"], number=port["containerPort"], protocol=Transport(port.get("protocol", "TCP"))
            )
            for container in containers
            for port in container.get("ports") or []
            if port.get("name")
        ),
        node_addresses=tuple(each for each in nodes if each),
        host_network=bool(spec.get("hostNetwork")),
    )
