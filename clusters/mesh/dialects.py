"""Which mesh speaks in a cluster: the one place that knows every dialect.

What belongs here: the choice. What does not: any mesh's words.
"""

from __future__ import annotations

from clusters.kube import Kube, KubeError
from clusters.mesh.dialect import Dialect
from clusters.mesh.istio.dialect import Istio


def of(kube: Kube) -> Dialect | None:
    """The dialect of the mesh that is installed in the cluster; None when there is none that we know.

    Raises:
        KubeError: The cluster did not answer.
    """
    dialect = Istio(kube)
    return dialect if dialect.detect() is not None else None


def kinds() -> tuple[tuple[str, str], ...]:
    """API version and kind of everything that any dialect writes."""
    return Istio.kinds


def root(kube: Kube) -> str:
    """Where the cluster's mesh keeps what is in force mesh-wide; empty when there is no mesh, or it cannot be told."""
    try:
        dialect = of(kube)
        found = dialect.detect() if dialect else None
    except KubeError:
        return ""
    return found.root_namespace if found else ""


def facts(kube: Kube) -> dict[str, str]:
    """The mesh in the words of the cluster's fingerprint; `mesh: none` when there is none that we know."""
    try:
        dialect = of(kube)
        found = dialect.detect() if dialect else None
    except KubeError as error:
        return {"mesh": f"unknown: {error.message}"}
    return found.words() if found else {"mesh": "none"}
