"""exec and logs: exact bytes, exact exit codes, and nothing left running."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import aiohttp
import pytest

from clusters.lab.client import ApiError
from tests.lab.node.world import World, main_state, over, running


@pytest.fixture(scope="module")
def sleeper(world: World) -> Iterator[str]:
    """A pod that waits, with a variable and a working directory of its own."""
    script = "import signal; signal.signal(15, lambda *_: exit(0)); signal.pause()"
    fields = {
        "env": [{"name": "MINE", "value": "yes"}],
        "workingDir": "/opt",
        "securityContext": {"runAsUser": 1000, "runAsGroup": 2000},
    }
    name = world.pod({"containers": [world.python(script, **fields)]})
    world.wait(name, running)
    yield name
    world.delete(name)


def test_exec_joins_user_groups_environment_directory_and_every_namespace(world: World, sleeper: str) -> None:
    script = "import os; print(os.getuid(), os.getgid(), os.environ['MINE'], os.getcwd())"
    own = "; ".join(
        f"print(os.readlink('/proc/1/ns/{each}') == os.readlink('/proc/self/ns/{each}'))" for each in _SPACES
    )
    seen = world.exec(sleeper, "python3", "-c", f"{script}; {own}")
    assert seen.stdout.decode().split() == ["1000", "2000", "yes", "/opt", *["True"] * len(_SPACES)], seen.stderr


_SPACES = ("mnt", "pid", "net", "ipc", "uts", "user")


def test_streams_stay_apart_and_the_exit_code_is_told(world: World, sleeper: str) -> None:
    seen = world.exec(sleeper, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (seen.stdout, seen.stderr, seen.code) == (b"out\n", b"err\n", 7)


def test_a_signal_is_told_as_128_plus_its_number(world: World, sleeper: str) -> None:
    assert world.exec(sleeper, "sh", "-c", "kill -9 $$").code == 137


def test_half_closed_input_ends_a_reader_and_binary_data_survives(world: World, sleeper: str) -> None:
    data = os.urandom(3_000_000)
    seen = world.exec(sleeper, "cat", stdin=data)
    assert seen.code == 0
    assert seen.stdout == data


def test_the_last_bytes_before_the_end_are_not_lost(world: World, sleeper: str) -> None:
    script = "import os; [os.write(1, b'x' * 65536) for _ in range(40)]; os.write(1, b'END'); os._exit(5)"
    seen = world.exec(sleeper, "python3", "-c", script)
    assert (len(seen.stdout), seen.stdout[-3:], seen.code) == (40 * 65536 + 3, b"END", 5)


def test_a_child_that_keeps_the_pipe_keeps_nobody_waiting(world: World, sleeper: str) -> None:
    seen = world.exec(sleeper, "sh", "-c", "sleep 1000 & echo started")
    assert seen.stdout == b"started\n"


def test_a_command_that_is_not_there_is_named(world: World, sleeper: str) -> None:
    seen = world.exec(sleeper, "no-such-command")
    assert seen.status["reason"] == "InternalError"
    assert '"no-such-command"' in seen.status["message"]


def test_a_terminal_has_a_name_and_a_size(world: World, sleeper: str) -> None:
    async def resize(socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_bytes(b'\x04{"Width": 91, "Height": 17}')
        await socket.send_bytes(b"\0go\n")

    seen = world.exec(sleeper, "sh", "-c", "read word; tty; stty size", tty=True, act=resize)
    assert b"/dev/pts/" in seen.stdout
    assert b"17 91" in seen.stdout


def test_a_client_that_goes_away_takes_its_command_with_it(world: World, sleeper: str) -> None:
    async def leave(socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_bytes(b"\0x")
        await socket.close()

    world.exec(sleeper, "sh", "-c", "exec 9>/dev/shm/fifo-open; sleep 4242", act=leave)
    look = "while pgrep -f 'sleep [4]242' >/dev/null; do sleep 0.02; done; echo ended"
    assert world.exec(sleeper, "timeout", "20", "sh", "-c", look).stdout == b"ended\n"


def test_a_container_that_ended_cannot_be_joined(world: World) -> None:
    name = world.pod({"restartPolicy": "Never", "containers": [world.python("print('done')")]})
    world.wait(name, over)
    assert "is not running" in world.exec(name, "true").status["message"]


def test_logs_follow_until_the_end_and_are_cut_as_asked(world: World) -> None:
    script = "import time\nfor n in range(5): print('line', n, flush=True); time.sleep(0.05)\nprint('x' * 40000)"
    name = world.pod({"restartPolicy": "Never", "containers": [world.python(script)]})
    world.wait(name, lambda s: bool(main_state(s)) and "waiting" not in main_state(s))
    followed = world.logs(name, follow="true").splitlines()
    assert followed == [*(f"line {n}" for n in range(5)), "x" * 40000]
    assert world.logs(name, tailLines="2").splitlines() == followed[-2:]
    assert world.logs(name, limitBytes="8") == "line 0\nl"
    assert world.logs(name, sinceTime="2100-01-01T00:00:00Z") == ""
    stamped = world.logs(name, timestamps="true").splitlines()
    assert [each.partition(" ")[2] for each in stamped] == followed


def test_a_container_that_never_started_has_no_log_but_a_reason(world: World) -> None:
    name = world.pod({"containers": [{"name": "main", "image": "no.such/thing:1"}]})
    world.wait(name, lambda s: main_state(s).get("waiting", {}).get("reason") == "ImagePullBackOff")
    with pytest.raises(ApiError, match="waiting to start"):
        world.logs(name)
    world.delete(name, grace=0)


def test_two_sessions_at_once_do_not_mix(world: World, sleeper: str) -> None:
    async def both() -> list[bytes]:
        runs = [world.session(sleeper, ("cat",), stdin=str(n).encode() * 200_000) for n in range(4)]
        return [each.stdout for each in await asyncio.gather(*runs)]

    assert world.run(both()) == [str(n).encode() * 200_000 for n in range(4)]


def test_a_container_that_never_stops_writing_keeps_nobody_waiting(world: World) -> None:
    name = world.pod({"containers": [{"name": "main", "image": "python:3", "command": ["yes"]}]})
    world.wait(name, running)
    assert world.exec(name, "echo", "served").stdout == b"served\n"
    world.delete(name, grace=0)
