"""Fields of an object by their path, as tables of refusals write it: `spec.http[*].match[*].scheme`.

What belongs here: finding values. What does not: what a value means, and patterns that stand for several paths.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def find(obj: dict[str, Any], pattern: str) -> Iterator[tuple[str, object]]:
    """Every place that the pattern means, with its value; `[*]` stands for each element of a list.

    What is absent or null has no place; elements of a list are numbered: `spec.ports[0].protocol`.
    """
    return _walk(obj, pattern.split("."), "")


def _walk(value: object, steps: list[str], path: str) -> Iterator[tuple[str, object]]:
    if not steps:
        yield path, value
        return
    if not isinstance(value, dict):
        return
    name = steps[0].removesuffix("[*]")
    inner, here = value.get(name), f"{path}.{name}" if path else name
    if inner is None:
        return
    if steps[0].endswith("[*]"):
        for place, each in enumerate(inner if isinstance(inner, list) else ()):
            yield from _walk(each, steps[1:], f"{here}[{place}]")
    else:
        yield from _walk(inner, steps[1:], here)
