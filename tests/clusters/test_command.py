from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from clusters.command import Cancel, CommandError, find, run, shielded
from flows.errors import PreparationError, UsageError

FAMILY = "sleep 600 & echo $! > child; [ ! -p ready ] || echo x > ready; wait"


def gone(folder: Path) -> bool:
    """Whether the grandchild has ended, be it reaped or not; a dying one is given time to die."""
    try:
        handle = os.pidfd_open(int((folder / "child").read_text(encoding="utf-8")))
    except ProcessLookupError:
        return True
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    ended = bool(poller.poll(10_000))
    os.close(handle)
    return ended


def test_a_failure_is_told_by_the_tools_last_word_and_all_it_said() -> None:
    with pytest.raises(CommandError) as caught:
        run(["sh", "-c", "echo one >&2; echo two >&2; exit 4"], what="do it", timeout=20)
    assert caught.value.message == "cannot do it: two"
    assert (caught.value.returncode, "one\ntwo" in caught.value.detail) == (4, True)


def test_the_deadline_ends_grandchildren_too(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="took longer than 1 s"):
        run(["sh", "-c", FAMILY], what="do it", timeout=1, cwd=tmp_path)
    assert gone(tmp_path)


def test_another_thread_can_end_it(tmp_path: Path) -> None:
    cancel, caught = Cancel(), []
    os.mkfifo(tmp_path / "ready")

    def work() -> None:
        with pytest.raises(PreparationError) as error:
            run(["sh", "-c", FAMILY], what="do it", timeout=600, cwd=tmp_path, cancel=cancel)
        caught.append(error.value.message)

    thread = threading.Thread(target=work)
    thread.start()
    (tmp_path / "ready").read_text(encoding="utf-8")
    cancel.cancel()
    thread.join(20)
    assert "interrupted" in caught[0]
    with pytest.raises(PreparationError):
        cancel.check()


def test_ctrl_c_ends_the_whole_family_before_anything_else(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ready")
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from clusters.command import run\n"
        f"try: run(['sh', '-c', {FAMILY!r}], what='x', timeout=600)\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
    )
    (tmp_path / "ready").read_text(encoding="utf-8")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "interrupted\n"
    assert gone(tmp_path)


def test_signals_wait_until_the_clean_up_is_done() -> None:
    done: list[str] = []

    def clean_up() -> None:
        with shielded():
            signal.raise_signal(signal.SIGINT)
            done.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        clean_up()
    assert done == ["cleaned up"]


def test_a_tool_that_is_missing_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreparationError, match="kind is not on PATH; install it"):
        find("kind", "", "--kind-bin", "install it")
    with pytest.raises(UsageError, match="--kind-bin nope: not an executable file"):
        find("kind", "nope", "--kind-bin", "install it")
