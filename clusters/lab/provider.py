"""The lab as a provider: up within the profile's time, down with nothing left, or kept as a lab of its own.

What belongs here: the run's view of one lab. What does not: processes (`handle`), the command line (`commands`).
"""

from __future__ import annotations

from clusters import cluster
from clusters.cluster import Cluster, Options
from clusters.lab import record
from clusters.lab.handle import Lab
from clusters.lab.options import LabOptions
from clusters.lab.wishes import lab_options
from clusters.profile import Profile
from flows.errors import HarnessError


class LabProvider:
    """Implements `clusters.cluster.Provider`; works from any thread of the owner.

    Args:
        profile: What kind of lab.
        options: What the command line says.
        run_id: This run's id.
    """

    def __init__(self, profile: Profile, options: Options, run_id: str) -> None:
        self._profile, self._options, self._run_id = profile, options, run_id
        self._lab: Lab | None = None

    def up(self) -> Cluster:
        """A lab that is ready.

        Raises:
            PreparationError: It did not become ready; with the supervisor's last words and nothing left behind.
        """
        record.clear_stale()
        wanted = lab_options(
            nodes=self._options.nodes or self._profile.nodes,
            ip_family=self._profile.ip_family,
            mutant=self._options.mutant,
            images=(*self._profile.images, *self._options.images),
            mesh=self._profile.mesh,
            mesh_revisions=self._profile.mesh_revisions,
        )
        lab = Lab.start(wanted, timeout=self._profile.up_timeout)
        self._lab = lab
        return Cluster(
            profile=self._profile,
            kubeconfig=lab.ready.kubeconfig,
            kubeconfig_file=lab.ready.record,
            context=str(lab.ready.kubeconfig["current-context"]),
            run_id=self._run_id,
            ours=True,
            facts={**lab.ready.facts, **_mesh(wanted), "profile": self._profile.name},
        )

    def down(self, *, failed: bool) -> list[str]:
        """End the lab, or detach it where `keep` says so; a line for everything that stays behind."""
        lab, self._lab = self._lab, None
        if lab is None:
            return []
        keep = self._options.keep == "always" or (failed and self._options.keep == "failed")
        if not keep:
            return lab.end()
        try:
            lab.detach()
        except HarnessError as error:
            return [*lab.end(), f"lab {lab.id} was to be kept, but: {error.message}"]
        look = f"kubectl --kubeconfig {lab.ready.record} get pods -A"
        return [f"{cluster.KEPT}lab {lab.id}; look inside: `{look}`; end it: `eastwest lab down {lab.id}`"]


def _mesh(options: LabOptions) -> dict[str, str]:
    """The mesh in the words that `clusters.mesh.dialect.MeshFacts` has for real ones."""
    if options.mesh == "none":
        return {"mesh": "none"}
    from clusters.lab.mesh.template import VERSION  # only labs with a mesh pay for it

    revisions = ", ".join(f"{name} ({VERSION})" for name in ("default", *options.mesh_revisions))
    return {"mesh": options.mesh, "mesh-version": VERSION, "mesh-revisions": revisions}
