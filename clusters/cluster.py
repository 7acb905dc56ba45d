"""The cluster handle: what a test process needs to talk to a cluster that somebody else owns.

What belongs here: plain values that travel to xdist workers as JSON. What does not: creating or deleting.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, cast, runtime_checkable

from clusters.profile import PodTemplate, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster that is up.

    Attributes:
        profile: What it was made from.
        kubeconfig: A kubeconfig's parsed content with exactly one context, certificates inline.
        kubeconfig_file: Where a person finds it (for "the command that repeats it"); empty when there is no file.
        context: The context inside `kubeconfig`.
        run_id: This run's id; it labels every object we create (`eastwest.dev/run`).
        ours: Whether we created the cluster and may therefore write cluster-wide.
        namespace: A namespace we were given to stay inside; empty when we may create our own.
        facts: The fingerprint: Kubernetes version, CNI, nodes, kernel, mutant…, shown in every report.
    """

    profile: Profile
    kubeconfig: dict[str, Any]
    kubeconfig_file: str = ""
    context: str = ""
    run_id: str = ""
    ours: bool = False
    namespace: str = ""
    facts: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Cluster:
        """The handle that `to_json` wrote."""
        data = cast("dict[str, Any]", json.loads(text))
        profile = data.pop("profile")
        pods = PodTemplate(**profile.pop("pods"))
        return Cluster(profile=Profile(**profile, pods=pods), **data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says about the cluster, the same for every provider.

    Attributes:
        keep: `never`, `failed` or `always`: what becomes of a cluster that we created.
        kubeconfig: `--kubeconfig`; context: `--context`; both as kubectl reads them.
        namespace: Stay inside this namespace of an existing cluster.
        mutant: The lab's broken data plane to switch on, or empty.
        images: `NAME=PATH` pairs of the lab; archives for kind.
    """

    keep: str = "never"
    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    name: str = ""
    mutant: str = ""
    kind_bin: str = ""
    kubectl_bin: str = ""
    node_image: str = ""
    images: tuple[str, ...] = ()
    addon_files: tuple[str, ...] = ()
    nodes: int = 0


class Provider(Protocol):
    """Makes or attaches to a cluster; one object a run, used by the owner process only."""

    def up(self) -> Cluster:
        """Bring the cluster up, or raise `PreparationError` with the tool's own words and nothing left behind."""
        ...

    def down(self, *, failed: bool) -> list[str]:
        """Take down what `up` made, obeying `Options.keep`; returns a line for everything that stays behind."""
        ...


@runtime_checkable
class Interruptible(Protocol):
    """A provider whose `up` may run in another thread than the one that Ctrl-C and SIGTERM reach."""

    def cancel(self) -> None:
        """End a running `up`: it stops its tools, deletes what it made and raises. Returns without waiting for that."""
        ...


KEPT = "kept: "
"""Prefix of the lines of `Provider.down` that name what was kept on request (it does not count as left behind)."""
