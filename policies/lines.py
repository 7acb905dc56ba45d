"""YAML documents with the line of each of their fields.

What belongs here: YAML. What does not: what a document may contain (`read`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from flows.errors import UsageError

Locate = Callable[[str], str]
"""Field path → where it stands: `policy.yaml:12`."""
_LAST = re.compile(r"(\.[^.\[\]]*|\[\d+\])$")


def file_text(path: Path, *, name: str = "", most: int = 0) -> str:
    """What a file of manifests says.

    Args:
        name: What messages call the file; its path by default.
        most: Bytes beyond which nobody wrote it by hand; 0 takes any.

    Raises:
        UsageError: It cannot be read, is not UTF-8, or is larger.
    """
    name = name or str(path)
    try:
        if most and path.stat().st_size > most:
            raise UsageError(f"{name}: larger than {most >> 20} MB; name manifests only")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{name}: cannot be read: {reason}; name a readable YAML file") from None


def documents(text: str, source: str) -> Iterator[tuple[Any, Locate]]:
    """Each document that is not empty, with what finds its fields' lines.

    Raises:
        UsageError: The text is not YAML, or a key stands twice in one object.
    """
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                document = _Document(source, node)
                value = loader.construct_document(node)
                if value is not None:
                    yield value, document.locate
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"{source}{line}: not YAML: {error.problem or error.context}; correct the line") from None
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"{source}: not YAML: {first}; correct the file") from None
    finally:
        loader.dispose()


class _Document:
    """Where each field of one document stands."""

    def __init__(self, source: str, root: yaml.Node) -> None:
        self._source = source
        self._lines: dict[str, int] = {}
        self._walk(root, "", root.start_mark.line + 1)

    def locate(self, field: str) -> str:
        """File and line of the field, or of the nearest written one around it."""
        while field and field not in self._lines:
            shorter = _LAST.sub("", field)
            field = shorter if shorter != field else ""
        return f"{self._source}:{self._lines[field]}"

    def _walk(self, node: yaml.Node, field: str, line: int) -> None:
        if field in self._lines:
            return
        self._lines[field] = line
        if isinstance(node, yaml.MappingNode):
            seen: set[Any] = set()
            for key, value in node.value:
                if isinstance(key.value, str):
                    if key.value in seen:
                        where = f"{self._source}:{key.start_mark.line + 1}"
                        name = f"{field}.{key.value}" if field else key.value
                        raise UsageError(f"{where}: field '{name}' is written twice; keep one of them")
                    seen.add(key.value)
                    self._walk(value, f"{field}.{key.value}" if field else key.value, key.start_mark.line + 1)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._walk(value, f"{field}[{index}]", value.start_mark.line + 1)
