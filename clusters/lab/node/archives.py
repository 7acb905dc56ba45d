"""Image archives (`docker save`, OCI) unpacked into a folder, whatever their members are called.

What belongs here: layers, whiteouts, names that try to get out. What does not: which image a pod means (`images`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_LINK_LIMIT: Final = 40
"""Symbolic links followed in one name, as in the kernel."""


class ImageError(Exception):
    """An image cannot be used; the message names it, the file and the remedy."""


def unpack(archive: Path, home: Path) -> tuple[Path, dict[str, Any], str]:
    """Unpack an archive once; other processes that want the same wait for the first.

    Args:
        home: The folder of this image; made here.

    Returns:
        The root file system, the image's parsed config, and its digest (`sha256:…`).

    Raises:
        ImageError: Not an image archive, damaged, or a member's name leads out of the image.
    """
    home.mkdir(parents=True, exist_ok=True)
    root, record = home / "rootfs", home / "image.json"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.exists():
            blobs = home / "blobs"
            for stale in (root, blobs):
                shutil.rmtree(stale, ignore_errors=True)
            root.mkdir()
            try:
                with tarfile.open(archive) as outer:
                    _spill(outer, blobs, archive)
                config, digest, layers = _manifest(blobs, archive)
                for layer in layers:
                    _apply(layer, root, archive)
            except (tarfile.TarError, EOFError, KeyError, IndexError, ValueError) as error:
                raise ImageError(
                    f"image archive {archive}: damaged or not an image ({error}); make it with `docker save`"
                ) from None
            except OSError as error:
                raise ImageError(f"image archive {archive}: {error.strerror or error}; give a readable file") from None
            shutil.rmtree(blobs, ignore_errors=True)
            record.write_text(json.dumps({"config": config, "digest": digest}), encoding="utf-8")
        stored = json.loads(record.read_text(encoding="utf-8"))
    return root, cast("dict[str, Any]", stored["config"]), str(stored["digest"])


def _spill(outer: tarfile.TarFile, blobs: Path, archive: Path) -> None:
    """Copy the archive's files to `blobs`: a compressed tar has no random access."""
    links: list[tuple[Path, Path]] = []
    for member in outer:
        parts = _parts(member.name, archive)
        if not parts:
            continue
        place = blobs.joinpath(*parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        if member.isfile():
            source = outer.extractfile(member)
            if source is not None:
                with source, place.open("wb") as target:
                    shutil.copyfileobj(source, target)
        elif member.issym():  # old `docker save` links equal layers
            links.append((place, Path(os.path.normpath(place.parent / member.linkname))))
    for place, pointed in links:
        if pointed.is_relative_to(blobs) and pointed.is_file():
            shutil.copyfile(pointed, place)


def _manifest(blobs: Path, archive: Path) -> tuple[dict[str, Any], str, list[Path]]:
    """The config, its digest and the layers' files, lowest first."""

    def read(name: str) -> Any:
        return json.loads(blobs.joinpath(*_parts(name, archive)).read_text(encoding="utf-8"))

    def blob(digest: str) -> str:
        algorithm, _, rest = digest.partition(":")
        return f"blobs/{algorithm}/{rest}"

    if (blobs / "manifest.json").is_file():
        entry = read("manifest.json")[0]
        name = str(entry["Config"])
        digest = "sha256:" + PurePosixPath(name).name.removesuffix(".json")
        return read(name), digest, [blobs.joinpath(*_parts(each, archive)) for each in entry["Layers"]]
    if not (blobs / "index.json").is_file():
        raise ImageError(
            f"image archive {archive}: neither manifest.json nor index.json in it; make it with `docker save`"
        )
    manifest = read("index.json")["manifests"][0]
    for _ in range(4):  # an index may point to an index (several platforms)
        content = read(blob(str(manifest["digest"])))
        if "manifests" not in content:
            config_digest = str(content["config"]["digest"])
            layers = [blobs.joinpath(*_parts(blob(str(each["digest"])), archive)) for each in content["layers"]]
            return read(blob(config_digest)), config_digest, layers
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        fits = [each for each in content["manifests"] if each.get("platform", {}).get("architecture") == machine]
        manifest = (fits or content["manifests"])[0]
    raise ImageError(f"image archive {archive}: its index leads nowhere; make it with `docker save`")


def _apply(layer: Path, root: Path, archive: Path) -> None:
    """Put one layer on top of what is there."""
    with tarfile.open(layer) as tar:
        members = tar.getmembers()
        for member in members:  # what the layer removes, before what it adds
            parts = _parts(member.name, archive)
            if parts and parts[-1].startswith(_WHITEOUT):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    _remove(_resolve(root, parts[:-1], archive), parts[-1])
        for member in members:
            parts = _parts(member.name, archive)
            if parts and not parts[-1].startswith(_WHITEOUT):
                _extract(tar, member, parts, root, archive)


def _remove(folder: Path, name: str) -> None:
    if name == _OPAQUE:
        for each in folder.iterdir():
            _clear(each)
    else:
        _clear(folder / name.removeprefix(_WHITEOUT))


def _clear(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, parts: list[str], root: Path, archive: Path) -> None:
    folder = _resolve(root, parts[:-1], archive)
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / parts[-1]
    if member.isdir():
        if not place.is_dir() or place.is_symlink():
            _clear(place)
            place.mkdir()
        place.chmod(member.mode & 0o7777 | 0o700)
        return
    make = _makers(tar, member, root, archive).get(member.type)
    if make is None:  # a device: nobody in the lab could make or open it
        return
    _clear(place)
    make(place)


def _makers(
    tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path, archive: Path
) -> dict[bytes, Callable[[Path], None]]:
    def regular(place: Path) -> None:
        source = tar.extractfile(member)
        if source is not None:
            with source, place.open("xb") as target:
                shutil.copyfileobj(source, target)
        place.chmod(member.mode & 0o777 | 0o400)

    def hard_link(place: Path) -> None:
        linked = _parts(member.linkname, archive)
        source = _resolve(root, linked[:-1], archive) / linked[-1]
        os.link(source, place, follow_symlinks=False)

    return {
        tarfile.REGTYPE: regular,
        tarfile.AREGTYPE: regular,
        tarfile.CONTTYPE: regular,
        tarfile.GNUTYPE_SPARSE: regular,
        tarfile.LNKTYPE: hard_link,
        tarfile.SYMTYPE: lambda place: place.symlink_to(member.linkname),
        tarfile.FIFOTYPE: lambda place: os.mkfifo(place, member.mode & 0o777),
    }


def _parts(name: str, archive: Path) -> list[str]:
    """A member's name in parts; what is absolute or climbs is refused, no image tool writes such."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ImageError(
            f"image archive {archive}: its member {name!r} leads out of the image; do not use this archive"
        )
    return list(path.parts)


def _resolve(root: Path, parts: list[str], archive: Path) -> Path:
    """The real place of a folder inside `root`, with symbolic links read as if `root` were `/`."""
    place, todo, links = root, list(parts), 0
    while todo:
        part = todo.pop(0)
        if part == "..":
            place = place if place == root else place.parent
            continue
        step = place / part
        if not step.is_symlink():
            place = step
            continue
        links += 1
        if links > _LINK_LIMIT:
            raise ImageError(f"image archive {archive}: {'/'.join(parts)} is a loop of links; do not use this archive")
        target = PurePosixPath(step.readlink())
        if target.is_absolute():
            place = root
        todo = list(_relative(target)) + todo
    return place


def _relative(target: PurePosixPath) -> Iterator[str]:
    return (part for part in target.parts if part not in {"/", "//", "."})
