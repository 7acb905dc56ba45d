"""The quick way to ask is sound: what should answer does, what is denied never arrives, and nothing is remembered."""

from __future__ import annotations

import pytest

from flows.errors import HarnessError
from tests.agreement.kernel import Kernel
from tests.agreement.kernel import kernel as laid
from tests.agreement.scene import PORTS, Ground, Object, Scene, asked, pod

DENY = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def everybody(ground: Ground, *specs: Object) -> Scene:
    """Every pod in the first namespace, and policies there."""
    namespaces = tuple({"metadata": {"name": name, "labels": {}}} for name in ground.namespaces)
    head = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return Scene(
        namespaces=namespaces,
        pods=tuple(pod(seat, ground.namespaces[0], {}, [], ground) for seat in ground.seats),
        policies=tuple(
            {**head, "metadata": {"name": f"p{index}", "namespace": ground.namespaces[0]}, "spec": spec}
            for index, spec in enumerate(specs)
        ),
    )


def words(kernel: Kernel, mutant: str = "", *specs: Object) -> dict[str, str]:
    """What becomes of two flows between pods of different nodes with these policies: by TCP and by UDP."""
    scene = everybody(kernel.ground, *specs)
    questions = asked(scene, kernel.ground)
    found = dict(zip(map(str, questions), kernel.ask(scene, questions, mutant), strict=True))
    return {protocol: found[f"pod-0 → pod-3:{PORTS[0]}/{protocol} by IPv6"] for protocol in ("tcp", "udp")}


def test_everything_answers_where_no_policy_is(kernel: Kernel) -> None:
    scene = everybody(kernel.ground)
    questions = asked(scene, kernel.ground)
    assert {(each.family, each.protocol) for each in questions} == {(4, "TCP"), (4, "UDP"), (6, "TCP"), (6, "UDP")}
    assert set(kernel.ask(scene, questions)) == {"answered"}


def test_no_set_is_remembered_in_the_next(kernel: Kernel) -> None:
    """A connection or a datagram's way that the kernel still knows must not open what is closed now."""
    seen = [words(kernel, "", *specs) for specs in ((), (DENY,), (), (DENY,))]
    assert seen == [{"tcp": "answered", "udp": "answered"}, {"tcp": "dropped", "udp": "dropped"}] * 2


@pytest.mark.parametrize(
    ("mutant", "tcp", "udp"),
    [
        pytest.param(
            "egress-of-replies", "dropped", "arrived, and its answer was lost", id="only-the-reply-is-dropped"
        ),
        pytest.param("handshake-leak", "accepted, and its data was lost", "dropped", id="only-the-data-is-dropped"),
        pytest.param("deny-by-reset", "ECONNREFUSED", "dropped", id="a-reset"),
        pytest.param("no-enforcement", "answered", "answered", id="nothing-is-dropped"),
    ],
)
def test_what_only_looks_like_a_denial_is_told(kernel: Kernel, mutant: str, tcp: str, udp: str) -> None:
    assert words(kernel, mutant, DENY) == {"tcp": tcp, "udp": udp}


def test_a_ground_whose_control_way_is_closed_says_so() -> None:
    """Without its control datagram silence would be read before it is one."""
    with laid(control=0.5) as kernel:
        kernel.nft("add rule inet eastwest policy-forward udp dport 7 drop")
        with pytest.raises(HarnessError, match="no control datagram within"):
            words(kernel)
