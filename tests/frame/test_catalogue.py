"""The catalogue says what the suites say, and leaves nothing out."""

from __future__ import annotations

from pathlib import Path

from tools.catalogue import page

SUITE = '''"""Ports: one | another."""

import pytest

@pytest.mark.parametrize("n", [1, 2])
def test_one(n):
    """What is named
    is open.

    And more that is not for the table.
    """

def helper():
    """Nobody asks for it."""

def test_two():
    """Pipes | stay."""
'''


def test_every_test_has_its_row_in_its_own_words(tmp_path: Path) -> None:
    area = tmp_path / "suites" / "network"
    area.mkdir(parents=True)
    (area / "__init__.py").write_text('"""Who reaches whom."""\n', encoding="utf-8")
    (area / "test_ports.py").write_text(SUITE, encoding="utf-8")
    (area / "manifests.py").write_text("def test_not_here(): ...\n", encoding="utf-8")
    (tmp_path / "suites" / "notes").mkdir()
    text = page(tmp_path).partition("## ")[2].splitlines()
    assert text == [
        "network",
        "",
        "Who reaches whom.",
        "",
        "**`suites/network/test_ports.py`** Ports: one | another.",
        "",
        "| test | holds that |",
        "|---|---|",
        "| `test_one` | What is named is open. |",
        "| `test_two` | Pipes \\| stay. |",
    ]
