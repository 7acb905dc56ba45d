"""The loops that real clusters run in kube-controller-manager and kube-scheduler, as ordinary clients of the API.

Start with `hub` (shared caches and work queues), then the controllers, one module each: `scheduler`, `endpoints`,
`namespaces`, `accounts`, `garbage`, `bootstrap`, and `mesh_bootstrap` where there is a mesh. What belongs here: what
the control plane does. What does not: anything a node does.
"""

from __future__ import annotations

import asyncio

from clusters.lab.client import Client
from clusters.lab.controllers.accounts import Accounts
from clusters.lab.controllers.bootstrap import Bootstrap
from clusters.lab.controllers.endpoints import Endpoints
from clusters.lab.controllers.garbage import Garbage
from clusters.lab.controllers.hub import Hub
from clusters.lab.controllers.namespaces import Namespaces
from clusters.lab.controllers.scheduler import Scheduler
from clusters.lab.options import LabOptions


async def run(client: Client, options: LabOptions, *, ca_pem: str) -> None:
    """Run every controller until cancelled; a fault of one ends all.

    Args:
        client: Whose token may do everything.
        options: Which mesh there is.
        ca_pem: The authority that pods trust, for `kube-root-ca.crt`.
    """
    hub = Hub(client)
    controllers = (
        Bootstrap(hub, options.plan),
        Accounts(hub, ca_pem),
        Scheduler(hub),
        Endpoints(hub),
        Namespaces(hub),
        Garbage(hub),
    )
    async with asyncio.TaskGroup() as group:
        for each in controllers:
            group.create_task(each.run())
        if options.mesh == "istio":
            from clusters.lab.controllers.mesh_bootstrap import (
                MeshBootstrap,
            )  # a lab without a mesh pays nothing for it

            group.create_task(MeshBootstrap(hub, options.mesh_revisions, options.mutant).run())
        group.create_task(hub.run())


__all__ = ["run"]
