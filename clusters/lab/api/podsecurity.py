"""Pod Security admission: the namespace's `enforce` and `warn` labels, for the profiles `baseline` and `restricted`.

Only rules that a pod can still break after `admission` are here: hostPID, hostPath and the like are refused before.
Capabilities are here because of a mesh's own containers, which the lab lets have them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from clusters.lab.api import resources
from clusters.lab.api.status import forbidden
from clusters.lab.api.store import Store

Object = dict[str, Any]
_LABEL = "pod-security.kubernetes.io/"
_BASELINE = {
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP"),
    *("SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
}
"""The capabilities that `baseline` lets a container add."""


def enforce(store: Store, pod: Object) -> list[str]:
    """Warnings for the `warn` label.

    Raises:
        StatusError: 403; the pod breaks the profile that its namespace enforces.
    """
    namespace = store.get(resources.NAMESPACES.qualified, "", pod["metadata"]["namespace"])
    labels: dict[str, str] = namespace.object["metadata"].get("labels", {}) if namespace else {}
    level, version = labels.get(_LABEL + "enforce", ""), labels.get(_LABEL + "enforce-version", "latest")
    if broken := violations(pod["spec"], level):
        why = f'violates PodSecurity "{level}:{version}": {", ".join(broken)}'
        raise forbidden(resources.PODS, pod["metadata"]["name"], why)
    level, version = labels.get(_LABEL + "warn", ""), labels.get(_LABEL + "warn-version", "latest")
    if broken := violations(pod["spec"], level):
        return [f'would violate PodSecurity "{level}:{version}": {", ".join(broken)}']
    return []


def violations(spec: Object, level: str) -> list[str]:
    """What the pod breaks, in Kubernetes' words and order."""
    if level not in {"baseline", "restricted"}:
        return []
    found = [_capabilities(spec, level)]
    if level == "restricted":
        found = [_escalation(spec), *found, _non_root(spec), _root_user(spec)]
    host = "host namespaces (hostNetwork=true)" if spec.get("hostNetwork") else ""
    return [each for each in (host, *found, _seccomp(spec, level)) if each]


def _containers(spec: Object) -> Iterator[Object]:
    for key in ("initContainers", "containers"):
        yield from spec.get(key, [])


def _named(containers: list[str]) -> str:
    word = "container" if len(containers) == 1 else "containers"
    return f"{word} {', '.join(chr(34) + each + chr(34) for each in containers)}"


def _bad(spec: Object, breaks: Callable[[Object], bool]) -> list[str]:
    return [each["name"] for each in _containers(spec) if breaks(each.get("securityContext", {}))]


def _escalation(spec: Object) -> str:
    bad = _bad(spec, lambda context: context.get("allowPrivilegeEscalation") is not False)
    if not bad:
        return ""
    return f"allowPrivilegeEscalation != false ({_named(bad)} must set securityContext.allowPrivilegeEscalation=false)"


_ADDED = {"baseline": _BASELINE, "restricted": {"NET_BIND_SERVICE"}}


def _capabilities(spec: Object, level: str) -> str:
    parts: list[str] = []
    if level == "restricted":
        bad = _bad(spec, lambda context: "ALL" not in context.get("capabilities", {}).get("drop", []))
        parts += [f'{_named(bad)} must set securityContext.capabilities.drop=["ALL"]'] if bad else []
    extra = {
        each["name"]: set(each.get("securityContext", {}).get("capabilities", {}).get("add", [])) - _ADDED[level]
        for each in _containers(spec)
    }
    if adding := [name for name, names in extra.items() if names]:
        names = ", ".join(f'"{each}"' for each in sorted(set().union(*extra.values())))
        parts.append(f"{_named(adding)} must not include {names} in securityContext.capabilities.add")
    word = "unrestricted" if level == "restricted" else "non-default"
    return f"{word} capabilities ({'; '.join(parts)})" if parts else ""


def _non_root(spec: Object) -> str:
    pod = spec.get("securityContext", {}).get("runAsNonRoot")
    explicit = _bad(spec, lambda context: context.get("runAsNonRoot") is False)
    if explicit:
        return f"runAsNonRoot != true ({_named(explicit)} must not set securityContext.runAsNonRoot=false)"
    if pod is True:
        return ""
    implicit = _bad(spec, lambda context: context.get("runAsNonRoot") is None)
    if pod is False:
        return "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"
    if not implicit:
        return ""
    return f"runAsNonRoot != true (pod or {_named(implicit)} must set securityContext.runAsNonRoot=true)"


def _root_user(spec: Object) -> str:
    where = ["pod"] if spec.get("securityContext", {}).get("runAsUser") == 0 else []
    bad = _bad(spec, lambda context: context.get("runAsUser") == 0)
    where += [_named(bad)] if bad else []
    return f"runAsUser=0 ({' and '.join(where)} must not set runAsUser=0)" if where else ""


def _seccomp(spec: Object, level: str) -> str:
    pod = spec.get("securityContext", {}).get("seccompProfile", {}).get("type")
    kinds = {
        each["name"]: each.get("securityContext", {}).get("seccompProfile", {}).get("type")
        for each in _containers(spec)
    }
    wrong = [name for name, kind in kinds.items() if kind == "Unconfined"]
    if pod == "Unconfined" or wrong:
        where = (["pod"] if pod == "Unconfined" else []) + ([_named(wrong)] if wrong else [])
        return (
            f'seccompProfile ({" and ".join(where)} must not set securityContext.seccompProfile.type to "Unconfined")'
        )
    missing = [name for name, kind in kinds.items() if kind is None]
    if level == "restricted" and pod is None and missing:
        return (
            f"seccompProfile (pod or {_named(missing)} must set securityContext.seccompProfile.type to "
            '"RuntimeDefault" or "Localhost")'
        )
    return ""
