"""Manifests of Calico to typed policies: what is written stays apart, and what is wrong is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.errors import UsageError
from policies.calico.model import Accounts, Action, CalicoPolicy, Entity, NetworkSet, PortRange, Rule
from policies.calico.read import read, read_file, read_text
from policies.calico.selectors import All, Global, parse
from policies.model import ABSENT, PolicyType

WHOLE = """
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: whole, uid: u1}
spec:
  order: 10.5
  selector: app == "server"
  namespaceSelector: team == "payments"
  serviceAccountSelector: has(trusted)
  types: [Egress, Ingress]
  ingress:
    - action: Log
    - action: Allow
      ipVersion: 4
      protocol: TCP
      source:
        nets: [10.0.0.0/8]
        notNets: [10.1.0.0/16]
        selector: app == "caller"
        notSelector: has(evil)
        namespaceSelector: global()
        serviceAccounts: {names: [caller], selector: has(x)}
      destination:
        ports: [80, "8000:8080", http]
        notPorts: ["8001"]
  egress: []
"""


def policy(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "n"},
        "spec": spec,
    }


def test_everything_that_is_read() -> None:
    (found,) = read_text(WHOLE, "whole.yaml")
    assert found == CalicoPolicy(
        name="whole",
        is_global=True,
        uid="u1",
        source="whole.yaml:2",
        order=10.5,
        selector=parse("app == 'server'"),
        namespaces=parse("team == 'payments'"),
        accounts=parse("has(trusted)"),
        types=(PolicyType.EGRESS, PolicyType.INGRESS),
        ingress=(
            Rule(action=Action.LOG),
            Rule(
                action=Action.ALLOW,
                version=4,
                protocol="TCP",
                source=Entity(
                    nets=("10.0.0.0/8",),
                    not_nets=("10.1.0.0/16",),
                    selector=parse("app == 'caller'"),
                    not_selector=parse("has(evil)"),
                    namespaces=Global(),
                    accounts=Accounts(names=("caller",), selector=parse("has(x)")),
                ),
                destination=Entity(
                    ports=(PortRange(low=80, high=80), PortRange(low=8000, high=8080), "http"),
                    not_ports=(PortRange(low=8001, high=8001),),
                ),
            ),
        ),
        egress=(),
    )


def test_absent_null_and_empty_stay_apart() -> None:
    found = read(policy(ingress=None, egress=[], selector=""), "here")
    assert isinstance(found, CalicoPolicy)
    assert (found.ingress, found.egress, found.types) == (None, (), ABSENT)
    assert (found.selector, found.order, found.key) == (All(), ABSENT, "n/p")


def test_stored_form() -> None:
    stored = {**policy(), "apiVersion": "crd.projectcalico.org/v1", "metadata": {"name": "default.p", "namespace": "n"}}
    found = read(stored, "here")
    assert isinstance(found, CalicoPolicy)
    assert (found.name, found.key, found.stored) == ("p", "n/p", True)


def test_network_sets(tmp_path: Path) -> None:
    file = tmp_path / "sets.yaml"
    file.write_text("""
apiVersion: projectcalico.org/v3
kind: NetworkSet
metadata: {name: a, namespace: n, labels: {role: db}}
spec: {nets: [10.0.0.1/8, "::1"]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: b}
""")
    assert read_file(file) == [
        NetworkSet(name="a", namespace="n", source=f"{file}:2", labels=(("role", "db"),), nets=("10.0.0.1/8", "::1")),
        NetworkSet(name="b", is_global=True, source=f"{file}:7"),
    ]


def rule(**fields: Any) -> dict[str, Any]:
    return policy(ingress=[{"action": "Allow", **fields}])


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        pytest.param(
            policy(selector="app = 'x'"),
            "here: field 'spec.selector' is no selector of Calico: selector \"app = 'x'\": at 5 is '= 'x''; "
            "there should be ==, !=, in, not in, contains, starts with or ends with",
            id="selector",
        ),
        pytest.param(policy(selecter="all()"), "did you mean 'selector'?", id="unknown-field"),
        pytest.param(policy(selector="global()"), "field 'spec.selector' says global()", id="global-of-a-policy"),
        pytest.param(policy(namespaceSelector="all()"), "'spec.namespaceSelector' is unknown", id="not-here"),
        pytest.param(policy(order="first"), "field 'spec.order' is 'first'; it must be a number", id="order"),
        pytest.param(policy(types=["ingress"]), "did you mean Ingress?", id="type"),
        pytest.param(policy(types=["Ingress", "Ingress"]), "names a type twice", id="type-twice"),
        pytest.param(policy(tier="security"), "field 'spec.tier' is about tiers other than 'default'", id="tier"),
        pytest.param(
            {**policy(doNotTrack=True), "kind": "GlobalNetworkPolicy"},
            "field 'spec.doNotTrack' is about policies before connection tracking; this is not done here",
            id="untracked",
        ),
        pytest.param(policy(ingress=[{}]), "field 'spec.ingress[0].action' is missing", id="no-action"),
        pytest.param(policy(ingress=[{"action": "allow"}]), "did you mean Allow?", id="action"),
        pytest.param(rule(protocol="tcp"), "field 'spec.ingress[0].protocol' is 'tcp'", id="protocol"),
        pytest.param(rule(protocol=0), "field 'spec.ingress[0].protocol' is 0", id="protocol-number"),
        pytest.param(rule(ipVersion=5), "it must be 4 or 6", id="version"),
        pytest.param(rule(icmp={"type": 8}), "'spec.ingress[0].icmp' is about types and codes of ICMP", id="icmp"),
        pytest.param(rule(http={"methods": ["GET"]}), "about methods and paths of HTTP", id="http"),
        pytest.param(rule(source={"services": {"name": "x"}}), "Services as an end of a rule", id="services"),
        pytest.param(rule(source={"selector": "global()"}), "says global()", id="global-of-pods"),
        pytest.param(
            rule(source={"namespaceSelector": "global() || has(a)"}), "says global()", id="global-beside-another"
        ),
        pytest.param(rule(source={"nets": ["10.0.0.1"]}), "field 'spec.ingress[0].source.nets[0]'", id="no-mask"),
        pytest.param(rule(source={"nets": ["10.0.0.1/8"]}), "no host in it", id="host-bits"),
        pytest.param(
            rule(source={"nets": ["10.0.0.0/8", "fd00::/8"]}), "nets' mixes IPv4 and IPv6; write one", id="families"
        ),
        pytest.param(rule(ipVersion=6, source={"notNets": ["10.0.0.0/8"]}), "notNets' mixes", id="other-family"),
        pytest.param(
            rule(destination={"ports": [80]}),
            "field 'spec.ingress[0].destination.ports' stands in a rule without a protocol that has ports; give",
            id="ports-without-protocol",
        ),
        pytest.param(
            rule(notProtocol="TCP", destination={"notPorts": [80]}), "destination.notPorts' stands in", id="not-ports"
        ),
        pytest.param(rule(protocol="TCP", destination={"ports": [0]}), "ports[0]' is 0; write", id="port-zero"),
        pytest.param(rule(protocol="TCP", destination={"ports": ["9:5"]}), "is '9:5'", id="range-backwards"),
        pytest.param(rule(protocol="TCP", destination={"ports": ["a b"]}), "is 'a b'", id="port-name"),
        pytest.param({**policy(), "kind": "HostEndpoint"}, "field 'kind' is 'HostEndpoint'", id="kind"),
        pytest.param({**policy(), "apiVersion": "v1"}, "it must be projectcalico.org/v3 or crd.", id="version-of-api"),
        pytest.param({**policy(), "metadata": {"name": "a.b"}}, "a policy's name has no '.'", id="name"),
    ],
)
def test_refused(obj: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(obj, "here")
    assert message in caught.value.message
    assert "\n" not in caught.value.message
