"""For each mutant that is always wrong: the policies that show it, and what a probe says with and without it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.lab.policy.bench import NODE, Probe
from tests.lab.policy.world import ALONE, EVERYWHERE, FIRST_NODE, LOCAL, OTHER_NODE

A, B = "podSelector: {matchLabels: {app: a}}", "podSelector: {matchLabels: {app: b}}"
C, HOSTED = "podSelector: {matchLabels: {app: c}}", "podSelector: {matchLabels: {app: hosted}}"
GREEN = "namespaceSelector: {matchLabels: {team: green}}"
DENY = "{podSelector: {}, policyTypes: [Ingress, Egress]}"
SHUT_B = f"{{{B}, ingress: []}}"
MUTE_A = f"{{{A}, policyTypes: [Egress]}}"
PODS_BLOCK = "ipBlock: {cidr: 10.244.0.0/16}"


@dataclass(frozen=True, slots=True)
class Misreading:
    """With the specs in force the sound data plane says one thing to the probe, and the mutant another."""

    mutant: str
    specs: tuple[str, ...]
    probe: Probe
    sound: str
    broken: str

    def __str__(self) -> str:
        return self.mutant


def _from(*peers: str) -> tuple[str]:
    return (f"{{{B}, ingress: [{{from: [{', '.join(f'{{{each}}}' for each in peers)}]}}]}}",)


def _ports(ports: str, subject: str = B) -> tuple[str]:
    return (f"{{{subject}, ingress: [{{ports: [{{{ports}}}]}}]}}",)


def _expression(text: str) -> str:
    return f"podSelector: {{matchExpressions: [{{{text}}}]}}"


_IN = _expression("key: app, operator: In, values: [c]")
_NOT_IN = _expression("key: tier, operator: NotIn, values: [back]")
_OPEN, _SHUT = "b", "dropped"
MISREADINGS = (
    Misreading("no-enforcement", (DENY,), Probe("a", "b"), _SHUT, _OPEN),
    Misreading("ingress-ignored", (SHUT_B,), Probe("a", "b"), _SHUT, _OPEN),
    Misreading("egress-ignored", (MUTE_A,), Probe("a", "b"), _SHUT, _OPEN),
    Misreading("policy-types-ignored", (f"{{{B}, policyTypes: [Egress]}}",), Probe("a", "b"), _OPEN, _SHUT),
    Misreading("or-for-and", _from(f"{A}, {GREEN}"), Probe("a", "b"), _SHUT, _OPEN),
    Misreading("wrong-namespace-default", _from(A), Probe("d", "b"), _SHUT, _OPEN),
    Misreading("namespace-labels-ignored", _from(GREEN), Probe("a", "b"), _SHUT, _OPEN),
    Misreading("match-expressions-ignored", _from(_IN), Probe("a", "b"), _SHUT, _OPEN),
    Misreading("not-in-needs-key", _from(f"{_NOT_IN}, namespaceSelector: {{}}"), Probe("d", "b"), _OPEN, _SHUT),
    Misreading("empty-selector-matches-nothing", (DENY,), Probe("a", "b"), _SHUT, _OPEN),
    Misreading(
        "except-ignored",
        _from("ipBlock: {cidr: 10.244.0.0/16, except: [10.244.1.0/24]}"),
        Probe("c", "b"),
        _SHUT,
        _OPEN,
    ),
    Misreading("ipblock-ignored", _from(PODS_BLOCK), Probe("c", "b"), _OPEN, _SHUT),
    Misreading(
        "ipblock-sees-service",
        (f"{{{A}, policyTypes: [Egress], egress: [{{to: [{{{PODS_BLOCK}}}]}}]}}",),
        Probe("a", ALONE),
        _OPEN,
        _SHUT,
    ),
    Misreading("port-ignored", _ports("port: 81"), Probe("a", "b"), _SHUT, _OPEN),
    Misreading("end-port-ignored", _ports("port: 80, endPort: 81"), Probe("a", "b", 81), _OPEN, _SHUT),
    Misreading("named-port-ignored", _ports("port: web"), Probe("a", "b", 81), _SHUT, _OPEN),
    Misreading("named-port-by-first-pod", _ports("port: web", "podSelector: {}"), Probe("a", "c", 8080), "c", _SHUT),
    Misreading("udp-unfiltered", (SHUT_B,), Probe("a", "b", 80, "udp"), _SHUT, _OPEN),
    Misreading("protocol-ignored", _ports("port: 80"), Probe("a", "b", 80, "udp"), _SHUT, _OPEN),
    Misreading("union-is-last-policy", (*_from(A), SHUT_B), Probe("a", "b"), _OPEN, _SHUT),
    Misreading("dns-always-allowed", (MUTE_A,), Probe("a", "b", 53, "udp"), _SHUT, _OPEN),
    Misreading("cluster-ip-bypass", (MUTE_A,), Probe("a", ALONE), _SHUT, _OPEN),
    Misreading("egress-of-replies", (SHUT_B,), Probe("a", "b", 80, "udp"), _SHUT, "dropped, but heard"),
    Misreading("handshake-leak", (SHUT_B,), Probe("a", "b"), _SHUT, "silent"),
    Misreading("deny-by-reset", (SHUT_B,), Probe("a", "b"), _SHUT, "ConnectionRefusedError"),
    Misreading("leaky-drop", (SHUT_B,), Probe("a", "b", count=40), _SHUT, "b and dropped"),
    Misreading("end-port-exclusive", _ports("port: 80, endPort: 81"), Probe("a", "b", 81), _OPEN, _SHUT),
    Misreading("protocol-alone-ignored", _ports("protocol: UDP"), Probe("a", "b"), _SHUT, _OPEN),
    Misreading("sctp-opens-tcp", _ports("port: 80, protocol: SCTP"), Probe("a", "b"), _SHUT, _OPEN),
    Misreading("no-peers-nobody", _ports("port: 80"), Probe("a", "b"), _OPEN, _SHUT),
    Misreading(
        "rules-without-their-type",
        (f"{{{A}, policyTypes: [Ingress], egress: [{{to: [{{{B}}}]}}]}}",),
        Probe("a", "c"),
        "c",
        _SHUT,
    ),
    Misreading("first-peer-only", _from(GREEN, A), Probe("a", "b"), _OPEN, _SHUT),
    Misreading(
        "except-for-all",
        _from("ipBlock: {cidr: 10.244.0.0/16, except: [10.244.1.0/24]}", "ipBlock: {cidr: 10.244.0.0/17}"),
        Probe("c", "b"),
        _OPEN,
        _SHUT,
    ),
    Misreading("ten-policies-at-most", (*9 * _from(C), *_from(A), *_from(C)), Probe("a", "b"), _OPEN, _SHUT),
    Misreading("service-masquerades", _from(C), Probe("c", ALONE), _OPEN, _SHUT),
    Misreading("node-port-bypass", (SHUT_B,), Probe("c", FIRST_NODE, EVERYWHERE), _SHUT, _OPEN),
    Misreading("local-as-cluster", (), Probe("a", OTHER_NODE, LOCAL), _SHUT, _OPEN),
    Misreading("nodes-admitted", (SHUT_B,), Probe("c", FIRST_NODE, EVERYWHERE), _SHUT, _OPEN),
    Misreading("host-network-by-label", _from(HOSTED), Probe("node2", "b"), _SHUT, _OPEN),
    Misreading("hairpin-lost", (), Probe("b", ALONE), _OPEN, _SHUT),
    Misreading("ipv6-open", (SHUT_B,), Probe("a", "b", version=6), _SHUT, _OPEN),
    Misreading("ipv6-unselected", _from(A), Probe("a", "b", version=6), _OPEN, _SHUT),
    Misreading("block-opens-other-family", _from(PODS_BLOCK), Probe("a", "b", version=6), _SHUT, _OPEN),
    Misreading("node-denied", (SHUT_B,), Probe(NODE, "b"), _OPEN, _SHUT),
)
