"""The registry of broken data planes: what each one breaks, and what should catch it.

What belongs here: names and sentences. What does not: how a mutant breaks things (`policy.rewrites`, `policy.lapses`);
the sound data plane knows only the one seam of `policy.mutation`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from clusters.lab.policy import lapses, rewrites
from clusters.lab.policy.mutation import Around
from flows.errors import UsageError
from policies.model import ABSENT, PolicyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One broken data plane.

    Attributes:
        breaks: One sentence: what does not hold with it.
        around: What stands around the sound compilation.
        seen_in: Kinds of real engines that had such a fault, where known.
        tests: Keywords of the tests that should catch it, parts of pytest's node ids.
    """

    name: str
    breaks: str
    around: Around
    seen_in: str = ""
    tests: tuple[str, ...] = ()


_ALL: Final = (
    Mutant(
        name="no-enforcement",
        breaks="Policies are accepted and never enforced.",
        around=lapses.nobody_guarded,
        seen_in="every cluster whose network plugin does not implement NetworkPolicy",
        tests=("default-deny",),
    ),
    Mutant(
        name="ingress-ignored",
        breaks="Ingress is never isolated.",
        around=rewrites.without(PolicyType.INGRESS),
        tests=("ingress",),
    ),
    Mutant(
        name="egress-ignored",
        breaks="Egress is never isolated.",
        around=rewrites.without(PolicyType.EGRESS),
        seen_in="early plugins that implemented ingress only",
        tests=("egress",),
    ),
    Mutant(
        name="policy-types-ignored",
        breaks="A policy isolates ingress even where its policyTypes name egress alone.",
        around=rewrites.on_policies(rewrites.always_ingress),
        tests=("policy-types", "egress"),
    ),
    Mutant(
        name="or-for-and",
        breaks="A peer with namespaceSelector and podSelector matches what either of them matches.",
        around=rewrites.on_peers(rewrites.split_and),
        seen_in="hand-written translations; the most common mistake of authors, too",
        tests=("and-peer",),
    ),
    Mutant(
        name="wrong-namespace-default",
        breaks="A podSelector alone matches pods of every namespace.",
        around=rewrites.on_peers(rewrites.in_any_namespace),
        tests=("pod-selector",),
    ),
    Mutant(
        name="namespace-labels-ignored",
        breaks="A namespaceSelector matches every namespace.",
        around=rewrites.on_peers(rewrites.namespaces_unlabelled),
        tests=("namespace-selector",),
    ),
    Mutant(
        name="match-expressions-ignored",
        breaks="Selectors count their matchLabels and ignore their matchExpressions.",
        around=rewrites.on_selectors(rewrites.without_expressions),
        tests=("match-expressions",),
    ),
    Mutant(
        name="not-in-needs-key",
        breaks="NotIn and an absent label do not match.",
        around=rewrites.on_selectors(rewrites.not_in_needs_key),
        tests=("not-in",),
    ),
    Mutant(
        name="empty-selector-matches-nothing",
        breaks="An empty selector picks nobody instead of everybody.",
        around=rewrites.on_selectors(rewrites.empty_is_nothing),
        tests=("default-deny",),
    ),
    Mutant(
        name="except-ignored",
        breaks="The holes of an ipBlock are open.",
        around=rewrites.on_peers(rewrites.without_holes),
        tests=("except",),
    ),
    Mutant(
        name="ipblock-ignored",
        breaks="An ipBlock allows nobody.",
        around=rewrites.on_peers(rewrites.without_block),
        tests=("ip-block",),
    ),
    Mutant(
        name="ipblock-sees-service",
        breaks="Egress ipBlocks are compared with the Service's address instead of the backend's.",
        around=rewrites.on_chains(rewrites.block_before_translation, "egress-"),
        seen_in="plugins that match before the Service is translated; the specification leaves it open",
        tests=("ip-block", "service"),
    ),
    Mutant(
        name="port-ignored",
        breaks="A rule opens every port to its peers.",
        around=rewrites.on_rules(lambda rule: replace(rule, ports=ABSENT)),
        tests=("port",),
    ),
    Mutant(
        name="end-port-ignored",
        breaks="A range opens its first port only.",
        around=rewrites.on_ports(rewrites.without_end),
        seen_in="plugins without support for endPort, which the API accepts all the same",
        tests=("end-port",),
    ),
    Mutant(
        name="named-port-ignored",
        breaks="A named port opens every port of its protocol.",
        around=rewrites.on_ports(rewrites.named_means_any),
        tests=("named-port",),
    ),
    Mutant(
        name="named-port-by-first-pod",
        breaks="A named port has the number that the namespace's first pod gives it.",
        around=rewrites.on_snapshot(rewrites.first_pod_names_ports),
        seen_in="plugins that resolve names per workload kind instead of per pod",
        tests=("named-port",),
    ),
    Mutant(
        name="udp-unfiltered",
        breaks="UDP passes whatever the policies say.",
        around=rewrites.first_rule("meta l4proto udp return"),
        tests=("udp",),
    ),
    Mutant(
        name="protocol-ignored",
        breaks="A port that is open for TCP is open for UDP, and the other way round.",
        around=rewrites.on_chains(rewrites.protocol_blind),
        tests=("udp", "protocol"),
    ),
    Mutant(
        name="union-is-last-policy",
        breaks="Of several policies for the same pods only the newest counts.",
        around=rewrites.on_snapshot(rewrites.newest_only),
        tests=("union",),
    ),
    Mutant(
        name="dns-always-allowed",
        breaks="Port 53 passes every egress policy.",
        around=rewrites.first_rule("meta l4proto { tcp, udp } th dport 53 return", "egress-"),
        tests=("dns",),
    ),
    Mutant(
        name="cluster-ip-bypass",
        breaks="Traffic that came by a Service's address skips the policies of the caller's node.",
        around=rewrites.first_rule("ct status dnat return"),
        seen_in="data planes whose Service translation short-cuts their policy hooks",
        tests=("service",),
    ),
    Mutant(
        name="egress-of-replies",
        breaks="What should be denied reaches the server, and only its reply is dropped.",
        around=rewrites.replies_dropped(),
        seen_in="stateless filters",
        tests=("default-deny",),
    ),
    Mutant(
        name="handshake-leak",
        breaks="TCP connections that should be denied are accepted, and their data is dropped.",
        around=rewrites.handshake_passes(),
        seen_in="data planes that decide on the first data packet",
        tests=("default-deny",),
    ),
    Mutant(
        name="deny-by-reset",
        breaks="A denial is a reset or an ICMP error instead of silence.",
        around=rewrites.instead_of_drop("meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited"),
        seen_in="plugins whose default action is reject",
        tests=("default-deny",),
    ),
    Mutant(
        name="leaky-drop",
        breaks="One in five new connections passes a denial.",
        around=rewrites.instead_of_drop("ct state new numgen random mod 5 == 0 return", "counter drop"),
        seen_in="races between several writers of the same rules",
        tests=("default-deny",),
    ),
    Mutant(
        name="hairpin-lost",
        breaks="A pod cannot reach itself through its own Service.",
        around=rewrites.no_hairpin,
        seen_in="nodes whose bridge or proxy lacks hairpin mode",
        tests=("hairpin", "own-service"),
    ),
    Mutant(
        name="node-denied",
        breaks="The node needs a policy to reach its own pods, so probes fail under default deny.",
        around=rewrites.probes_denied,
        tests=("readiness", "probe"),
    ),
    Mutant(
        name="stale-after-relabel",
        breaks="A pod keeps the labels it was born with.",
        around=lapses.labels_of_birth,
        tests=("relabel",),
    ),
    Mutant(
        name="stale-after-namespace-relabel",
        breaks="A namespace keeps the labels it was born with.",
        around=lapses.namespaces_of_birth,
        tests=("namespace-relabel",),
    ),
    Mutant(
        name="stale-after-policy-update",
        breaks="A changed policy keeps its first content.",
        around=lapses.policies_of_birth,
        tests=("update",),
    ),
    Mutant(
        name="stale-after-policy-delete",
        breaks="A deleted policy stays in force.",
        around=lapses.policies_never_die,
        tests=("delete",),
    ),
    Mutant(
        name="policy-only-on-new-pods",
        breaks="A policy guards only pods that are created after it.",
        around=lapses.only_new_pods,
        tests=("default-deny",),
    ),
    Mutant(
        name="restarted-pod-forgotten",
        breaks="A pod that is made again under its old name is unguarded, and unknown as a peer.",
        around=lapses.by_first_address,
        seen_in="engines that key pods by name and cache the address",
        tests=("restart",),
    ),
    Mutant(
        name="one-node-unprogrammed",
        breaks=f"The node {lapses.SICK_NODE} enforces nothing.",
        around=lapses.unless_sick(lapses.nobody_guarded),
        seen_in="agents that crash or are not scheduled on a node",
        tests=("other-node",),
    ),
    Mutant(
        name="dead-node",
        breaks=f"The node {lapses.SICK_NODE} notices changes only when one of its own pods comes or goes.",
        around=lapses.unless_sick(lapses.deaf),
        seen_in="agents whose watch ended without an error",
        tests=("other-node",),
    ),
    Mutant(
        name="late-enforcement",
        breaks=f"A policy is enforced {lapses.DELAY:.0f} s after the API server accepted it.",
        around=lapses.late,
        seen_in="overloaded agents",
        tests=("default-deny",),
    ),
)
MUTANTS: Final[Mapping[str, Mutant]] = MappingProxyType({each.name: each for each in _ALL})
"""Every mutant by its name, in the order of the specification's own parts."""


def get(name: str) -> Mutant:
    """The mutant of this name.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    if name in MUTANTS:
        return MUTANTS[name]
    close = difflib.get_close_matches(name, MUTANTS, n=1)
    hint = f"did you mean '{close[0]}'?" if close else "`eastwest lab mutants` lists them"
    raise UsageError(f"unknown mutant '{name}'; {hint}")
