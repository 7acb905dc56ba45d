from __future__ import annotations

import datetime
import time
from typing import Any

import pytest

from clusters.mesh.dialect import Injection, Place, ProxyState, Step
from clusters.mesh.istio import accesslog, explain, inquiry, mtls
from clusters.mesh.istio.inquiry import Answer, End, Inquiry
from flows.model import Evidence, Flow, Kind, Path, Protocol, Verdict, Workload
from tests.clusters.mesh.fake import FakeKube, obj, webhooks
from tests.clusters.mesh.test_read import DENIED, EMPTY_SUBSET, NO_CHAIN

SERVICE = "outbound|8080||server.shop.svc.cluster.local"
SERVER = Workload(
    name="server", namespace="shop", pod="server", addresses=("10.0.0.8",), ports=(("http", 8080),), service="server"
)
CALLER = Workload(name="caller", namespace="shop", pod="caller", addresses=("10.0.0.9",), meshed=True)
FLOW = Flow(
    source="caller", destination="server", host="server.shop.svc", port=8080, path=Path.DNS, protocol=Protocol.HTTP
)
DISABLED = "/apis/networking.istio.io/v1/namespaces/shop/destination-rule/plain"
MESHED = Injection(form="native", ready=(2, 2), revision="default", version="1.31.0")
STRICT = obj("PeerAuthentication", "default", "shop", spec={"mtls": {"mode": "STRICT"}})


def cluster(**more: Any) -> Any:
    return {"configs": [{"cluster": {"name": SERVICE, **more}}]}


def end(
    workload: Workload,
    *lines: str,
    mode: str = "strict",
    injected: Injection = MESHED,
    clusters: Any = None,
    **state: Any,
) -> End:
    labels = {"security.istio.io/tlsMode": "istio"}
    entries = [entry for line in lines if (entry := accesslog.parse(line, workload.addresses))]
    proxy: Answer[ProxyState] = Answer(
        value=ProxyState(ready=True, server_modes={8080: mode}, **{"synced": True, **state})
    )
    return End(
        workload=workload,
        pod=Answer(value=obj("Pod", workload.pod, "shop", labels=labels)),
        injected=Answer(value=injected),
        proxy=proxy if injected.form != "none" else Answer(failed="it has no proxy"),
        listeners=Answer(value={"configs": []}),
        clusters=Answer(value=clusters or cluster()),
        log=Answer(value=entries),
    )


def steps(monkeypatch: pytest.MonkeyPatch, caller: End, server: End, kind: Kind, local: str = "") -> dict[str, Step]:
    verdict = Verdict(kind=kind, flow=FLOW, evidence=Evidence(local=local))
    found = Inquiry(flow=FLOW, verdict=verdict, caller=caller, server=server)
    monkeypatch.setattr(explain, "inquire", lambda *_: found)
    place = Place(namespaces={}, workloads={}, select={})
    return {each.layer: each for each in explain.explain(FakeKube(STRICT), FLOW, verdict, place)}


def wrong(found: dict[str, Step]) -> list[str]:
    return [name for name, each in found.items() if each.wrong]


def test_plaintext_to_a_strict_server_is_the_peer_authentications(monkeypatch: pytest.MonkeyPatch) -> None:
    naked = end(CALLER, injected=Injection(form="none", ready=(1, 1), reason="not labelled"))
    server = end(SERVER, NO_CHAIN)
    plain = Workload(name="intruder", namespace="shop", pod="intruder")
    found = steps(
        monkeypatch, inquiry.End(**{**fields(naked), "workload": plain}), server, Kind.RESET, "10.0.0.9:56008"
    )
    assert wrong(found) == ["mtls"]
    assert "PeerAuthentication shop/default: STRICT" in found["mtls"].says
    assert "filter_chain_not_found" in found["log"].says


def fields(one: End) -> dict[str, Any]:
    return {name: getattr(one, name) for name in End.__slots__}


def test_a_destination_rule_that_disagrees_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = {"metadata": {"filter_metadata": {"istio": {"config": DISABLED}}}}
    found = steps(monkeypatch, end(CALLER, clusters=cluster(**rule)), end(SERVER), Kind.UNAVAILABLE)
    assert wrong(found) == ["mtls"]
    assert "plaintext (DestinationRule shop/plain)" in found["mtls"].says


def test_mutual_tls_to_a_server_without_a_proxy_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"common_tls_context": {"tls_certificate_sds_secret_configs": [{"name": "default"}]}}
    naked = end(SERVER, injected=Injection(form="none", ready=(1, 1), reason="not labelled"))
    caller = end(CALLER, clusters=cluster(transport_socket={"typed_config": own}))
    assert wrong(steps(monkeypatch, caller, naked, Kind.UNAVAILABLE)) == ["mtls"]


AUTO = cluster(transport_socket_matches=[{"match": {"tlsMode": "istio"}}])


def test_the_policy_that_denied_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = steps(monkeypatch, end(CALLER, clusters=AUTO), end(SERVER, DENIED), Kind.FORBIDDEN, "10.0.0.9:55996")
    assert wrong(found) == ["authorization"]
    assert found["authorization"].says == "denied by AuthorizationPolicy shop/deny-admin, rule 2"


def test_an_empty_subset_is_the_routes_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    caller = end(CALLER, EMPTY_SUBSET, clusters=AUTO)
    found = steps(monkeypatch, caller, end(SERVER), Kind.UNAVAILABLE, "10.0.0.9:1")
    assert wrong(found) == []
    found = steps(monkeypatch, caller, end(SERVER), Kind.UNAVAILABLE, "10.0.0.9:58566")
    assert wrong(found) == ["route"]
    assert "UH: no healthy endpoint" in found["route"].says


def test_a_refused_token_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    line = DENIED.replace("rbac_access_denied_matched_policy[ns[shop]-policy[deny-admin]-rule[2]]", "%s").replace(
        "403", "401"
    )
    expired = line % "jwt_authn_access_denied{Jwt_is_expired}"
    found = steps(monkeypatch, end(CALLER, clusters=AUTO), end(SERVER, expired), Kind.UNAUTHENTICATED, "10.0.0.9:55996")
    assert wrong(found) == ["tokens"]
    assert found["tokens"].says == "refused: Jwt is expired"


def test_a_stale_proxy_is_blamed_only_where_nothing_else_explains_it(monkeypatch: pytest.MonkeyPatch) -> None:
    caller = end(CALLER, clusters=AUTO)
    assert wrong(steps(monkeypatch, caller, end(SERVER, synced=False), Kind.FORBIDDEN)) == ["authorization"]
    assert wrong(steps(monkeypatch, caller, end(SERVER, synced=False), Kind.SILENT)) == ["proxies"]


def test_an_unwanted_answer_is_a_proxys_that_does_not_know_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrong(steps(monkeypatch, end(CALLER), end(SERVER), Kind.ANSWERED)) == []
    assert wrong(steps(monkeypatch, end(CALLER), end(SERVER, rejected="x"), Kind.ANSWERED)) == ["proxies"]


def test_questions_that_fail_are_steps_that_say_so() -> None:
    verdict = Verdict(kind=Kind.SILENT, flow=FLOW)
    place = Place(namespaces={}, workloads={"caller": CALLER, "server": SERVER}, select={})
    found = explain.explain(FakeKube(webhooks()), FLOW, verdict, place)
    assert [each.layer for each in found][:3] == ["injected", "proxies", "mtls"]
    assert "could not be asked" in found[0].says


def test_a_pod_without_a_proxy_is_not_asked() -> None:
    pods = [
        obj("Pod", name, "shop", spec={"containers": [{"name": "app"}]}) | {"status": {}}
        for name in ("caller", "server")
    ]
    kube = FakeKube(*pods, obj("Namespace", "shop"), webhooks())
    verdict = Verdict(kind=Kind.DROPPED, flow=FLOW)
    found = inquiry.inquire(kube, FLOW, verdict, {"caller": CALLER, "server": SERVER})
    assert found.server is not None
    assert not found.server.has_proxy
    assert "taken on 8080: no proxy" in mtls.step(kube, found).says


LINE = (
    '[{start}] "GET / HTTP/1.1" 503 UC via - "-" 0 95 1 - "-" "x" "id" "server" "10.0.0.2:8080" {cluster} '
    "10.0.0.1:5 10.0.0.2:8080 10.0.0.1:41000 - default"
)


@pytest.mark.parametrize(
    ("age", "found"),
    [pytest.param(24.0, "", id="a-port-used-again"), pytest.param(1.0, "PassthroughCluster", id="its-own")],
)
def test_a_line_from_before_the_flow_is_another_connections(age: float, found: str) -> None:
    start = datetime.datetime.fromtimestamp(time.time() - age, datetime.UTC).isoformat(timespec="milliseconds")
    line = LINE.format(start=start.replace("+00:00", "Z"), cluster="PassthroughCluster")
    verdict = Verdict(
        kind=Kind.UNAVAILABLE, flow=FLOW, evidence=Evidence(local="10.0.0.1:41000", sent_at=time.monotonic() - 1.0)
    )
    seen = Inquiry(flow=FLOW, verdict=verdict, caller=end(CALLER, line), server=None).caller_line
    assert (seen.cluster if seen else "") == found


def test_a_line_that_never_comes_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiry, "WRITTEN", 0.05)
    monkeypatch.setattr(inquiry, "_end", lambda _kube, workload, _deadline: end(workload))
    monkeypatch.setattr("clusters.mesh.istio.read.log", lambda *_args, **_more: [])
    verdict = Verdict(kind=Kind.RESET, flow=FLOW, evidence=Evidence(sent_at=time.monotonic()))
    assert inquiry.inquire(FakeKube(), FLOW, verdict, {"server": SERVER}).server_line is None


def test_what_a_proxy_has_not_written_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiry, "WRITTEN", 3.0)
    now = f"[{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z]"
    written = end(SERVER, f"{now}{DENIED.partition(']')[2]}").log.value
    looks = iter([[], [], written])
    monkeypatch.setattr(inquiry, "_end", lambda _kube, workload, _deadline: end(workload))
    monkeypatch.setattr("clusters.mesh.istio.read.log", lambda *_args, **_more: next(looks))
    evidence = Evidence(local="10.0.0.9:55996", sent_at=time.monotonic())
    verdict = Verdict(kind=Kind.FORBIDDEN, flow=FLOW, evidence=evidence)
    found = inquiry.inquire(FakeKube(), FLOW, verdict, {"server": SERVER})
    assert found.server_line is not None
    assert "deny-admin" in found.server_line.details
