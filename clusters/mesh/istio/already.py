"""What others wrote into the mesh before us, and what we are therefore not the only ones to change.

What belongs here: naming it. What does not: whether a flow is denied by it (`explain`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from clusters.kube import Kube, KubeError
from clusters.marks import RUN
from clusters.mesh.dialect import Object
from clusters.mesh.istio.words import KINDS

_FORBIDDEN, _NOT_FOUND = 403, 404
_WIDE: Final = " (mesh-wide)"


def already(kube: Kube, namespaces: Iterable[str], root: str) -> list[str]:
    """`KIND NAME in NAMESPACE` of each resource that is in force there and is not this run's.

    Args:
        root: The mesh's root namespace: what is in it is in force in all of them.

    Raises:
        KubeError: The cluster did not answer; what we may not see is left out.
    """
    return [
        f"{kind} {each['metadata']['name']} in {namespace}{_WIDE if namespace == root else ''}"
        for namespace in dict.fromkeys((*namespaces, root))
        for api_version, kind in KINDS
        for each in _seen(kube, api_version, kind, namespace)
        if (each["metadata"].get("labels") or {}).get(RUN) != kube.cluster.run_id
    ]


def _seen(kube: Kube, api_version: str, kind: str, namespace: str) -> list[Object]:
    try:
        return kube.list(api_version, kind, namespace)
    except KubeError as error:
        if error.status not in {_FORBIDDEN, _NOT_FOUND}:
            raise
    return []
