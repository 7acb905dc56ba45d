"""A pod's volumes as folders of this machine: written atomically, kept up to date, gone with the pod.

What belongs here: what is in a volume. What does not: where a container sees it (`mounts`).
"""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

from clusters.lab.client import SERVICE_ACCOUNTS, Client, Object
from clusters.lab.node.environment import ConfigError, field_value

Fetch = Callable[[str, str], Awaitable[Object | None]]
"""(`ConfigMap` or `Secret`, name) → the object of the pod's namespace as it is now, or None."""
Files = dict[str, tuple[bytes, int]]
"""Path inside the volume → content and mode."""

_DEFAULT_MODE: Final = 0o644
_FILLED: Final = ("configMap", "secret", "projected", "downwardAPI")
_RENEW_AT: Final = 0.8
"""Share of a token's life after which it is replaced, as kubelet does."""


class MountError(Exception):
    """A volume cannot be set up; the message is that of the `FailedMount` event."""


class Volumes:
    """The volumes of one pod.

    Args:
        folder: The pod's own folder; the volumes are below it.
        addresses: The pod's and the node's addresses, for the downward API.
    """

    def __init__(self, client: Client, fetch: Fetch, folder: Path, addresses: tuple[list[str], list[str]]) -> None:
        self._client, self._fetch, self._folder = client, fetch, folder / "volumes"
        self._pod_addresses, self._node_addresses = addresses
        self._written: dict[str, Files] = {}
        self._tokens: dict[tuple[str, str, int], tuple[bytes, float]] = {}

    @property
    def renewal(self) -> float:
        """When (`time.time`) the next token has to be replaced; infinity when there is none."""
        return min((when for _, when in self._tokens.values()), default=float("inf"))

    def path(self, name: str) -> Path:
        """The folder of a volume."""
        return self._folder / name

    async def prepare(self, pod: Object) -> None:
        """Make every volume, with its current content.

        Raises:
            MountError: One cannot be made (yet).
        """
        for volume in pod["spec"].get("volumes") or []:
            name = volume["name"]
            path = self.path(name)
            path.mkdir(parents=True, exist_ok=True)
            if "emptyDir" in volume:
                path.chmod(0o777)
            elif any(kind in volume for kind in _FILLED):
                await self._fill(pod, volume)
            else:
                kinds = ", ".join(sorted(set(volume) - {"name"})) or "nothing"
                raise MountError(f'volume "{name}": the lab does not offer {kinds}; use emptyDir, {", ".join(_FILLED)}')

    async def refresh(self, pod: Object) -> None:
        """Bring volumes up to date; one whose source is gone keeps its content, as in Kubernetes."""
        for volume in pod["spec"].get("volumes") or []:
            if any(kind in volume for kind in _FILLED):
                try:
                    await self._fill(pod, volume)
                except MountError:
                    continue

    async def _fill(self, pod: Object, volume: Object) -> None:
        name = volume["name"]
        try:
            files = await self._files(pod, volume)
        except (ConfigError, KeyError, ValueError) as error:
            raise MountError(f'MountVolume.SetUp failed for volume "{name}": {error}') from None
        if self._written.get(name) != files:
            write_atomically(self.path(name), files)
            self._written[name] = files

    async def _files(self, pod: Object, volume: Object) -> Files:
        for kind, field in (("ConfigMap", "configMap"), ("Secret", "secret")):
            if field in volume:
                source = volume[field]
                object_name = source.get("name") or source.get("secretName", "")
                return await self._from_object(kind, object_name, source, source.get("defaultMode"))
        if "downwardAPI" in volume:
            return self._downward(pod, volume["downwardAPI"], volume["downwardAPI"].get("defaultMode"))
        projected = volume["projected"]
        mode = projected.get("defaultMode")
        files: Files = {}
        for source in projected.get("sources") or []:
            for kind, field in (("ConfigMap", "configMap"), ("Secret", "secret")):
                if field in source:
                    files |= await self._from_object(kind, source[field]["name"], source[field], mode)
            if "downwardAPI" in source:
                files |= self._downward(pod, source["downwardAPI"], mode)
            if "serviceAccountToken" in source:
                wanted = source["serviceAccountToken"]
                files[_inside(wanted["path"])] = (await self._token(pod, wanted), _mode(None, mode))
            if "clusterTrustBundle" in source:
                raise ConfigError("the lab does not offer clusterTrustBundle")
        return files

    async def _from_object(self, kind: str, name: str, source: Mapping[str, Any], default: int | None) -> Files:
        found = await self._fetch(kind, name)
        if found is None:
            if source.get("optional"):
                return {}
            raise ConfigError(f'{kind.lower()} "{name}" not found')
        data = _content(kind, found)
        items = source.get("items")
        if not items:
            return {key: (value, _mode(None, default)) for key, value in data.items()}
        files: Files = {}
        for item in items:
            if item["key"] in data:
                files[_inside(item["path"])] = (data[item["key"]], _mode(item.get("mode"), default))
            elif not source.get("optional"):
                raise ConfigError(f'{kind.lower()} "{name}" references non-existent key: {item["key"]}')
        return files

    def _downward(self, pod: Object, source: Mapping[str, Any], default: int | None) -> Files:
        files: Files = {}
        for item in source.get("items") or []:
            if "fieldRef" not in item:
                raise ConfigError("the lab does not offer resourceFieldRef")
            path = item["fieldRef"]["fieldPath"]
            if path in {"metadata.labels", "metadata.annotations"}:
                pairs = (pod["metadata"].get(path.partition(".")[2]) or {}).items()
                text = "\n".join(f'{key}="{_quoted(value)}"' for key, value in sorted(pairs))
            else:
                text = field_value(pod, path, pod_addresses=self._pod_addresses, node_addresses=self._node_addresses)
            files[_inside(item["path"])] = (text.encode(), _mode(item.get("mode"), default))
        return files

    async def _token(self, pod: Object, wanted: Mapping[str, Any]) -> bytes:
        account = pod["spec"].get("serviceAccountName") or "default"
        seconds = int(wanted.get("expirationSeconds") or 3600)
        audience = str(wanted.get("audience") or "")
        key = (account, audience, seconds)
        token, renew = self._tokens.get(key, (b"", 0.0))
        if time.time() < renew:
            return token
        meta = pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        spec: Object = {
            "expirationSeconds": seconds,
            "boundObjectRef": bound,
            "audiences": [audience] if audience else [],
        }
        body: Object = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = SERVICE_ACCOUNTS.path(meta["namespace"], account, "token")
        status = (await self._client.request("POST", path, body))["status"]
        ends = datetime.fromisoformat(str(status["expirationTimestamp"])).timestamp()
        self._tokens[key] = (str(status["token"]).encode(), time.time() + (ends - time.time()) * _RENEW_AT)
        return self._tokens[key][0]


def references(pod: Object) -> set[tuple[str, str]]:
    """The ConfigMaps and Secrets whose changes a pod's volumes follow."""
    found: set[tuple[str, str]] = set()
    for volume in pod["spec"].get("volumes") or []:
        sources: Iterable[Mapping[str, Any]] = [volume, *((volume.get("projected") or {}).get("sources") or [])]
        for source in sources:
            for kind, field in (("ConfigMap", "configMap"), ("Secret", "secret")):
                if field in source:
                    found.add((kind, source[field].get("name") or source[field].get("secretName", "")))
    return found


def text_of(kind: str, found: Object) -> Object:
    """The object with text values, as the environment needs it."""
    if kind != "Secret":
        return found
    decoded = {key: value.decode(errors="replace") for key, value in _content(kind, found).items()}
    return {**found, "data": decoded}


def _content(kind: str, found: Object) -> dict[str, bytes]:
    if kind == "Secret":
        data = {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
        return data | {key: str(value).encode() for key, value in (found.get("stringData") or {}).items()}
    data = {key: str(value).encode() for key, value in (found.get("data") or {}).items()}
    return data | {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}


def _mode(own: int | None, default: int | None) -> int:
    return int(own if own is not None else default if default is not None else _DEFAULT_MODE)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _inside(path: str) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or parts.parts[0].startswith(".."):
        raise ConfigError(f"path {path!r} leads out of its volume; use a relative path without '..'")
    return str(parts)


def write_atomically(folder: Path, files: Files) -> None:
    """Replace a volume's content in one step, with the links (`..data`) that Kubernetes uses."""
    stamped = f"..{time.time_ns()}"
    fresh = folder / stamped
    fresh.mkdir(mode=0o755)
    for name, (content, mode) in files.items():
        place = fresh / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(mode)
    data, passing = folder / "..data", folder / "..data_tmp"
    old = data.readlink() if data.is_symlink() else None
    passing.unlink(missing_ok=True)
    passing.symlink_to(stamped)
    passing.replace(data)
    wanted = {PurePosixPath(name).parts[0] for name in files}
    for top in wanted:
        link = folder / top
        if not link.is_symlink():
            link.symlink_to(f"..data/{top}")
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in wanted:
            entry.unlink()
    if old is not None:
        shutil.rmtree(folder / old, ignore_errors=True)
