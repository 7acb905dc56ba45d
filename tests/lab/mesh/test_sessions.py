"""Sessions with agents over real TLS: who is let in, what is sent when, what is known of what they acknowledged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from clusters.lab.client import AUTHORIZATION_POLICIES
from clusters.lab.mesh.ca import Authority
from clusters.lab.mesh.model import Json, Mesh, Proxy
from clusters.lab.mesh.mutation import Delivery, Fault, Terms
from clusters.lab.mesh.sessions import AT_ONCE, GAP, Sessions
from flows.errors import HarnessError
from tests.lab.mesh.objects import pod, service
from tests.lab.mesh.shop import DENY, NAME, Here, reviewed, scenario


def _resources(push: Json, piece: str) -> list[Json]:
    found: list[Json] = json.loads(push["files"][piece])
    return found


@scenario()
async def test_a_certificate_comes_first_then_everything(here: Here) -> None:
    agent = await here.agent("server")
    secret, push = await agent.hear(), await agent.taken()
    certificate = x509.load_pem_x509_certificate(secret["certificate"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert (secret["op"], uris, secret["roots"]) == (
        "secret",
        ["spiffe://cluster.local/ns/shop/sa/server"],
        here.authority.roots,
    )
    assert {"cds", "lds", "rds/80"} == set(push["files"])
    assert _resources(push, "cds")[0]["@type"] == "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    assert _resources(push, "lds")[0]["@type"] == "type.googleapis.com/envoy.config.listener.v3.Listener"
    (route,) = _resources(push, "rds/80")
    assert (route["@type"], route["name"]) == ("type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "80")


@scenario()
async def test_only_what_differs_is_sent_again(here: Here) -> None:
    agent = await here.agent("server")
    first = await agent.taken()
    here.deny()
    second = await agent.taken()
    assert (set(second["files"]), second["removed"]) == ({"lds"}, [])
    assert int(second["version"]) > int(first["version"])


@scenario()
async def test_what_is_gone_is_removed(here: Here) -> None:
    agent = await here.agent("caller")
    await agent.taken()
    here.registry.service_told("DELETED", service("server"))
    push = await agent.taken()
    assert push["removed"] == ["rds/80"]


@scenario()
async def test_syncz_tells_what_was_sent_and_taken(here: Here) -> None:
    agent = await here.agent("server")
    push = await agent.hear("push")
    (waiting,) = await here.status(lambda found: found[0]["version_sent"] == push["version"])
    assert (waiting["proxy"], waiting["cluster_sent"], waiting["cluster_acked"]) == ("server.shop", push["version"], "")
    await agent.say(op="ack", version=push["version"])
    (taken,) = await here.status(lambda found: found[0]["version_acked"] == push["version"])
    for kind in ("cluster", "listener", "route"):
        assert taken[f"{kind}_sent"] == taken[f"{kind}_acked"] == push["version"]
    assert taken["acked_at"] > 0


@scenario()
async def test_an_older_yes_is_none_to_what_came_after(here: Here) -> None:
    agent = await here.agent("server")
    first = await agent.hear("push")
    here.deny()
    second = await agent.hear("push")
    await agent.say(op="ack", version=first["version"])
    (found,) = await here.status(lambda found: found[0]["version_acked"] == first["version"])
    assert (found["listener_sent"], found["listener_acked"]) == (second["version"], "")
    assert found["cluster_acked"] == found["cluster_sent"] == first["version"]


@scenario()
async def test_envoys_no_is_kept_with_its_words(here: Here) -> None:
    agent = await here.agent("server")
    push = await agent.hear("push")
    await agent.say(op="nack", version=push["version"], error="no such filter")
    (found,) = await here.status(lambda found: bool(found[0]["error"]))
    assert "no such filter" in found["error"]
    assert (found["version_acked"], found["listener_acked"]) == ("", "")
    here.deny()
    await agent.taken()
    await here.status(lambda found: not found[0]["error"] and bool(found[0]["version_acked"]))


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        pytest.param({"token": "forged"}, "the token is not valid", id="token"),
        pytest.param({"token": "server"}, "of shop/server, not of shop/caller", id="pod"),
        pytest.param({"namespace": "other"}, "not of other/caller", id="namespace"),
        pytest.param({"pod": "server", "token": "unbound"}, "the token is caller's, the pod is server's", id="account"),
        pytest.param({"protocol": 2}, "speaks protocol 2", id="protocol"),
    ],
)
def test_who_is_not_who_it_says_is_refused(hello: dict[str, Any], reason: str) -> None:
    @scenario()
    async def play(here: Here) -> None:
        agent = await here.agent("caller", **hello)
        refused = await agent.hear()
        assert refused["op"] == "refused"
        assert reason in refused["reason"]
        assert (await agent.hear())["op"] == "the end"

    play()


@scenario()
async def test_what_is_no_message_ends_the_session(here: Here) -> None:
    agent = await here.agent()
    await agent.say(hello="world")
    assert (await agent.hear())["op"] == "the end"
    assert "no message" in here.said[-1]


@scenario()
async def test_half_a_message_ends_only_its_own_session(here: Here) -> None:
    agent, other = await here.agent("server"), await here.agent("caller")
    await other.taken()
    await agent.say(op="ack", version="the newest")
    while (await agent.hear())["op"] != "the end":
        continue
    assert "shop/server: the session ends" in here.said[-1]
    here.deny()
    await other.taken()


@scenario()
async def test_an_agent_may_be_faster_than_the_news_of_its_pod(here: Here) -> None:
    here.registry.pod_told("DELETED", pod("caller", "10.244.0.6"))
    agent = await here.agent("caller", address="10.244.0.6")
    here.registry.pod_told("ADDED", pod("caller"))
    assert (await agent.hear())["op"] == "secret"
    (listener,) = [each for each in _resources(await agent.taken(), "lds") if each["name"] == "virtualInbound"]
    assert listener["address"]["socket_address"]["port_value"] == 15006


@scenario()
async def test_a_pods_newest_agent_takes_the_place_of_the_last(here: Here) -> None:
    old = await here.agent("server")
    await old.taken()
    new = await here.agent("server")
    await new.taken()
    assert (await old.hear())["op"] == "the end"
    await here.status(lambda found: len(found) == 1)


@scenario()
async def test_another_authority_is_told_at_once(here: Here) -> None:
    agent = await here.agent("server")
    await agent.taken()
    here.authority = Authority.fresh()
    assert here.sessions
    here.sessions.use(here.authority)
    assert (await agent.hear("secret"))["roots"] == here.authority.roots
    assert (await (await here.agent("caller")).hear("secret"))["roots"] == here.authority.roots


@scenario(life=1.0)
async def test_a_certificate_is_followed_by_the_next_before_it_ends(here: Here) -> None:
    agent = await here.agent("server")
    first, second = await agent.hear("secret"), await agent.hear("secret")
    assert first["expires"] > 0
    assert second["certificate"] != first["certificate"]


def _broken_for_the_server(mesh: Mesh, proxy: Proxy) -> Mesh:
    if proxy.pod == "server":
        raise HarnessError("DestinationRule shop/rule: something that nobody does")
    return mesh


@scenario(fault=Fault(mesh=_broken_for_the_server))
async def test_one_proxy_that_cannot_be_compiled_stops_no_other(here: Here) -> None:
    broken, sound = await here.agent("server"), await here.agent("caller")
    await sound.taken()
    found = await here.status(lambda found: any(each["error"] for each in found))
    assert ["DestinationRule shop/rule" in each["error"] for each in found] == [
        each["proxy"] == "server.shop" for each in found
    ]
    assert any("DestinationRule shop/rule" in each for each in here.said)
    assert (await broken.hear())["op"] == "secret"


def _forgets_the_server(delivery: Delivery) -> float | None:
    return None if delivery.proxy.pod == "server" and delivery.pushes else 0.0


@scenario(fault=Fault(delivery=_forgets_the_server))
async def test_a_mutant_may_keep_a_push_from_one_proxy(here: Here) -> None:
    server, caller = await here.agent("server"), await here.agent("caller")
    await server.taken()
    await caller.taken()
    here.deny()
    push = await caller.taken()
    found = await here.status(lambda found: found[-1]["version_acked"] == push["version"])
    assert [each["version_sent"] < push["version"] for each in found] == [True, False]


def _somebody(terms: Terms, _: Proxy) -> Terms:
    return replace(terms, identity="spiffe://cluster.local/ns/shop/sa/somebody", foreign=True)


@scenario(fault=Fault(issuing=_somebody))
async def test_a_mutant_may_issue_for_somebody_else(here: Here) -> None:
    secret = await (await here.agent("server")).hear("secret")
    certificate = x509.load_pem_x509_certificate(secret["certificate"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uri.endswith("/sa/somebody")
    root = x509.load_pem_x509_certificate(secret["roots"].encode())
    with pytest.raises(InvalidSignature):
        certificate.verify_directly_issued_by(root)


@scenario()
async def test_a_round_that_fails_is_told_and_the_next_one_still_runs(here: Here) -> None:
    agent = await here.agent("server")
    await agent.taken()

    def broken() -> None:
        raise KeyError("something that nobody foresaw")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(here.plane, "advance", broken)
        here.deny()
        await here.status(lambda _: any("something that nobody foresaw" in each for each in here.said))
    here.registry.service_told("ADDED", service("other"))
    assert (await agent.taken())["files"]


def _broken_from_a_policy_on(mesh: Mesh, proxy: Proxy) -> Mesh:
    if mesh.authorization_policies and proxy.pod == "server":
        raise HarnessError("AuthorizationPolicy shop/rule: something that nobody does")
    return mesh


@scenario(fault=Fault(mesh=_broken_from_a_policy_on))
async def test_what_could_not_be_compiled_is_not_in_sync_until_it_can_be(here: Here) -> None:
    agent = await here.agent("server")
    push = await agent.taken()
    await here.status(lambda found: found[0]["version_acked"] == push["version"])
    here.deny()
    (found,) = await here.status(lambda found: bool(found[0]["error"]))
    for kind in ("version", "cluster", "listener", "route"):
        assert int(found[f"{kind}_sent"]) > int(found[f"{kind}_acked"])
    here.registry.resource_told(AUTHORIZATION_POLICIES, "DELETED", DENY)
    (found,) = await here.status(lambda found: not found[0]["error"])
    assert found["version_sent"] == found["version_acked"] == push["version"]
    assert found["listener_sent"] == found["listener_acked"]


@scenario(fault=Fault(mesh=_broken_from_a_policy_on))
async def test_envoys_no_outlasts_a_failure_to_compile(here: Here) -> None:
    agent = await here.agent("server")
    push = await agent.hear("push")
    await agent.say(op="nack", version=push["version"], error="no such filter")
    await here.status(lambda found: "no such filter" in found[0]["error"])
    here.deny()
    await here.status(lambda found: "AuthorizationPolicy" in found[0]["error"])
    here.registry.resource_told(AUTHORIZATION_POLICIES, "DELETED", DENY)
    await here.status(lambda found: "no such filter" in found[0]["error"])


@scenario()
async def test_what_a_namespace_does_not_know_of_is_compiled_for_nobody_there(here: Here) -> None:
    agent = await here.agent("server")
    await agent.taken()
    before = here.plane.seen("shop")
    elsewhere = service("hidden") | {"metadata": {**service("hidden")["metadata"], "namespace": "third"}}
    elsewhere["metadata"]["annotations"] = {"networking.istio.io/exportTo": "."}
    here.registry.service_told("ADDED", elsewhere)
    here.plane.advance()
    assert (here.plane.seen("shop") is before, len(here.plane.seen("third").services)) == (True, 2)
    del elsewhere["metadata"]["annotations"]
    here.registry.service_told("MODIFIED", elsewhere)
    push = await agent.taken()
    assert "hidden.third" in push["files"]["cds"]


class Clock:
    """An event loop's clock that a test makes pass."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> object:
        self.due.append((at, call))
        return call

    def run(self) -> float:
        """Let the time come for what is due; when it did."""
        at, call = self.due.pop()
        self.now = max(self.now, at)
        call()
        return self.now


def test_a_few_changes_are_pushed_at_once_and_many_at_a_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions, clock = Sessions(Here().plane, reviewed, [NAME]), Clock()
    monkeypatch.setattr("clusters.lab.mesh.sessions.asyncio.get_running_loop", lambda: clock)

    def pushed() -> float:
        sessions.changed()
        return clock.run()

    assert [pushed() for _ in range(5)] == pytest.approx([100.0] * AT_ONCE + [100.0 + GAP, 100.0 + 2 * GAP])
    clock.now += AT_ONCE * GAP
    later = clock.now
    assert [pushed() for _ in range(AT_ONCE)] == [later] * AT_ONCE, "after a while a few are at once again"


def test_what_changes_before_a_push_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions, clock = Sessions(Here().plane, reviewed, [NAME]), Clock()
    monkeypatch.setattr("clusters.lab.mesh.sessions.asyncio.get_running_loop", lambda: clock)
    for _ in range(3):
        sessions.changed()
    assert len(clock.due) == 1
