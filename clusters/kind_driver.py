"""One step of pytest-kind's `KindCluster`, in a process of its own: `python -P kind_driver.py create|delete`.

What belongs here: calling KindCluster. What does not: anything else; it imports nothing of ours. `kind` runs this in a
process group with a deadline, since KindCluster's own subprocess calls have none. Settings are JSON on standard input.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from pytest_kind.cluster import KindCluster


def main(step: str) -> None:
    """Create or delete the cluster; the binaries are always given, so KindCluster downloads nothing.

    Args:
        step: `create` or `delete`.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    given: dict[str, str] = json.load(sys.stdin)
    cluster = KindCluster(
        given["name"],
        kubeconfig=Path(given["kubeconfig"]),
        image=given["image"] or None,
        kind_path=Path(given["kind"]),
        kubectl_path=Path(given["kubectl"]),
    )
    if step == "create":
        cluster.create(given["config"])
    else:
        cluster.delete()


if __name__ == "__main__":
    main(sys.argv[1])
