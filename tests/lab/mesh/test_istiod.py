"""A whole istiod against the real API server: its authority outlives it, its roots are everywhere, its ports answer."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from clusters.lab.client import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, Client, Object
from clusters.lab.mesh import request
from clusters.lab.mesh.ca import Authority
from clusters.lab.mesh.istiod import Istiod, serve
from clusters.lab.mesh.mutation import SOUND, chosen
from clusters.lab.mesh.roots import CERTIFICATE, KEPT_IN, PRIVATE_KEY, ROOTS_KEY, ROOTS_MAP, SECRETS, establish
from clusters.lab.mesh.sessions import RefusedError, Who, review
from flows.errors import HarnessError
from tests.lab.control_plane import DEADLINE, World, with_control_plane

ROOT = "istio-system"
with_mesh = partial(with_control_plane, mesh="istio")


@asynccontextmanager
async def _istiod(world: World) -> AsyncIterator[Istiod]:
    """A control plane that serves, on ports that were free."""
    said: asyncio.Queue[str] = asyncio.Queue()
    await world.until(NAMESPACES, lambda found: ROOT in found)
    istiod = Istiod(world.client, said.put_nowait, revision="default", life=3600, fault=SOUND)
    task = asyncio.create_task(istiod.run(port=0, debug=0, plain=(0,), host="127.0.0.1"))
    try:
        async with asyncio.timeout(DEADLINE):
            while "serves proxies" not in await said.get():
                assert not task.done()
        yield istiod
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _roots(world: World, namespace: str, wanted: str) -> None:
    """Return once the namespace's ConfigMap says this."""
    place = f"{namespace}/{ROOTS_MAP}"
    await world.until(CONFIG_MAPS, lambda found: found.get(place, {}).get("data") == {ROOTS_KEY: wanted})


def _secret(authority: Authority) -> Object:
    parts = {CERTIFICATE: authority.roots, PRIVATE_KEY: authority.key}
    return {"data": {name: base64.b64encode(text.encode()).decode() for name, text in parts.items()}}


@with_mesh
async def test_two_that_start_at_once_have_one_authority(world: World) -> None:
    await world.until(NAMESPACES, lambda found: ROOT in found)
    first, second = await asyncio.gather(establish(world.client), establish(world.client))
    third = await establish(world.client)
    assert first.roots == second.roots == third.roots


@with_mesh
async def test_a_secret_without_an_authority_is_said(world: World) -> None:
    await establish(world.client)
    await world.client.patch(SECRETS, KEPT_IN, {"data": {PRIVATE_KEY: "AAAA"}}, ROOT)
    with pytest.raises(HarnessError, match="delete it and istiod's pod"):
        await establish(world.client)


@with_mesh
async def test_every_namespace_has_the_roots_whatever_is_done_to_them(world: World) -> None:
    async with _istiod(world):
        roots = (await establish(world.client)).roots
        await _roots(world, "test", roots)
        await world.namespace("later")
        await _roots(world, "later", roots)
        await world.client.delete(CONFIG_MAPS, ROOTS_MAP, "test")
        await _roots(world, "test", roots)
        await world.client.patch(CONFIG_MAPS, ROOTS_MAP, {"data": {ROOTS_KEY: "none"}}, "test")
        await _roots(world, "test", roots)


@with_mesh
async def test_another_authority_in_the_secret_is_taken(world: World) -> None:
    async with _istiod(world):
        another = Authority.fresh()
        await world.client.patch(SECRETS, KEPT_IN, _secret(another), ROOT)
        await _roots(world, "test", another.roots)


@with_mesh
async def test_its_ports_answer(world: World) -> None:
    async with _istiod(world) as istiod:
        debug, plain, _ = istiod.ports
        assert await asyncio.to_thread(request.main, ["request", "GET", "ready"], debug) == 0
        assert await asyncio.to_thread(request.main, ["request", "GET", "/debug/nothing"], debug) == 1
        _, writer = await asyncio.open_connection("127.0.0.1", plain)
        writer.close()


def test_syncz_is_printed_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @with_mesh
    async def play(world: World) -> None:
        async with _istiod(world) as istiod:
            assert await asyncio.to_thread(request.main, ["request", "GET", "/debug/syncz"], istiod.ports[0]) == 0

    play(tmp_path)
    assert json.loads(capsys.readouterr().out) == []


def test_what_is_no_request_says_how_to_ask(capsys: pytest.CaptureFixture[str]) -> None:
    assert request.main(["proxy"]) == 2
    assert "pilot-discovery request GET" in capsys.readouterr().err


@with_mesh
async def test_a_token_says_whose_it_is_and_for_which_pod(world: World) -> None:
    await world.pod("web")
    asked = {"audiences": ["istio-ca"], "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web"}}
    assert await review(world.client, await _token(world, asked)) == Who(namespace="test", account="default", pod="web")
    with pytest.raises(RefusedError, match="the token is not valid"):
        await review(world.client, await _token(world, {"audiences": ["somebody-else"]}))


async def _token(world: World, spec: Object) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = SERVICE_ACCOUNTS.path("test", "default", "token")
    return str((await world.client.request("POST", path, body))["status"]["token"])


def test_a_life_that_is_no_number_is_said() -> None:
    with pytest.raises(HarnessError, match="PILOT_CERT_LIFE is 'long'; give seconds"):
        asyncio.run(
            serve(Client("https://nowhere.invalid", "", ssl.create_default_context()), {"PILOT_CERT_LIFE": "long"})
        )


def test_a_sound_lab_knows_no_mutant() -> None:
    assert chosen("") is SOUND
    assert chosen("no-enforcement") is SOUND
