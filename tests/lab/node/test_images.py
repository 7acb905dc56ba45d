"""Images: what a name means, what an archive may not do, and what the lab says about the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters.lab.node import images
from clusters.lab.node.archives import ImageError, unpack
from clusters.lab.options import LabOptions
from tests.lab.node.pictures import make_archive
from tests.lab.node.world import World, over, running


def test_a_folder_is_a_writable_root_that_stays_as_it_was(world: World, pictures: dict[str, Path]) -> None:
    command = ["/bin/sh", "-c", "cat /greeting; echo changed > /greeting; cat /greeting"]
    container = {"name": "main", "image": "lab.test/folder:any", "command": command}
    name = world.pod({"restartPolicy": "Never", "containers": [container]})
    world.wait(name, over)
    assert world.logs(name) == "from the folder\nchanged\n"
    assert (pictures["lab.test/folder"] / "greeting").read_text() == "from the folder\n"


def test_an_archive_gives_its_config_and_honours_whiteouts(world: World) -> None:
    name = world.pod({"containers": [{"name": "main", "image": "lab.test/archive:1"}]})
    world.wait(name, running)
    world.printed(name, "/work")
    assert world.logs(name) == "green\nfrom the upper layer\n1234\n1235\n/work\n"
    seen = world.exec(name, "ls", "/doomed", "/greeting")
    assert seen.stdout.decode().split() == ["/doomed:", "new"]
    world.delete(name, grace=0)


def test_an_archive_that_leads_out_is_refused_and_leaves_nothing(pictures: dict[str, Path], tmp_path: Path) -> None:
    home = tmp_path / "a" / "b"
    with pytest.raises(ImageError, match=r"'\.\./\.\./escaped' leads out of the image"):
        unpack(pictures["lab.test/evil:1"], home)
    assert not list(tmp_path.rglob("escaped"))


def test_a_link_in_a_layer_leads_no_further_than_the_image(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    outside = tmp_path / "outside"
    outside.mkdir()
    folder.mkdir()
    (folder / "way").symlink_to(outside)
    (folder / "climb").symlink_to("../../../../../.." + str(outside))
    for number, evil in enumerate(("way/escaped", "climb/escaped")):
        root, _, _ = unpack(make_archive(tmp_path / f"{number}.tar", folder, evil=evil), tmp_path / f"home-{number}")
        assert [each.is_relative_to(root) for each in tmp_path.rglob("escaped") if f"home-{number}" in str(each)] == [
            True
        ]
    assert not list(outside.iterdir())


def test_an_unpacked_archive_is_used_again(pictures: dict[str, Path], tmp_path: Path) -> None:
    root, config, digest = unpack(pictures["lab.test/archive:1"], tmp_path / "home")
    (root / "mark").write_text("kept")
    assert unpack(pictures["lab.test/archive:1"], tmp_path / "home") == (root, config, digest)
    assert (root / "mark").read_text() == "kept"
    assert digest.startswith("sha256:")


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"nothing of the kind")
    with pytest.raises(ImageError, match=r"x\.tar: damaged or not an image"):
        unpack(tmp_path / "x.tar", tmp_path / "home")


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("python:3-slim", "python"),
        ("docker.io/library/python:3.12@sha256:0", "python"),
        ("localhost:5000/team/app", "localhost:5000/team/app"),
        ("ghcr.io/x/y:1", "ghcr.io/x/y"),
    ],
)
def test_names_lose_defaults_tag_and_digest(name: str, bare: str) -> None:
    assert images.repository(name) == bare


def test_any_registrys_python_is_the_hosts() -> None:
    image = images.resolve("registry.example:5000/mirror/python:3.13", LabOptions())
    assert image.environment["PATH"].startswith("/opt/eastwest/bin:")


def test_an_unknown_image_fails_to_pull_and_names_the_option(world: World) -> None:
    name = world.pod({"containers": [{"name": "main", "image": "corp.example/app:7"}]})
    for reason in ("ErrImagePull", "ImagePullBackOff"):
        state = world.waiting(name, reason)
        assert "--image corp.example/app:7=PATH" in state["message"]
    assert "--image corp.example/app:7=PATH" in world.events(name, "Failed")[0]
    world.end(name)
