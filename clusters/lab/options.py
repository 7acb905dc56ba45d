"""What one lab is asked to be; plain values that every lab process inherits by fork."""

from __future__ import annotations

from dataclasses import dataclass, field

from clusters.lab.addresses import AddressPlan, plan


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """The lab's settings.

    Attributes:
        nodes: How many nodes, at least one.
        ip_family: `ipv4`, `ipv6` or `dual`.
        mesh: `istio`, or `none`: the API then knows no kind of a mesh, and nothing of it is imported.
        mesh_revisions: Control planes besides the default one, each with an istiod and webhooks of its own.
        mutant: Name of the broken data plane that is switched on, or empty.
        images: Image name → folder (a root file system) or archive (`docker save`, OCI layout) on this machine.
        state: The lab's own directory, on a tmpfs that only the lab sees.
        source: The checkout or installation that holds this package, for pods that run our own code (DNS).
    """

    nodes: int = 2
    ip_family: str = "ipv4"
    mesh: str = "none"
    mesh_revisions: tuple[str, ...] = ()
    mutant: str = ""
    images: dict[str, str] = field(default_factory=dict)
    state: str = "/run/eastwest"
    source: str = ""

    @property
    def plan(self) -> AddressPlan:
        """Who has which addresses."""
        return plan(self.ip_family)
