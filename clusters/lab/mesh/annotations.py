"""What a pod's annotations ask of its proxy, checked as Istio checks them; what the lab does not do is refused by name.

What belongs here: reading. What does not: what it becomes (`template`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from clusters.lab.mesh.bootstrap import LIFETIME, seconds

_TRAFFIC: Final = "traffic.sidecar.istio.io/"
_SIDECAR: Final = "sidecar.istio.io/"
CONFIG: Final = "proxy.istio.io/config"
NATIVE: Final = f"{_SIDECAR}nativeSidecar"
_METADATA: Final = "proxyMetadata"

DONE: Final = (
    *(
        f"{_TRAFFIC}{way}{what}"
        for what in ("InboundPorts", "OutboundPorts", "OutboundIPRanges")
        for way in ("include", "exclude")
    ),
    NATIVE,
    f"{_SIDECAR}inject",
    f"{_SIDECAR}status",
    f"{_SIDECAR}rewriteAppHTTPProbers",
    CONFIG,
)
"""Annotations that the lab follows."""
MEANINGLESS: Final = (
    *(f"{_SIDECAR}{each}" for each in ("proxyCPU", "proxyMemory", "proxyCPULimit", "proxyMemoryLimit")),
    *(f"{_SIDECAR}{each}" for each in ("logLevel", "componentLogLevel", "agentLogLevel")),
    *(f"{_SIDECAR}stats{each}" for each in ("InclusionPrefixes", "InclusionSuffixes", "InclusionRegexps")),
)
"""Annotations that are taken and change nothing that a flow could show."""
KNOWN: Final = (
    *(f"{_SIDECAR}{each}" for each in ("bootstrapOverride", "discoveryAddress", "proxyImage", "proxyImageType")),
    *(f"{_SIDECAR}{each}" for each in ("interceptionMode", "userVolume", "userVolumeMount", "extraStatTags")),
    *(f"{_SIDECAR}{each}" for each in ("controlPlaneAuthPolicy", "enableCoreDump", "port", "statsHistogramBuckets")),
    *(f"{_SIDECAR}{each}" for each in ("statsCompression", "enablePrometheusMerge")),
    *(f"{_TRAFFIC}{each}" for each in ("kubevirtInterfaces", "excludeInterfaces")),
    "inject.istio.io/templates",
    "istio.io/reroute-virtual-interfaces",
    "proxy.istio.io/overrides",
)
"""Annotations that Istio knows and the lab does not do: a pod with one is refused."""


class DeniedError(Exception):
    """The injector does not take the pod; the message names the annotation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the proxy of one pod shall be.

    Attributes:
        redirection: Arguments of `istio-iptables`.
        config: The proxy's configuration as annotated; `metadata` becomes variables of its agent.
        address: Where the agent finds its control plane.
    """

    redirection: tuple[str, ...]
    address: str
    native: bool = True
    hold: bool = False
    rewrite_probes: bool = True
    config: Mapping[str, object] = field(default_factory=dict)

    @property
    def metadata(self) -> Mapping[str, str]:
        """Variables of its agent."""
        found = self.config.get(_METADATA) or {}
        return {str(name): str(text) for name, text in found.items()} if isinstance(found, dict) else {}


def read(annotations: Mapping[str, str], *, address: str) -> Asked:
    """What the annotations ask of a proxy that `address` configures.

    Raises:
        DeniedError: One cannot be read, or the lab does not do it.
    """
    for name in KNOWN:
        if name in annotations and (name, annotations[name]) != (f"{_SIDECAR}interceptionMode", "REDIRECT"):
            raise DeniedError(f"annotation '{name}': the lab does not do it; remove it")
    config = _config(annotations.get(CONFIG, ""))
    return Asked(
        redirection=_redirection(annotations),
        native=annotations.get(NATIVE) != "false",
        hold=bool(config.get("holdApplicationUntilProxyStarts")),
        rewrite_probes=annotations.get(f"{_SIDECAR}rewriteAppHTTPProbers") != "false",
        config=config,
        address=address,
    )


def _redirection(annotations: Mapping[str, str]) -> tuple[str, ...]:
    def ports(name: str, default: str, *, every: bool = False) -> str:
        value = annotations.get(_TRAFFIC + name, default)
        for part in () if every and value == "*" else filter(None, value.split(",")):
            if not part.strip().isdigit() or int(part) >= 1 << 16:
                raise _invalid(_TRAFFIC + name, value, f"{name} invalid: failed parsing port '{part}'")
        return value

    def ranges(name: str, default: str, *, every: bool = False) -> str:
        value = annotations.get(_TRAFFIC + name, default)
        for part in () if every and value == "*" else filter(None, value.split(",")):
            try:
                if "/" not in part:
                    raise _invalid(_TRAFFIC + name, value, f"failed parsing cidr '{part}': no '/'")
                ipaddress.ip_network(part.strip(), strict=False)
            except ValueError as error:
                raise _invalid(_TRAFFIC + name, value, f"failed parsing cidr '{part}': {error}") from None
        return value

    excluded = [each for each in ("15090", "15021", ports("excludeInboundPorts", ""), "15020") if each]
    found = ["-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT"]
    found += ["-i", ranges("includeOutboundIPRanges", "*", every=True), "-x", ranges("excludeOutboundIPRanges", "")]
    found += ["-b", ports("includeInboundPorts", "*", every=True), "-d", ",".join(excluded)]
    for flag, name in (("-q", "includeOutboundPorts"), ("-o", "excludeOutboundPorts")):
        if value := ports(name, ""):
            found += [flag, value]
    return tuple(found)


def _config(text: str) -> Mapping[str, object]:
    if not text.strip():
        return {}
    import yaml  # only here: no other admission step needs it, and it is slow to import

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _invalid(CONFIG, text, f"failed to convert to apply proxy config: {error}") from None
    if not isinstance(found, dict):
        raise _invalid(CONFIG, text, "failed to convert to apply proxy config: no object")
    undone = sorted(str(each) for each in set(found) - {"holdApplicationUntilProxyStarts", _METADATA})
    if undone:
        raise _invalid(CONFIG, text, f"the lab does not do {', '.join(undone)}; remove it")
    if not isinstance(found.get("holdApplicationUntilProxyStarts", False), bool):
        raise _invalid(CONFIG, text, "holdApplicationUntilProxyStarts is no bool")
    metadata = found.get(_METADATA) or {}
    if not isinstance(metadata, dict) or any(not isinstance(each, str) for each in metadata.values()):
        raise _invalid(CONFIG, text, f"{_METADATA} is no map of texts")
    if undone := sorted(set(metadata) - {LIFETIME}):
        raise _invalid(CONFIG, text, f"the lab does not do {_METADATA}: {', '.join(undone)}; remove it")
    if metadata and not seconds(metadata[LIFETIME]):
        raise _invalid(CONFIG, text, f"{LIFETIME}: {metadata[LIFETIME]!r} is no duration; write 24h, or 20s")
    return found


def _invalid(name: str, value: str, why: str) -> DeniedError:
    return DeniedError(f"invalid value '{value}' for annotation '{name}': {why}")
