"""Random sets of policies and pods: what a data plane does with them, against what the oracle says. `make agreement`.

By default the lab's data plane is asked on this machine's kernel, 2,000 sets. `--mutants` breaks that data plane in
every known way and says which breakage random sets find. With `--profile` a whole cluster is asked, on real pods. The
same seed makes the same sets. What does not belong here: how any of it is done (`tests/agreement`).

The exit code is 0 where all agree, 1 where something differs, 4 for wrong usage, 10 where it could not be told.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from clusters import profile as profiles
from clusters import providers
from clusters.cluster import Cluster, Options
from clusters.lab import mutants
from flows.errors import HarnessError, UsageError
from tests.agreement.agree import Count, Difference, Found, decisions, hunt, made_up, reduced
from tests.agreement.cluster import Pods
from tests.agreement.kernel import Kernel, kernel
from tests.agreement.scene import Ground, Scene

SETS, CLUSTER_SETS, MUTANT_SETS = 2000, 100, 300
CHUNK: Final = 200
"""Sets that are made up at once; the deadline is looked at between two chunks."""
WORLDS: Final = 3
MOST_REDUCED: Final = 15
"""Smaller scenes that a cluster is asked at most: each one that still differs costs the whole converge-timeout."""


def say(text: str) -> None:
    """A line for the person who waits."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def on_kernel(asker: Kernel, *, sets: int, seed: int, deadline: float) -> int:
    """The lab's data plane, until something differs, enough was asked, or time is up."""
    count, until = Count(), time.monotonic() + deadline
    for chunk in range(-(-sets // CHUNK)):
        if time.monotonic() > until:
            say(f"agreement: {count}; {sets} were wanted within {deadline:g} s (--deadline)")
            return 10
        wanted = min(CHUNK, sets - chunk * CHUNK)
        found = hunt(asker.ground, asker.begin, sets=wanted, seed=seed + chunk, count=count)
        if found:
            return differs(found, count)
        say(f"{count}, no difference so far")
    say(f"agreement: no difference in {count}")
    return 0


def differs(found: Found, count: Count) -> int:
    """Tell a difference; the exit code."""
    say(f"{found.text()}\nagreement: oracle and data plane differ, after {count}")
    return 1


def on_mutants(asker: Kernel, names: Sequence[str], *, sets: int, seed: int) -> int:
    """Each broken data plane in turn: whether so many random sets find it; of those that are named, the example too."""
    wanted = [mutants.get(each) for each in names] or [each for each in mutants.MUTANTS.values() if not each.mesh]
    missed = []
    for mutant in wanted:
        count, ask = Count(), partial(asker.begin, mutant=mutant.name)
        found = hunt(asker.ground, ask, sets=sets, seed=seed, count=count, shrink=bool(names))
        if found is None:
            missed.append(mutant.name)
        say(f"{mutant.name:32} {f'found after {found.after} sets' if found else f'not found in {count.sets} sets'}")
        if found and names:
            say(found.text())
    say(f"agreement: {len(wanted) - len(missed)} of {len(wanted)} mutants found within {sets} sets")
    if missed:
        say(f"not found, left to the suites: {', '.join(missed)}")
    return 0


class OnCluster:
    """Several worlds of real pods side by side, each with its share of the sets."""

    def __init__(self, cluster: Cluster, *, sets: int, seed: int, until: float) -> None:
        self._cluster, self._sets, self._seed, self._until = cluster, sets, seed, until
        self.count, self.found, self.left = Count(), list[Found](), list[str]()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.again = 0

    def run(self, worlds: int) -> None:
        """Ask all sets.

        Raises:
            HarnessError: A world could not be made, or something could not be told.
        """
        began = time.monotonic()
        shares = [self._sets // worlds + (index < self._sets % worlds) for index in range(worlds)]
        with ThreadPoolExecutor(max_workers=worlds) as pool:
            for done in [pool.submit(self._world, index, share) for index, share in enumerate(shares) if share]:
                done.result()
        self.count.seconds = time.monotonic() - began

    def _world(self, index: int, share: int) -> None:
        pods = Pods(self._cluster, f"agreement-{index}")
        try:
            ground = pods.start()
            check = partial(self._check, pods, ground, self._cluster.profile.converge_timeout)
            with self._lock:  # one makes them up at a time
                scenes = made_up(ground, sets=share, seed=self._seed + index)
            for scene in scenes:
                if self._over.is_set() or time.monotonic() > self._until:
                    return
                self._one(scene, ground, check, partial(self._check, pods, ground, self._cluster.profile.patience * 2))
        except BaseException:
            self._over.set()
            raise
        finally:
            self.left += pods.close()

    def _check(self, pods: Pods, ground: Ground, within: float, scene: Scene) -> list[Difference]:
        said = decisions(scene, ground)
        words = pods.check(scene, {flow: each.allowed for flow, each in said.items()}, within)
        return [Difference(flow=flow, decision=said[flow], word=word) for flow, word in words.items()]

    def _one(
        self,
        scene: Scene,
        ground: Ground,
        check: Callable[[Scene], list[Difference]],
        quick: Callable[[Scene], list[Difference]],
    ) -> None:
        try:
            found = check(scene)
        except UsageError:
            raise
        except HarnessError as error:  # silence of a starved agent says nothing; a second time it ends the run
            say(f"asked again: {error.message}")
            self.again += 1
            found = check(scene)
        with self._lock:
            self.count.add(scene, decisions(scene, ground).values())
            if self.count.sets % 10 == 0:
                say(f"{self.count.sets} of {self._sets} sets")
        if found:
            smallest = reduced(scene, lambda each: bool(quick(each)), most=MOST_REDUCED)
            told = check(smallest) or found
            with self._lock:
                self.found.append(Found(scene=smallest, differences=tuple(told), after=self.count.sets))
            say(self.found[-1].text())


def on_cluster(options: argparse.Namespace, *, sets: int, seed: int) -> int:
    """A cluster of the profile; the exit code."""
    given = Options(kubeconfig=options.kubeconfig, context=options.context, mutant=options.mutant)
    provider = providers.make(profiles.load(options.profile), given, secrets.token_hex(3))
    cluster, failed = provider.up(), True
    try:
        asking = OnCluster(cluster, sets=sets, seed=seed, until=time.monotonic() + options.deadline)
        asking.run(options.worlds)
        failed = False
    finally:
        left = provider.down(failed=failed)
    for line in (*asking.left, *left):
        say(f"left behind: {line}")
    if asking.found:
        say(f"agreement: oracle and cluster differ in {len(asking.found)} of {asking.count}")
        return 1
    if asking.count.sets < sets:
        say(f"agreement: {asking.count}; {sets} were wanted within {options.deadline:g} s (--deadline)")
        return 10
    say(f"agreement: no difference in {asking.count}")
    return 12 if asking.left or left else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask what the command line wants; the exit code."""
    parser = argparse.ArgumentParser(prog="make agreement", description="Random policies: a data plane and the oracle.")
    parser.add_argument("--sets", type=int, default=0, help=f"default {SETS}; of a cluster {CLUSTER_SETS}")
    parser.add_argument("--seed", type=int, default=-1, help="the same seed makes the same sets; random by default")
    parser.add_argument("--deadline", type=float, default=900.0, help="seconds in which all of it must be asked")
    parser.add_argument("--mutants", nargs="*", metavar="NAME", help="break the lab's data plane; all by default")
    parser.add_argument("--profile", default="", help="ask a cluster of this profile instead of the kernel alone")
    parser.add_argument("--context", default="", help="of an existing cluster")
    parser.add_argument("--kubeconfig", default="", help="of an existing cluster")
    parser.add_argument("--mutant", default="", help="the broken data plane of a lab that is asked as a cluster")
    parser.add_argument("--worlds", type=int, default=WORLDS, help="worlds side by side in a cluster")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed >= 0 else secrets.randbelow(1 << 31)
    say(f"agreement: seed {seed}")
    try:
        if options.profile:
            return on_cluster(options, sets=options.sets or CLUSTER_SETS, seed=seed)
        with kernel() as asker:
            if options.mutants is not None:
                return on_mutants(asker, options.mutants, sets=options.sets or MUTANT_SETS, seed=seed)
            return on_kernel(asker, sets=options.sets or SETS, seed=seed, deadline=options.deadline)
    except UsageError as error:
        sys.stderr.write(f"agreement: {error.message}\n")
        return 4
    except HarnessError as error:
        sys.stderr.write(f"agreement: {error.message}\n{error.detail}\n")
        return 10


if __name__ == "__main__":
    sys.exit(main())
