"""The injector's webhook configurations in a lab: there from the start, and gone for good when they are deleted."""

from __future__ import annotations

from functools import partial

from clusters.lab.client import CONFIG_MAPS, MUTATING_WEBHOOKS, PODS, SERVICES
from clusters.lab.mesh.webhooks import configuration
from tests.lab.control_plane import World
from tests.lab.mesh.test_mesh_bootstrap import ROOT, istiod, there, with_mesh


@with_mesh
async def test_each_revision_has_its_control_plane_and_its_webhooks(world: World) -> None:
    for revision, suffix in (("default", ""), ("canary", "-canary")):
        await world.until(PODS, partial(istiod, revision=revision))
        await world.until(SERVICES, there(f"{ROOT}/istiod{suffix}"))
        await world.until(CONFIG_MAPS, there(f"{ROOT}/istio{suffix}"))
        made = await world.until(MUTATING_WEBHOOKS, there(f"istio-sidecar-injector{suffix}"))
        wanted = configuration(revision)["webhooks"]
        assert [each["namespaceSelector"] for each in made["webhooks"]] == [
            each["namespaceSelector"] for each in wanted
        ]


@with_mesh
async def test_what_a_person_takes_away_stays_away(world: World) -> None:
    await world.until(MUTATING_WEBHOOKS, there("istio-sidecar-injector"))
    await world.until(SERVICES, there(f"{ROOT}/istiod"))
    await world.client.delete(MUTATING_WEBHOOKS, "istio-sidecar-injector")
    await world.client.delete(SERVICES, "istiod", ROOT)
    first = await world.until(CONFIG_MAPS, there(f"{ROOT}/istio"))
    await world.client.delete(CONFIG_MAPS, "istio", ROOT)  # what is made again comes after what might have been
    await world.until(CONFIG_MAPS, there(f"{ROOT}/istio", first["metadata"]["uid"]))
    names = [each["metadata"]["name"] for each in (await world.client.list(MUTATING_WEBHOOKS))["items"]]
    assert names == ["istio-sidecar-injector-canary"]
    assert "istiod" not in [each["metadata"]["name"] for each in (await world.client.list(SERVICES, ROOT))["items"]]
