"""How a container is run: its command, environment, user and mounts, from the pod's words and what they refer to.

What belongs here: looking up and computing. What does not: waiting until it can be (`containers`), running (`runtime`).
"""

from __future__ import annotations

import secrets

from clusters.lab.client import Object
from clusters.lab.node import images, mounts
from clusters.lab.node.context import PodContext
from clusters.lab.node.environment import ConfigError, environment, expand, references
from clusters.lab.node.runtime import Plan
from clusters.lab.node.volumes import text_of


async def compute(context: PodContext, spec: Object, name: str, image: images.Image) -> Plan:
    """How to run it now; makes the run's own folder.

    Raises:
        ConfigError: It refers to something that is not there, or asks for what the lab does not give.
        ImageError: The image's user is not in its passwd.
        ApiError: The API server could not be asked.
    """
    pod = context.pod
    namespace = pod["metadata"]["namespace"]
    sources: dict[tuple[str, str], Object | None] = {}
    for kind, referred in references(spec):
        found = await context.node.fetch(kind, namespace, referred)
        sources[kind, referred] = None if found is None else text_of(kind, found)
    uid, gid, home = _user(image, pod, spec)
    if image.marks:
        uid = gid = 0
    base = {**image.environment, "HOSTNAME": mounts.hostname(pod)}
    if home:
        base.setdefault("HOME", home)
    node_addresses = context.node.addresses
    variables = environment(
        pod,
        spec,
        base,
        sources,
        pod_addresses=context.addresses,
        node_addresses=node_addresses,
        api_service=context.node.options.plan.api_service[0],
    )
    command = [expand(str(each), variables) for each in spec.get("command") or []]
    args = [expand(str(each), variables) for each in spec.get("args") or []]
    if not command:
        command = list(image.entrypoint)
        args = args or list(image.command)
    if not command + args:
        raise ConfigError(f'image "{image.name}" names no command; set command')
    if context.volumes is None:
        raise ConfigError("the pod's volumes are not ready")
    security = spec.get("securityContext") or {}
    read_only = bool(security.get("readOnlyRootFilesystem"))
    adds = (security.get("capabilities") or {}).get("add") or []
    identifier = secrets.token_hex(32)
    folder = context.folder / "containers" / name / identifier[:12]
    folder.mkdir(parents=True)
    return Plan(
        identifier=identifier,
        image=image,
        command=command + args,
        environment=variables,
        uid=uid,
        gid=gid,
        directory=str(spec.get("workingDir") or image.directory or "/"),
        hostname=mounts.hostname(pod),
        folder=folder,
        read_only_root=read_only,
        raw=uid == 0 and "NET_RAW" in adds,  # as anywhere, nobody but root has what is only added
        mounts=mounts.mounts(spec, context.folder, context.volumes, variables, read_only_root=read_only),
    )


def _user(image: images.Image, pod: Object, spec: Object) -> tuple[int, int, str]:
    """uid, gid and home folder by the security contexts, else by the image.

    Raises:
        ConfigError: `runAsNonRoot` and the user would be root, or privileges that the lab does not give.
        ImageError: The image's user is not in its passwd.
    """
    security = {**(pod["spec"].get("securityContext") or {}), **(spec.get("securityContext") or {})}
    if security.get("privileged"):
        raise ConfigError(f"container {spec['name']}: the lab does not offer privileged: true")
    wanted, group = security.get("runAsUser"), security.get("runAsGroup")
    if wanted is None:
        uid, gid, home = images.user_of(image)
    else:
        uid, gid, home = int(wanted), 0, images.home_of(image, int(wanted))
    if security.get("runAsNonRoot") and uid == 0:
        raise ConfigError("container has runAsNonRoot and image will run as root")
    return uid, gid if group is None else int(group), home
