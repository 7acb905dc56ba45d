from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.addons import calico
from flows.errors import PreparationError, UsageError

CONTENT = b"kind: List\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(calico.VARIABLE, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "calico.yaml"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def mirror(local: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(local.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/calico.yaml"
        server.shutdown()
        thread.join()


def test_a_local_file_is_taken_as_it_is(local: Path, tmp_path: Path) -> None:
    found = calico.prepare({"manifest": str(local)}, cache=tmp_path / "cache")
    assert (found.path, found.sha256) == (local, SHA256)


def test_the_environment_goes_before_the_profile_and_its_checksum(
    local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(calico.VARIABLE, str(local))
    found = calico.prepare({"manifest": "/nowhere", "sha256": "0" * 64}, cache=tmp_path)
    assert found.path == local


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"manifest": "/nowhere/calico.yaml"}, "/nowhere/calico.yaml: cannot be read", id="missing-file"),
        pytest.param({"manifets": "x"}, "unknown field 'addons.calico.manifets'", id="unknown-setting"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        calico.prepare(settings, cache=tmp_path)
    assert words in caught.value.message


def test_a_local_file_with_another_checksum_is_refused(local: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its sha256 is"):
        calico.prepare({"manifest": str(local), "sha256": "0" * 64}, cache=tmp_path)


def test_a_mirror_is_asked_once(mirror: str, local: Path, tmp_path: Path) -> None:
    settings = {"manifest": mirror, "sha256": SHA256}
    first = calico.prepare(settings, cache=tmp_path / "cache")
    local.unlink()  # the mirror has it no more
    assert calico.prepare(settings, cache=tmp_path / "cache") == first
    assert first.path.read_bytes() == CONTENT


def test_a_mirror_must_serve_the_pinned_file(mirror: str, tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match="is not the pinned one"):
        calico.prepare({"manifest": mirror}, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("path", ["/gone", ""], ids=["not-found", "no-server"])
def test_no_download_names_the_way_without_one(path: str, mirror: str, tmp_path: Path) -> None:
    url = mirror.replace("/calico.yaml", path) if path else "http://127.0.0.1:1/calico.yaml"
    with pytest.raises(PreparationError, match=f"give a local file: {calico.VARIABLE}=FILE"):
        calico.prepare({"manifest": url}, cache=tmp_path / "cache")
