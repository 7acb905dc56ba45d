"""Which AuthorizationPolicy decided, and whether a token was refused: by the server proxy's own words.

What belongs here: reading decisions. What does not: predicting them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from clusters.kube import Kube, KubeError
from clusters.mesh.dialect import LogEntry, Step
from clusters.mesh.istio.inquiry import End, Inquiry
from clusters.mesh.istio.read import CATCH_ALL, inbound_chains
from clusters.mesh.istio.words import SECURITY
from flows.model import Kind

_DENIED: Final = re.compile(r"rbac_access_denied_matched_policy\[(.*)\]")
_RULE: Final = re.compile(r"ns\[(?P<namespace>[^\]]*)\]-policy\[(?P<name>[^\]]*)\]-rule\[(?P<rule>\d+)\]")
_TOKEN: Final = re.compile(r"jwt_authn_access_denied\{(.*)\}")
_UNLOGGED: Final = "the server's log has no line of this flow"


def access(kube: Kube, found: Inquiry) -> Step:
    """The policy that denied by name, or that none did; and what is in force where the log does not tell."""
    server = found.server
    if server is None or (server.injected.value is not None and not server.has_proxy):
        return Step(layer="authorization", says="the server has no proxy that could enforce a policy")
    line = found.server_line
    denied = decided(line) if line else None
    if denied == "":
        return Step(layer="authorization", says=f"no ALLOW rule matched; {_in_force(kube, server, line)}", wrong=True)
    if denied:
        return Step(layer="authorization", says=f"denied by {denied}", wrong=True)
    if line is None:
        why = f"could not be asked: {server.log.failed}" if server.log.failed else _UNLOGGED
        forbidden = found.verdict.kind is Kind.FORBIDDEN
        return Step(layer="authorization", says=f"{why}; {_in_force(kube, server, line)}", wrong=forbidden)
    return Step(layer="authorization", says=f"nothing denied it; {_in_force(kube, server, line)}")


def decided(line: LogEntry) -> str | None:
    """The policy and rule that denied, as a person names it; empty when no ALLOW matched; None when none denied."""
    found = _DENIED.search(line.details)
    if found is None:
        return None
    named = _RULE.search(found[1])
    if named is None:
        return "" if found[1] == "none" else found[1]
    return f"AuthorizationPolicy {named['namespace']}/{named['name']}, rule {named['rule']}"


def tokens(found: Inquiry) -> Step:
    """Whether the server's proxy refused the request's token, and why."""
    line = found.server_line
    refused = _TOKEN.search(line.details) if line else None
    if refused:
        return Step(layer="tokens", says=f"refused: {refused[1].replace('_', ' ')}", wrong=True)
    if found.verdict.kind is Kind.UNAUTHENTICATED:
        words = found.verdict.evidence.body[:80]
        return Step(layer="tokens", says=f"401 by a proxy: {words or _UNLOGGED}", wrong=True)
    return Step(layer="tokens", says="none was refused")


def _in_force(kube: Kube, server: End, line: LogEntry | None) -> str:
    """The policies that the server's proxy enforces on the port; else those of the namespace."""
    if server.listeners.value is not None:
        at = (
            line.upstream or (line.cluster.split("|")[1] if line.cluster.startswith("inbound|") else "") if line else ""
        )
        port = at.rpartition(":")[2]
        names = sorted(set(enforced(server.listeners.value, int(port) if port.isdigit() else None)))
        return f"in force: {', '.join(names)}" if names else "its proxy enforces no policy"
    try:
        known = kube.list(SECURITY, "AuthorizationPolicy", server.workload.namespace)
    except KubeError as error:
        return f"policies could not be asked: {error.message}"
    return f"policies of the namespace: {', '.join(each['metadata']['name'] for each in known) or 'none'}"


def enforced(listeners: dict[str, Any], port: int | None) -> Iterator[str]:
    """`ACTION NAMESPACE/NAME` of every policy in the RBAC filters of a port's chains; of all chains when None."""
    chains = inbound_chains(listeners)
    numbers = {int((each.get("filter_chain_match") or {}).get("destination_port") or CATCH_ALL) for each in chains}
    wanted = port if port in numbers else CATCH_ALL
    for chain in chains:
        number = int((chain.get("filter_chain_match") or {}).get("destination_port") or CATCH_ALL)
        if port is None or number == wanted:
            for each in chain.get("filters") or []:
                yield from _filter(each)


def _filter(each: dict[str, Any]) -> Iterator[str]:
    config = each.get("typed_config") or {}
    for inner in config.get("http_filters") or []:
        yield from _filter(inner)
    rules = (config.get("rules") or {}) if str(config.get("@type", "")).endswith(".RBAC") else {}
    for name in rules.get("policies") or {}:
        found = _RULE.search(name)
        if found:
            yield f"{rules.get('action', 'ALLOW')} {found['namespace']}/{found['name']}"
        elif rules.get("action", "ALLOW") == "ALLOW" and "allow-nothing" in name:
            yield f"ALLOW {name}"
