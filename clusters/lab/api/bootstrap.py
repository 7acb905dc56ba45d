"""What an API server makes by itself when it starts: the system namespaces and the `kubernetes` Service."""

from __future__ import annotations

from clusters.lab import addresses
from clusters.lab.api import resources
from clusters.lab.api.operations import Operations, WriteOptions

_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


def bootstrap(operations: Operations) -> None:
    """Create what is missing; what is there stays as it is."""
    for name in _NAMESPACES:
        if operations.store.get(resources.NAMESPACES.qualified, "", name) is None:
            operations.create(resources.NAMESPACES, "", {"metadata": {"name": name}}, WriteOptions())
    labels = {"component": "apiserver", "provider": "kubernetes"}
    if operations.store.get(resources.SERVICES.qualified, "default", "kubernetes") is None:
        service = {
            "metadata": {"name": "kubernetes", "labels": labels},
            "spec": {
                "clusterIP": addresses.API_SERVICE[0],
                "clusterIPs": addresses.API_SERVICE,
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": addresses.API_PORT}],
            },
        }
        operations.create(resources.SERVICES, "default", service, WriteOptions())
    for address in addresses.CONTROL_PLANE:
        family = "IPv6" if ":" in address else "IPv4"
        name = "kubernetes" if address == addresses.CONTROL_PLANE[0] else f"kubernetes-{family.lower()}"
        if operations.store.get(resources.ENDPOINT_SLICES.qualified, "default", name) is None:
            slices = {
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "kubernetes"}},
                "addressType": family,
                "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
                "ports": [{"name": "https", "port": addresses.API_PORT, "protocol": "TCP"}],
            }
            operations.create(resources.ENDPOINT_SLICES, "default", slices, WriteOptions())
