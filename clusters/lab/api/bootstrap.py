"""What an API server makes by itself when it starts: the system namespaces and the `kubernetes` Service."""

from __future__ import annotations

from clusters.lab import addresses
from clusters.lab.addresses import AddressPlan
from clusters.lab.api import resources
from clusters.lab.api.operations import Operations, WriteOptions

_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


def bootstrap(operations: Operations, plan: AddressPlan) -> None:
    """Create what is missing; what is there stays as it is."""
    for name in _NAMESPACES:
        if operations.store.get(resources.NAMESPACES.qualified, "", name) is None:
            operations.create(resources.NAMESPACES, "", {"metadata": {"name": name}}, WriteOptions())
    labels = {"component": "apiserver", "provider": "kubernetes"}
    if operations.store.get(resources.SERVICES.qualified, "default", "kubernetes") is None:
        service = {
            "metadata": {"name": "kubernetes", "labels": labels},
            "spec": {
                "clusterIP": plan.api_service[0],
                "clusterIPs": [plan.api_service[0]],
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": addresses.API_PORT}],
            },
        }
        operations.create(resources.SERVICES, "default", service, WriteOptions())
    if operations.store.get(resources.ENDPOINT_SLICES.qualified, "default", "kubernetes") is None:
        address = plan.control_plane[0]
        slices = {
            "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": f"IPv{addresses.version(address)}",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": addresses.API_PORT, "protocol": "TCP"}],
        }
        operations.create(resources.ENDPOINT_SLICES, "default", slices, WriteOptions())
