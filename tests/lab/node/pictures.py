"""Small images made of this machine's own shell: a folder and archives as `docker save` writes them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

_PROGRAMS = ("/bin/sh", "/bin/cat", "/bin/sleep", "/usr/bin/id", "/bin/ls")


def make_folder(folder: Path) -> Path:
    """A root file system with a shell and a few programs."""
    for program in _PROGRAMS:
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True, timeout=20).stdout
        for path in {program, *re.findall(r"(/\S+) \(0x", listed)}:
            place = folder / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(Path(path).resolve(), place)
    (folder / "etc").mkdir(exist_ok=True)
    (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nmaker:x:1234:1235:maker:/home/maker:/bin/sh\n")
    (folder / "etc/group").write_text("root:x:0:\nmakers:x:1235:\n")
    (folder / "greeting").write_text("from the folder\n")
    return folder


def _layer(entries: dict[str, bytes], folder: Path | None = None) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        if folder is not None:
            tar.add(folder, arcname=".")
        for name, content in entries.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    return raw.getvalue()


def make_archive(path: Path, folder: Path, *, evil: str = "") -> Path:
    """A `docker save` archive of two layers: the folder, then one that removes, replaces and adds."""
    upper = {".wh.greeting": b"", "added": b"from the upper layer\n"}
    if evil:
        upper[evil] = b"escaped"
    layers = [
        _layer({"doomed/old": b"old"}, folder),
        _layer({"doomed/.wh..wh..opq": b"", "doomed/new": b"new", **upper}),
    ]
    names = [f"blobs/sha256/{hashlib.sha256(each).hexdigest()}" for each in layers]
    config = json.dumps(
        {
            "config": {
                "Env": ["PATH=/bin:/usr/bin", "COLOUR=green"],
                "Entrypoint": ["/bin/sh", "-c"],
                "Cmd": ["echo $COLOUR; cat /added; id -u; id -g; pwd; sleep 1000"],
                "WorkingDir": "/work",
                "User": "maker:makers",
            }
        }
    ).encode()
    config_name = f"blobs/sha256/{hashlib.sha256(config).hexdigest()}"
    manifest = json.dumps([{"Config": config_name, "RepoTags": ["x:1"], "Layers": names}]).encode()
    whole = _layer({**dict(zip(names, layers, strict=True)), config_name: config, "manifest.json": manifest})
    path.write_bytes(gzip.compress(whole, 1) if path.suffix == ".gz" else whole)
    return path
