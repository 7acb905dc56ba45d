"""Weighted splits by one fixed sample and one exact test: planned before it is sent, judged once, never repeated.

What belongs here: the plan, what is printed before the test starts, the verdict and its table. What does not: the
probabilities (`binomial`), sending (`sample`). The model: each request draws its version by itself, with its share's
probability (Envoy picks a weighted cluster by a random number for each request). Retrying a statistic until it passes
would pass a wrong split; wait for the route first, then sample once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from flows.binomial import detectable, interval, outside, runs_interval, runs_tails
from flows.errors import FIRST_LINE, InconclusiveError, UsageError, VerdictError
from flows.model import Kind
from flows.sample import Sample

ALPHA = 1e-6
"""False alarms of one test: with a thousand splits a night, one in three years."""
POWER = 0.95
DIFFERENCE = 0.05
LEAST = 500
"""Smallest sample; for 100/0 it decides what is found."""
MOST = 100_000
STEP = 100


class Standing(StrEnum):
    """What a judged sample says."""

    HOLDS = "holds"
    DIFFERS = "differs"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One version's share and the counts that are accepted for it.

    Attributes:
        share: Between 0 and 1.
        accepted: Least and greatest count, both accepted.
        size: Probability of a false alarm of this arm.
        below: The nearest smaller share that is told from this one with the plan's power; 0 where none is.
        above: The nearest greater one; 1 where none is.
    """

    version: str
    share: float
    accepted: tuple[int, int]
    size: float
    below: float
    above: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPlan:
    """A test of one split, decided before its first request.

    Attributes:
        count: Requests to send, no more and no fewer.
        alpha: What the false-alarm rate of all arms together may be; `order_alpha` that of the test of their order.
        power: Probability with which a share that is off by `difference` is found.
    """

    arms: tuple[Arm, ...]
    count: int
    alpha: float
    power: float
    difference: float
    order_alpha: float

    @property
    def size(self) -> float:
        """The false-alarm rate: exact for one or two arms, for more an upper bound (Bonferroni)."""
        if len(self.arms) <= 2:
            return max(arm.size for arm in self.arms)
        return min(1.0, math.fsum(arm.size for arm in self.arms))

    def power_against(self, version: str, share: float) -> float:
        """The probability that this arm alone gives the alarm when its true share is `share`."""
        arm = next(each for each in self.arms if each.version == version)
        return outside(self.count, share, arm.accepted)

    def words(self) -> str:
        """What is printed before the test starts: sample, false-alarm rate, power, what can be told."""
        shares = "/".join(f"{arm.version}={_percent(arm.share)}" for arm in self.arms)
        bound = "at most " if len(self.arms) > 2 else ""
        lines = [
            f"split {shares}: one sample of {self.count} requests, exact two-sided binomial test",
            f"false-alarm rate {bound}{self.size:.2g} (alpha {self.alpha:.2g}), power {self.power:g}",
            f"the order of the answers is tested for independence, exactly, at alpha {self.order_alpha:.2g}",
        ]
        for arm in self.arms:
            low, high = arm.accepted
            told = [f"≤ {_percent(arm.below, math.floor)}"] * (arm.below > 0)
            told += [f"≥ {_percent(arm.above, math.ceil)}"] * (arm.above < 1)
            found = f"a true share {' or '.join(told)} is found with this power" if told else "no other share is found"
            lines.append(f"  {arm.version}: accepted {low} to {high} of {self.count}; {found}")
        return "\n".join(lines)


def plan(
    weights: Mapping[str, float],
    alpha: float = ALPHA,
    power: float = POWER,
    *,
    difference: float = DIFFERENCE,
    count: int = 0,
) -> SplitPlan:
    """The test of these weights, with the smallest sample (in steps of 100) that has this power.

    Args:
        weights: Version → weight; they are shares of their sum. A version of weight 0 may never answer.
        alpha: False-alarm rate of the whole test of counts, two-sided and conservative. Of more than two arms each
            gets its part (Bonferroni); two arms are one and the same test.
        power: Probability with which an arm that is off by `difference` (0.05: five points) is found.
        count: This sample instead; the power is then what `words` says it is.

    Raises:
        UsageError: A weight, rate or difference is none, or no sample of up to 100 000 has this power.
    """
    total = math.fsum(weights.values())
    if not weights or total <= 0 or min(weights.values()) < 0:
        raise UsageError(f"split {dict(weights)}: weights are numbers from 0 on, at least one above 0")
    if not (0 < alpha < 1 and 0 < power < 1 and 0 < difference < 1 and 0 <= count <= MOST):
        raise UsageError(f"split: alpha {alpha}, power {power}, difference {difference}, count {count}: out of range")
    shares = {version: weight / total for version, weight in weights.items()}
    each = alpha if len(shares) <= 2 else alpha / len(shares)
    count = count or _least(shares, each, power, difference)
    arms = tuple(_arm(version, share, count, each, power) for version, share in shares.items())
    return SplitPlan(arms=arms, count=count, alpha=alpha, power=power, difference=difference, order_alpha=alpha)


def _arm(version: str, share: float, count: int, alpha: float, power: float) -> Arm:
    accepted = interval(count, share, alpha)
    below, above = detectable(count, accepted, share, power)
    size = outside(count, share, accepted)
    return Arm(version=version, share=share, accepted=accepted, size=size, below=below, above=above)


def _least(shares: Mapping[str, float], alpha: float, power: float, difference: float) -> int:
    def enough(count: int) -> bool:
        for share in shares.values():
            accepted = interval(count, share, alpha)
            others = [other for other in (share - difference, share + difference) if 0 <= other <= 1]
            if any(outside(count, other, accepted) < power for other in others):
                return False
        return True

    low, high = math.ceil(LEAST / STEP), MOST // STEP
    if not enough(high * STEP):
        raise UsageError(
            f"split: {MOST} requests cannot tell a difference of {_percent(difference)} with power {power}"
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle * STEP) else (middle + 1, high)
    return low * STEP


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """What one arm showed.

    Attributes:
        observed: Answers of this version.
        runs: Unbroken stretches of it and of others in the order of sending, with those `accepted_runs`; None where
            the order says nothing (a share of 0 or 1, or only one version answered).
    """

    arm: Arm
    observed: int
    runs: int | None = None
    accepted_runs: tuple[int, int] = (0, 0)
    order_probability: float = 1.0

    @property
    def holds(self) -> bool:
        """Whether the count is accepted."""
        return self.arm.accepted[0] <= self.observed <= self.arm.accepted[1]

    @property
    def ordered(self) -> bool:
        """Whether the order is one that independent draws have."""
        return self.runs is None or self.accepted_runs[0] <= self.runs <= self.accepted_runs[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitResult:
    """A judged sample.

    Attributes:
        reason: One sentence: what differs, or why nothing can be told; empty when the split holds.
    """

    plan: SplitPlan
    sample: Sample
    standing: Standing
    arms: tuple[ArmResult, ...]
    reason: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def holds(self) -> bool:
        """Whether all was answered, by versions that may, in shares that are accepted, in a random order."""
        return self.standing is Standing.HOLDS

    def first_line(self) -> str:
        """Who → whom, the split, and what was seen; at most 100 characters."""
        shares = "/".join(f"{_percent(result.arm.share)}" for result in self.arms)
        said = self.reason or "/".join(str(result.observed) for result in self.arms) + f" of {self.sample.count}, holds"
        return f"{self.sample.flow}: split {shares}: {said}"[:FIRST_LINE]

    def table(self) -> str:
        """Arm, share, accepted and observed, aligned; then the order, what else answered and what the plan said."""
        rows = [("version", "share", "accepted", "observed", "")]
        for result in self.arms:
            low, high = result.arm.accepted
            mark = "" if result.holds else "!"
            rows.append((result.arm.version, _percent(result.arm.share), f"{low}–{high}", str(result.observed), mark))
        wide = [max(len(row[place]) for row in rows) for place in range(5)]
        lines = ["  ".join(text.ljust(size) for text, size in zip(row, wide, strict=True)).rstrip() for row in rows]
        for result in self.arms:
            if result.runs is not None:
                low, high = result.accepted_runs
                lines.append(
                    f"order of {result.arm.version}: {result.runs} runs, accepted {low}–{high} "
                    f"(two-sided probability {result.order_probability:.2g})"
                )
        return "\n".join([*lines, *self.notes, self.sample.words(), self.plan.words()])

    def verify(self) -> None:
        """Return when the split holds.

        Raises:
            VerdictError: It does not.
            InconclusiveError: It could not be told.
        """
        if self.standing is Standing.DIFFERS:
            raise VerdictError(f"{self.first_line()}\n{self.table()}")
        if self.standing is Standing.UNDECIDED:
            raise InconclusiveError(self.first_line(), detail=self.table())

    def record(self) -> dict[str, Any]:
        """The result as JSON, for reports."""
        return {
            "flow": self.sample.flow.record(),
            "standing": str(self.standing),
            "reason": self.reason,
            "count": self.sample.count,
            "alpha": self.plan.alpha,
            "size": self.plan.size,
            "power": self.plan.power,
            "arms": [
                {
                    "version": result.arm.version,
                    "share": result.arm.share,
                    "accepted": list(result.arm.accepted),
                    "observed": result.observed,
                    "runs": result.runs,
                    "accepted_runs": list(result.accepted_runs),
                }
                for result in self.arms
            ],
            "text": self.table(),
        }


def judge_split(plan: SplitPlan, sample: Sample, *, order: bool = True) -> SplitResult:
    """What the sample says of the plan; call it once, with the whole sample.

    Args:
        order: Also hold that the order is that of independent draws (Wald–Wolfowitz, exact). Off where versions are
            picked for each connection and not for each request.
    """
    counts = sample.versions()
    arms = tuple(_result(arm, counts.get(arm.version, 0), sample, plan, order) for arm in plan.arms)
    standing, reason = _standing(plan, sample, arms)
    strangers = sorted(set(counts) - {arm.version for arm in plan.arms})
    notes = tuple(f"also answered: {version or 'no version'}, {counts[version]} times" for version in strangers)
    return SplitResult(plan=plan, sample=sample, standing=standing, arms=arms, reason=reason, notes=notes)


def _result(arm: Arm, observed: int, sample: Sample, plan: SplitPlan, order: bool) -> ArmResult:
    others = sum(sample.versions().values()) - observed
    if not order or arm.share in {0.0, 1.0} or not observed or not others:
        return ArmResult(arm=arm, observed=observed)
    if len(plan.arms) == 2 and arm is plan.arms[1]:  # the same runs as the first arm's
        return ArmResult(arm=arm, observed=observed)
    alpha = plan.order_alpha / (1 if len(plan.arms) <= 2 else len(plan.arms))
    runs = sample.runs(arm.version)
    return ArmResult(
        arm=arm,
        observed=observed,
        runs=runs,
        accepted_runs=runs_interval(observed, others, alpha),
        order_probability=min(1.0, 2 * min(runs_tails(observed, others, runs))),
    )


def _standing(plan: SplitPlan, sample: Sample, arms: tuple[ArmResult, ...]) -> tuple[Standing, str]:
    kinds = sample.kinds()
    failed = {kind: count for kind, count in kinds.items() if kind not in {Kind.ANSWERED, Kind.PROBE_ERROR}}
    if failed:
        kind = max(failed, key=lambda each: failed[each])
        return Standing.DIFFERS, f"{sum(failed.values())} of {sample.count} not answered ({kind})"
    if sample.count != plan.count:
        return Standing.UNDECIDED, f"{plan.count} requests were planned, {sample.count} were sent in time"
    if kinds.get(Kind.PROBE_ERROR):
        return Standing.UNDECIDED, f"{kinds[Kind.PROBE_ERROR]} of {sample.count} requests could not be told"
    strangers = sorted(set(sample.versions()) - {arm.version for arm in plan.arms})
    if strangers:
        return Standing.DIFFERS, f"answered by {strangers[0] or 'no version'}, which has no share"
    wrong = [result for result in arms if not result.holds]
    if wrong:
        low, high = wrong[0].arm.accepted
        said = f"{wrong[0].arm.version} answered {wrong[0].observed} of {sample.count}, accepted {low}–{high}"
        return Standing.DIFFERS, said
    odd = [result for result in arms if not result.ordered]
    if odd:
        low, high = odd[0].accepted_runs
        return Standing.DIFFERS, f"{odd[0].arm.version} answers in {odd[0].runs} runs, accepted {low}–{high}"
    return Standing.HOLDS, ""


def _percent(share: float, rounded: Callable[[float], int] = round) -> str:
    """In percent, to a hundredth of a point."""
    return f"{rounded(share * 10_000) / 100:g}%"
