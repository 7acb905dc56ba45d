"""The workloads of worlds that the usual one does not do for: with node ports, in the node's network, that ping."""

from __future__ import annotations

from dataclasses import replace

from fixtures.workloads import CALLER, HOST_PORTS, INTRUDER, PEER, PORTS, SCRAPER, SERVER, Spec

WITH_NODE_PORTS = (
    CALLER,
    replace(SERVER, node_port="Cluster"),
    replace(PEER, node_port="Local"),
    INTRUDER,
    SCRAPER,
)
"""The server has `externalTrafficPolicy: Cluster`, the peer next to it `Local`."""
NEAR = Spec(name="near", labels=CALLER.labels, slot=SERVER.slot, ports=dict(HOST_PORTS), host_network=True)
FAR = Spec(name="far", labels=CALLER.labels, slot=CALLER.slot, ports=dict(HOST_PORTS), host_network=True)
STRANGER = Spec(
    name="stranger", labels={"app": "stranger"}, slot=CALLER.slot, ports={"http": (28180, "TCP")}, host_network=True
)
WITH_HOSTS = (CALLER, SERVER, PEER, INTRUDER, SCRAPER, NEAR, FAR, STRANGER)
"""Near and far, in the networks of the server's node and of the other one, bear the caller's labels; the stranger of
the far node bears none that a policy names."""
SCTP_PORT = 8132
WITH_PROTOCOLS = tuple(
    replace(spec, pings=True, ports={**PORTS, "signalling": (SCTP_PORT, "SCTP")})
    for spec in (CALLER, SERVER, PEER, INTRUDER, SCRAPER)
)
"""They may ping, and they listen on SCTP where their kernel has it."""
