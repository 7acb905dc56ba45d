"""The life of a lab: it becomes ready, and nothing of it outlives its owner, its supervisor, or the wish to end it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.lab import record
from clusters.lab.handle import Lab
from clusters.lab.options import LabOptions
from clusters.lab.record import Record
from clusters.lab.traces import Traces
from flows.errors import PreparationError

DEADLINE = 20.0
_OWNER = """
import sys
from clusters.lab.handle import Lab
from clusters.lab.options import LabOptions
lab = Lab.start(LabOptions(nodes=1))
print(lab.id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own."""
    monkeypatch.setenv("EASTWEST_STATE", str(tmp_path))
    return tmp_path / "labs"


@pytest.fixture
def lab(state: Path) -> Iterator[Lab]:
    """A lab with one node, ended afterwards whatever the test did to it."""
    del state
    running = Lab.start(LabOptions(nodes=1))
    yield running
    running.end()


@pytest.fixture
def seen(lab: Lab) -> Traces:
    """What the lab has on this machine."""
    found = Traces(lab_id=lab.id)
    found.look()
    return found


@pytest.fixture
def owner(state: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that starts a lab and then waits."""
    del state
    command = [sys.executable, "-P", "-c", _OWNER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_root()) as process:
        yield process
        process.kill()


def _root() -> Path:
    return Path(__file__).resolve().parents[2]


def _first_record(folder: Path, process: subprocess.Popen[str]) -> Record:
    """The record of the lab that `process` is starting, as soon as there is one."""
    while process.poll() is None:
        for path in folder.glob("*.json"):
            found = record.parse(path.read_text(encoding="utf-8"))
            if found:
                return found
    raise AssertionError("the owner ended before its lab had a record")


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], DEADLINE)
    assert ready, "the owner said nothing in time"
    return process.stdout.readline().strip()


def _pid_of(seen: Traces, name: str) -> int:
    names = {}
    for pid in seen.starts:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a probe that ended in the meantime
            names[Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()] = pid
    return names[name]


def test_lab_is_ready_with_an_answering_api_server(lab: Lab) -> None:
    assert lab.ready.facts["kubernetes"].startswith("v1.")
    with socket.create_connection(("127.0.0.1", lab.ready.port), timeout=DEADLINE):
        assert lab.ready.facts["nodes"] == "1"


def test_record_is_a_kubeconfig_that_only_its_owner_reads(lab: Lab) -> None:
    path = Path(lab.ready.record)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert path.stat().st_mode & 0o077 == 0
    assert document["clusters"] == lab.ready.kubeconfig["clusters"]
    assert record.parse(path.read_text(encoding="utf-8")) == record.running()[0]


def test_lab_has_namespaces_of_its_own(seen: Traces) -> None:
    kinds = {each.partition(":")[0] for each in seen.own}
    assert kinds == {"net", "mnt", "pid", "user"}


def test_end_leaves_nothing(lab: Lab, seen: Traces, state: Path) -> None:
    assert lab.end() == []
    assert seen.wait(DEADLINE) == []
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "sigint"])
def test_signal_to_the_supervisor_leaves_nothing(lab: Lab, seen: Traces, state: Path, number: signal.Signals) -> None:
    os.kill(lab.ready.pid, number)
    lab.wait(DEADLINE)
    lab.end()
    assert seen.wait(DEADLINE) == []
    assert list(state.iterdir()) == []


def test_killed_supervisor_leaves_only_a_record_that_the_next_command_clears(
    lab: Lab, seen: Traces, state: Path
) -> None:
    os.kill(lab.ready.pid, signal.SIGKILL)
    assert seen.wait(DEADLINE) == []
    with pytest.raises(PreparationError, match="ended without a word"):
        lab.wait(DEADLINE)
    lab.end()
    assert [each.id for each in record.clear_stale()] == [lab.id]
    assert list(state.iterdir()) == []


def test_killed_owner_takes_its_ready_lab_along(owner: subprocess.Popen[str], state: Path) -> None:
    seen = Traces(lab_id=_line(owner))
    seen.look()
    assert len(seen.starts) > 3
    owner.kill()
    assert seen.wait(DEADLINE) == []
    assert list(state.iterdir()) == []


def test_killed_owner_takes_along_a_lab_that_is_being_made(owner: subprocess.Popen[str], state: Path) -> None:
    seen = Traces(lab_id=_first_record(state, owner).id)
    seen.look()
    owner.kill()
    assert seen.wait(DEADLINE) == []
    record.clear_stale()
    assert list(state.iterdir()) == []


def test_killed_supervisor_takes_along_a_lab_that_is_being_made(owner: subprocess.Popen[str], state: Path) -> None:
    found = _first_record(state, owner)
    seen = Traces(lab_id=found.id)
    seen.look()
    os.kill(found.pid, signal.SIGKILL)
    assert seen.wait(DEADLINE) == []
    assert [each.id for each in record.clear_stale()] == [found.id]


def test_dead_core_process_ends_the_lab_and_is_named(lab: Lab, seen: Traces) -> None:
    os.kill(_pid_of(seen, "ew-api"), signal.SIGKILL)
    with pytest.raises(PreparationError, match=r"its process api ended \(signal SIGKILL\)"):
        lab.wait(DEADLINE)
    lab.end()
    assert seen.wait(DEADLINE) == []


def test_detached_lab_outlives_its_owner_until_it_is_ended(lab: Lab, seen: Traces, state: Path) -> None:
    lab.detach()
    assert lab.end() == []
    (found,) = record.running()
    assert found.detached
    assert record.alive(found)
    record.end(found)
    os.waitpid(found.pid, 0)
    assert seen.wait(DEADLINE) == []
    assert list(state.iterdir()) == []


def test_detached_lab_leaves_its_last_words_to_the_next_command(lab: Lab, seen: Traces) -> None:
    lab.detach()
    os.kill(_pid_of(seen, "ew-controllers"), signal.SIGKILL)
    os.waitpid(lab.ready.pid, 0)
    (gone,) = record.clear_stale()
    assert "its process controllers ended (signal SIGKILL)" in gone.ended


def test_ending_by_record_spares_a_process_that_took_over_the_pid(lab: Lab) -> None:
    (found,) = record.running()
    record.end(replace(found, start=found.start - 1))
    assert found.id == lab.id
    assert record.alive(found)


def test_taken_port_is_one_line_and_leaves_nothing(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PreparationError, match=rf"^port {port} on 127.0.0.1 is taken .* --port") as failure:
            Lab.start(LabOptions(nodes=1), port=port)
    assert "\n" not in failure.value.message
    assert not state.exists() or list(state.iterdir()) == []


def test_late_lab_says_what_is_missing_and_leaves_nothing(state: Path) -> None:
    with pytest.raises(PreparationError, match="not ready within 0 s: "):
        Lab.start(LabOptions(nodes=1), timeout=0.0)
    assert list(state.iterdir()) == []


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(lambda place: place.write_text("a file"), id="a-file-is-there"),
        pytest.param(lambda place: place.symlink_to("/proc/nowhere"), id="nowhere"),
    ],
)
def test_unwritable_state_folder_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Path], object]
) -> None:
    prepare(tmp_path / "state")
    monkeypatch.setenv("EASTWEST_STATE", str(tmp_path / "state"))
    with pytest.raises(PreparationError, match=r"^state folder .*: cannot be written .*EASTWEST_STATE$"):
        Lab.start(LabOptions(nodes=1))


def test_missing_tool_is_one_line_with_the_package(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del state
    monkeypatch.setattr("clusters.lab.requirements.find", lambda command: "" if command == "nft" else command)
    with pytest.raises(PreparationError, match=r"^nft .* is missing on this machine; run `.*nftables`$"):
        Lab.start(LabOptions(nodes=1))


def test_unreadable_records_are_cleared(state: Path) -> None:
    state.mkdir()
    (state / "lab-000000.json").write_text("{", encoding="utf-8")
    (state / ".lab-000001.1.1.part").write_text("", encoding="utf-8")
    (state / "notes.txt").write_text("somebody's own", encoding="utf-8")
    assert record.clear_stale() == []
    assert [each.name for each in state.iterdir()] == ["notes.txt"]


def test_record_that_kubectl_rewrote_as_yaml_is_still_read() -> None:
    text = "extensions:\n- name: eastwest.dev/lab\n  extension: {id: lab-1, pid: 7, start: 9, port: 1}\nkind: Config\n"
    assert record.parse(text) == Record(id="lab-1", pid=7, start=9, port=1)
