"""`eastwest matrix` as a plain function: from what was typed to what was measured.

What belongs here: which cluster and which namespaces. What does not: the options' parser, and what is shown
(`reports.reach`).
"""

from __future__ import annotations

from clusters import profile as profiles
from clusters.cluster import Cluster
from clusters.kube import Kube
from clusters.kubeconfig import pick, read
from clusters.reach import census
from clusters.reach.measure import Reach, Wanted, measure
from flows.errors import UsageError


def matrix(
    *,
    kubeconfig: str = "",
    context: str = "",
    namespaces: tuple[str, ...] = (),
    everywhere: bool = False,
    ports: tuple[str, ...] = (),
    every_pod: bool = False,
    deny_timeout: float = 3.0,
    within: float = 300.0,
) -> Reach:
    """Measure who reaches whom in the named context; without namespaces in the context's own, as kubectl has it.

    Raises:
        UsageError: No context is named, or what was typed contradicts itself or names what is not there.
        HarnessError: As `measure`.
    """
    if everywhere and namespaces:
        raise UsageError("-A and -n: give one of them")
    if deny_timeout > within:
        raise UsageError(f"--timeout {within:g} is less than --deny-timeout {deny_timeout:g}; give more")
    further = tuple(census.port(each) for each in ports)
    picked = pick(read(kubeconfig), context)
    own = str(picked["contexts"][0]["context"].get("namespace") or "default")
    wanted = Wanted(
        namespaces=() if everywhere else namespaces or (own,),
        ports=further,
        every_pod=every_pod,
        deny_timeout=deny_timeout,
        within=within,
    )
    cluster = Cluster(profile=profiles.load("existing"), kubeconfig=picked, context=context, run_id="matrix")
    kube = Kube(cluster)
    try:
        facts = {"context": context, "server": str(picked["clusters"][0]["cluster"].get("server", ""))}
        return measure(kube, wanted, facts)
    finally:
        kube.close()
