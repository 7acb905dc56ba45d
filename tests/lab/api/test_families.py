"""Services of one family or both, as the cluster has them and their `ipFamilyPolicy` asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.api.world import MERGE, Api, Namespace, Object, running

V4, V6 = "10.96.", "fd00:10:96::"


@pytest.fixture(scope="module", params=["ipv4", "ipv6", "dual"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Api]]:
    with running(tmp_path_factory.mktemp("api"), ip_family=request.param) as api:
        yield request.param, api


@pytest.fixture
def dual(tmp_path: Path) -> Iterator[Namespace]:
    with running(tmp_path, ip_family="dual") as api:
        yield Namespace(api=api, name="default")


def service(name: str, **spec: object) -> Object:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


def families(spec: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The families as they are written, and as the addresses have them."""
    return spec["ipFamilies"], ["IPv6" if ":" in each else "IPv4" for each in spec["clusterIPs"]]


def test_a_service_has_what_its_policy_asks_and_the_cluster_has(place: tuple[str, Api]) -> None:
    kind, api = place
    namespace = Namespace(api=api, name="default")
    has = {"ipv4": ["IPv4"], "ipv6": ["IPv6"], "dual": ["IPv4", "IPv6"]}[kind]
    for name, asked, expected in (
        ("plain", {}, has[:1]),
        ("single", {"ipFamilyPolicy": "SingleStack"}, has[:1]),
        ("prefers", {"ipFamilyPolicy": "PreferDualStack"}, has),
        ("headless", {"ipFamilyPolicy": "PreferDualStack", "clusterIP": "None"}, has),
    ):
        answer = namespace.create("services", service(name, **asked))
        assert answer.code == 201, answer.message
        spec = answer.body["spec"]
        assert spec["ipFamilies"] == expected
        assert families(spec)[1] == (["IPv4"] if spec["clusterIP"] == "None" else expected)
    required = namespace.create("services", service("requires", ipFamilyPolicy="RequireDualStack"))
    assert (required.code == 201) == (kind == "dual")
    if kind != "dual":
        assert "spec.ipFamilyPolicy" in required.message
        assert "not configured for dual-stack" in required.message


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param({"ipFamilies": ["IPv4", "IPv6"]}, "must be RequireDualStack or PreferDualStack", id="no-policy"),
        pytest.param({"ipFamilyPolicy": "Both"}, 'Unsupported value: "Both"', id="unknown-policy"),
        pytest.param({"clusterIP": f"{V6}99", "ipFamilies": ["IPv4"]}, "expected an IPv4 value", id="other-family"),
        pytest.param({"clusterIP": "fd01::1"}, "does not match the current range", id="foreign-address"),
    ],
)
def test_what_does_not_fit_is_refused(dual: Namespace, spec: Object, said: str) -> None:
    answer = dual.create("services", service("one", **spec))
    assert answer.code == 422
    assert said in answer.message


def test_the_order_of_families_is_the_services_own(dual: Namespace) -> None:
    asked = {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]}
    spec = dual.create("services", service("one", **asked)).body["spec"]
    assert families(spec) == (["IPv6", "IPv4"], ["IPv6", "IPv4"])
    assert spec["clusterIP"].startswith(V6)


def test_a_policy_that_changes_adds_the_second_family_and_drops_it(dual: Namespace) -> None:
    first = dual.create("services", service("one")).body["spec"]
    assert families(first) == (["IPv4"], ["IPv4"])
    both = dual.patch("services", "one", {"spec": {"ipFamilyPolicy": "RequireDualStack"}}, MERGE).body["spec"]
    assert families(both) == (["IPv4", "IPv6"], ["IPv4", "IPv6"])
    assert both["clusterIPs"][0] == first["clusterIP"]
    single = dual.patch("services", "one", {"spec": {"ipFamilyPolicy": "SingleStack"}}, MERGE).body["spec"]
    assert single["clusterIPs"] == [first["clusterIP"]]


def test_the_cluster_has_its_own_service_in_its_primary_family(place: tuple[str, Api]) -> None:
    kind, api = place
    spec = api.call("GET", "/api/v1/namespaces/default/services/kubernetes").body["spec"]
    assert spec["clusterIPs"] == ["fd00:10:96::1" if kind == "ipv6" else "10.96.0.1"]
