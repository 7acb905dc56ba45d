"""`pilot-discovery request GET PATH` in istiod's container, as in Istio's own image: one request to its debug port.

What belongs here: that. What does not: the answers (`istiod`).
"""

from __future__ import annotations

import http.client
import sys
from typing import Final

PORT: Final = 8080
_PATIENCE: Final = 5.0


def main(arguments: list[str], port: int = PORT) -> int:
    """The answer's body on standard output; 1 where it is not 200, 2 where the question is none."""
    if len(arguments) != 3 or arguments[0] != "request":
        sys.stderr.write("usage: pilot-discovery request GET /debug/syncz\n")
        return 2
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request(arguments[1], f"/{arguments[2].lstrip('/')}")
        answer = connection.getresponse()
        body = answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"pilot-discovery: istiod does not answer on port {port}: {error}\n")
        return 1
    if answer.status != http.client.OK:
        sys.stderr.write(f"pilot-discovery: {answer.status} {answer.reason}: {body}\n")
        return 1
    sys.stdout.write(body)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
