"""Istio's default text access log, line by line.

What belongs here: reading lines. What does not: fetching them (`read`), judging by them (`explain`).
"""

from __future__ import annotations

import datetime
import re
from typing import Final

from clusters.mesh.dialect import LogEntry

_LINE: Final = re.compile(
    r'^\[(?P<start>[^\]]+)\] "(?P<method>\S+) (?P<path>.*?) (?P<protocol>\S+)" (?P<status>\d+) (?P<flags>\S+) '
    r'(?P<details>\S+) (?P<termination>.+?) "(?P<failure>[^"]*)" (?P<received>\S+) (?P<sent>\S+) (?P<duration>\S+) '
    r'(?P<service_time>\S+) "(?P<forwarded>[^"]*)" "(?P<agent>.*?)" "(?P<request_id>[^"]*)" "(?P<authority>[^"]*)" '
    r'"(?P<upstream>[^"]*)" (?P<cluster>\S+) (?P<local>\S+) (?P<downstream_local>\S+) (?P<downstream>\S+) '
    r"(?P<sni>\S+) (?P<route>.*)$"
)


def parse(line: str, own: tuple[str, ...] = ()) -> LogEntry | None:
    """The line's entry; None when it is no line of the access log.

    Args:
        own: The pod's addresses: they tell the direction of what no cluster took.
    """
    found = _LINE.match(line.rstrip())
    if found is None:
        return None
    seen = {key: "" if value == "-" else value for key, value in found.groupdict().items()}
    why = [seen["details"], seen["termination"], seen["failure"]]
    return LogEntry(
        method=seen["method"],
        path=seen["path"],
        status=int(seen["status"]),
        flags=seen["flags"],
        details=" ".join(each for each in why if each),
        direction=_direction(seen, own),
        upstream=seen["upstream"],
        downstream=seen["downstream"],
        authority=seen["authority"],
        cluster=seen["cluster"],
        request_id=seen["request_id"],
        text=line.rstrip(),
    )


def ended(line: str) -> float:
    """When the line's request or connection ended, in seconds since the epoch; 0 when the line is no log line."""
    found = _LINE.match(line.rstrip())
    if found is None:
        return 0.0
    try:
        start = datetime.datetime.fromisoformat(found["start"]).timestamp()
    except ValueError:
        return 0.0
    return start + (float(found["duration"]) / 1000 if found["duration"].isdigit() else 0.0)


def _direction(seen: dict[str, str], own: tuple[str, ...]) -> str:
    cluster = seen["cluster"]
    if cluster.startswith(("inbound|", "InboundPassthroughCluster")):
        return "inbound"
    if cluster:
        return "outbound"
    if seen["details"] == "filter_chain_not_found":
        return "inbound"  # only there do chains depend on what the caller sends
    called = seen["downstream_local"].rpartition(":")[0].strip("[]")
    return "inbound" if called in own else "outbound"


def upstream_local(line: str) -> str:
    """The address from which the proxy called on, which the next proxy sees as its caller; empty when it did not."""
    found = _LINE.match(line.rstrip())
    return "" if found is None or found["local"] == "-" else found["local"]
