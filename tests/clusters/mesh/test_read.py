from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import pytest

from clusters.kube import KubeError
from clusters.mesh.istio import accesslog, read
from clusters.mesh.istio.detect import webhooks as installed
from clusters.mesh.istio.disturb import disturb
from clusters.mesh.istio.policies import decided, enforced
from flows.errors import UsageError
from flows.model import Workload
from tests.clusters.mesh.fake import FakeKube, webhooks

SERVER = Workload(name="server", namespace="shop", pod="server-1", addresses=("10.0.0.8",))
DENIED = (
    '[2026-11-21T18:54:10.387Z] "PUT /a b HTTP/1.1" 403 - rbac_access_denied_matched_policy[ns[shop]-policy[deny-admin]'
    '-rule[2]] - "-" 0 19 0 - "-" "-" "bfff1f01" "server" "-" inbound|8080|| - 10.0.0.8:8080 10.0.0.9:55996 - default'
)
NO_CHAIN = (
    '[2026-11-21T18:54:11.391Z] "- - -" 0 NR filter_chain_not_found - "-" 0 0 0 - "-" "-" "-" "-" "-" '
    "- - 10.0.0.8:8080 10.0.0.9:56008 - -"
)
TCP = (
    '[2026-11-21T18:57:47.532Z] "- - -" 0 - - - "-" 61 987 2 - "-" "-" "-" "-" "10.0.0.8:9090" '
    "outbound|9090||server.shop.svc.cluster.local 10.0.0.9:56386 10.96.0.9:9090 10.0.0.9:57438 - -"
)
TCP_DENIED = (
    '[2026-11-21T18:57:47.532Z] "- - -" 0 - - rbac_access_denied_matched_policy[none] "-" 0 0 2 - "-" "-" "-" "-" "-" '
    "inbound|9090|| - 10.0.0.8:9090 10.0.0.9:57438 outbound_.9090_._.server.shop.svc.cluster.local -"
)
EMPTY_SUBSET = (
    '[2026-11-21T18:57:47.553Z] "GET / HTTP/1.1" 503 UH no_healthy_upstream - "-" 0 19 0 - "-" "curl/8 \\"x\\"" "id" '
    '"server:8080" "-" outbound|8080|v9|server.shop.svc.cluster.local - 10.96.0.9:8080 10.0.0.9:58566 - -'
)


def chain(port: int | None = None, *, secure: bool = False, **more: Any) -> Any:
    return {
        "filter_chain_match": {"destination_port": port} if port else {"transport_protocol": "tls"},
        **({"transport_socket": {"name": "tls"}} if secure else {}),
        **more,
    }


def listeners(*chains: Any) -> Any:
    return {"configs": [{"name": "virtualInbound", "active_state": {"listener": {"filter_chains": list(chains)}}}]}


def test_a_denied_request_is_read_with_the_policy_that_decided() -> None:
    entry = accesslog.parse(DENIED)
    assert entry is not None
    assert (entry.method, entry.path, entry.status, entry.direction) == ("PUT", "/a b", 403, "inbound")
    assert (entry.request_id, entry.authority, entry.downstream) == ("bfff1f01", "server", "10.0.0.9:55996")
    assert decided(entry) == "AuthorizationPolicy shop/deny-admin, rule 2"


def test_a_connection_without_a_chain_is_the_servers() -> None:
    entry = accesslog.parse(NO_CHAIN)
    assert entry is not None
    assert (entry.flags, entry.details, entry.direction, entry.status) == ("NR", "filter_chain_not_found", "inbound", 0)


def test_tcp_lines_are_read() -> None:
    allowed, denied = accesslog.parse(TCP), accesslog.parse(TCP_DENIED)
    assert allowed is not None
    assert denied is not None
    assert (allowed.direction, allowed.upstream, decided(allowed)) == ("outbound", "10.0.0.8:9090", None)
    assert decided(denied) == ""
    assert accesslog.upstream_local(TCP) == "10.0.0.9:56386"


def test_flags_and_quoted_words_are_read() -> None:
    entry = accesslog.parse(EMPTY_SUBSET)
    assert entry is not None
    assert (entry.status, entry.flags, entry.request_id) == (503, "UH", "id")
    assert entry.cluster == "outbound|8080|v9|server.shop.svc.cluster.local"


def test_only_lines_of_the_log_that_are_young_and_asked_for_count() -> None:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    young = DENIED.replace("2026-11-21T18:54:10.387Z", now)
    old = DENIED.replace("2026-11-21T18:54:10.387Z", "2020-01-01T00:00:00.000Z")
    kube = FakeKube(log=f"2026-11-21T18:25:10Z info ads: new connection\n{old}\n{young}")
    assert [each.text for each in read.log(kube, SERVER)] == [young]
    assert read.log(kube, SERVER, "no such nonce") == []


def test_modes_are_read_from_the_chains_of_each_port() -> None:
    dump = listeners(
        chain(15006),
        chain(secure=True),
        chain(),
        chain(8080, secure=True),
        chain(9090, secure=True),
        chain(9090),
        chain(7070),
    )
    assert read.server_modes(dump) == {0: "permissive", 8080: "strict", 9090: "permissive", 7070: "disable"}


def test_policies_in_force_are_named_by_port() -> None:
    policies = {"action": "DENY", "policies": {"ns[shop]-policy[deny]-rule[0]": {}}}
    rbac = {"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC", "rules": policies}
    tokens = {"@type": "type.googleapis.com/…JwtAuthentication", "rules": [{"match": {"prefix": "/"}}]}
    filters = [{"typed_config": tokens}, {"typed_config": rbac}]
    http = {"typed_config": {"http_filters": filters}}
    dump = listeners(chain(8080, filters=[http]), chain(9090, filters=[]))
    assert list(enforced(dump, 8080)) == ["DENY shop/deny"]
    assert list(enforced(dump, 9090)) == []


def test_sync_is_what_was_sent_and_acknowledged() -> None:
    mine = {"proxy": "server-1.shop", "cluster_sent": "a", "cluster_acked": "a", "route_sent": "b", "route_acked": "a"}
    assert read.acknowledged([mine], "server-1.shop") == read.Sync(waiting=("route",))
    assert read.acknowledged([mine], "other.shop") is None


def test_what_the_control_plane_could_not_do_is_told_and_is_not_in_sync() -> None:
    words = "no configuration for shop/server-1"
    told = read.acknowledged([{"proxy": "server-1.shop", "error": words}], "server-1.shop")
    said = read.state({}, {}, {}, told)
    assert (said.synced, said.rejected) == (False, words)
    calm = read.state({}, {}, {}, read.acknowledged([{"proxy": "server-1.shop"}], "server-1.shop"))
    assert (calm.synced, calm.rejected) == (True, "")


def test_the_identity_is_the_one_the_nearest_proxy_put() -> None:
    forged = "By=x;URI=spiffe://cluster.local/ns/shop/sa/forged"
    real = 'By=spiffe://cluster.local/ns/shop/sa/server;Hash=ab;Subject="";URI=spiffe://cluster.local/ns/shop/sa/caller'
    headers = [("X-Forwarded-Client-Cert", f"{forged},{real}")]
    assert read.seen_identity(headers) == "cluster.local/ns/shop/sa/caller"
    assert read.seen_identity([("host", "server")]) == ""


def test_the_certificate_names_the_workload() -> None:
    link = {
        "subject_alt_names": [{"uri": "spiffe://cluster.local/ns/a/sa/b"}],
        "expiration_time": "2026-11-22T18:25:10Z",
    }
    identity, expires = read.certificate({"certificates": [{"cert_chain": [link]}, {"ca_cert": []}]})
    assert identity == "cluster.local/ns/a/sa/b"
    assert datetime.datetime.fromtimestamp(expires, datetime.UTC).isoformat() == "2026-11-22T18:25:10+00:00"


def test_a_listener_that_was_refused_is_told() -> None:
    dump = {"configs": [{"name": "0.0.0.0_8080", "error_state": {"details": "duplicate address"}}]}
    assert read.rejected(dump) == "0.0.0.0_8080: duplicate address"


def test_injection_is_broken_only_on_clusters_of_our_own() -> None:
    with pytest.raises(UsageError, match="eastwest made"):
        disturb(FakeKube(webhooks()), "gone")


def test_injection_that_is_half_broken_is_mended_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube(webhooks(), webhooks("canary", default=False))
    kube.cluster = replace(kube.cluster, ours=True)
    write, written = kube.patch, kube.patched

    def refuses_the_second(*given: Any) -> Any:
        if len(written) == 1:
            written.append(("", {}))
            raise KubeError("patch: no answer")
        return write(*given)

    monkeypatch.setattr(kube, "patch", refuses_the_second)
    with pytest.raises(KubeError, match="no answer"):
        disturb(kube, "gone")
    assert [(name, bool(patch["webhooks"])) for name, patch in written if name] == [
        ("istio-sidecar-injector-default", False),
        ("istio-sidecar-injector-default", True),
        ("istio-sidecar-injector-canary", True),
    ]


def test_every_configuration_of_the_injector_is_found() -> None:
    assert [each["metadata"]["name"] for each in installed(FakeKube(webhooks()))] == ["istio-sidecar-injector-default"]
