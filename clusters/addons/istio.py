"""Istio by its own `istioctl`: one revision or several side by side, waited for until a meshed pod is really served.

What belongs here: installing, proving and removing. What does not: what a mesh is (`clusters.mesh`), making clusters.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from clusters.command import Cancel, CommandError, Deadline, find, run
from clusters.kube import Kube, KubeError, KubeTimeoutError
from clusters.mesh.istio import admin, injection
from clusters.mesh.istio.words import CONTROL_PLANE, DEFAULT, INJECTION, REVISION, ROOT_NAMESPACE, SECURITY
from clusters.resources import summary
from flows.errors import HarnessError, PreparationError, UsageError

VARIABLE: Final = "EASTWEST_ISTIO_VALUES"
_KNOWN: Final = ("istioctl", "revision", "revisions", "values", "version")
_REVISION: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,55}[a-z0-9])?")
_QUICK: Final = 30.0
"""Seconds for what istioctl answers without a cluster."""
_REMOVE: Final = 120.0
CHECK: Final = "eastwest-mesh-check"
"""How the namespace of the throwaway pods begins."""
_PORT: Final = 8080
_CALL: Final = """
import json, time, urllib.request
last, end = "nothing", time.monotonic() + {seconds}
while time.monotonic() < end:
    try:
        with urllib.request.urlopen("{url}", timeout=2) as answer:
            print(json.dumps({{"status": answer.status, "server": answer.headers["server"]}}))
            break
    except OSError as error:
        last = str(error)
        time.sleep(0.1)
else:
    raise SystemExit("no answer: " + last)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is to be installed, checked on this machine.

    Attributes:
        version: Of istioctl, which brings its control plane.
        revisions: In order; the first one serves namespaces without a revision of their own.
        values: An IstioOperator file for every revision, or None.
    """

    istioctl: str
    version: str
    revisions: tuple[str, ...] = (DEFAULT,)
    values: Path | None = None


def prepare(settings: Mapping[str, object], *, given: str = "") -> Setup:
    """The tool and its settings, checked, before any cluster is made.

    Args:
        settings: The profile's `addons.istio`: istioctl, version, revision or revisions, values.
        given: A file with values from the command line; it and the environment's go before the profile's.

    Raises:
        UsageError: An unknown setting, a version that istioctl has not, a file that cannot be read.
        PreparationError: istioctl is missing or does not answer.
    """
    unknown = sorted(set(settings) - set(_KNOWN))
    if unknown:
        raise UsageError(f"profile: unknown field 'addons.istio.{unknown[0]}'; known fields: {', '.join(_KNOWN)}")
    istioctl = find(
        "istioctl",
        str(settings.get("istioctl") or ""),
        "addons.istio.istioctl",
        "install it from Istio's releases and put it on PATH, or name it with addons.istio.istioctl",
    )
    version = client_version(istioctl)
    wanted = str(settings.get("version") or "")
    if wanted and wanted != version:
        raise UsageError(
            f"addons.istio.version is {wanted}, and {istioctl} is {version}; give the istioctl of {wanted}"
        )
    named = given or os.environ.get(VARIABLE, "") or str(settings.get("values") or "")
    values = Path(named).expanduser().absolute() if named else None
    if values is not None and not os.access(values, os.R_OK):
        raise UsageError(f"Istio's values {values}: cannot be read; give a readable IstioOperator file")
    return Setup(istioctl=istioctl, version=version, revisions=_revisions(settings), values=values)


def client_version(istioctl: str) -> str:
    """The version that istioctl itself is of.

    Raises:
        CommandError: It does not answer.
    """
    said = run(
        [istioctl, "version", "--remote=false", "-o", "json"], what="ask istioctl for its version", timeout=_QUICK
    )
    try:
        return str(json.loads(said)["clientVersion"]["version"])
    except (ValueError, KeyError, TypeError):
        raise PreparationError(f"{istioctl}: its version cannot be read; is it Istio's?", detail=said) from None


def _revisions(settings: Mapping[str, object]) -> tuple[str, ...]:
    """The revisions from a list or from text with commas; `revision` is the short form for one."""
    single, several = settings.get("revision"), settings.get("revisions")
    if single and several:
        raise UsageError("profile: addons.istio has both 'revision' and 'revisions'; give one")
    several = several or single or DEFAULT
    names = several if isinstance(several, list) else str(several).split(",")
    found = tuple(str(name).strip() for name in names)
    for name in found:
        if not _REVISION.fullmatch(name):
            raise UsageError(f"addons.istio: revision {name!r} is no name; use a-z, 0-9 and '-', such as '1-31-0'")
    if len(set(found)) != len(found):
        raise UsageError(f"addons.istio.revisions: {', '.join(found)} names one twice")
    return found


def install(setup: Setup, kube: Kube, *, kubeconfig: Path, deadline: Deadline, cancel: Cancel) -> None:
    """Install every revision; returns once a pod meshed by each has answered through both proxies.

    Raises:
        PreparationError: istioctl failed, or no meshed pod was served in time; with istioctl's words and the events.
    """
    for revision in setup.revisions:
        command = [setup.istioctl, "install", "-y", "--kubeconfig", str(kubeconfig)]
        command += ["--readiness-timeout", f"{max(deadline.left(), 1):.0f}s"]
        command += ["-f", str(setup.values)] if setup.values else []
        command += ["--revision", revision] if revision != DEFAULT else []
        try:
            run(command, what=f"install Istio {setup.version}", timeout=deadline.left(), cancel=cancel)
        except CommandError as error:
            state = _state(kube, ROOT_NAMESPACE, CONTROL_PLANE)
            raise PreparationError(_reason(error), detail=f"{error.detail}\n{state}") from error
    for revision in setup.revisions:
        prove(kube, revision, image=kube.cluster.profile.pods.image, deadline=deadline, cancel=cancel)


def remove(setup: Setup, *, kubeconfig: Path, revision: str = "") -> None:
    """Uninstall one revision, or everything of Istio that istioctl installed.

    Raises:
        CommandError: istioctl failed; with its own words.
    """
    which = ["--revision", revision] if revision else ["--purge"]
    command = [setup.istioctl, "uninstall", "-y", *which, "--kubeconfig", str(kubeconfig)]
    run(command, what="remove Istio", timeout=_REMOVE)


def prove(kube: Kube, revision: str, *, image: str, deadline: Deadline, cancel: Cancel) -> None:
    """Return once a throwaway pod has answered another through both proxies, in strict mTLS; both are removed.

    Raises:
        PreparationError: It did not come to that in time; with the reason, the pods' state and events.
    """
    namespace = f"{CHECK}-{kube.cluster.run_id}-{revision}"[:63].rstrip("-")
    labels = {INJECTION: "enabled"} if revision == DEFAULT else {REVISION: revision}
    around = kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    try:
        for obj in _pair(namespace, image):
            kube.create(obj)
        pods = kube.wait(
            "v1",
            "Pod",
            namespace,
            lambda found: len(found) == 2 and all(_running(each) for each in found),
            what=f"two pods with proxies ready in {namespace}",
            timeout=deadline.left(),
            abort=cancel.check,
        )
        for pod in pods:
            seen = injection.injection(kube, pod, around)
            if seen.form == "none":
                raise PreparationError(f"Istio revision {revision} injects nothing: {seen.reason}")
        seconds = max(deadline.left() - 1, 1)
        call = _CALL.format(url=f"http://server.{namespace}.svc:{_PORT}/", seconds=f"{seconds:.0f}")
        admin.execute(kube, namespace, "caller", "app", ["python3", "-c", call], timeout=deadline.left())
    except PreparationError as error:
        raise PreparationError(error.message, detail=f"{error.detail}\n{_state(kube, namespace)}".strip()) from error
    except KubeTimeoutError as error:
        raise PreparationError(
            f"Istio serves no meshed pod within {deadline.seconds:.0f} s; can the nodes get its images?",
            detail=f"{error.detail}\n{_state(kube, namespace)}",
        ) from error
    except HarnessError as error:
        raise PreparationError(
            f"Istio serves no meshed pod: {error.message}"[:200], detail=f"{error.detail}\n{_state(kube, namespace)}"
        ) from error
    finally:
        kube.delete("v1", "Namespace", namespace)
    _await_gone(kube, namespace, deadline, cancel)


def _await_gone(kube: Kube, namespace: str, deadline: Deadline, cancel: Cancel) -> None:
    try:
        kube.wait(
            "v1",
            "Namespace",
            "",
            lambda found: not found,
            what=f"namespace {namespace} gone",
            timeout=deadline.left(),
            labels=f"kubernetes.io/metadata.name={namespace}",
            abort=cancel.check,
        )
    except KubeTimeoutError as error:
        raise PreparationError(f"namespace {namespace} does not go away; delete it", detail=error.detail) from error


def _running(pod: dict[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _pair(namespace: str, image: str) -> list[dict[str, Any]]:
    """Strict mTLS, a server with its Service, and a caller: an answer proves the proxies of both."""
    serve = ["python3", "-m", "http.server", str(_PORT)]
    wait = ["python3", "-c", "import signal; signal.pause()"]
    strict = {"mtls": {"mode": "STRICT"}}
    objects: list[dict[str, Any]] = [
        {"apiVersion": SECURITY, "kind": "PeerAuthentication", "metadata": {"name": "default"}, "spec": strict},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server"},
            "spec": {"selector": {"app": "server"}, "ports": [{"name": "http", "port": _PORT}]},
        },
        _pod("server", image, serve, ports=[{"name": "http", "containerPort": _PORT}]),
        _pod("caller", image, wait),
    ]
    for obj in objects:
        obj["metadata"]["namespace"] = namespace
    return objects


def _pod(name: str, image: str, command: list[str], **container: object) -> dict[str, Any]:
    app = {"name": "app", "image": image, "imagePullPolicy": "IfNotPresent", "command": command, **container}
    spec = {"containers": [app], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def _state(kube: Kube, namespace: str, labels: str = "") -> str:
    """The pods' state and the last events, as far as they can be asked."""
    try:
        pods = summary(kube.list("v1", "Pod", namespace, labels))
        events = [f"{each.get('reason')}: {each.get('message')}" for each in kube.events(namespace)[-8:]]
    except KubeError as error:
        return error.message
    return "\n".join([pods, *events])


def _reason(error: CommandError) -> str:
    """The tool's own reason in the first line, without the usage text that may follow it."""
    said = [line.strip() for line in error.output.splitlines() if line.strip().startswith("Error: ")]
    return f"istioctl: {said[-1].removeprefix('Error: ')}"[:200] if said else error.message
