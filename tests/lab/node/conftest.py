"""One lab with one node for all tests of the node, and a namespace of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.lab.handle import Lab
from clusters.lab.wishes import lab_options
from tests.lab.node.pictures import make_archive, make_folder
from tests.lab.node.world import World


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Images: a folder, an archive, and an archive that tries to get out."""
    home = tmp_path_factory.mktemp("images")
    home.parent.chmod(0o755)
    home.chmod(0o755)
    folder = make_folder(home / "folder")
    return {
        "lab.test/folder": folder,
        "lab.test/archive:1": make_archive(home / "archive.tar.gz", folder),
        "lab.test/evil:1": make_archive(home / "evil.tar", folder, evil="../../escaped"),
    }


@pytest.fixture(scope="session")
def world(pictures: dict[str, Path]) -> Iterator[World]:
    """A running lab."""
    images = tuple(f"{name}={path}" for name, path in pictures.items())
    lab = Lab.start(lab_options(nodes=1, mutant="", images=images, mesh="none"), timeout=60)
    try:
        world = World(lab.ready.kubeconfig, "node-tests")
        world.settle()
        yield world
        world.close()
    finally:
        assert lab.end() == []
