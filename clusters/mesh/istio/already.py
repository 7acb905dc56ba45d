"""What is written into the mesh: by others before us, and by us where it should be gone again.

What belongs here: naming it. What does not: whether a flow is denied by it (`explain`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from clusters.kube import Kube, KubeError
from clusters.marks import is_of
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
    found = _all(kube, dict.fromkeys((*namespaces, root)), unseen={_FORBIDDEN, _NOT_FOUND})
    return [f"{told}{_WIDE if place == root else ''}" for place, told, ours in found if not ours]


def left(kube: Kube, namespaces: Iterable[str]) -> list[str]:
    """`KIND NAME in NAMESPACE` of each resource of this run that is there.

    Raises:
        KubeError: The cluster did not answer, or we may not look.
    """
    return [told for _, told, ours in _all(kube, namespaces, unseen={_NOT_FOUND}) if ours]


def _all(kube: Kube, namespaces: Iterable[str], *, unseen: set[int]) -> Iterator[tuple[str, str, bool]]:
    for namespace in namespaces:
        for api_version, kind in KINDS:
            for each in _seen(kube, api_version, kind, namespace, unseen):
                told = f"{kind} {each['metadata']['name']} in {namespace}"
                yield namespace, told, is_of(each, kube.cluster.run_id)


def _seen(kube: Kube, api_version: str, kind: str, namespace: str, unseen: set[int]) -> list[Object]:
    try:
        return kube.list(api_version, kind, namespace)
    except KubeError as error:
        if error.status not in unseen:
            raise
    return []
