"""The broken data planes of Services, node ports and nodes: their part of the registry.

What belongs here: names and sentences. What does not: those of policies' meaning (`clusters.lab.mutants`), and how
they break things (`narrowings`, `rewrites`).
"""

from __future__ import annotations

from typing import Final

from clusters.lab.mutant import Mutant
from clusters.lab.policy import narrowings, rewrites

PATH_MUTANTS: Final = (
    Mutant(
        name="service-masquerades",
        breaks="Behind a Service a caller bears its node's address.",
        around=rewrites.on_chains(lambda rules: ("ct status dnat masquerade", *rules), "nat-postrouting"),
        seen_in="kube-proxy with masqueradeAll",
        tests=("test_server_sees_the_callers_address",),
    ),
    Mutant(
        name="node-port-bypass",
        breaks="Traffic that came by a node's port skips all policies.",
        around=narrowings.node_ports_open(),
        seen_in="data planes that answer for node ports before their policy hooks",
        tests=("test_closed_and_opened_by_every_node",),
    ),
    Mutant(
        name="local-as-cluster",
        breaks="A node port of externalTrafficPolicy Local is one of Cluster: the caller's address is lost.",
        around=rewrites.on_snapshot(narrowings.sources_lost),
        tests=("test_local_keeps_the_source",),
    ),
    Mutant(
        name="nodes-admitted",
        breaks="Whatever bears a node's address passes every ingress policy.",
        around=narrowings.nodes_admitted(),
        seen_in="rules for the kubelet's probes that are too wide",
        tests=("test_closed_and_opened_by_every_node",),
    ),
    Mutant(
        name="host-network-by-label",
        breaks="The labels of one pod in a node's network open the policy to all that is in it.",
        around=rewrites.on_snapshot(narrowings.nodes_by_label),
        seen_in="plugins that put every selected pod's address into the peers' set",
        tests=("test_labels_of_a_pod_in_the_nodes_network",),
    ),
)
