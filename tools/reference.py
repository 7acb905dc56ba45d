"""Writes the reference pages that are made from code, so that they cannot grow old: refusals, mutants, mesh, rules.

What belongs here: turning tables of the code into Markdown. What does not: the tables.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from clusters.lab.api import calico_kinds
from clusters.lab.api.admission import REFUSALS
from clusters.lab.mutant import NETWORK, Mutant
from clusters.lab.mutants import MUTANTS
from tools import catalogue, checks_page, reference_mesh
from tools.markdown import cell

CHECKOUT: Final = Path(__file__).resolve().parent.parent
_REFUSES: Final = """# What the lab refuses

Made from the code by `make docs`. An object that asks for one of these is not admitted; the message names the field:
`the lab does not do …`. Nothing is silently ignored. `C[*]` stands for every container, init containers included.
Kinds that are not in `kubectl api-resources` are unknown to the lab.
"""
_MUTANTS: Final = """# The lab's mutants

Made from the code by `make docs`. Each is a data plane that is broken on purpose: `eastwest verify --mutant NAME`,
`eastwest lab up --mutant NAME`; one of the mesh switches the mesh on. `make mutants` runs the suites against all of
them (`ARGS=mesh`, `ARGS=calico`, `ARGS=network` or names: against some); one that no test notices is a hole."""
_HEADINGS: Final[dict[str, Callable[[Mutant], bool]]] = {
    "The network": lambda each: not each.mesh and each.suite == NETWORK,
    "Calico's own policies": lambda each: not each.mesh and each.suite != NETWORK,
    "The mesh": lambda each: each.mesh,
}


def refuses() -> str:
    """The page of what the lab refuses."""
    lines = [_REFUSES]
    for kind in dict.fromkeys(refusal.kind for refusal in REFUSALS):
        lines += [f"## {kind}", "", "| field | what the lab does not do |", "|---|---|"]
        lines += [f"| `{each.path}` | {cell(each.why)} |" for each in REFUSALS if each.kind == kind]
        lines.append("")
    lines += ["## Calico's own kinds", "", "| kind | field | what the lab does not do |", "|---|---|---|"]
    lines += [f"| {kind} | `{path}` | {cell(calico_kinds.why(path))} |" for kind, path in calico_kinds.REFUSALS]
    lines += [f"| HostEndpoint | every one | {cell(calico_kinds.HOST_ENDPOINT_WHY)} |", ""]
    return "\n".join(lines)


def mutants() -> str:
    """The page of the lab's mutants."""
    parts = [_MUTANTS]
    for heading, wanted in _HEADINGS.items():
        parts += ["", f"## {heading}", "", "| mutant | what does not hold | caught by | seen in |", "|---|---|---|---|"]
        found = (each for each in MUTANTS.values() if wanted(each))
        for each in found:
            by = ", ".join(f"`{test}`" for test in each.tests)
            parts.append(f"| `{each.name}` | {cell(each.breaks)} | {cell(by)} | {cell(each.seen_in)} |")
    return "\n".join(parts) + "\n"


def pages() -> dict[Path, str]:
    """Every page that is made from code, by its place in the repository."""
    reference = Path("docs/reference")
    return {
        reference / "lab-refuses.md": refuses(),
        reference / "lab-mesh.md": reference_mesh.page(),
        reference / "mutants.md": mutants(),
        reference / "rules.md": catalogue.page(CHECKOUT),
        reference / "checks.md": checks_page.page(CHECKOUT),
    }


def main() -> int:
    """Write the pages."""
    for path, text in pages().items():
        (CHECKOUT / path).write_text(text, encoding="utf-8")
        sys.stdout.write(f"docs: {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
