"""`eastwest lab …` as a person meets it: what it prints, what it writes, and one line for everything that cannot be."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusters import cluster
from clusters.cluster import Cluster, Options
from clusters.lab import commands, kubeconfigs, record
from clusters.lab.provider import LabProvider
from clusters.lab.traces import Traces
from clusters.profile import load
from flows.errors import PreparationError, UsageError

DEADLINE = 20.0
_UP = "import sys; from clusters.lab import commands; sys.exit(commands.up(nodes=1))"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder of the test's own; every lab in it is ended afterwards."""
    monkeypatch.setenv("EASTWEST_STATE", str(tmp_path / "state"))
    yield tmp_path / "state" / "labs"
    for each in record.running():
        record.end(each)


@pytest.fixture
def foreground(state: Path) -> Iterator[subprocess.Popen[str]]:
    """`lab up` in another process, ready: it has said how it is ended."""
    del state
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-P", "-c", _UP], stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("End it"):
                break
        yield process
        process.kill()


def _reap(record_of: record.Record) -> None:
    """The test is the parent of a detached supervisor, where in life nobody is."""
    os.waitpid(record_of.pid, 0)


def test_detached_lab_is_told_shown_and_ended(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = tmp_path / "kubeconfig"
    assert commands.up(detach=True, write_kubeconfig=str(wanted), nodes=1) == 0
    told = capsys.readouterr().out
    (found,) = record.running()
    assert f"export KUBECONFIG={wanted}" in told
    assert f"End it with: eastwest lab down {found.id}" in told
    assert stat.S_IMODE(wanted.stat().st_mode) == 0o600
    assert commands.status(as_json=True) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["id"], shown["detached"], shown["kubeconfig"]) == (found.id, True, str(wanted))
    assert commands.down() == 0
    _reap(found)
    assert capsys.readouterr().out == f"lab {found.id}: ended\n"
    assert list(state.iterdir()) == []
    assert wanted.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_signal_ends_the_lab_in_the_foreground(
    foreground: subprocess.Popen[str], state: Path, number: signal.Signals
) -> None:
    (found,) = record.running()
    seen = Traces(lab_id=found.id)
    seen.look()
    foreground.send_signal(number)
    assert foreground.wait(DEADLINE) == 0
    assert seen.wait(DEADLINE) == []
    assert list(state.iterdir()) == []


def test_lab_down_ends_a_lab_in_the_foreground(foreground: subprocess.Popen[str]) -> None:
    (found,) = record.running()
    assert commands.down(found.id) == 0
    assert foreground.wait(DEADLINE) == 0


def test_record_of_a_killed_lab_is_cleared_by_status(
    foreground: subprocess.Popen[str], state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = record.running()
    seen = Traces(lab_id=found.id)
    seen.look()
    os.kill(found.pid, signal.SIGKILL)
    assert seen.wait(DEADLINE) == []
    assert foreground.wait(DEADLINE) != 0
    assert commands.status() == 0
    assert "no lab is running" in capsys.readouterr().out
    assert list(state.iterdir()) == []


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        pytest.param(
            {"ip_family": "dual", "mesh": "istio"}, "--ip-family dual: the lab's mesh does ipv4 only", id="mesh-of-dual"
        ),
        pytest.param({"ip_family": "ipx"}, "--ip-family ipx: unknown; use one of ipv4", id="unknown-family"),
        pytest.param({"mesh": "linkerd"}, "--mesh linkerd: the lab does istio only so far", id="mesh"),
        pytest.param(
            {"mesh_revisions": ("canary",)}, "--mesh-revision canary: there is no mesh", id="revision-of-none"
        ),
        pytest.param(
            {"mesh": "istio", "mesh_revisions": ("Canary",)},
            "--mesh-revision Canary: use lower-case",
            id="revision-name",
        ),
        pytest.param({"nodes": 0}, "--nodes 0: a lab has 1 to 32 nodes", id="no-node"),
        pytest.param({"mutant": "no-enforcment"}, "did you mean 'no-enforcement'", id="mutant-misspelled"),
        pytest.param({"images": ("web",)}, "--image web: not of the form NAME=PATH", id="image-without-path"),
        pytest.param({"images": ("web=/nowhere.tar",)}, "/nowhere.tar does not exist", id="image-missing"),
        pytest.param({"port": 70000}, "--port 70000: not a port", id="no-port"),
        pytest.param({"write_kubeconfig": "/"}, "is a folder; name a file in it", id="kubeconfig-folder"),
    ],
)
def test_wish_that_cannot_be_had_is_one_line(state: Path, wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        commands.up(**wishes)
    assert message in refusal.value.message
    assert "\n" not in refusal.value.message
    assert not state.exists()


def _in_a_missing_folder(place: Path) -> Path:
    return place / "missing" / "kubeconfig"


def _where_nobody_writes(place: Path) -> Path:
    del place
    return Path("/proc/kubeconfig")


@pytest.mark.parametrize(
    "where",
    [pytest.param(_in_a_missing_folder, id="missing-folder"), pytest.param(_where_nobody_writes, id="proc")],
)
def test_unwritable_kubeconfig_is_one_line_and_leaves_nothing(
    state: Path, tmp_path: Path, where: Callable[[Path], Path]
) -> None:
    path = where(tmp_path)
    with pytest.raises(PreparationError, match=rf"^--write-kubeconfig {path}: .*name another file$"):
        commands.up(write_kubeconfig=str(path), nodes=1)
    assert not state.exists() or list(state.iterdir()) == []


def test_kubeconfig_of_other_clusters_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("kind: Config\ncontexts: [{name: production}]\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"has contexts of other clusters \(production\)"):
        kubeconfigs.check(path)


def test_down_of_an_unknown_lab_is_one_line(state: Path) -> None:
    del state
    with pytest.raises(UsageError, match=r"^lab nowhere: no such lab is running; none is$"):
        commands.down("nowhere")


def test_mutants_are_listed_with_what_they_break(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.mutants() == 0
    assert "no-enforcement" in capsys.readouterr().out


def _in_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(DEADLINE * 2)
    assert not thread.is_alive()


def test_provider_makes_a_lab_from_any_thread_and_ends_it_from_another(state: Path) -> None:
    provider, made = LabProvider(load("lab"), Options(nodes=1), "run1"), list[Cluster]()
    _in_a_thread(lambda: made.append(provider.up()))
    (found,) = record.running()
    seen = Traces(lab_id=found.id)
    seen.look()
    assert made[0].ours
    assert made[0].facts["nodes"] == "1"
    assert made[0].facts["mesh-revisions"] == f"default ({made[0].facts['mesh-version']})"
    assert Path(made[0].kubeconfig_file).is_file()
    left: list[list[str]] = []
    _in_a_thread(lambda: left.append(provider.down(failed=True)))
    assert left == [[]]
    assert seen.wait(DEADLINE) == []
    assert list(state.iterdir()) == []


@pytest.mark.parametrize(
    ("keep", "failed", "kept"),
    [
        pytest.param("always", False, True, id="always"),
        pytest.param("failed", True, True, id="failed-and-it-did"),
        pytest.param("failed", False, False, id="failed-and-it-did-not"),
    ],
)
def test_provider_keeps_the_lab_where_asked(state: Path, keep: str, failed: bool, kept: bool) -> None:
    del state
    provider = LabProvider(load("lab"), Options(nodes=1, keep=keep), "run1")
    provider.up()
    lines = provider.down(failed=failed)
    running = record.running()
    assert [line.startswith(cluster.KEPT) for line in lines] == [True] * kept
    assert [each.detached for each in running] == [True] * kept
    for each in running:
        assert f"eastwest lab down {each.id}" in lines[0]
        record.end(each)
        _reap(each)


def test_provider_without_a_lab_has_nothing_to_take_down() -> None:
    assert LabProvider(load("lab"), Options(), "run1").down(failed=True) == []
