"""What `exportTo` lets the proxies of a namespace know of, and what stays the same object for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusters.lab.mesh.compile import compile_proxy
from clusters.lab.mesh.model import Mesh
from clusters.lab.mesh.visibility import exported, seen
from policies.istio.model import DestinationRule, Meta, PeerAuthentication, ServiceEntry, VirtualService
from tests.lab.mesh.worlds import SERVER, service


@pytest.mark.parametrize(
    ("exports", "at_home", "elsewhere"),
    [
        pytest.param((), True, True, id="says-nothing"),
        pytest.param(("*",), True, True, id="everywhere"),
        pytest.param((".",), True, False, id="its-own"),
        pytest.param((".", "other"), True, True, id="its-own-and-another"),
        pytest.param(("third",), False, False, id="a-third"),
        pytest.param(("~",), False, False, id="nowhere"),
    ],
)
def test_where_something_is_known(exports: tuple[str, ...], *, at_home: bool, elsewhere: bool) -> None:
    assert (exported(exports, "shop", "shop"), exported(exports, "shop", "other")) == (at_home, elsewhere)


def meta(name: str, namespace: str) -> Meta:
    return Meta(name=name, namespace=namespace)


OURS = replace(service({8080: "http"}), exports=(".",))
THEIRS = replace(service({8080: "http"}, name="theirs"), namespace="third", host="theirs.third.svc.cluster.local")
WHOLE = Mesh(
    services=(OURS, replace(THEIRS, exports=(".",))),
    peer_authentications=tuple(PeerAuthentication(meta=meta("p", each)) for each in ("shop", "third", "istio-system")),
    destination_rules=tuple(
        DestinationRule(meta=meta("d", each), host="*", exports=(".", "shop")[: 1 + (each == "other")])
        for each in ("shop", "other", "third")
    ),
    virtual_services=(VirtualService(meta=meta("v", "third"), hosts=("*",), exports=(".",)),),
    service_entries=(ServiceEntry(meta=meta("s", "third"), hosts=("x",)),),
)


def test_a_namespace_knows_what_is_exported_to_it_and_the_policies_there() -> None:
    here = seen(WHOLE, "shop", Mesh())
    assert [each.host for each in here.services] == [OURS.host]
    assert [each.meta.namespace for each in here.peer_authentications] == ["shop", "istio-system"]
    assert [each.meta.namespace for each in here.destination_rules] == ["shop", "other"]
    assert (here.virtual_services, here.service_entries) == ((), WHOLE.service_entries)


def test_what_a_namespace_does_not_know_of_changes_nothing_for_it() -> None:
    here = seen(WHOLE, "shop", Mesh())
    assert seen(replace(WHOLE, services=(OURS,), virtual_services=()), "shop", here) is here
    more = seen(replace(WHOLE, services=(*WHOLE.services, THEIRS)), "shop", here)
    assert more is not here
    assert more.destination_rules is here.destination_rules


def test_what_is_not_known_is_not_routed() -> None:
    config = compile_proxy(seen(WHOLE, SERVER.namespace, Mesh()), SERVER)
    assert "theirs" not in str(config.clusters) + str(config.routes)
    assert OURS.host in str(config.clusters)
