"""One long-lived stream of lines to one pod's agent: it resumes when it is lost, without losing or doubling a record.

What belongs here: the channel's contract, the reader thread, sequence numbers, heartbeats, the two clocks. What does
not: what the records mean (`classify`), how they become answers (`questions`), how the channel is made (`clusters`).
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from flows import wire
from flows.errors import HarnessError
from flows.model import Flow
from flows.questions import Asked, Connections, Journal, Question, Reading, Repeat, Round
from flows.sample import Sample, Sampling

__all__ = ["Agent", "Asked", "Channel", "ChannelClosed", "Connections", "Journal", "Repeat", "Round", "Sample"]

SILENCE = 5.0
"""Seconds without a line (the agent sends one each second) after which the stream counts as lost."""
PATIENCE = 20.0
"""Seconds within which a lost stream must be open again."""
ACK_EVERY = 0.3
PING_EVERY = 1.0
Q = TypeVar("Q", bound=Question)


_NO_HELLO = "the agent did not answer our hello"


class ChannelClosed(Exception):
    """The channel was lost; the message says why and quotes what the far side wrote to its standard error."""


class Channel(Protocol):
    """Bytes to and from `agent.py session` in one pod; one thread reads, one at a time writes."""

    def send(self, data: bytes) -> None:
        """Write all, or raise `ChannelClosed`."""
        ...

    def receive(self, timeout: float) -> bytes:
        """What has arrived, empty after `timeout` seconds without anything, or raise `ChannelClosed`."""
        ...

    def close(self) -> None:
        """Let go; a second call does nothing."""
        ...


class Agent:
    """The agent in one pod. Use from any thread; one reader thread belongs to it between `connect` and `close`.

    Args:
        name: The workload's name, for messages.
        open_channel: Opens a new channel, within a deadline of its own.
        on_reconnect: Told why, each time the stream was lost and is open again.
        patience: Seconds within which a lost stream must be open again, or everything asked fails.
    """

    def __init__(
        self,
        name: str,
        open_channel: Callable[[], Channel],
        *,
        on_reconnect: Callable[[str], None] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.name = name
        self.changed = threading.Condition(threading.RLock())
        self.pod = self.instance = self.version = ""
        self.reconnects = 0
        self.lag = 0.0
        self._open_channel, self._on_reconnect, self._patience = open_channel, on_reconnect, patience
        self._questions: dict[str, Question] = {}
        self._channel: Channel | None = None
        self._sending = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._last_seq = self._acked = 0
        self._buffer = b""
        self._harness = secrets.token_hex(6)
        self._lost = "not connected"
        self._complaint = self._trouble = ""
        self._trips: deque[tuple[float, float]] = deque(maxlen=30)
        self._pings: dict[str, float] = {}
        self._ping_numbers = itertools.count(1)

    def connect(self, deadline: float) -> None:
        """Open the stream and return once the agent has said hello; tries until `deadline` (monotonic clock).

        Raises:
            HarnessError: It did not; with the last reason, such as what the exec wrote to its standard error.
        """
        self.close()
        with self.changed:
            self._closing, self._lost = threading.Event(), ""
            self._thread = threading.Thread(
                target=self._run, args=(deadline, self._closing), name=f"agent-{self.name}", daemon=True
            )
            self._thread.start()
            self.changed.wait_for(lambda: self._trips or self._lost, max(0.0, deadline - time.monotonic()) + 1)
            if self._trips and not self._lost:
                return
            reason = self._lost or self._trouble or "it did not say hello within the deadline"
        self.close()
        raise HarnessError(f"{self.name}: no connection to the agent in its pod", detail=reason)

    @property
    def connected(self) -> bool:
        """Whether it can be asked: its stream is open, or just being opened again."""
        return not self._lost

    def close(self) -> None:
        """End the stream; what is still asked fails. A second call does nothing."""
        self._closing.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            if self._channel is not None:
                self._channel.close()
            thread.join(self._patience)
        with self.changed:
            self._give_up("the stream was closed")

    def ask(self, flows: Sequence[Flow], timeout: float) -> Asked:
        """Ask all flows at once; returns without waiting.

        Raises:
            HarnessError: There is no connection to the agent any more.
        """
        return self._begin(Asked(self, flows, timeout))

    def repeat(
        self, flows: Sequence[Flow], timeout: float, interval: float, connections: Connections = "fresh"
    ) -> Repeat:
        """Ask all flows every `interval` seconds until stopped; returns without waiting.

        Raises:
            HarnessError: There is no connection to the agent any more.
        """
        return self._begin(Repeat(self, flows, timeout, interval, connections))

    def sample(
        self, flow: Flow, count: int, timeout: float, connections: Connections = "fresh", *, within: float = 60.0
    ) -> Sample:
        """Ask one flow `count` times, eight at once; each request's answer, in the order of sending.

        Args:
            timeout: Seconds of silence that count, for each request.
            within: Seconds after which no further request is sent; the sample then has fewer than `count`.

        Raises:
            HarnessError: It was not there in time, or there is no connection to the agent any more.
        """
        return self._begin(Sampling(self, flow, count, timeout, connections, within)).result()

    def journal(self, since: int, deadline: float) -> Journal:
        """The server's journal from entry `since` on, read after control flows to all its listeners.

        Raises:
            HarnessError: It was not there at `deadline` (monotonic clock).
        """
        return self._begin(Reading(self, since)).result(deadline)

    def to_harness_clock(self, agent_seconds: float) -> float:
        """A time of the agent's clock on ours, as good as half the quickest of the last round trips."""
        trips = min(self._trips.copy(), default=(0.0, 0.0))
        return agent_seconds + trips[1]

    def post(self, question: Question, request: bytes) -> None:
        """Send a request; when the stream is just being lost it is asked again afterwards."""
        del question
        channel = self._channel
        if channel is not None:
            self._send(channel, request)

    def forget(self, question: Question) -> None:
        """Stop awaiting messages for it."""
        with self.changed:
            self._questions.pop(question.name, None)

    def _begin(self, question: Q) -> Q:
        with self.changed:
            if self._lost:
                raise HarnessError(f"{self.name}: no connection to the agent in its pod", detail=self._lost)
            if question.done():
                return question
            self._questions[question.name] = question
        self.post(question, question.request())
        return question

    def _send(self, channel: Channel, data: bytes) -> None:
        with self._sending, contextlib.suppress(ChannelClosed):  # the reader finds it lost, and asks again
            channel.send(data)

    def _run(self, deadline: float, closing: threading.Event) -> None:
        """The reader thread: attach, follow, and again when the stream is lost."""
        reason = ""
        try:
            while not closing.is_set():
                channel = self._attach(deadline, closing, reason)
                try:
                    if reason:
                        self._came_back(reason)
                    self._follow(channel, closing)
                except ChannelClosed as lost:
                    reason = str(lost)
                finally:
                    self._channel = None
                    channel.close()
                deadline = time.monotonic() + self._patience
        except HarnessError as error:
            reason = str(error)
        finally:
            with self.changed:
                self._give_up(reason or "the stream was closed")

    def _came_back(self, reason: str) -> None:
        self.reconnects += 1
        if self._on_reconnect is not None:
            self._on_reconnect(reason)

    def _attach(self, deadline: float, closing: threading.Event, reason: str) -> Channel:
        """A channel on which the agent has said hello and everything outstanding was asked again.

        Raises:
            HarnessError: There was none until `deadline`; the last reason is quoted.
        """
        pause = 0.05
        while not closing.is_set() and time.monotonic() < deadline:
            channel = None
            try:
                channel = self._open_channel()
                self._greet(channel, deadline)
            except (ChannelClosed, HarnessError) as error:
                if channel is not None:
                    channel.close()
                if isinstance(error, ProtocolError):
                    raise
                said = str(error)
                # What an earlier attempt was told says more than that the last one ran into the deadline.
                reason = self._trouble = reason if said == _NO_HELLO and reason else said
                closing.wait(pause)
                pause = min(2 * pause, 1.0)
            else:
                return channel
        raise HarnessError(f"{self.name}: the stream to its agent could not be opened", detail=reason)

    def _greet(self, channel: Channel, deadline: float) -> None:
        self._buffer = b""
        channel.send(wire.hello(self._harness, self.instance, self._last_seq))
        until = min(deadline, time.monotonic() + SILENCE)
        greeting: wire.Hello | None = None
        messages: list[wire.Message] = []
        while greeting is None:
            left = until - time.monotonic()
            if left <= 0:
                raise ChannelClosed(_NO_HELLO)
            messages = self._read(channel, left)
            greeting = next((each for each in messages if isinstance(each, wire.Hello)), None)
            refused = next((each for each in messages if isinstance(each, wire.Complaint)), None)
            if refused is not None and greeting is None:
                raise ProtocolError(f"{self.name}: {refused.message}")
        if greeting.protocol != wire.PROTOCOL:
            said = f"{self.name}: the agent speaks protocol {greeting.protocol}, we speak {wire.PROTOCOL}"
            raise ProtocolError(f"{said}; restart its pod")
        with self.changed:
            if greeting.instance != self.instance:
                if self.instance:
                    self._fail_all(f"the pod {greeting.pod} was restarted while this was asked")
                self.pod, self.instance, self.version = greeting.pod, greeting.instance, greeting.version
                self._last_seq = self._acked = greeting.next_seq - 1
                self._trips.clear()
            self._channel = channel
            requests = [question.request() for question in self._questions.values()]
            requests += self._take_all(messages)
        self._ping(channel)
        for request in requests:
            self._send(channel, request)

    def _follow(self, channel: Channel, closing: threading.Event) -> None:
        """Take messages until the channel is lost or we are closing."""
        heard = acked = pinged = time.monotonic()
        while not closing.is_set():
            messages = self._read(channel, ACK_EVERY)
            now = time.monotonic()
            if messages:
                heard = now
            elif now - heard > SILENCE:
                raise ChannelClosed(f"no sign of life from the agent for {SILENCE:g} s")
            with self.changed:
                requests = self._take_all(messages)
            if self._last_seq > self._acked and now - acked >= ACK_EVERY:
                requests.append(wire.ack(self._last_seq))
                self._acked, acked = self._last_seq, now
            for request in requests:
                self._send(channel, request)
            if now - pinged >= PING_EVERY:
                self._ping(channel)
                pinged = now

    def _read(self, channel: Channel, timeout: float) -> list[wire.Message]:
        data = channel.receive(timeout)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        try:
            return [wire.decode(line) for line in lines if line.strip()]
        except HarnessError as error:
            raise ProtocolError(f"{self.name}: {error.message}", detail=error.detail) from None

    def _take_all(self, messages: Sequence[wire.Message]) -> list[bytes]:
        """Hand the messages to their questions; the requests that follow from them."""
        requests = []
        for message in messages:
            if isinstance(message, wire.Pong):
                again = self._pong(message)
            elif isinstance(message, wire.Heartbeat):
                self.lag, again = message.lag, b""
            elif isinstance(message, wire.Hello):
                again = b""
            else:
                again = self._numbered(message)
            requests += [again] if again else []
        self.changed.notify_all()
        return requests

    def _numbered(self, message: wire.Numbered) -> bytes:
        if message.seq <= self._last_seq:
            return b""
        gap, self._last_seq = message.seq - self._last_seq - 1, message.seq
        if gap:
            self._fail_all(f"the agent had to drop {gap} messages before they were fetched")
        if isinstance(message, wire.Complaint):
            self._complaint = message.message
            return b""
        name = message.batch if isinstance(message, wire.Record | wire.End) else message.id
        question = self._questions.get(name)
        if question is None:
            return b""
        request = question.take(message)
        if question.done() or question.name != name:
            del self._questions[name]
        if not question.done():
            self._questions[question.name] = question
        return request

    def _ping(self, channel: Channel) -> None:
        name = str(next(self._ping_numbers))
        self._pings = {name: time.monotonic()}  # an answer to an older one would say nothing new
        self._send(channel, wire.ping(name))

    def _pong(self, message: wire.Pong) -> bytes:
        sent, now = self._pings.pop(message.id, None), time.monotonic()
        if sent is not None:
            self._trips.append((now - sent, (sent + now) / 2 - message.now))
        return b""

    def _fail_all(self, reason: str) -> None:
        if self._complaint:
            reason = f"{reason}; the agent said: {self._complaint}"
        for question in self._questions.values():
            question.fail(reason)
        self._questions.clear()
        self.changed.notify_all()

    def _give_up(self, reason: str) -> None:
        self._lost = self._lost or reason
        self._fail_all(f"no connection to the agent: {self._lost}")


class ProtocolError(HarnessError):
    """The far side is no agent of ours, or one of another version; trying again would not help."""
