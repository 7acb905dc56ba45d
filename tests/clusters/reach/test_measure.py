"""Measuring with real visitors: pods of this machine, each exec a process of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from clusters.kube import Kube
from clusters.reach.measure import Reach, Seen, Wanted, measure
from clusters.reach.words import Word
from flows.errors import HarnessError, PreparationError, UsageError
from tests.clusters.reach.here import Here, Object, pod
from tests.flows.pipes import DEADLINE

DENY: Object = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "closed", "namespace": "shop"},
    "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]},
}
WEB = {"app": "web"}


@pytest.fixture
def served() -> Iterator[int]:
    """A port of every loopback address on which somebody accepts."""
    with socket.create_server(("0.0.0.0", 0), backlog=64) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def unserved() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def measured(here: Here, **wanted: Any) -> Reach:
    """What is measured; every visitor is gone afterwards."""
    try:
        return measure(cast("Kube", here), Wanted(**{"deny_timeout": 0.5, "within": 60.0, **wanted}))
    finally:
        for channel in here.channels:
            channel.process.wait(DEADLINE)


def flows(reach: Reach) -> dict[tuple[str, str], Seen]:
    """Source and `target:port` of each flow."""
    return {(each.source, f"{each.target}:{each.port}"): each for each in reach.seen}


def test_a_listener_is_open_nobody_is_refused_and_the_oracle_stands_beside(served: int, unserved: int) -> None:
    pods = [
        pod("shop/web", "127.0.0.2", labels=WEB, ports=[(served, "TCP"), (unserved, "TCP")]),
        pod("shop/client", "127.0.0.3"),
    ]
    reach = measured(Here(pods, [DENY]))
    seen = flows(reach)
    opened, refused = seen["shop/client", f"shop/web:{served}/tcp"], seen["shop/client", f"shop/web:{unserved}/tcp"]
    assert (opened.word, refused.word) == (Word.OPEN, Word.REFUSED)
    assert opened.agrees is False, "loopback knows no policy"
    assert opened.decision is not None
    assert "ingress of shop/web: isolated by shop/closed" in opened.decision.words()
    assert refused.agrees is None, "it may be the policy's word, or nobody's"
    assert opened.address == "127.0.0.2"
    assert len(seen) == 2, "nobody asks itself, nobody asks who declares no port"
    assert "declare no port, so nobody asks them (--port adds one): shop/client" in reach.notes


def test_who_has_no_python_is_told_and_still_asked(served: int) -> None:
    pods = [pod("shop/web", "127.0.0.2", labels=WEB, ports=[(served, "TCP")]), pod("shop/client", "127.0.0.3")]
    reach = measured(Here(pods, without=["shop/web"]))
    assert reach.refused == {"shop/web": "container app: no python3"}
    assert "shop/web cannot be asked from: container app: no python3" in reach.notes
    assert [each.word for each in reach.seen] == [Word.OPEN]


def test_equal_pods_are_asked_through_one_and_it_is_said(served: int) -> None:
    twins = [pod(f"shop/web-{n}", f"127.0.0.{n}", labels=WEB, ports=[(served, "TCP")]) for n in (4, 5, 6)]
    reach = measured(Here(twins))
    [seen] = reach.seen
    assert (seen.source, seen.target, seen.asked) == ("shop/web-4 (×3)", "shop/web-4 (×3)", "shop/web-5")
    assert reach.notes[0] == ("shop/web-4 stands for web-5, web-6: equal labels and ports (--every-pod asks each)")
    assert len(measured(Here(twins), every_pod=True).seen) == 6


def test_both_families_are_asked_where_both_ends_have_them(served: int) -> None:
    both = ["127.0.0.2", "::1"]
    pods = [
        pod("shop/web", labels=WEB, ports=[(served, "TCP")], addresses=both),
        pod("shop/dual", addresses=both),
        pod("shop/four", "127.0.0.3"),
    ]
    asked = {(each.source, each.family) for each in measured(Here(pods)).seen}
    assert asked == {("shop/dual", 4), ("shop/dual", 6), ("shop/four", 4)}


def test_namespaces_whose_policies_cannot_be_read_have_no_word_of_the_oracle(served: int) -> None:
    pods = [pod("shop/web", "127.0.0.2", ports=[(served, "TCP")]), pod("shop/client", "127.0.0.3")]
    reach = measured(Here(pods, [DENY], forbidden=["list NetworkPolicy"]))
    assert [each.decision for each in reach.seen] == [None]
    assert "no word of the oracle for namespace shop: these credentials may not read it" in reach.notes
    odd = {**DENY, "spec": {**DENY["spec"], "novel": 1}}
    reach = measured(Here(pods, [odd]))
    assert [each.decision for each in reach.seen] == [None]
    assert any("field 'spec.novel' is unknown" in note for note in reach.notes)


@pytest.mark.parametrize("forbidden", [[], ["list GlobalNetworkPolicy"]], ids=["seen", "hidden"])
def test_a_global_policy_that_cannot_be_seen_leaves_the_oracle_without_a_word(
    served: int, forbidden: list[str]
) -> None:
    pods = [pod("shop/web", "127.0.0.2", ports=[(served, "TCP")]), pod("shop/client", "127.0.0.3")]
    reach = measured(Here(pods, calico=True, forbidden=forbidden))
    assert [each.decision is None for each in reach.seen] == [bool(forbidden)]
    told = "no word of the oracle: these credentials may not read Calico's global policies"
    assert (told in reach.notes) == bool(forbidden)


def test_what_is_not_asked_in_time_could_not_be_told(served: int) -> None:
    pods = [pod("shop/web", "127.0.0.2", ports=[(served, "TCP")]), pod("shop/client", "127.0.0.3")]
    [seen] = measured(Here(pods), deny_timeout=0.5, within=0.4).seen
    assert (seen.word, seen.why) == (
        Word.UNKNOWN,
        "probe-error: not asked within 0.4 s; give more with --timeout",
    )


PODS = [pod("shop/web", "127.0.0.2", ports=[(80, "TCP")]), pod("shop/client", "127.0.0.3")]


MAY_NOT_LIST, MAY_NOT_EXEC = Here(PODS, forbidden=["list Pod"]), Here(PODS, forbidden=["exec"])
NO_PYTHON = Here(PODS, without=["shop/web", "shop/client"])
EMPTY = Here(PODS, namespaces={"none": {}})


@pytest.mark.parametrize(
    ("here", "namespaces", "kind", "line"),
    [
        pytest.param(MAY_NOT_LIST, ("shop",), PreparationError, "may not list pods in namespace shop", id="list"),
        pytest.param(MAY_NOT_LIST, (), PreparationError, "in all namespaces; name some with -n", id="list-all"),
        pytest.param(MAY_NOT_EXEC, ("shop",), PreparationError, "may not exec in namespace shop; grant", id="exec"),
        pytest.param(Here(PODS), ("shp",), UsageError, "-n shp: the cluster has no such namespace", id="no-namespace"),
        pytest.param(EMPTY, ("none",), UsageError, "namespace none holds no ready pod", id="no-pod"),
        pytest.param(NO_PYTHON, (), HarnessError, "no running container has python3", id="no-python"),
    ],
)
def test_what_stands_in_the_way_is_one_line(
    here: Here, namespaces: tuple[str, ...], kind: type[HarnessError], line: str
) -> None:
    with pytest.raises(kind) as refused:
        measured(here, namespaces=namespaces)
    assert line in refused.value.message
    assert "\n" not in refused.value.message
