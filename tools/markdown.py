"""Markdown that several of the pages made from code need.

What belongs here: text as Markdown wants it. What does not: the pages.
"""

from __future__ import annotations


def cell(text: str) -> str:
    """A table's cell that says this."""
    return text.replace("|", "\\|")
