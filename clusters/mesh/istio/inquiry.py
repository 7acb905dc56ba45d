"""What both proxies say about one flow: gathered at the same time, each answer or the reason why there is none.

What belongs here: asking, and finding the flow's own lines in the logs. What does not: what follows (`explain`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeVar

from clusters.kube import Kube
from clusters.mesh.dialect import Injection, LogEntry, Object, ProxyState
from clusters.mesh.istio import accesslog, admin, injection, read
from flows.errors import HarnessError
from flows.model import Flow, Verdict, Workload
from flows.waits import wait_for

DEADLINE: Final = 15.0
"""Seconds for all questions about one verdict together."""
SINCE: Final = 120.0
"""Seconds of the access logs that are looked through."""
WRITTEN: Final = 1.5
"""Seconds after which a line that is not there is taken not to come; Istio's proxies write once a second."""
SKEW: Final = 5.0
"""Seconds by which a node's clock may differ from ours."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What was said, or why nothing was."""

    value: T | None = None
    failed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One end of a flow."""

    workload: Workload
    pod: Answer[Object]
    injected: Answer[Injection]
    proxy: Answer[ProxyState]
    listeners: Answer[dict[str, Any]]
    clusters: Answer[dict[str, Any]]
    log: Answer[Sequence[LogEntry]]

    @property
    def has_proxy(self) -> bool:
        """Whether a proxy was seen in its pod."""
        return self.injected.value is not None and self.injected.value.form != "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """Everything that was gathered about one flow; an end that is not ours is None.

    Attributes:
        asked_at: When, in seconds since the epoch; `asked_on` on the monotonic clock, as evidence has its times.
    """

    flow: Flow
    verdict: Verdict
    caller: End | None
    server: End | None
    asked_at: float = field(default_factory=time.time)
    asked_on: float = field(default_factory=time.monotonic)

    @property
    def caller_line(self) -> LogEntry | None:
        """The flow's line in the caller's log: the one of the connection that the caller's agent opened."""
        return self._newest(self.caller, lambda entry: entry.downstream == self.verdict.evidence.local)

    @property
    def server_line(self) -> LogEntry | None:
        """The flow's line in the server's log: the same request, or the connection that the caller's proxy opened."""
        mine = self.caller_line
        addresses = {self.verdict.evidence.local}
        if mine:
            addresses.add(accesslog.upstream_local(mine.text))

        def same(entry: LogEntry) -> bool:
            if mine and mine.request_id and entry.request_id:
                return entry.direction == "inbound" and entry.request_id == mine.request_id
            return entry.downstream in addresses

        return self._newest(self.server, same)

    @property
    def told(self) -> bool:
        """Whether each proxy that can have a line of the flow shows it, or cannot be asked."""
        lines = ((self.caller, self.caller_line), (self.server, self.server_line))
        return all(line or end is None or not end.has_proxy or end.log.failed for end, line in lines)

    def _newest(self, end: End | None, same: Callable[[LogEntry], bool]) -> LogEntry | None:
        """The newest such line that can be of this flow: a port is soon another connection's."""
        entries = (end.log.value if end else None) or []
        return next((each for each in reversed(entries) if each.downstream and same(each) and self._after(each)), None)

    def _after(self, entry: LogEntry) -> bool:
        sent_at = self.verdict.evidence.sent_at
        return not sent_at or accesslog.ended(entry.text) >= self.asked_at - (self.asked_on - sent_at) - SKEW


def inquire(kube: Kube, flow: Flow, verdict: Verdict, workloads: Mapping[str, Workload]) -> Inquiry:
    """What can be learned within the deadline; never raises for a question that fails."""
    deadline = time.monotonic() + DEADLINE
    names = [flow.source, flow.destination]
    with ThreadPoolExecutor(max_workers=2) as pool:
        ends = list(pool.map(lambda name: _end(kube, workloads[name], deadline) if name in workloads else None, names))
    found = Inquiry(flow=flow, verdict=verdict, caller=ends[0], server=ends[1])
    seen = verdict.evidence
    written = min(seen.sent_at + seen.elapsed + WRITTEN, deadline)
    if found.told or time.monotonic() >= written:
        return found
    return wait_for(
        lambda: replace(found, caller=_logged_since(kube, found.caller), server=_logged_since(kube, found.server)),
        lambda each: each.told or time.monotonic() >= written,
        what=f"a line of {flow} in its proxies' logs",
        timeout=DEADLINE,
        interval=WRITTEN / 5,
    )


def _logged_since(kube: Kube, end: End | None) -> End | None:
    """The end with its log as it is now."""
    if end is None or not end.has_proxy:
        return end
    fresh = _asked(lambda _: read.log(kube, end.workload, since_seconds=SINCE), math.inf)
    return end if fresh.failed else replace(end, log=fresh)


def _asked(ask: Callable[[float], T], deadline: float) -> Answer[T]:
    left = deadline - time.monotonic()
    if left <= 0:
        return Answer(failed=f"no time left of {DEADLINE:.0f} s")
    try:
        return Answer(value=ask(left))
    except HarnessError as error:
        return Answer(failed=error.message)


def _end(kube: Kube, workload: Workload, deadline: float) -> End:
    namespace, name = workload.namespace, workload.pod
    pod = _asked(lambda _: kube.get("v1", "Pod", name, namespace), deadline)

    def judged(_: float) -> Injection:
        if pod.value is None:
            raise HarnessError(pod.failed)
        return injection.injection(kube, pod.value, kube.get("v1", "Namespace", namespace))

    def admin_says(path: str) -> Answer[dict[str, Any]]:
        return _asked(lambda left: admin.ask_json(kube, namespace, name, path, left), deadline)

    injected = _asked(judged, deadline)
    if injected.value is not None and injected.value.form == "none":
        return _naked(workload, pod, injected)
    with ThreadPoolExecutor(max_workers=6) as pool:
        dumps = pool.map(admin_says, (read.INFO, read.CERTIFICATES, read.LISTENERS, read.CLUSTERS))
        log = pool.submit(_asked, lambda _: read.log(kube, workload, since_seconds=SINCE), deadline)
        synced = pool.submit(_asked, lambda left: read.synced(kube, workload, left), deadline)
        info, certificates, listeners, clusters = dumps
    return End(
        workload=workload,
        pod=pod,
        injected=injected,
        log=log.result(),
        proxy=_state(info, certificates, listeners, synced.result().value),
        listeners=listeners,
        clusters=clusters,
    )


def _naked(workload: Workload, pod: Answer[Object], injected: Answer[Injection]) -> End:
    nothing: Answer[Any] = Answer(failed="it has no proxy")
    return End(
        workload=workload, pod=pod, injected=injected, proxy=nothing, listeners=nothing, clusters=nothing, log=nothing
    )


def _state(
    info: Answer[dict[str, Any]],
    certificates: Answer[dict[str, Any]],
    listeners: Answer[dict[str, Any]],
    synced: read.Sync | None,
) -> Answer[ProxyState]:
    for each in (info, certificates, listeners):
        if each.value is None:
            return Answer(failed=each.failed)
    return Answer(value=read.state(info.value or {}, certificates.value or {}, listeners.value or {}, synced))
