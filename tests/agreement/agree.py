"""Holds what a data plane does against what the oracle says, over many scenes, and finds the smallest that differs.

What belongs here: comparing, hunting, and telling a difference to a person. What does not: asking (`kernel`,
`cluster`) and making scenes up (`strategies`).
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from hypothesis import Phase, find, settings
from hypothesis.errors import Flaky, NoSuchExample

from flows.errors import HarnessError
from policies import oracle
from tests.agreement.scene import Flow, Ground, Scene, asked, for_oracle
from tests.agreement.strategies import scenes

ANSWERED, DROPPED = "answered", "dropped"
Ask = Callable[[Scene, Sequence[Flow]], Callable[[], Sequence[str]]]
"""Begins to ask a scene's flows; what it returns waits for a word for each of them."""
MOST_SMALLER, MOST_LESS = 100, 80
"""Scenes that are asked at most to find a smaller one that differs: by Hypothesis, and then by leaving things out."""
_FIELDS: Final = frozenset(
    ("policyTypes", "ingress", "egress", "from", "to", "ports", "except", "matchLabels", "matchExpressions", "endPort")
)
"""What may be left out of a policy that is valid with it."""
_SHOWN: Final = 12
"""Pairs that are told of one scene; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One flow of which oracle and data plane say different things."""

    flow: Flow
    decision: oracle.Decision
    word: str


def told(found: Sequence[Difference]) -> str:
    """The differences in words: flows that differ in nothing but their port stand on one line."""
    groups: dict[tuple[str, str], list[Flow]] = {}
    for each in found:
        says = "allowed" if each.decision.allowed else "denied"
        words = f"    the oracle: {says}; {each.decision.words()}\n    seen: {each.word}"
        groups.setdefault((f"{each.flow.source} → {each.flow.target} by IPv{each.flow.family}", words), []).append(
            each.flow
        )
    lines = [f"{ends}: {_ports(flows)}\n{words}" for (ends, words), flows in groups.items()]
    more = [f"and {len(lines) - _SHOWN} more like these"] if len(lines) > _SHOWN else []
    return "\n".join((*lines[:_SHOWN], *more))


def _ports(flows: Sequence[Flow]) -> str:
    return ", ".join(f"{each.port}/{each.protocol.lower()}" for each in flows)


@dataclass(slots=True)
class Count:
    """What was asked, and how it ended; `allowed` and `denied` are flows, by the oracle."""

    sets: int = 0
    policies: int = 0
    allowed: int = 0
    denied: int = 0
    seconds: float = 0.0

    def add(self, scene: Scene, said: Iterable[oracle.Decision]) -> None:
        """One scene more, with what the oracle says of its flows."""
        self.sets, self.policies = self.sets + 1, self.policies + len(scene.policies)
        allowed = [each.allowed for each in said]
        self.allowed, self.denied = self.allowed + sum(allowed), self.denied + len(allowed) - sum(allowed)

    def __str__(self) -> str:
        pace = f", {self.sets / self.seconds:.1f} sets a second" if self.seconds else ""
        flows = self.allowed + self.denied
        share = f" ({self.denied / flows:.0%} denied)" if flows else ""
        return f"{self.sets} sets, {self.policies} policies, {flows} flows{share} in {self.seconds:.0f} s{pace}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A scene in which something differs; the smallest that could be found where it was shrunk.

    Attributes:
        after: How many scenes were asked until the first difference showed.
    """

    scene: Scene
    differences: tuple[Difference, ...]
    after: int

    def text(self) -> str:
        """The manifests and what differs, for a person."""
        return f"{self.scene.text()}\n{len(self.differences)} flows differ:\n{told(self.differences)}"


def decisions(scene: Scene, ground: Ground) -> dict[Flow, oracle.Decision]:
    """What the oracle says of every flow that is asked in the scene."""
    readings = for_oracle(scene)
    return {flow: readings.decide(ground, flow) for flow in asked(scene, ground)}


def differences(scene: Scene, ground: Ground, ask: Ask, count: Count | None = None) -> list[Difference]:
    """Every flow of the scene of which oracle and data plane say different things."""
    answer = ask(scene, asked(scene, ground))
    said = decisions(scene, ground)  # while the kernel is at it
    words = answer()
    if count is not None:
        count.add(scene, said.values())
    return [
        Difference(flow=flow, decision=decision, word=word)
        for (flow, decision), word in zip(said.items(), words, strict=True)
        if word != (ANSWERED if decision.allowed else DROPPED)
    ]


def hunt(ground: Ground, ask: Ask, *, sets: int, seed: int, count: Count, shrink: bool = True) -> Found | None:
    """Ask so many scenes, or until one differs; then the smallest in which something differs.

    Args:
        seed: The same seed makes the same scenes up.
        count: Gets what was asked until a difference showed.
        shrink: Whether to look for a smaller one; a data plane that remembers cannot be asked the same thing twice.

    Raises:
        HarnessError: An answer cannot be trusted.
    """
    began, latest = time.monotonic(), list[Found]()
    broken, left = list[HarnessError](), iter(range(MOST_SMALLER))

    def differs(scene: Scene) -> bool:
        if broken:
            raise broken[0]
        if latest and next(left, None) is None:
            return False
        try:
            found = differences(scene, ground, ask, None if latest else count)
        except HarnessError as error:
            broken.append(error)
            raise
        if found:
            latest.append(Found(scene=scene, differences=tuple(found), after=count.sets))
        return bool(found)

    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    try:
        find(
            scenes(ground),
            differs,
            settings=settings(max_examples=sets, database=None, deadline=None, phases=phases),
            random=random.Random(seed),
        )
    except (NoSuchExample, Flaky):  # what was seen differing did differ, even where it does not differ again
        if broken:
            raise broken[0] from None
    if latest and shrink:
        left = iter(range(MOST_LESS))
        reduced(latest[-1].scene, differs, most=MOST_LESS)
    count.seconds += time.monotonic() - began
    return latest[-1] if latest else None


def made_up(ground: Ground, *, sets: int, seed: int) -> list[Scene]:
    """So many scenes with every pod and at least one policy, all at once; the same seed makes the same ones."""
    found: list[Scene] = []

    def enough(scene: Scene) -> bool:
        if scene.policies:
            found.append(scene)
        return len(found) >= sets

    plain = settings(max_examples=10 * sets, database=None, deadline=None, phases=(Phase.generate,))
    with contextlib.suppress(NoSuchExample):
        find(scenes(ground, everybody=True), enough, settings=plain, random=random.Random(seed))
    return found[:sets]


def reduced(scene: Scene, differs: Callable[[Scene], bool], *, most: int) -> Scene:
    """A smaller scene that still differs: policies, rules, peers, ports and fields are left out one by one.

    Args:
        most: How many smaller ones are asked at most.
    """
    tries = 0
    while True:
        for smaller in _smaller(scene):
            if tries >= most:
                return scene
            tries += 1
            if differs(smaller):
                scene = smaller
                break
        else:
            return scene


def _smaller(scene: Scene) -> Iterator[Scene]:
    """The scene without one policy, without one part of a policy, and without one pod."""
    policies = scene.policies
    for index in range(len(policies)):
        yield replace(scene, policies=policies[:index] + policies[index + 1 :])
    for index, policy in enumerate(policies):
        for spec in _without_one(policy["spec"]):
            yield replace(scene, policies=(*policies[:index], {**policy, "spec": spec}, *policies[index + 1 :]))
    for index in range(len(scene.pods)):
        yield replace(scene, pods=scene.pods[:index] + scene.pods[index + 1 :])


def _without_one(value: object) -> Iterator[Any]:
    """The value without one of its fields, or without one entry of a list that has several, at any depth."""
    if isinstance(value, dict):
        for field in sorted(_FIELDS & value.keys()):
            yield {key: each for key, each in value.items() if key != field}
        for key, inner in value.items():
            yield from ({**value, key: each} for each in _without_one(inner))
    elif isinstance(value, list):
        if len(value) > 1:
            yield from (value[:index] + value[index + 1 :] for index in range(len(value)))
        for index, inner in enumerate(value):
            yield from ([*value[:index], each, *value[index + 1 :]] for each in _without_one(inner))
