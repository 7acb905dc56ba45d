"""The checks that a suite of network rules can be asked for, one by one, and where each is held.

What belongs here: the list, with a reason for every check that no test of these suites can hold. What does not: the
tests, which name their checks by `pytest.mark.checks(...)`; `docs/reference/checks.md` is made from both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that tools of this field check, or do not.

    Attributes:
        id: What `pytest.mark.checks` names.
        says: What is checked, in the field's words.
        not_here: Why no test of the suites holds it, and what does instead; empty where tests do.
    """

    id: str
    says: str
    not_here: str = ""


_CILIUM: Final = "a kind of its own, which neither the lab nor Calico's `projectcalico.org/v3` in open source has"
_NEXT: Final = "of two sets of manifests, not of a cluster: `eastwest prove`, which is not there yet"

CHECKS: Final = (
    Check(id="default-deny-ingress", says="default deny of ingress"),
    Check(id="default-deny-egress", says="default deny of egress, and of both"),
    Check(id="allow-all", says="allow all, ingress and egress"),
    Check(id="default-allow", says="no policy, everything allowed"),
    Check(id="policy-types", says="policyTypes inferred; rules absent, null and empty"),
    Check(id="match-labels", says="podSelector by matchLabels"),
    Check(id="match-in", says="matchExpressions In and NotIn"),
    Check(id="match-exists", says="matchExpressions Exists and DoesNotExist"),
    Check(id="namespace-selector", says="namespaceSelector by label and by the name's label"),
    Check(id="and-or", says="namespace and pod selector in one peer, against two peers"),
    Check(id="union", says="several peers, rules and policies allow their union"),
    Check(id="conflict", says="a policy that denies beside one that allows"),
    Check(id="stack", says="ten policies and more on one pod"),
    Check(id="block-ingress", says="ipBlock on ingress"),
    Check(id="block-egress", says="ipBlock on egress"),
    Check(id="block-except", says="ipBlock with except, overlapping other rules"),
    Check(id="block-node", says="ipBlock against Service, node and control plane addresses"),
    Check(id="port-number", says="numbered port"),
    Check(id="port-name-ingress", says="named port on ingress"),
    Check(id="port-name-egress", says="named port on egress"),
    Check(id="port-name-differs", says="a port's name that means another number on each pod"),
    Check(id="end-port", says="endPort range, its edges"),
    Check(id="protocol-only", says="a rule with a protocol and no port"),
    Check(id="tcp-udp", says="TCP and UDP"),
    Check(id="sctp", says="SCTP, where the kernel has it"),
    Check(id="protocol-confusion", says="a rule for one protocol opens no other"),
    Check(id="icmp", says="ICMP, reported as the cluster's behaviour"),
    Check(id="policy-life", says="a policy created, updated and deleted comes into force"),
    Check(id="relabel", says="pods and namespaces relabelled"),
    Check(id="pods-come-and-go", says="pods and namespaces created and deleted under a policy"),
    Check(id="event-order", says="policy first or pod first; the order of policies"),
    Check(id="address-reuse", says="a pod that gets the address of a deleted one inherits neither access nor denial"),
    Check(id="leak-at-start", says="a new pod leaks nothing before its policy is programmed"),
    Check(
        id="established",
        says="established connections after a change, reported as the cluster's behaviour",
    ),
    Check(id="latency", says="the time until a policy is in force is measured"),
    Check(id="kubelet-probes", says="the kubelet's probes get in under default deny"),
    Check(id="host-network", says="a pod in the node's network as peer and as target"),
    Check(id="pod-ip", says="called by pod IP"),
    Check(id="cluster-ip", says="called by ClusterIP"),
    Check(id="dns", says="called by DNS name; DNS itself allowed and forgotten"),
    Check(id="node-port", says="called by NodePort, externalTrafficPolicy Cluster and Local"),
    Check(
        id="outside",
        says="called from outside the cluster, and calling out of it",
        not_here="east-west only: the bench and CI have no outside to answer; ipBlock and the API server's address "
        "stand for what is no pod",
    ),
    Check(id="hairpin", says="a pod and itself, by its own address and by its own Service"),
    Check(id="placement", says="same node and other node"),
    Check(id="ipv6", says="IPv6 alone (profiles `lab-ipv6`, `kind-calico-ipv6`)"),
    Check(id="dual-stack", says="both families in one matrix (profiles `lab-dual`, `kind-calico-dual`)"),
    Check(
        id="admin-policy",
        says="AdminNetworkPolicy and BaselineAdminNetworkPolicy",
        not_here="alpha, in no cluster that a profile makes; the lab refuses the kinds by name",
    ),
    Check(id="fqdn", says="egress by domain name", not_here=_CILIUM),
    Check(
        id="node-peers",
        says="nodes as peers of an egress rule",
        not_here="not in `networking.k8s.io/v1`; by address it is an ipBlock (`block-node`)",
    ),
    Check(id="calico-order", says="Calico's order, Pass and Log, GlobalNetworkPolicy"),
    Check(id="calico-selectors", says="Calico's service accounts, NetworkSets, not-fields, selectors"),
    Check(
        id="staged",
        says="a staged policy has no effect",
        not_here="Calico's open source has the kinds since 3.30 only; the lab refuses them by name",
    ),
    Check(
        id="policy-rbac",
        says="who may edit which tier",
        not_here="a question to the API server's authorization, not to traffic; `kubectl auth can-i` answers it",
    ),
    Check(id="l7", says="allowed and denied by HTTP method and path"),
    Check(id="plaintext", says="what must be encrypted is not readable on the wire"),
    Check(id="mesh-and-policy", says="a mesh and NetworkPolicy together"),
    Check(
        id="upgrade",
        says="allowed flows go on, and denied ones stay denied, through an upgrade",
        not_here="`eastwest upgrade`, which is not there yet; policies that change under traffic are `churn`",
    ),
    Check(id="churn", says="denied flows stay denied, and allowed ones go on, while other policies change"),
    Check(
        id="api-validation",
        says="the API takes, keeps and refuses policies as it should",
        not_here="a question to the API server; the lab's own is held to it by `tests/lab/api`",
    ),
    Check(id="drop-or-reject", says="a drop told from a refusal"),
    Check(id="evidence", says="evidence of the drop: the server's own journal has nothing"),
    Check(id="identity", says="the right server answered, with the nonce it was sent"),
    Check(id="source-address", says="the caller's address as the server sees it"),
    Check(id="explain", says="the failure names the policy that decides"),
    Check(
        id="own-policies",
        says="a user's own policies and expectations",
        not_here="there the user's own file is the test",
    ),
    Check(id="diff", says="the difference between two sets of policies", not_here=_NEXT),
    Check(id="capabilities", says="what a cluster cannot do is skipped with the reason, or fails where it is required"),
)
