"""The provider for kind clusters: made for the run by pytest-kind's `KindCluster`, and deleted after it.

What belongs here: the cluster's life. What does not: add-ons, the container engine, pytest-kind itself
(`kind_driver` calls it in a process of its own, where a deadline and Ctrl-C can end it).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml

from clusters.addons import calico, istio
from clusters.cluster import KEPT, Cluster, Options
from clusters.command import Cancel, CommandError, Deadline, find, run, shielded
from clusters.engine import Engine
from clusters.existing import guess_cni, node_facts
from clusters.kube import Kube, KubeTimeoutError
from clusters.mesh import dialects
from clusters.profile import Profile
from flows.errors import HarnessError, PreparationError, UsageError

SUBNETS: Final = {
    "ipv4": ("10.244.0.0/16", "10.96.0.0/16"),
    "ipv6": ("fd00:10:244::/56", "fd00:10:96::/112"),
    "dual": ("10.244.0.0/16,fd00:10:244::/56", "10.96.0.0/16,fd00:10:96::/112"),
}
"""The ranges of pods and of Services, by `ip_family`."""
QUICK: Final = 30.0
"""Seconds for what kind answers from memory: `get clusters`, `get kubeconfig`."""
DELETE_TIMEOUT: Final = 60.0
"""Seconds for one `kind delete`; it takes two to five."""
DELETE_TRIES: Final = 3
_DRIVER: Final = Path(__file__).with_name("kind_driver.py")
_TAKEN: Final = "already exist for a cluster with the name"
"""kind's words when the name belongs to somebody else's cluster, which is then not ours to delete."""


def cache() -> Path:
    """Where downloads and the kubeconfigs of clusters are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "eastwest"


class KindProvider:
    """One kind cluster for one run. See `clusters.cluster.Provider`."""

    def __init__(self, profile: Profile, options: Options, run_id: str) -> None:
        self._profile = replace(profile, nodes=options.nodes or profile.nodes)
        self._options, self._run_id = options, run_id
        self._name = options.name or f"eastwest-{run_id}".lower()
        given = Path(options.kubeconfig).expanduser().absolute() if options.kubeconfig else None
        self._kubeconfig = given or cache() / "clusters" / f"{self._name}.kubeconfig"
        self._kind = self._kubectl = ""
        self._engine: Engine | None = None
        self._istio: istio.Setup | None = None
        self._made = False
        self._cancel = Cancel()

    def cancel(self) -> None:
        """End an `up` that runs in another thread; it cleans up and raises. See `clusters.cluster.Interruptible`."""
        self._cancel.cancel()

    def up(self) -> Cluster:
        """A new cluster with its add-ons, nodes ready, DNS available; on failure, Ctrl-C or SIGTERM nothing is left.

        Raises:
            UsageError: pytest-kind is missing, the name is taken, an image archive or a manifest cannot be read.
            PreparationError: A tool is missing or failed, or the cluster was not ready in time.
        """
        deadline = Deadline(self._profile.up_timeout)
        manifest = self._prepare()
        try:
            cluster = self._create(deadline)
            self._load_images(deadline)
            kube = Kube(cluster)
            try:
                if manifest is not None:
                    calico.install(
                        manifest,
                        kube,
                        kubectl=self._kubectl,
                        kubeconfig=self._kubeconfig,
                        deadline=deadline,
                        cancel=self._cancel,
                        ip_family=self._profile.ip_family,
                    )
                self._await_ready(kube, deadline)
                if self._istio is not None:
                    istio.install(
                        self._istio, kube, kubeconfig=self._kubeconfig, deadline=deadline, cancel=self._cancel
                    )
                return replace(cluster, facts=self._facts(kube, manifest))
            finally:
                kube.close()
        except BaseException as error:
            left = self._delete()
            if isinstance(error, HarnessError) and left:
                said = "\n".join([error.detail, *left])
                raise PreparationError(error.message, detail=said) from error
            raise

    def down(self, *, failed: bool) -> list[str]:
        """Delete the cluster, or keep it as `Options.keep` says; the lines tell how to look inside and to delete it."""
        if not self._made:
            return []
        if self._options.keep == "always" or (self._options.keep == "failed" and failed):
            file = shlex.quote(str(self._kubeconfig))
            return [
                f"{KEPT}kind cluster {self._name}",
                f"{KEPT}look inside: kubectl --kubeconfig {file} get pods -A",
                f"{KEPT}delete it:   kind delete cluster --name {self._name} --kubeconfig {file}",
            ]
        return self._delete()

    def _prepare(self) -> calico.Manifest | None:
        """Everything that can be found wanting before minutes are spent; Calico's manifest where it is asked for."""
        if importlib.util.find_spec("pytest_kind") is None:
            raise UsageError("profile provider 'kind' needs pytest-kind: pip install 'eastwest[kind]'")
        unknown = sorted(set(self._profile.addons) - {"calico", "istio"})
        if unknown:
            raise UsageError(
                f"profile {self._profile.name}: unknown add-on 'addons.{unknown[0]}'; there are: calico, istio"
            )
        self._find_tools()
        for archive in self._archives():
            if not os.access(archive, os.R_OK):
                raise UsageError(f"image archive {archive}: cannot be read; give a file that `docker save` wrote")
        settings = self._profile.addons.get("calico")
        manifest = None
        files = dict(pair.partition("=")[::2] for pair in self._options.addon_files)
        if settings is not None:
            manifest = calico.prepare(settings, given=files.get("calico", ""), cache=cache())
        mesh = self._profile.addons.get("istio")
        if mesh is not None:
            self._istio = istio.prepare(mesh, given=files.get("istio", ""))
        self._engine = Engine()
        taken = run([self._kind, "get", "clusters"], what="list kind clusters", timeout=QUICK).split()
        if self._name in taken or self._engine.containers(self._name):
            raise UsageError(
                f"--cluster-name {self._name}: taken by a cluster that this run did not make; choose another",
                detail=f"or delete it: kind delete cluster --name {self._name}",
            )
        return manifest

    def _find_tools(self) -> None:
        self._kind = find(
            "kind", self._options.kind_bin, "--kind-bin", "install it (kind.sigs.k8s.io) or name it with --kind-bin"
        )
        self._kubectl = find(
            "kubectl", self._options.kubectl_bin, "--kind-kubectl-bin", "install it or name it with --kind-kubectl-bin"
        )

    def adopt(self) -> None:
        """Take over the cluster of this name that an earlier run of ours kept, so that `down` deletes it.

        Raises:
            UsageError: No run of ours kept a cluster of this name; names those there are.
        """
        if not self._kubeconfig.is_file():
            known = sorted(each.stem for each in self._kubeconfig.parent.glob("*.kubeconfig"))
            hint = f"there are {', '.join(known)}" if known else "there is none"
            raise UsageError(f"cluster {self._name!r}: not one that eastwest keeps; {hint}")
        self._find_tools()
        self._engine = Engine()
        self._made = True

    def _archives(self) -> list[str]:
        listed = os.environ.get("EASTWEST_IMAGES", "").split(os.pathsep)
        wanted = [*self._options.images, *(each for each in listed if each), *self._profile.images]
        return list(dict.fromkeys(str(Path(each).expanduser().absolute()) for each in wanted))

    def _node_image(self) -> str:
        version = self._profile.kubernetes.removeprefix("v")
        return (
            self._options.node_image
            or os.environ.get("EASTWEST_NODE_IMAGE", "")
            or self._profile.node_image
            or (f"kindest/node:v{version}" if version else "")
        )

    def _create(self, deadline: Deadline) -> Cluster:
        self._kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        self._made = True
        try:
            with tempfile.TemporaryDirectory(prefix="eastwest-kind-") as folder:
                config = Path(folder, "kind.yaml")
                config.write_text(yaml.safe_dump(kind_config(self._profile), sort_keys=False), encoding="utf-8")
                self._drive("create", Path(folder), timeout=deadline.left(), config=str(config), cancel=self._cancel)
        except CommandError as error:
            if _TAKEN in error.output:
                self._made = False
                raise UsageError(
                    f"--cluster-name {self._name}: taken by a cluster that this run did not make; choose another"
                ) from error
            raise PreparationError(_reason(error), detail=error.detail) from error
        command = [self._kind, "get", "kubeconfig", "--name", self._name]
        content: dict[str, Any] = yaml.safe_load(run(command, what="read the cluster's kubeconfig", timeout=QUICK))
        return Cluster(
            profile=self._profile,
            kubeconfig=content,
            kubeconfig_file=str(self._kubeconfig),
            context=str(content["current-context"]),
            run_id=self._run_id,
            ours=True,
            namespace=self._options.namespace,
        )

    def _drive(
        self, step: str, folder: Path, *, timeout: float, config: str = "", cancel: Cancel | None = None
    ) -> None:
        given = {
            "name": self._name,
            "kubeconfig": str(self._kubeconfig),
            "image": self._node_image(),
            "kind": self._kind,
            "kubectl": self._kubectl,
            "config": config,
        }
        # KindCluster writes into the current folder: that one goes with everything in it.
        run(
            [sys.executable, "-P", str(_DRIVER), step],
            what=f"{step} kind cluster {self._name}",
            timeout=timeout,
            stdin=json.dumps(given),
            cwd=folder,
            cancel=cancel,
        )

    def _load_images(self, deadline: Deadline) -> None:
        archives = self._archives()
        if archives:
            command = [self._kind, "load", "image-archive", "--name", self._name, *archives]
            run(command, what="load the image archives into the nodes", timeout=deadline.left(), cancel=self._cancel)

    def _await_ready(self, kube: Kube, deadline: Deadline) -> None:
        def nodes(found: list[dict[str, Any]]) -> bool:
            return len(found) == self._profile.nodes and all(_condition(each, "Ready") for each in found)

        def dns(found: list[dict[str, Any]]) -> bool:
            return bool(found) and all(_condition(each, "Available") for each in found)

        for api_version, kind, namespace, labels, until, what in (
            ("v1", "Node", "", "", nodes, f"{self._profile.nodes} nodes ready"),
            ("apps/v1", "Deployment", "kube-system", "k8s-app=kube-dns", dns, "cluster DNS available"),
        ):
            try:
                kube.wait(
                    api_version,
                    kind,
                    namespace,
                    until,
                    what=what,
                    timeout=deadline.left(),
                    labels=labels,
                    abort=self._cancel.check,
                )
            except KubeTimeoutError as error:
                raise PreparationError(
                    f"kind cluster {self._name}: {what}: not within {deadline.seconds:.0f} s", detail=error.detail
                ) from error

    def _facts(self, kube: Kube, manifest: calico.Manifest | None) -> dict[str, str]:
        facts = {"kubernetes": kube.version(), **node_facts(kube), "cni": guess_cni(kube) or "unknown"}
        facts |= dialects.facts(kube)
        facts["node-image"] = self._node_image() or "kind's own default"
        if manifest is not None:
            facts["calico-manifest"] = f"{manifest.source} sha256:{manifest.sha256[:16]}"
        return facts

    def _delete(self) -> list[str]:
        """Delete what was made, again if need be; a line for everything that stays. Ctrl-C waits until it is done."""
        if not self._made or self._engine is None:
            return []
        words, left = "", [self._name]
        with shielded():
            for _ in range(DELETE_TRIES):
                try:
                    with self._engine.thawing(self._name):
                        self._kind_delete()
                except CommandError as error:
                    words = _reason(error)
                if self._left():
                    with contextlib.suppress(CommandError):
                        self._engine.remove(self._name)
                left = self._left()
                if not left:
                    self._made = False
                    if not self._options.kubeconfig:
                        self._kubeconfig.unlink(missing_ok=True)
                    return []
        again = f"{self._engine.name} rm --force --volumes {' '.join(left)}"
        return [f"kind cluster {self._name}: {', '.join(left)} still there ({words}); later: {again}"]

    def _kind_delete(self) -> None:
        with tempfile.TemporaryDirectory(prefix="eastwest-kind-") as folder:
            self._drive("delete", Path(folder), timeout=DELETE_TIMEOUT)

    def _left(self) -> list[str]:
        """The cluster's containers that are still there; the cluster's own name when the engine does not answer."""
        assert self._engine is not None
        try:
            return list(self._engine.containers(self._name))
        except CommandError:
            return [self._name]


def kind_config(profile: Profile) -> dict[str, Any]:
    """Kind's own configuration: nodes that all take pods, and no default CNI where the profile names another."""
    untainted = {"kind": "InitConfiguration", "nodeRegistration": {"taints": []}}
    first = {"role": "control-plane", "kubeadmConfigPatches": [yaml.safe_dump(untainted)]}
    pods, services = SUBNETS[profile.ip_family]
    networking: dict[str, Any] = {"ipFamily": profile.ip_family, "podSubnet": pods, "serviceSubnet": services}
    if profile.cni not in {"", "kindnet"}:
        networking["disableDefaultCNI"] = True
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": networking,
        "nodes": [first, *({"role": "worker"} for _ in range(profile.nodes - 1))],
    }


def _condition(obj: dict[str, Any], kind: str) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)


def _reason(error: CommandError) -> str:
    """Kind's own reason in the first line, not the last line of pytest-kind's traceback."""
    said = [line.strip() for line in error.output.splitlines() if line.startswith("ERROR: ")]
    return f"kind: {said[-1].removeprefix('ERROR: ')}" if said else error.message
