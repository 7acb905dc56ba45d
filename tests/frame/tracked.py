"""The files of this repository, as git has them (new ones that are not ignored included)."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


@functools.cache
def files(*suffixes: str) -> tuple[Path, ...]:
    """Relative paths; only those whose names end so, where suffixes are given."""
    command = ["git", "-c", f"safe.directory={CHECKOUT}", "ls-files", "-z", "-co", "--exclude-standard"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=True)
    names = sorted(set(done.stdout.split("\0")) - {""})
    return tuple(Path(each) for each in names if not suffixes or each.endswith(suffixes))


@functools.cache
def text(path: Path) -> str:
    """A tracked file's text, or nothing where it is no text or was just removed."""
    try:
        return (CHECKOUT / path).read_text(encoding="utf-8")
    except (UnicodeDecodeError, FileNotFoundError):
        return ""
