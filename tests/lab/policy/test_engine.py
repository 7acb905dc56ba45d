"""The data plane's loop with a scripted API and a recorded kernel: what is programmed, when, and after a refusal."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from clusters.lab import system
from clusters.lab.client import (
    CALICO_POLICIES,
    GLOBAL_NETWORK_SETS,
    GLOBAL_POLICIES,
    NAMESPACES,
    NETWORK_POLICIES,
    NETWORK_SETS,
    PODS,
    SERVICE_ACCOUNTS,
    Client,
    Object,
    Resource,
)
from clusters.lab.options import LabOptions
from clusters.lab.policy.compiler import chain_name
from clusters.lab.policy.engine import Dataplane
from clusters.lab.policy.ruleset import DROP, Chain
from flows.errors import UsageError
from policies.model import PolicyType

DEADLINE = 10.0
DENY = {"podSelector": {}, "policyTypes": ["Ingress"]}
SHUT = chain_name(PolicyType.INGRESS, Chain(rules=(DROP,)))
"""The chain of pods that nobody may call."""


Asked = list[tuple[str, str, dict[str, str]]]


class Api(Client):
    """Lists and watches from memory."""

    def __init__(self, *objects: tuple[Resource, Object]) -> None:
        super().__init__("http://127.0.0.1:1", "", ssl.create_default_context())
        self._objects = objects
        self.asked: Asked = []
        self._news: dict[Resource, asyncio.Queue[tuple[str, Object]]] = {}

    async def list(self, resource: Resource, namespace: str = "", **params: str) -> Object:
        self.asked.append((resource.plural, namespace, params))
        items = [obj for each, obj in self._objects if each == resource]
        return {"metadata": {"resourceVersion": "1"}, "items": items}

    async def watch(
        self, resource: Resource, *, since: str, namespace: str = "", **params: str
    ) -> AsyncIterator[tuple[str, Object]]:
        self.asked.append((resource.plural, namespace, {**params, "since": since}))
        queue = self._news.setdefault(resource, asyncio.Queue())
        while True:
            yield await queue.get()

    def tell(self, resource: Resource, event: str, obj: Object) -> None:
        self._news.setdefault(resource, asyncio.Queue()).put_nowait((event, obj))


class Kernel:
    """Takes scripts instead of nft, and refuses as many as it is told to."""

    def __init__(self) -> None:
        self.scripts: asyncio.Queue[str] = asyncio.Queue()
        self.refusals = 0
        self._loop = asyncio.get_running_loop()

    def nft(self, script: str) -> None:
        self._loop.call_soon_threadsafe(self.scripts.put_nowait, script)
        if self.refusals:
            self.refusals -= 1
            raise system.KernelError("nft: Operation not permitted")

    async def next(self) -> str:
        async with asyncio.timeout(DEADLINE):
            return await self.scripts.get()


def _object(kind: Resource, name: str, **fields: Any) -> tuple[Resource, Object]:
    meta = {"name": name, "uid": f"uid-{name}", "resourceVersion": "1", "labels": fields.pop("labels", {})}
    if kind.namespaced:
        meta["namespace"] = "x"
    return kind, {
        "apiVersion": f"{kind.group}/{kind.version}".strip("/"),
        "kind": kind.kind,
        "metadata": meta,
        **fields,
    }


def _pod(name: str, version: str = "1", **labels: str) -> Object:
    _, obj = _object(PODS, name, labels=labels, spec={"containers": []}, status={"phase": "Pending"})
    obj["metadata"]["resourceVersion"] = version
    return obj


def _policy(name: str, spec: Object) -> Object:
    return _object(NETWORK_POLICIES, name, spec=spec)[1]


Scenario = Callable[[Api, Dataplane, Kernel], Awaitable[None]]


def _play(monkeypatch: pytest.MonkeyPatch, scenario: Scenario, *objects: tuple[Resource, Object]) -> None:
    """Start a data plane, run the scenario while it follows the API, and end it."""

    async def play() -> None:
        kernel, api = Kernel(), Api(_object(NAMESPACES, "x"), *objects)
        monkeypatch.setattr(system, "nft", kernel.nft)
        monkeypatch.setattr(system, "ip", lambda _lines: None)
        plane = Dataplane(api, "lab-0", LabOptions())
        await plane.start()
        task = asyncio.create_task(plane.run())
        try:
            await scenario(api, plane, kernel)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(play())


def test_start_programs_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(_api: Api, _plane: Dataplane, kernel: Kernel) -> None:
        assert (await kernel.next()).startswith("add table inet eastwest\ndelete table inet eastwest\n")

    _play(monkeypatch, scenario)


def test_attach_returns_once_the_pod_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(_api: Api, plane: Dataplane, kernel: Kernel) -> None:
        await kernel.next()
        await plane.attach(_pod("a"), "ew1", ["10.244.0.2"])
        assert f'{{ "ew1" : jump {SHUT} }}' in kernel.scripts.get_nowait()

    _play(monkeypatch, scenario, (NETWORK_POLICIES, _policy("deny", DENY)))


def test_pod_of_the_nodes_own_network_is_not_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(_api: Api, plane: Dataplane, kernel: Kernel) -> None:
        await kernel.next()
        await plane.attach(_pod("a"), "", ["172.31.0.11"])
        assert (plane.snapshot().attachments, kernel.scripts.empty()) == ((), True)

    _play(monkeypatch, scenario, (NETWORK_POLICIES, _policy("deny", DENY)))


def test_detach_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(_api: Api, plane: Dataplane, kernel: Kernel) -> None:
        await kernel.next()
        await plane.attach(_pod("a"), "ew1", ["10.244.0.2"])
        await kernel.next()
        await plane.detach("uid-a")
        assert f"delete chain inet eastwest {SHUT}" in await kernel.next()
        assert plane.snapshot().attachments == ()

    _play(monkeypatch, scenario, (NETWORK_POLICIES, _policy("deny", DENY)))


def test_policies_come_and_go_with_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(api: Api, plane: Dataplane, kernel: Kernel) -> None:
        await kernel.next()
        await plane.attach(_pod("a"), "ew1", ["10.244.0.2"])
        await kernel.next()
        api.tell(NETWORK_POLICIES, "ADDED", _policy("deny", DENY))
        assert f"jump {SHUT}" in await kernel.next()
        api.tell(NETWORK_POLICIES, "DELETED", _policy("deny", DENY))
        assert "delete chain" in await kernel.next()

    _play(monkeypatch, scenario)


@pytest.mark.parametrize("kind", [CALICO_POLICIES, GLOBAL_POLICIES], ids=lambda each: each.kind)
def test_policies_of_calico_come_and_go_with_the_watch(monkeypatch: pytest.MonkeyPatch, kind: Resource) -> None:
    async def scenario(api: Api, plane: Dataplane, kernel: Kernel) -> None:
        await kernel.next()
        await plane.attach(_pod("a"), "ew1", ["10.244.0.2"])
        await kernel.next()
        api.tell(kind, "ADDED", _object(kind, "deny", spec={"types": ["Ingress"]})[1])
        assert f"jump {SHUT}" in await kernel.next()
        api.tell(kind, "DELETED", _object(kind, "deny", spec={"types": ["Ingress"]})[1])
        assert "delete chain" in await kernel.next()

    _play(monkeypatch, scenario)


@pytest.mark.parametrize(
    ("kind", "fields", "rule"),
    [
        pytest.param(NETWORK_SETS, {"spec": {"nets": ["192.0.2.0/24"]}}, {"selector": "has(far)"}, id="set"),
        pytest.param(GLOBAL_NETWORK_SETS, {"spec": {"nets": ["192.0.2.0/24"]}}, {"selector": "has(far)"}, id="global"),
        pytest.param(SERVICE_ACCOUNTS, {}, {"serviceAccounts": {"selector": "has(far)"}}, id="account"),
    ],
)
def test_what_rules_refer_to_comes_with_the_watch(
    monkeypatch: pytest.MonkeyPatch, kind: Resource, fields: Object, rule: Object
) -> None:
    """A rule that found nobody finds a set, or the pods of an account that got a label."""
    spec = {"ingress": [{"action": "Allow", "source": rule}]}

    async def scenario(api: Api, plane: Dataplane, kernel: Kernel) -> None:
        await kernel.next()
        await plane.attach(_pod("a"), "ew1", ["10.244.0.2"])
        await kernel.next()
        api.tell(kind, "ADDED", _object(kind, "default", labels={"far": "yes"}, **fields)[1])
        assert "192.0.2.0/24" in (script := await kernel.next()) or "add element inet eastwest peers4" in script

    _play(monkeypatch, scenario, _object(GLOBAL_POLICIES, "far", spec=spec))


def test_unreadable_policy_of_calico_closes_whom_it_could_be_about(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(_api: Api, plane: Dataplane, kernel: Kernel) -> None:
        await kernel.next()
        await plane.attach(_pod("a"), "ew1", ["10.244.0.2"])
        script = await kernel.next()
        assert f"add rule inet eastwest {SHUT.replace('ingress', 'egress')} counter drop" in script
        assert f"add rule inet eastwest {SHUT} counter drop" in script

    _play(monkeypatch, scenario, _object(GLOBAL_POLICIES, "odd", spec={"selector": "=="}))


def test_own_address_counts_before_the_status_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(api: Api, plane: Dataplane, kernel: Kernel) -> None:
        await plane.attach(_pod("a"), "ew1", ["10.244.0.2"])
        api.tell(PODS, "ADDED", _pod("a", app="a"))
        api.tell(PODS, "ADDED", _pod("b"))
        only_a = {"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}]}
        api.tell(NETWORK_POLICIES, "ADDED", _policy("only-a", only_a))
        script = ""
        while "jump ingress-" not in script:
            script = await kernel.next()
        known = {each.name: (each.labels, each.addresses) for each in plane.snapshot().pods}
        assert known == {"a": ({"app": "a"}, ("10.244.0.2",)), "b": ({}, ())}

    _play(monkeypatch, scenario)


def test_unreadable_policy_closes_its_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(_api: Api, plane: Dataplane, kernel: Kernel) -> None:
        await kernel.next()
        await plane.attach(_pod("a"), "ew1", ["10.244.0.2"])
        script = await kernel.next()
        assert f"add rule inet eastwest {SHUT.replace('ingress', 'egress')} counter drop" in script
        assert f"add rule inet eastwest {SHUT} counter drop" in script

    _play(monkeypatch, scenario, (NETWORK_POLICIES, _policy("odd", {"podSelector": {}, "surprise": 1})))


def test_refused_change_is_programmed_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(_api: Api, plane: Dataplane, kernel: Kernel) -> None:
        await kernel.next()
        kernel.refusals = 1
        await plane.attach(_pod("a"), "ew1", ["10.244.0.2"])
        assert "delete table" not in await kernel.next()
        assert "delete table" in await kernel.next()

    _play(monkeypatch, scenario, (NETWORK_POLICIES, _policy("deny", DENY)))


def test_kernel_that_refuses_everything_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(_api: Api, plane: Dataplane, kernel: Kernel) -> None:
        await kernel.next()
        kernel.refusals = 2
        with pytest.raises(system.KernelError, match="not permitted"):
            await plane.attach(_pod("a"), "ew1", ["10.244.0.2"])
        assert plane.snapshot().attachments == ()

    _play(monkeypatch, scenario, (NETWORK_POLICIES, _policy("deny", DENY)))


def test_cancelled_attach_still_knows_what_is_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(_api: Api, plane: Dataplane, kernel: Kernel) -> None:
        await kernel.next()
        attaching = asyncio.create_task(plane.attach(_pod("a"), "ew1", ["10.244.0.2"]))
        await kernel.next()
        attaching.cancel()
        await asyncio.gather(attaching, return_exceptions=True)
        await plane.detach("uid-a")
        assert f"delete chain inet eastwest {SHUT}" in await kernel.next()

    _play(monkeypatch, scenario, (NETWORK_POLICIES, _policy("deny", DENY)))


def test_unknown_mutant_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="did you mean 'ingress-ignored'"):
        Dataplane(Api(), "lab-0", LabOptions(mutant="ingress-ignore"))
