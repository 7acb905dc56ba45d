"""`istio-init` without a process: the node itself redirects the pod's traffic when this container is run.

What belongs here: the run, its log, its end. What does not: the rules (`clusters.lab.mesh.redirect`).
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from functools import partial

from clusters.lab.mesh import redirect
from clusters.lab.node.logs import Log
from clusters.lab.node.network import PodNetwork
from clusters.lab.node.runtime import Exit, Plan
from clusters.lab.system import KernelError, nft


def is_meant(plan: Plan) -> bool:
    """Whether this run is the node's own work: the proxy's image, asked to redirect."""
    return plan.image.marks and redirect.is_redirection(plan.command)


async def run(plan: Plan, network: PodNetwork, log: Log, threads: Executor, mutant: str = "") -> Exit:
    """Redirect; what is in force, or why it is not, is in the log, which is closed."""
    try:
        wanted = redirect.parse(plan.command[len(redirect.PREFIX) :])
        if mutant:
            from clusters.lab.mesh.mutation import chosen  # no other node needs it

            wanted = chosen(mutant).redirection(wanted)
        script = redirect.script(wanted, network.addresses)
        await asyncio.get_running_loop().run_in_executor(threads, partial(nft, script, netns=network.netns))
    except (redirect.RedirectError, KernelError) as error:
        log.write("stderr", f"{error}\n".encode())
        return Exit(code=1, problem=str(error))
    else:
        log.write("stdout", "".join(f"{line}\n" for line in redirect.words(wanted)).encode())
        return Exit(code=0)
    finally:
        log.close()
