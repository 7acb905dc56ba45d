"""Each semantic of Calico's own policies once: what is in force, and who is answered; a real Calico 3.28 did the same.

What belongs here: the cases, for the lab and for the oracle. What does not: asking them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import yaml

from clusters.lab.policy.snapshot import Snapshot
from policies.calico.model import CalicoPolicy, NetworkSet
from policies.calico.read import read
from tests.lab.policy.world import policy as kubernetes

Add = Callable[[Snapshot], Snapshot]
ACCOUNTS = {("x", "a"): {"trusted": "yes"}, ("y", "d"): {"trusted": "yes"}}


def _object(kind: str, name: str, namespace: str, spec: str, labels: str = "{}") -> CalicoPolicy | NetworkSet:
    metadata = {"name": name, "labels": yaml.safe_load(labels), **({"namespace": namespace} if namespace else {})}
    obj = {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": yaml.safe_load(spec)}
    return read(obj, "test.yaml")


def own(name: str, spec: str, namespace: str = "x") -> Add:
    """A policy of Calico; without a namespace, a global one."""
    found = _object("NetworkPolicy" if namespace else "GlobalNetworkPolicy", name, namespace, spec)
    assert isinstance(found, CalicoPolicy)
    return lambda known: replace(known, calico=(*known.calico, found))


def everywhere(name: str, spec: str) -> Add:
    """A GlobalNetworkPolicy."""
    return own(name, spec, namespace="")


def ranges(name: str, spec: str, labels: str, namespace: str = "x") -> Add:
    """A NetworkSet; without a namespace, a GlobalNetworkSet."""
    found = _object("NetworkSet" if namespace else "GlobalNetworkSet", name, namespace, spec, labels)
    assert isinstance(found, NetworkSet)
    return lambda known: replace(known, network_sets=(*known.network_sets, found))


def plain(spec: str, name: str = "policy") -> Add:
    """A policy of Kubernetes in namespace x."""
    return lambda known: replace(known, policies=(*known.policies, kubernetes(spec, name=name)))


@dataclass(frozen=True, slots=True)
class Case:
    """A name, what is in force, and the probes that are answered and that are dropped."""

    name: str
    objects: tuple[Add, ...]
    answered: str
    dropped: str = ""

    def __str__(self) -> str:
        return self.name


B = "selector: app == 'b'"
FROM_A = "source: {selector: app == 'a'}"


def admits(source: str, more: str = "") -> tuple[Add]:
    """The pod b is open to this source only."""
    return (own("p", f"{{{B}, ingress: [{{action: Allow, source: {{{source}}}{more}}}]}}"),)


def opens(rule: str) -> tuple[Add]:
    """The pod b is open to what this rule says only."""
    return (own("p", f"{{{B}, ingress: [{{action: Allow, {rule}}}]}}"),)


def chosen(expression: str) -> tuple[Add]:
    """The pod b is open to pods of any namespace that the selector chooses."""
    return (everywhere("p", f'{{{B}, ingress: [{{action: Allow, source: {{selector: "{expression}"}}}}]}}'),)


CASES = [
    Case("no-rule-matches-at-the-end", (own("p", f"{{{B}}}"),), "b>a", "a>b d>b"),
    Case("selector-left-out-is-everybody", (own("p", "{types: [Ingress]}"),), "a>d", "a>b d>a"),
    Case("types-by-egress-rules", (own("p", f"{{{B}, egress: [{{action: Allow}}]}}"),), "a>b b>a"),
    Case(
        "types-by-both", (own("p", f"{{{B}, ingress: [{{action: Allow}}], egress: [{{action: Deny}}]}}"),), "a>b", "b>a"
    ),
    Case(
        "lower-order-first",
        (
            own("a", f"{{order: 20, {B}, ingress: [{{action: Deny}}]}}"),
            own("b", f"{{order: 10, {B}, ingress: [{{action: Allow, {FROM_A}}}]}}"),
        ),
        "a>b",
        "c>b d>b",
    ),
    Case(
        "ties-by-name",
        (
            own("b", f"{{order: 10, {B}, ingress: [{{action: Deny}}]}}"),
            own("a", f"{{order: 10, {B}, ingress: [{{action: Allow, {FROM_A}}}]}}"),
        ),
        "a>b",
        "c>b",
    ),
    Case(
        "without-order-last",
        (
            own("a", f"{{{B}, ingress: [{{action: Deny}}]}}"),
            own("b", f"{{order: 99999, {B}, ingress: [{{action: Allow, {FROM_A}}}]}}"),
        ),
        "a>b",
        "c>b",
    ),
    Case(
        "pass-skips-the-rest",
        (
            own("a", f"{{order: 1, {B}, ingress: [{{action: Pass, {FROM_A}}}]}}"),
            own("b", f"{{order: 2, {B}, ingress: [{{action: Deny}}]}}"),
        ),
        "a>b",
        "c>b",
    ),
    Case(
        "log-decides-nothing",
        (own("a", f"{{{B}, ingress: [{{action: Log}}, {{action: Allow, {FROM_A}}}]}}"),),
        "a>b",
        "c>b",
    ),
    Case(
        "deny-before-kubernetes",
        (
            own("a", f"{{order: 900, {B}, ingress: [{{action: Deny, {FROM_A}}}]}}"),
            plain("{podSelector: {}, ingress: [{}]}"),
        ),
        "c>b d>b",
        "a>b",
    ),
    Case(
        "deny-behind-kubernetes",
        (
            own("a", f"{{order: 1001, {B}, ingress: [{{action: Deny}}]}}"),
            plain("{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: a}}}]}]}"),
        ),
        "a>b",
        "c>b",
    ),
    Case(
        "own-first-at-the-same-order",
        (
            own("zzz", f"{{order: 1000, {B}, ingress: [{{action: Deny, {FROM_A}}}]}}"),
            plain("{podSelector: {}, ingress: [{}]}", name="aaa"),
        ),
        "c>b",
        "a>b",
    ),
    Case(
        "allow-behind-kubernetes-adds-up",
        (own("a", f"{{order: 2000, {B}, ingress: [{{action: Allow, {FROM_A}}}]}}"), plain("{podSelector: {}}")),
        "a>b",
        "c>b a>c",
    ),
    Case("namespaced-selector-stays-home", admits("selector: app == 'a'"), "a>b", "d>b c>b"),
    Case("namespace-selector", admits("namespaceSelector: team == 'green'"), "d>b e>b", "a>b"),
    Case("namespace-by-name", admits("namespaceSelector: projectcalico.org/name == 'y'"), "d>b", "a>b"),
    Case("every-namespace", admits("namespaceSelector: all(), selector: app == 'a'"), "a>b d>b", "c>b"),
    Case("no-namespace", admits("namespaceSelector: global()"), "", "a>b d>b"),
    Case("not-selector-stays-home", admits("notSelector: app == 'a'"), "c>b", "a>b d>b"),
    Case("selector-and-not", admits("selector: has(app), notSelector: app == 'a'"), "c>b", "a>b"),
    Case("accounts-by-name", admits("serviceAccounts: {names: [a, d]}"), "a>b", "c>b d>b"),
    Case(
        "accounts-by-label",
        admits("namespaceSelector: all(), serviceAccounts: {selector: has(trusted)}"),
        "a>b d>b",
        "c>b",
    ),
    Case(
        "accounts-by-both",
        admits("namespaceSelector: all(), serviceAccounts: {names: [d], selector: has(trusted)}"),
        "d>b",
        "a>b",
    ),
    Case("empty-source-is-everybody", admits(""), "a>b d>b"),
    Case("subject-by-account", (own("p", "{serviceAccountSelector: has(trusted), types: [Ingress]}"),), "a>b", "b>a"),
    Case("subject-by-its-name", (own("p", "{serviceAccountSelector: projectcalico.org/name == 'b'}"),), "b>a", "a>b"),
    Case("global-subject-everywhere", (everywhere("p", "{selector: app == 'a', types: [Ingress]}"),), "a>b", "b>a b>d"),
    Case(
        "global-subject-by-namespace",
        (everywhere("p", "{namespaceSelector: team == 'green', types: [Ingress]}"),),
        "d>a",
        "a>d a>e",
    ),
    Case(
        "global-subject-by-namespace-label",
        (everywhere("p", "{selector: \"projectcalico.org/namespace not in {'x'}\", types: [Ingress]}"),),
        "d>a",
        "a>d a>e",
    ),
    Case("inherited-labels", chosen("pcns.team == 'green' && pcsa.projectcalico.org/name != 'e'"), "d>b", "a>b e>b"),
    Case("equal", chosen("app == 'a'"), "a>b d>b", "c>b e>b"),
    Case("not-equal-without-the-label", chosen("tier != 'back'"), "a>b d>b", "c>b e>b"),
    Case("in", chosen("app in {'a', 'e'}"), "a>b d>b e>b", "c>b"),
    Case("not-in-without-the-label", chosen("tier not in {'back'}"), "a>b d>b", "c>b e>b"),
    Case("has", chosen("has(tier)"), "a>b c>b e>b", "d>b"),
    Case("not-has", chosen("!has(tier)"), "d>b", "a>b"),
    Case("contains", chosen("tier contains 'ron'"), "a>b", "c>b d>b"),
    Case("starts-with", chosen("tier starts with 'ba'"), "c>b e>b", "a>b d>b"),
    Case("ends-with", chosen("tier ends with 'nt'"), "a>b", "c>b d>b"),
    Case("and-or", chosen("app == 'e' || app == 'a' && !has(tier)"), "d>b e>b", "a>b c>b"),
    Case("all-is-every-pod", chosen("all()"), "a>b d>b e>b", "node2>b"),
    Case("nets", admits("nets: [10.244.1.0/24]"), "c>b e>b", "a>b d>b"),
    Case("not-nets", admits("notNets: [10.244.1.0/24]"), "a>b d>b", "c>b e>b"),
    Case("nets-and-selector", admits("nets: [10.244.1.0/24], namespaceSelector: all()"), "c>b e>b", "a>b node2>b"),
    Case("other-family", admits("notNets: ['fd00::/8']"), "", "a>b"),
    Case("version", opens("ipVersion: 6"), "", "a>b"),
    Case("port", opens("protocol: TCP, destination: {ports: [80]}"), "a>b d>b", "a>b:81 a>b/udp"),
    Case("ports", opens("protocol: TCP, destination: {ports: [81, '8080:8081']}"), "a>b:81 a>b:8081", "a>b a>b:8085"),
    Case("port-by-name", opens("protocol: UDP, destination: {ports: [names]}"), "a>b:81/udp", "a>b/udp a>b:81"),
    Case("name-or-number", opens("protocol: TCP, destination: {ports: [web, 8085]}"), "a>b a>b:8085", "a>b:81"),
    Case("not-ports", opens("protocol: TCP, destination: {notPorts: [81, '8080:8085']}"), "a>b", "a>b:81 a>b:8081"),
    Case("not-port-by-name", opens("protocol: TCP, destination: {notPorts: [web]}"), "a>b:81", "a>b a>b:81/udp"),
    Case("source-ports", opens("protocol: TCP, source: {ports: ['1:1023']}"), "", "a>b"),
    Case("protocol", opens("protocol: UDP"), "a>b/udp", "a>b"),
    Case("protocol-by-number", opens("protocol: 17"), "a>b/udp", "a>b"),
    Case("not-protocol", opens("notProtocol: UDP"), "a>b a>b:81", "a>b/udp"),
    Case("subject-as-destination", opens("destination: {selector: app == 'b'}"), "a>b d>b"),
    Case("other-as-destination", opens("destination: {selector: app == 'c'}"), "", "a>b"),
    Case(
        "egress",
        (
            own(
                "p",
                "{selector: app == 'a', types: [Egress], egress: [{action: Allow, protocol: TCP, "
                "destination: {namespaceSelector: all(), selector: \"app in {'c', 'd', 'e', 'a'}\", ports: [web]}}]}",
            ),
        ),
        "a>c:8080 a>d a>e:81 d>b",
        "a>b a>c a>e",
    ),
    Case(
        "network-set",
        (*admits("selector: role == 'far'"), ranges("s", "{nets: [10.244.1.0/24, 10.244.1.1/32]}", "{role: far}")),
        "c>b e>b",
        "a>b d>b",
    ),
    Case(
        "network-set-beside-a-pod",
        (*admits("selector: role == 'far' || app == 'a'"), ranges("s", "{nets: [10.244.1.0/24]}", "{role: far}")),
        "a>b c>b e>b",
        "d>b",
    ),
    Case(
        "network-set-of-another-namespace",
        (*admits("selector: role == 'far'"), ranges("s", "{nets: [10.244.1.0/24]}", "{role: far}", "y")),
        "",
        "c>b",
    ),
    Case(
        "global-set-is-in-no-namespace",
        (*admits("selector: role == 'far'"), ranges("s", "{nets: [10.244.1.0/24]}", "{role: far}", "")),
        "",
        "c>b",
    ),
    Case(
        "global-set",
        (
            *admits("selector: role == 'far', namespaceSelector: global()"),
            ranges("s", "{nets: [10.244.1.0/24]}", "{role: far}", ""),
        ),
        "c>b e>b",
        "a>b",
    ),
    Case(
        "global-set-of-a-global-policy",
        (*chosen("role == 'far'"), ranges("s", "{nets: [10.244.1.0/24]}", "{role: far}", "")),
        "c>b e>b",
        "a>b",
    ),
    Case(
        "not-selector-asks-labels-where-a-selector-picks",
        (
            *admits("namespaceSelector: all(), notSelector: role == 'far'"),
            ranges("s", "{nets: [10.244.1.0/24]}", "{role: far}"),
        ),
        "a>b c>b d>b",
        "node2>b",
    ),
    Case(
        "not-of-a-set",
        (
            everywhere("p", f"{{{B}, ingress: [{{action: Allow, source: {{notSelector: role == 'far'}}}}]}}"),
            ranges("s", "{nets: [10.244.1.0/24]}", "{role: far}", ""),
        ),
        "a>b d>b",
        "c>b",
    ),
]


def with_accounts(world: Snapshot) -> Snapshot:
    """The world, in which every pod has a ServiceAccount of its own name."""
    pods = tuple(replace(each, account=each.name) for each in world.pods)
    return replace(world, pods=pods, accounts=ACCOUNTS)
