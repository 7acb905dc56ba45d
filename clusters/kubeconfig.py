"""Kubeconfig files as kubectl reads them: found, merged, and flattened to one context.

What belongs here: files, merging and picking. What does not: using the credentials (`api`).
"""

from __future__ import annotations

import base64
import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from flows.errors import UsageError

_LISTS: Final = ("contexts", "clusters", "users")
_SHOWN: Final = 8
"""How many contexts an error names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """Several kubeconfig files as one.

    Attributes:
        sources: The files that were read, in order.
        entries: `contexts`, `clusters`, `users` → name → the entry's content, paths made absolute.
    """

    sources: tuple[str, ...]
    entries: dict[str, dict[str, dict[str, Any]]]

    @property
    def contexts(self) -> list[str]:
        """The names of all contexts, sorted."""
        return sorted(self.entries["contexts"])

    @property
    def where(self) -> str:
        """The files, for messages."""
        return ", ".join(self.sources)


def files(given: str) -> list[Path]:
    """The files that kubectl would read: `--kubeconfig`, else `KUBECONFIG` (several), else `~/.kube/config`."""
    if given:
        return [Path(given).expanduser()]
    listed = [Path(part).expanduser() for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return listed or [Path("~/.kube/config").expanduser()]


def read(given: str) -> Merged:
    """All contexts of the files; of two entries of one name the first file's wins, as kubectl has it.

    Args:
        given: What `--kubeconfig` said, or empty. A file of `KUBECONFIG` that is missing is passed over.

    Raises:
        UsageError: A file cannot be read or is no kubeconfig, or there is none; names the file and the remedy.
    """
    wanted = files(given)
    found = [path for path in wanted if path.exists() or given]
    if not found:
        listed = ", ".join(str(path) for path in wanted)
        raise UsageError(f"kubeconfig {listed}: no such file; give one with --kubeconfig FILE")
    entries: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in _LISTS}
    for path in found:
        for kind, named in _parse(path).items():
            for name, content in named.items():
                entries[kind].setdefault(name, content)
    return Merged(sources=tuple(str(path) for path in found), entries=entries)


def pick(merged: Merged, context: str) -> dict[str, Any]:
    """A kubeconfig with this one context, certificates inline; credential plugins stay what they are.

    Raises:
        UsageError: No context was named, it is unknown, or it is incomplete; names the contexts there are.
    """
    if not context:
        raise UsageError(f"no cluster was named; give --context with one of: {_some(merged.contexts)} ({merged.where})")
    chosen = merged.entries["contexts"].get(context)
    if chosen is None:
        near = difflib.get_close_matches(context, merged.contexts, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has: {_some(merged.contexts)}"
        raise UsageError(f"--context {context!r}: not in {merged.where}; {hint}")
    parts: dict[str, dict[str, Any]] = {}
    for field, kind in (("cluster", "clusters"), ("user", "users")):
        name = str(chosen.get(field, ""))
        if name not in merged.entries[kind]:
            if field == "user" and not name:
                continue
            raise UsageError(
                f"--context {context!r}: its {field} {name!r} is not in {merged.where}; mend the file or KUBECONFIG"
            )
        parts[field] = {"name": name, field: _inline(merged.entries[kind][name], f"{field} {name!r}")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": chosen}],
        "clusters": [parts["cluster"]],
        "users": [parts["user"]] if "user" in parts else [],
    }


def _some(names: list[str]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) + more) if names else "none there"


def _parse(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"kubeconfig {path}: cannot be read ({error.strerror}); give a readable file with --kubeconfig"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise UsageError(f"kubeconfig {path}: not YAML; mend the file or give another with --kubeconfig") from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise UsageError(f"kubeconfig {path}: not a kubeconfig (no mapping); give another with --kubeconfig")
    entries: dict[str, dict[str, dict[str, Any]]] = {}
    for kind in _LISTS:
        singular = kind.removesuffix("s")
        entries[kind] = {}
        for index, entry in enumerate(data.get(kind) or []):
            if not isinstance(entry, dict) or "name" not in entry:
                raise UsageError(f"kubeconfig {path}: field '{kind}[{index}]' has no name; mend the file")
            content = entry.get(singular) or {}
            if not isinstance(content, dict):
                raise UsageError(f"kubeconfig {path}: field '{kind}[{index}].{singular}' is no mapping; mend the file")
            entries[kind].setdefault(str(entry["name"]), _absolute(content, path.absolute().parent))
    return entries


def _absolute(content: dict[str, Any], base: Path) -> dict[str, Any]:
    """The entry with its relative paths resolved against the file that they stand in."""
    resolved = dict(content)
    for field in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
        if resolved.get(field):
            resolved[field] = str(base / str(resolved[field]))
    plugin = resolved.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command", "")):
        resolved["exec"] = {**plugin, "command": str(base / str(plugin["command"]))}
    return resolved


def _inline(content: dict[str, Any], what: str) -> dict[str, Any]:
    """The entry with its certificates' content in place of their paths. Token files stay: they are renewed on disk."""
    inlined = dict(content)
    for field in ("certificate-authority", "client-certificate", "client-key"):
        path = inlined.pop(field, "")
        if path and not inlined.get(f"{field}-data"):
            try:
                inlined[f"{field}-data"] = base64.b64encode(Path(str(path)).read_bytes()).decode()
            except OSError as error:
                raise UsageError(
                    f"kubeconfig: {what}: field '{field}' names {path}, which cannot be read ({error.strerror})"
                ) from None
    return inlined
