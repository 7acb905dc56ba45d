"""The registry of broken data planes: what each one breaks, and what should catch it.

What belongs here: names and sentences; those of Services and nodes are in `policy.path_mutants`, of Calico's own
policies in `policy.calico_mutants`, of the mesh in `mesh.mutants`. What does not: how a mutant breaks things
(`policy.rewrites`, `policy.narrowings`, `policy.lapses`); the sound data plane knows but the seam of `policy.mutation`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from clusters.lab.mesh.mutants import MESH_MUTANTS
from clusters.lab.mutant import Mutant
from clusters.lab.policy import lapses, narrowings, rewrites
from clusters.lab.policy.calico_mutants import CALICO_MUTANTS
from clusters.lab.policy.path_mutants import PATH_MUTANTS
from flows.errors import UsageError
from policies.model import ABSENT, PolicyType

_NETWORK: Final = (
    Mutant(
        name="no-enforcement",
        breaks="Policies are accepted and never enforced.",
        around=lapses.nobody_guarded,
        seen_in="every cluster whose network plugin does not implement NetworkPolicy",
        tests=("test_default_deny_ingress",),
    ),
    Mutant(
        name="ingress-ignored",
        breaks="Ingress is never isolated.",
        around=rewrites.without(PolicyType.INGRESS),
        tests=("test_default_deny_ingress",),
    ),
    Mutant(
        name="egress-ignored",
        breaks="Egress is never isolated.",
        around=rewrites.without(PolicyType.EGRESS),
        seen_in="early plugins that implemented ingress only",
        tests=("test_default_deny_egress",),
    ),
    Mutant(
        name="policy-types-ignored",
        breaks="A policy isolates ingress even where its policyTypes name egress alone.",
        around=rewrites.on_policies(rewrites.always_ingress),
        tests=("test_default_deny_egress",),
    ),
    Mutant(
        name="or-for-and",
        breaks="A peer with namespaceSelector and podSelector matches what either of them matches.",
        around=rewrites.on_peers(rewrites.split_and),
        seen_in="hand-written translations; the most common mistake of authors, too",
        tests=("test_namespace_and_pod",),
    ),
    Mutant(
        name="wrong-namespace-default",
        breaks="A podSelector alone matches pods of every namespace.",
        around=rewrites.on_peers(rewrites.in_any_namespace),
        tests=("test_pod_selector_means_own_namespace",),
    ),
    Mutant(
        name="namespace-labels-ignored",
        breaks="A namespaceSelector matches every namespace.",
        around=rewrites.on_peers(rewrites.namespaces_unlabelled),
        tests=("test_namespace_selector_means_every_pod_there",),
    ),
    Mutant(
        name="match-expressions-ignored",
        breaks="Selectors count their matchLabels and ignore their matchExpressions.",
        around=rewrites.on_selectors(rewrites.without_expressions),
        tests=("test_match_expressions",),
    ),
    Mutant(
        name="not-in-needs-key",
        breaks="NotIn and an absent label do not match.",
        around=rewrites.on_selectors(rewrites.not_in_needs_key),
        tests=("test_match_expressions",),
    ),
    Mutant(
        name="empty-selector-matches-nothing",
        breaks="An empty selector picks nobody instead of everybody.",
        around=rewrites.on_selectors(rewrites.empty_is_nothing),
        tests=("test_empty_pod_selector",),
    ),
    Mutant(
        name="except-ignored",
        breaks="The holes of an ipBlock are open.",
        around=rewrites.on_peers(rewrites.without_holes),
        tests=("test_ingress_except",),
    ),
    Mutant(
        name="ipblock-ignored",
        breaks="An ipBlock allows nobody.",
        around=rewrites.on_peers(rewrites.without_block),
        tests=("test_ingress_from_one_address",),
    ),
    Mutant(
        name="ipblock-sees-service",
        breaks="Egress ipBlocks are compared with the Service's address instead of the backend's.",
        around=rewrites.on_chains(rewrites.block_before_translation, "egress-"),
        seen_in="plugins that match before the Service is translated; the specification leaves it open",
        tests=("test_egress_by_service_is_judged_by_pod",),
    ),
    Mutant(
        name="port-ignored",
        breaks="A rule opens every port to its peers.",
        around=rewrites.on_rules(lambda rule: replace(rule, ports=ABSENT)),
        tests=("test_two_ports_of_one_rule",),
    ),
    Mutant(
        name="end-port-ignored",
        breaks="A range opens its first port only.",
        around=rewrites.on_ports(rewrites.without_end),
        seen_in="plugins without support for endPort, which the API accepts all the same",
        tests=("test_ingress_port and range",),
    ),
    Mutant(
        name="named-port-ignored",
        breaks="A named port opens every port of its protocol.",
        around=rewrites.on_ports(rewrites.named_means_any),
        tests=("test_ingress_port and name",),
    ),
    Mutant(
        name="named-port-by-first-pod",
        breaks="A named port has the number that the namespace's first pod gives it.",
        around=rewrites.on_snapshot(rewrites.first_pod_names_ports),
        seen_in="plugins that resolve names per workload kind instead of per pod",
        tests=("test_named_port_differs_per_pod",),
    ),
    Mutant(
        name="udp-unfiltered",
        breaks="UDP passes whatever the policies say.",
        around=rewrites.first_rule("meta l4proto udp return"),
        tests=("test_default_deny_ingress",),
    ),
    Mutant(
        name="end-port-exclusive",
        breaks="A range ends before its endPort.",
        around=rewrites.on_ports(narrowings.end_left_out),
        seen_in="translations to half-open ranges",
        tests=("test_egress_port and range",),
    ),
    Mutant(
        name="protocol-alone-ignored",
        breaks="A rule with a protocol and no port opens every protocol.",
        around=rewrites.on_rules(narrowings.protocol_alone_is_everything),
        tests=("test_ingress_port and every",),
    ),
    Mutant(
        name="sctp-opens-tcp",
        breaks="A port that is open for SCTP is open for TCP.",
        around=rewrites.on_ports(narrowings.sctp_as_tcp),
        seen_in="plugins that know no SCTP and fall back to their default protocol",
        tests=("test_ingress_port and sctp",),
    ),
    Mutant(
        name="no-peers-nobody",
        breaks="A rule without peers allows nobody instead of everybody.",
        around=rewrites.on_rules(narrowings.no_peers_is_nobody),
        tests=("test_empty_lists_mean_everything",),
    ),
    Mutant(
        name="rules-without-their-type",
        breaks="Rules isolate their direction even where policyTypes does not name it.",
        around=rewrites.on_policies(narrowings.rules_are_types),
        tests=("test_ingress_rules_without_their_type", "test_no_ingress_rules_deny and without"),
    ),
    Mutant(
        name="first-peer-only",
        breaks="Of a rule's peers only the first counts.",
        around=rewrites.on_rules(narrowings.first_peer),
        tests=("test_egress_adds_up", "test_namespace_or_pod"),
    ),
    Mutant(
        name="except-for-all",
        breaks="What one ipBlock of a rule excepts, its other blocks except as well.",
        around=rewrites.on_rules(narrowings.excepted_for_all),
        seen_in="translations that put a rule's exceptions before all its ranges",
        tests=("test_excepted_by_one_block_of_another",),
    ),
    Mutant(
        name="ten-policies-at-most",
        breaks=f"Of the policies with the same subjects only the first {narrowings.MOST} count.",
        around=rewrites.on_snapshot(narrowings.first_ten),
        seen_in="engines with a fixed number of slots for each pod",
        tests=("test_egress_adds_up",),
    ),
    Mutant(
        name="protocol-ignored",
        breaks="A port that is open for TCP is open for UDP, and the other way round.",
        around=rewrites.on_chains(rewrites.protocol_blind),
        tests=("test_ingress_port and number",),
    ),
    Mutant(
        name="union-is-last-policy",
        breaks="Of several policies for the same pods only the newest counts.",
        around=rewrites.on_snapshot(rewrites.newest_only),
        tests=("test_policies_add_up",),
    ),
    Mutant(
        name="dns-always-allowed",
        breaks="Port 53 passes every egress policy.",
        around=rewrites.first_rule("meta l4proto { tcp, udp } th dport 53 return", "egress-"),
        tests=("test_dns_exception_forgotten",),
    ),
    Mutant(
        name="cluster-ip-bypass",
        breaks="Traffic that came by a Service's address skips the policies of the caller's node.",
        around=rewrites.first_rule("ct status dnat return"),
        seen_in="data planes whose Service translation short-cuts their policy hooks",
        tests=("test_policy_replaced", "test_allow_holds_on_every_path"),
    ),
    Mutant(
        name="egress-of-replies",
        breaks="What should be denied reaches the server, and only its reply is dropped.",
        around=rewrites.replies_dropped(),
        seen_in="stateless filters",
        tests=("test_default_deny_ingress",),
    ),
    Mutant(
        name="handshake-leak",
        breaks="TCP connections that should be denied are accepted, and their data is dropped.",
        around=rewrites.handshake_passes(),
        seen_in="data planes that decide on the first data packet",
        tests=("test_default_deny_ingress",),
    ),
    Mutant(
        name="deny-by-reset",
        breaks="A denial is a reset or an ICMP error instead of silence.",
        around=rewrites.instead_of_drop("meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited"),
        seen_in="plugins whose default action is reject",
        tests=("test_default_deny_ingress",),
    ),
    Mutant(
        name="leaky-drop",
        breaks="One in five new connections passes a denial.",
        around=rewrites.instead_of_drop("ct state new numgen random mod 5 == 0 return", "counter drop"),
        seen_in="races between several writers of the same rules",
        tests=("test_default_deny_ingress",),
    ),
    Mutant(
        name="hairpin-lost",
        breaks="A pod cannot reach itself through its own Service.",
        around=rewrites.no_hairpin,
        seen_in="nodes whose bridge or proxy lacks hairpin mode",
        tests=("test_own_service",),
    ),
    Mutant(
        name="node-denied",
        breaks="The node needs a policy to reach its own pods, so probes fail under default deny.",
        around=rewrites.probes_denied,
        tests=("test_kubelet_still_probes",),
    ),
    Mutant(
        name="ipv6-open",
        breaks="IPv6 is never filtered.",
        around=rewrites.in_family(6, "return"),
        seen_in="engines that write iptables and forget ip6tables",
        dual=True,
        tests=("test_ipv6_is_closed_and_opened",),
    ),
    Mutant(
        name="ipv6-unselected",
        breaks="Selectors find the IPv4 addresses of pods only.",
        around=rewrites.unknown_in_family(6),
        seen_in="engines that read `podIP` and not `podIPs`",
        dual=True,
        tests=("test_a_selector_means_every_family",),
    ),
    Mutant(
        name="block-opens-other-family",
        breaks="An ipBlock of IPv4 lets all of IPv6 through.",
        around=rewrites.on_chains(rewrites.opens_the_other_family),
        dual=True,
        tests=("test_block_of_one_family_on_ingress",),
    ),
    Mutant(
        name="stale-after-relabel",
        breaks="A pod keeps the labels it was born with.",
        around=lapses.labels_of_birth,
        tests=("test_caller_relabelled",),
    ),
    Mutant(
        name="stale-after-namespace-relabel",
        breaks="A namespace keeps the labels it was born with.",
        around=lapses.namespaces_of_birth,
        tests=("test_namespace_relabelled",),
    ),
    Mutant(
        name="stale-after-policy-update",
        breaks="A changed policy keeps its first content.",
        around=lapses.policies_of_birth,
        tests=("test_policy_replaced",),
    ),
    Mutant(
        name="stale-after-policy-delete",
        breaks="A deleted policy stays in force.",
        around=lapses.policies_never_die,
        tests=("test_policy_deleted",),
    ),
    Mutant(
        name="policy-only-on-new-pods",
        breaks="A policy guards only pods that are created after it.",
        around=lapses.only_new_pods,
        tests=("test_default_deny_ingress",),
    ),
    Mutant(
        name="restarted-pod-forgotten",
        breaks="A pod that is made again under its old name is unguarded, and unknown as a peer.",
        around=lapses.by_first_address,
        seen_in="engines that key pods by name and cache the address",
        tests=(
            "test_caller_restarted",
            "test_server_restarted",
        ),
    ),
    Mutant(
        name="one-node-unprogrammed",
        breaks=f"The node {lapses.SICK_NODE} enforces nothing.",
        around=lapses.unless_sick(lapses.nobody_guarded),
        seen_in="agents that crash or are not scheduled on a node",
        tests=("test_same_node_and_other_node",),
    ),
    Mutant(
        name="dead-node",
        breaks=f"The node {lapses.SICK_NODE} notices changes only when one of its own pods comes or goes.",
        around=lapses.unless_sick(lapses.deaf),
        seen_in="agents whose watch ended without an error",
        tests=("test_same_node_and_other_node",),
    ),
    Mutant(
        name="late-enforcement",
        breaks=f"A policy is enforced {lapses.DELAY:.0f} s after the API server accepted it.",
        around=lapses.late,
        seen_in="overloaded agents",
        tests=("test_default_deny_ingress",),
    ),
    Mutant(
        name="leak-at-start",
        breaks=f"A new pod's policies are in force only {lapses.YOUTH} s after its network is there.",
        around=lapses.young_unguarded,
        seen_in="engines that program policy after the pod was told to start",
        tests=("test_new_pod_does_not_reach", "test_new_pod_is_not_reached"),
    ),
    Mutant(
        name="peers-resolved-once",
        breaks="A pod that comes after a policy is nobody's peer to it.",
        around=lapses.peers_resolved_once,
        tests=("test_policy_before_the_pods_that_it_admits",),
    ),
    Mutant(
        name="address-inherited",
        breaks="A pod at an address that another one had counts as that one.",
        around=lapses.first_holder,
        seen_in="engines that cache an address's identity beyond its pod's life",
        tests=("test_address_used_again",),
    ),
    Mutant(
        name="flush-on-update",
        breaks="With each change all rules are taken out before the new ones are put in: for a moment all is open.",
        steps=lapses.flushed_first,
        seen_in="engines that reload their rules in several transactions",
        tests=("test_other_policies_change",),
    ),
    Mutant(
        name="block-on-update",
        breaks="With each change every guarded pod is closed before the new rules are put in.",
        steps=lapses.blocked_first,
        seen_in="engines that fail closed while they reload",
        tests=("test_other_policies_change",),
    ),
)
_ALL: Final = (*_NETWORK, *PATH_MUTANTS, *CALICO_MUTANTS, *MESH_MUTANTS)
MUTANTS: Final[Mapping[str, Mutant]] = MappingProxyType({each.name: each for each in _ALL})
"""Every mutant by its name: the network's in the order of the specification's own parts, Calico's, the mesh's."""


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
