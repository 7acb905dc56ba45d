"""Profile → provider, with the options that fit it.

What belongs here: the choice, and refusing options that would silently do nothing. What does not: the providers.
"""

from __future__ import annotations

import re
from typing import Final

from clusters.cluster import Options, Provider
from clusters.profile import Profile
from flows.errors import UsageError

_FLAGS: Final = {
    "kubeconfig": "--kubeconfig",
    "context": "--context",
    "namespace": "--namespace",
    "name": "--cluster-name",
    "mutant": "--mutant",
    "kind_bin": "--kind-bin",
    "kubectl_bin": "--kind-kubectl-bin",
    "node_image": "--kind-image",
    "images": "--image",
    "addon_files": "--addon-file",
    "nodes": "--nodes",
}
_FITS: Final = {
    "lab": {"mutant", "images", "nodes"},
    "kind": {"kubeconfig", "name", "kind_bin", "kubectl_bin", "node_image", "images", "addon_files", "nodes"},
    "existing": {"kubeconfig", "context", "namespace"},
}
_KEEPS: Final = {"never", "failed", "always"}


def make(profile: Profile, options: Options, run_id: str) -> Provider:
    """The provider that the profile names; it has done nothing yet.

    Args:
        run_id: Lower-case letters, digits and `-`: it becomes a label and part of names.

    Raises:
        UsageError: An option that this provider does not know, or a value it cannot use; names the option.
    """
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", run_id):
        raise UsageError(f"run id {run_id!r}: use up to 42 lower-case letters, digits and '-'")
    if options.keep not in _KEEPS:
        raise UsageError(f"--keep {options.keep!r}: use one of never, failed, always")
    for field, flag in _FLAGS.items():
        if getattr(options, field) and field not in _FITS[profile.provider]:
            fitting = [name for name, fields in _FITS.items() if field in fields]
            raise UsageError(
                f"{flag} does not fit profile {profile.name!r} (provider {profile.provider}); "
                f"it is for provider {' and '.join(fitting)}"
            )
    if options.nodes < 0 or (options.nodes or profile.nodes) < 1:
        raise UsageError(f"--nodes {options.nodes}: a cluster has at least one node")
    if profile.provider == "kind":
        if options.name and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,48}", options.name):
            raise UsageError(f"--cluster-name {options.name!r}: kind wants up to 49 of a-z, 0-9, '.' and '-'")
        from clusters.kind import KindProvider

        return KindProvider(profile, options, run_id)
    if profile.provider == "existing":
        from clusters.existing import ExistingProvider

        return ExistingProvider(profile, options, run_id)
    from clusters.lab.provider import LabProvider

    return LabProvider(profile, options, run_id)
