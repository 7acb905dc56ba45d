"""Calico's manifest set to the families of the cluster: addresses from the CNI plugin, IPv6 in calico-node."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from clusters.addons import calico
from clusters.kind import kind_config
from clusters.profile import IpFamily, load
from flows.errors import PreparationError

MANIFEST = """
kind: ConfigMap
metadata: {name: calico-config}
data:
  cni_network_config: |-
    {"plugins": [{"mtu": __CNI_MTU__, "ipam": {"type": "calico-ipam"}}]}
---
kind: DaemonSet
metadata: {name: calico-node}
spec:
  template:
    spec:
      containers:
        - name: calico-node
          env:
            - {name: IP, value: autodetect}
            - {name: FELIX_IPV6SUPPORT, value: "false"}
            - {name: NODENAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
"""


def parts(ip_family: IpFamily) -> tuple[str, dict[str, Any]]:
    """The CNI configuration, and the variables of calico-node."""
    config, node = yaml.safe_load_all(calico.for_family(MANIFEST, ip_family))
    (container,) = node["spec"]["template"]["spec"]["containers"]
    names = [each["name"] for each in container["env"]]
    assert len(set(names)) == len(names)
    return config["data"]["cni_network_config"], {each["name"]: each.get("value") for each in container["env"]}


def test_ipv4_alone_is_the_manifest_as_it_is() -> None:
    assert calico.for_family(MANIFEST, "ipv4") == MANIFEST


@pytest.mark.parametrize(
    ("ip_family", "four", "ip"),
    [("dual", '"assign_ipv4": "true"', "autodetect"), ("ipv6", '"assign_ipv4": "false"', "none")],
)
def test_ipv6_is_switched_on(ip_family: IpFamily, four: str, ip: str) -> None:
    config, variables = parts(ip_family)
    assert f'{{"type": "calico-ipam", {four}, "assign_ipv6": "true"}}' in config
    assert "__CNI_MTU__" in config
    assert (variables["IP"], variables["IP6"], variables["FELIX_IPV6SUPPORT"]) == (ip, "autodetect", "true")
    assert "NODENAME" in variables


def test_a_manifest_that_cannot_be_set_is_refused() -> None:
    with pytest.raises(PreparationError, match="cannot be set to dual"):
        calico.for_family("kind: ConfigMap\nmetadata: {name: x}\ndata: {a: b}\n", "dual")


@pytest.mark.parametrize(
    ("profile", "pods"),
    [
        ("kind-calico", "10.244.0.0/16"),
        ("kind-calico-dual", "10.244.0.0/16,fd00:10:244::/56"),
        ("kind-calico-ipv6", "fd00:10:244::/56"),
    ],
)
def test_kind_is_told_the_families(profile: str, pods: str) -> None:
    found = load(profile)
    networking = kind_config(found)["networking"]
    assert (networking["ipFamily"], networking["podSubnet"]) == (found.ip_family, pods)
