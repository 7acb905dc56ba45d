"""The access log of every listener: Istio's own text format on standard output.

What belongs here: the format and the two ways it is attached. What does not: reading it (the dialect does that).
"""

from __future__ import annotations

from typing import Final

from clusters.lab.mesh.model import Json

FORMAT: Final = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% '
    '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
"""Istio's default `accessLogFormat`; whoever reads a proxy's log relies on the order of its fields."""


def access_log() -> list[Json]:
    """For a filter (HTTP connection manager or tcp_proxy): every request or connection."""
    return [
        {
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": "/dev/stdout",
                "log_format": {"text_format_source": {"inline_string": FORMAT}},
            },
        }
    ]


def listener_access_log() -> list[Json]:
    """For a listener: only connections that found no filter chain (`NR`), such as plaintext to a strict port."""
    return [each | {"filter": {"response_flag_filter": {"flags": ["NR"]}}} for each in access_log()]
