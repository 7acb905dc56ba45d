"""The catalogue of what the suites hold: every rule by area and file, in the words of its test.

What belongs here: reading the suites' sources into Markdown; nothing is imported or collected. What does not: which
rules there are (the suites).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.markdown import cell

SUITES: Final = Path("suites")
_HEAD: Final = """# What the suites hold

Made from the suites by `make docs`. Each row is a test, in its own words; `eastwest verify FILE -k NAME` runs it
alone. Tests that write what a whole cluster or mesh shares run while no other test does.
"""


def _sentence(node: ast.Module | ast.FunctionDef) -> str:
    return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())


def _tests(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node


def page(checkout: Path) -> str:
    """The page: areas, their files, their tests.

    Args:
        checkout: The repository's root.
    """
    lines = [_HEAD]
    for area in sorted(path for path in (checkout / SUITES).iterdir() if (path / "__init__.py").is_file()):
        said = _sentence(ast.parse((area / "__init__.py").read_text(encoding="utf-8")))
        lines += [f"## {area.name}", "", said, ""]
        for path in sorted(area.glob("test_*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            lines += [f"**`{path.relative_to(checkout)}`** {_sentence(tree)}", "", "| test | holds that |", "|---|---|"]
            lines += [f"| `{node.name}` | {cell(_sentence(node))} |" for node in _tests(tree)]
            lines.append("")
    return "\n".join(lines)
