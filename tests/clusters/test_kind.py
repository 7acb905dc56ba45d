from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from clusters.cluster import KEPT, Interruptible, Options
from clusters.kind import KindProvider, kind_config
from clusters.profile import load
from flows.errors import PreparationError, UsageError
from tests.clusters.fakes import calls, canned_api, items, kubeconfig, tool

PROFILE = replace(load("kind-calico"), addons={}, cni="", nodes=1, up_timeout=30.0)
NAME = "eastwest-run1"

# A kind whose clusters are lines of a file, and a docker whose containers are those clusters' nodes.
KIND = """
case "$1 $2" in
"get clusters") cat "$HERE/clusters" ;;
"get kubeconfig") cat "$HERE/kubeconfig" ;;
"create cluster")
  [ -e "$HERE/broken" ] && echo "Creating cluster" >&2 && echo "ERROR: failed to create cluster: no space" >&2
  echo {name} >> "$HERE/clusters"
  [ -e "$HERE/broken" ] && exit 1
  for arg; do case "$arg" in --kubeconfig=*) cp "$HERE/kubeconfig" "${{arg#*=}}" ;; esac; done ;;
"delete cluster") [ -e "$HERE/stuck" ] && echo "ERROR: did not receive an exit event" >&2 && exit 1
  : > "$HERE/clusters" ;;
esac
"""
DOCKER = """
case "$1" in
ps) sed 's/.*/&-control-plane 0123abcd/' "$HERE/clusters" ;;
rm) [ -e "$HERE/welded" ] || : > "$HERE/clusters" ;;
info) [ -e "$HERE/down" ] && echo "Cannot connect to the Docker daemon" >&2 && exit 1 ;;
esac
exit 0
"""


def ready(kind: str) -> dict[str, Any]:
    conditions = [{"type": kind, "status": "True"}]
    return {"metadata": {"name": "x", "uid": "1"}, "status": {"conditions": conditions, "nodeInfo": {}}}


ANSWERS = {
    "/version": {"gitVersion": "v1.34.4"},
    "/api/v1/nodes": items(ready("Ready")),
    "/apis/apps/v1/namespaces/kube-system/deployments": items(ready("Available")),
}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is PATH, with a kind, a kubectl and a docker, whose one cluster is a canned API server."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tool(folder, "kind", f'HERE="{folder}"' + KIND.format(name=NAME))
    tool(folder, "docker", f'HERE="{folder}"' + DOCKER)
    tool(folder, "kubectl", "")
    (folder / "clusters").touch()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("EASTWEST_NODE_IMAGE", "EASTWEST_IMAGES", "KIND_EXPERIMENTAL_PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    with canned_api(ANSWERS) as url:
        (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig(url, f"kind-{NAME}")), encoding="utf-8")
        yield folder


def provider(**options: Any) -> KindProvider:
    return KindProvider(PROFILE, Options(**options), "run1")


def clusters(tools: Path) -> str:
    return (tools / "clusters").read_text(encoding="utf-8").strip()


def test_a_cluster_comes_up_and_goes_and_leaves_nothing(tools: Path, tmp_path: Path) -> None:
    kind = provider()
    cluster = kind.up()
    assert (cluster.ours, cluster.context, cluster.facts["kubernetes"]) == (True, f"kind-{NAME}", "v1.34.4")
    assert clusters(tools) == NAME
    assert kind.down(failed=True) == []
    assert clusters(tools) == ""
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and path.parent != tools] == []
    assert not (tmp_path / ".pytest-kind").exists()


@pytest.mark.parametrize(
    ("keep", "failed", "kept"),
    [
        pytest.param("always", False, True, id="always"),
        pytest.param("failed", True, True, id="failed-after-a-failure"),
        pytest.param("failed", False, False, id="failed-after-a-success"),
        pytest.param("never", True, False, id="never"),
    ],
)
def test_a_cluster_is_kept_as_asked(tools: Path, keep: str, failed: bool, kept: bool) -> None:
    kind = provider(keep=keep)
    cluster = kind.up()
    lines = kind.down(failed=failed)
    assert (clusters(tools) == NAME, all(line.startswith(KEPT) for line in lines), bool(lines)) == (kept, True, kept)
    assert Path(cluster.kubeconfig_file).exists() == kept


def test_a_failed_creation_is_told_in_kinds_words_and_cleaned_up(tools: Path) -> None:
    (tools / "broken").touch()
    with pytest.raises(PreparationError, match=r"^kind: failed to create cluster: no space"):
        provider().up()
    assert clusters(tools) == ""


def test_a_taken_name_is_refused_and_its_cluster_spared(tools: Path) -> None:
    (tools / "clusters").write_text(f"{NAME}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="taken by a cluster that this run did not make"):
        provider().up()
    assert clusters(tools) == NAME
    assert not any("delete" in call or " rm" in call for call in calls(tools))


def test_a_cancelled_creation_is_cleaned_up(tools: Path) -> None:
    kind = provider()
    kind.cancel()
    assert isinstance(kind, Interruptible)
    with pytest.raises(PreparationError, match="interrupted"):
        kind.up()
    assert clusters(tools) == ""


def test_a_cluster_that_is_not_ready_in_time_is_described_and_deleted(tools: Path) -> None:
    kind = KindProvider(replace(PROFILE, nodes=2, up_timeout=3.0), Options(), "run1")
    with pytest.raises(PreparationError, match="2 nodes ready: not within 3 s") as caught:
        kind.up()
    assert "kubectl get nodes" in caught.value.detail
    assert clusters(tools) == ""


def test_a_delete_that_fails_is_finished_by_the_engine(tools: Path) -> None:
    kind = provider()
    kind.up()
    (tools / "stuck").touch()
    assert kind.down(failed=False) == []
    assert clusters(tools) == ""


def test_what_cannot_be_deleted_is_reported_with_the_command(tools: Path) -> None:
    kind = provider()
    kind.up()
    for name in ("stuck", "welded"):
        (tools / name).touch()
    (line,) = kind.down(failed=False)
    assert "did not receive an exit event" in line
    assert f"docker rm --force --volumes {NAME}-control-plane" in line
    assert not line.startswith(KEPT)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        pytest.param("kind", "kind is not on PATH", id="kind"),
        pytest.param("kubectl", "kubectl is not on PATH", id="kubectl"),
        pytest.param("docker", "docker is not on PATH", id="docker"),
    ],
)
def test_a_missing_tool_is_one_line_with_the_remedy(
    tools: Path, monkeypatch: pytest.MonkeyPatch, missing: str, words: str
) -> None:
    (tools / missing).unlink()
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(PreparationError, match=words):
        provider().up()


def test_docker_that_is_down_is_told_in_its_own_words(tools: Path) -> None:
    (tools / "down").touch()
    with pytest.raises(PreparationError, match="docker does not answer; start its daemon") as caught:
        provider().up()
    assert "Cannot connect to the Docker daemon" in caught.value.detail


def test_an_archive_that_is_missing_is_named_before_anything_runs(tools: Path) -> None:
    with pytest.raises(UsageError, match=r"image archive /nowhere/a\.tar: cannot be read"):
        provider(images=("/nowhere/a.tar",)).up()
    assert calls(tools) == []


def test_images_and_node_image_reach_kind(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "a.tar"
    archive.touch()
    monkeypatch.setenv("EASTWEST_IMAGES", str(archive))
    monkeypatch.setenv("EASTWEST_NODE_IMAGE", "mirror/node:v1")
    kind = provider()
    kind.up()
    kind.down(failed=False)
    said = "\n".join(calls(tools))
    assert "--image=mirror/node:v1" in said
    assert f"kind load image-archive --name {NAME} {archive}" in said


def test_the_default_cni_is_off_when_the_profile_names_another() -> None:
    config = kind_config(load("kind-calico"))
    assert config["networking"]["disableDefaultCNI"] is True
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker"]
    assert "disableDefaultCNI" not in kind_config(PROFILE)["networking"]
