"""The API server's no, in one line: what was asked, its own words, the remedy.

What belongs here: errors and their words. What does not: asking (`api`, `kube`).
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterable
from typing import Any, Final

from clusters.resources import Resource, summary
from flows.errors import FIRST_LINE, HarnessError


class KubeError(HarnessError):
    """The API server said no, or did not answer.

    Attributes:
        status: The HTTP status; 0 when there was no answer at all.
        reason: The Status object's reason (`NotFound`, `Forbidden`, …), or `Unreachable`.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "", detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.status, self.reason = status, reason


class KubeTimeoutError(KubeError):
    """A wait for objects ended without what was waited for; the detail holds the last state and kubectl's command."""


def not_found(error: KubeError) -> bool:
    """Whether the API server answered that there is no such object or kind."""
    return error.status == 404


_REMEDIES: Final = {
    400: "mend the object or the request",
    401: "renew the credentials in the kubeconfig (log in again)",
    403: "grant it (docs/reference/rbac.yaml) or use another context",
    404: "check its name and namespace, or that its API is installed",
    409: "another client changed or made it first; look at it and run again",
    422: "mend the object",
    429: "the API server is overloaded; run again later",
}


_WEBHOOK = re.compile(
    r'failed calling webhook "(?P<name>[^"]+)":\s*(?:failed to call webhook:\s*)?(?:\w+ "[^"]*":\s*)?(?P<why>.*)$'
)
"""A webhook that the API server could not ask, and why: whose it is matters more than what was being written."""
_WEBHOOKS = (
    "remedy: kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations, and what they name must answer"
)


def failure(status: int, body: bytes, what: str, secrets: Iterable[str] = ()) -> KubeError:
    """The error for a failed answer: what was asked, the server's own words, the remedy; secrets blotted out.

    Args:
        what: The verb and the place: `create Pod demo/server`.
        secrets: Values that must not be shown (the token).
    """
    try:
        answer = json.loads(body)
    except ValueError:
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    reason = str(answer.get("reason") or "")
    words = str(answer.get("message") or body[:500].decode(errors="replace").strip() or "no message")
    if re.match(r"\w+ Secret\b", what):
        words = "(the server's words are not shown: they may quote the Secret)"
    for secret in secrets:
        words = words.replace(secret, "***") if secret else words
    remedy = _REMEDIES.get(status, "see the API server's log")
    words = re.sub(
        r"^(\S+ in version \S+ cannot be handled as an? \S+: )?(strict decoding error: )?", "", " ".join(words.split())
    )
    head = f"{what}: {status} {reason}".rstrip()
    line = f"{head}: {words}; {remedy}"
    if webhook := _WEBHOOK.search(words):
        cause = f"webhook {webhook['name']}: {webhook['why']}"
        return KubeError(cause[:FIRST_LINE], status=status, reason=reason, detail=f"{head}: {words}\n{_WEBHOOKS}")
    if len(line) <= FIRST_LINE:
        return KubeError(line, status=status, reason=reason)
    detail = f"the API server: {words}\nremedy: {remedy}"
    room = FIRST_LINE - len(head) - 3
    if status in {401, 403} or room < 20:
        return KubeError(f"{head}; {remedy}", status=status, reason=reason, detail=detail)
    short = words if len(words) <= room else f"{words[:room]}…"
    return KubeError(f"{head}: {short}", status=status, reason=reason, detail=detail)


def gave_up(
    resource: Resource, namespace: str, labels: str, what: str, begin: float, changes: int, last: list[dict[str, Any]]
) -> KubeTimeoutError:
    """The error of a wait that ended in vain: how long, the last state, and the command that looks again.

    Args:
        begin: When the wait began, on the monotonic clock.
        changes: How many changes were seen meanwhile.
    """
    plural = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
    scope = (["-n", namespace] if namespace else ["-A"]) if resource.namespaced else []
    command = ["kubectl", *scope, "get", plural, *(["-l", labels] if labels else []), "-o", "wide"]
    return KubeTimeoutError(
        f"waited {time.monotonic() - begin:.0f} s in vain for {what} ({changes} changes seen)",
        reason="Timeout",
        detail=f"last state:\n{summary(last)}\nlook again: {shlex.join(command)}",
    )
