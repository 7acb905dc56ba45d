"""What a lab with a mesh has, and what of it is made again; the test plays the nodes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from clusters.lab.client import (
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    Object,
)
from tests.lab.control_plane import World, with_control_plane

ROOT = "istio-system"
with_mesh = partial(with_control_plane, mesh="istio", mesh_revisions=("canary",))


def istiod(pods: dict[str, Object], revision: str = "default") -> str:
    """The name of the revision's pod that is not about to end."""
    for name, pod in pods.items():
        meta = pod["metadata"]
        ours = name.startswith(f"{ROOT}/istiod") and meta["labels"]["istio.io/rev"] == revision
        if ours and "deletionTimestamp" not in meta:
            return str(meta["name"])
    return ""


def there(place: str, before: str = "") -> Callable[[dict[str, Object]], Object | None]:
    """The object of that place, once it is another one than `before` (a uid)."""

    def find(found: dict[str, Object]) -> Object | None:
        obj = found.get(place)
        return None if obj is None or obj["metadata"]["uid"] == before else obj

    return find


@with_mesh
async def test_a_service_reaches_the_pod_of_its_own_revision_only(world: World) -> None:
    canary = await world.until(PODS, partial(istiod, revision="canary"))
    await world.run_pod(canary, "10.244.0.9", namespace=ROOT)

    def reached(slices: dict[str, Object], service: str) -> list[str]:
        chosen = [
            each for each in slices.values() if each["metadata"]["labels"]["kubernetes.io/service-name"] == service
        ]
        return [address for each in chosen for one in each["endpoints"] for address in one["addresses"]]

    assert await world.until(ENDPOINT_SLICES, partial(reached, service="istiod-canary")) == ["10.244.0.9"]
    slices = (await world.client.list(ENDPOINT_SLICES, ROOT))["items"]
    assert reached({each["metadata"]["name"]: each for each in slices}, "istiod") == []


@with_mesh
async def test_a_pod_that_ends_has_a_successor_at_once(world: World) -> None:
    first = await world.until(PODS, istiod)
    await world.node("n0")
    assert await world.node_of(first, ROOT) == "n0"
    await world.client.delete(PODS, first, ROOT)
    second = await world.until(PODS, istiod)
    assert second != first


@with_mesh
async def test_what_a_mesh_rests_on_is_made_again(world: World) -> None:
    for resource, name in ((SERVICE_ACCOUNTS, "istiod"), (CONFIG_MAPS, "istio")):
        first = await world.until(resource, there(f"{ROOT}/{name}"))
        await world.client.delete(resource, name, ROOT)
        assert await world.until(resource, there(f"{ROOT}/{name}", first["metadata"]["uid"]))


@with_control_plane
async def test_without_a_mesh_there_is_nothing_of_one(world: World) -> None:
    await world.until(NAMESPACES, there("kube-system"))
    await world.namespace("later")
    names = [each["metadata"]["name"] for each in (await world.client.list(NAMESPACES))["items"]]
    assert ROOT not in names
