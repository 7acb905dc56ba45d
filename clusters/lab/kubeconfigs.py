"""Writes the kubeconfig that a person asked for, and nothing over one that is not ours.

What belongs here: one file. What does not: what is in it (`pki`), state records (`record`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from clusters.lab.pki import CONTEXT
from flows.errors import PreparationError, UsageError


def check(path: Path) -> None:
    """Raise before anything is started when the file could not be written, or holds contexts that are not a lab's.

    Raises:
        UsageError: It is a directory, or somebody's own kubeconfig.
        PreparationError: It cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"--write-kubeconfig {path}: is a folder; name a file in it")
    parent = path.parent
    if not parent.is_dir():
        raise PreparationError(f"--write-kubeconfig {path}: {parent} is not a folder; make it or name another file")
    if not path.exists():
        if not os.access(parent, os.W_OK | os.X_OK):
            raise PreparationError(f"--write-kubeconfig {path}: {parent} is not writable; name another file")
        return
    if not os.access(path, os.R_OK | os.W_OK):
        raise PreparationError(f"--write-kubeconfig {path}: is not ours to write; name another file")
    others = ", ".join(sorted(_contexts(path) - {CONTEXT}))
    if others:
        raise UsageError(f"--write-kubeconfig {path}: has contexts of other clusters ({others}); name another file")


def _contexts(path: Path) -> set[str]:
    import yaml  # only for a file that is there already

    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        document = "?"
    if document is None:
        return set()
    if not isinstance(document, dict) or document.get("kind") != "Config":
        raise UsageError(f"--write-kubeconfig {path}: is there and is not a kubeconfig; name another file")
    return {str(each.get("name")) for each in document.get("contexts") or []}


def write(path: Path, kubeconfig: dict[str, Any]) -> None:
    """Write it, readable by its owner only.

    Raises:
        PreparationError: It cannot be written.
    """
    try:
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(json.dumps(kubeconfig, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise PreparationError(f"--write-kubeconfig {path}: {error.strerror}; name another file") from None
