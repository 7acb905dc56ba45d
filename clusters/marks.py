"""The marks that every object of ours carries: whose it is, which run made it, until when it may stay.

What belongs here: labels, the lease, marking. What does not: finding and removing marked objects (`sweep`).
"""

from __future__ import annotations

import copy
import datetime
from typing import Any, Final

from clusters.cluster import Cluster

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "eastwest"
RUN: Final = "eastwest.dev/run"
LEASE: Final = "eastwest.dev/lease"
WORKLOAD: Final = "eastwest.dev/workload"
"""On the pods that run an agent: which workload they are."""
LEASE_TIME: Final = datetime.timedelta(hours=6)
"""An object of ours may be swept by others this long after it was made; longer than any run."""


def run_selector(run_id: str) -> str:
    """The label selector of everything that one run created."""
    return f"{MANAGED_BY}={MANAGER},{RUN}={run_id}"


def own(obj: dict[str, Any], cluster: Cluster) -> dict[str, Any]:
    """A copy of the object with the marks of this run: managed-by and run labels, and the lease's end (RFC 3339)."""
    marked = copy.deepcopy(obj)
    meta = marked.setdefault("metadata", {})
    meta["labels"] = {**(meta.get("labels") or {}), MANAGED_BY: MANAGER, RUN: cluster.run_id}
    expiry = datetime.datetime.now(datetime.UTC) + LEASE_TIME
    meta["annotations"] = {**(meta.get("annotations") or {}), LEASE: expiry.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return marked


def is_of(obj: dict[str, Any], run_id: str) -> bool:
    """Whether this run made the object, as far as its marks say."""
    return bool((obj["metadata"].get("labels") or {}).get(RUN) == run_id)
