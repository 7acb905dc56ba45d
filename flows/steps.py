"""The layered check behind a wrong verdict: one question a layer, its answer, and which layer is to blame.

What belongs here: the answers as plain values and their text. What does not: asking (`fixtures.diagnosis`, the
meshes' dialects).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One question of the layered check and its answer; `wrong` marks the layer that explains the verdict.

    Attributes:
        layer: What was asked: `name`, `service`, `NetworkPolicy`, `injection`, `mTLS`, `log`, …
        says: The answer in one line; a culprit is named with what to mend.
        short: The same in a few words, for a failure's first line; empty where `says` is short enough.
    """

    layer: str
    says: str
    wrong: bool = False
    short: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Every step for one flow.

    Attributes:
        flow: The flow as a person reads it; `key` as records have it.
    """

    key: str
    flow: str
    steps: tuple[Step, ...] = ()

    @property
    def culprit(self) -> Step | None:
        """The first layer that is to blame; None when the check found nothing wrong."""
        return next((step for step in self.steps if step.wrong), None)

    @property
    def cause(self) -> str:
        """The culprit in a few words; empty when there is none."""
        return (self.culprit.short or self.culprit.says) if self.culprit else ""

    def render(self) -> str:
        """One line a layer, aligned; `✗` marks what is to blame."""
        width = max((len(step.layer) for step in self.steps), default=0)
        lines = [f"  {'✗' if step.wrong else ' '} {step.layer:{width}}  {step.says}" for step in self.steps]
        return "\n".join([f"{self.flow}, layer by layer:", *lines])

    def record(self) -> dict[str, Any]:
        """The check as it stands in `results.json`."""
        return {
            "key": self.key,
            "flow": self.flow,
            "cause": self.culprit.says if self.culprit else "",
            "steps": [{name: value for name, value in asdict(step).items() if name != "short"} for step in self.steps],
            "text": self.render(),
        }


def render(checks: Sequence[Check]) -> str:
    """Every check, one below the other."""
    return "\n".join(check.render() for check in checks)
