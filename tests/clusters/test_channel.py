from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from clusters.channel import ExecChannel, _frame, _Frames
from clusters.failures import KubeError
from clusters.kube import Kube
from flows.stream import ChannelClosed
from tests.clusters.fakes import canned_api, handle, kubeconfig


@pytest.fixture
def channel() -> Iterator[ExecChannel]:
    with canned_api({}) as url:
        opened = Kube(handle(kubeconfig(url))).channel("demo", "server", "app", ["cat"])
        yield opened
        opened.close()


def test_bytes_come_back_unchanged_while_another_thread_writes(channel: ExecChannel) -> None:
    sent = os.urandom(2_000_000)
    pieces = [sent[start : start + 50_000] for start in range(0, len(sent), 50_000)]

    def write() -> None:
        for piece in pieces:
            channel.send(piece)

    writer = threading.Thread(target=write)
    writer.start()
    got = bytearray()
    while len(got) < len(sent):
        got += channel.receive(20)
    writer.join()
    assert bytes(got) == sent


def test_silence_is_empty_and_no_end(channel: ExecChannel) -> None:
    assert channel.receive(0.05) == b""
    channel.send(b"still there")
    assert channel.receive(20) == b"still there"


def test_the_end_comes_after_the_last_bytes_with_status_and_stderr(channel: ExecChannel) -> None:
    channel.send(b"end")
    assert channel.receive(20) == b"last"
    with pytest.raises(ChannelClosed, match=r"Pod demo/server: .*exit code 3; it wrote to stderr: no such thing"):
        channel.receive(20)


def test_closing_wakes_a_waiting_reader(channel: ExecChannel) -> None:
    heard: list[str] = []

    def read() -> None:
        with pytest.raises(ChannelClosed) as caught:
            channel.receive(60)
        heard.append(str(caught.value))

    reader = threading.Thread(target=read)
    reader.start()
    channel.close()
    reader.join(20)
    assert heard == ["exec in Pod demo/server: closed by us"]


def test_a_closed_channel_takes_nothing_and_closes_again(channel: ExecChannel) -> None:
    channel.close()
    channel.close()
    with pytest.raises(ChannelClosed):
        channel.send(b"x")


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(KubeError, match=r"127\.0\.0\.1:1 does not answer"):
        Kube(handle(kubeconfig("http://127.0.0.1:1"))).channel("demo", "server", "app", ["cat"])


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536], ids=lambda size: f"{size}-bytes")
@pytest.mark.parametrize("step", [1, 7, 70_000], ids=lambda step: f"in-steps-of-{step}")
def test_frames_are_found_however_they_are_cut(size: int, step: int) -> None:
    payload = os.urandom(size)
    raw = _unmasked(0x82, payload)
    frames, found = _Frames(), []
    for start in range(0, len(raw), step):
        found += frames.feed(raw[start : start + step])
    assert found == [(2, payload)]


def test_fragments_are_joined_around_a_control_frame() -> None:
    raw = _unmasked(0x02, b"ab") + _unmasked(0x89, b"ping") + _unmasked(0x80, b"cd")
    assert _Frames().feed(raw) == [(9, b"ping"), (2, b"abcd")]


def test_our_frames_are_masked() -> None:
    assert _frame(2, b"x")[1] & 0x80


def _unmasked(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    if size < 1 << 16:
        return bytes([first, 126]) + size.to_bytes(2, "big") + payload
    return bytes([first, 127]) + size.to_bytes(8, "big") + payload
