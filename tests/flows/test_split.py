"""Splits: the tables of exact values, what a wrong split costs to miss, and a simulation that agrees with both."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import pytest

from flows.binomial import detectable, interval, outside, runs_interval, runs_tails
from flows.errors import InconclusiveError, UsageError, VerdictError
from flows.model import Kind
from flows.sample import Sample
from flows.split import Standing, judge_split, plan
from tests.flows.samples import flow, verdict

TABLE = [
    (1000, 1e-3, (70, 132)),
    (1000, 1e-6, (57, 149)),
    (2000, 1e-3, (157, 245)),
    (2000, 1e-6, (138, 269)),
    (5000, 1e-3, (432, 571)),
    (5000, 1e-6, (399, 607)),
    (10000, 1e-3, (903, 1100)),
    (10000, 1e-6, (856, 1150)),
]
MISSES = [
    (1000, 0.05, 0.17),
    (1000, 0.15, 0.49),
    (1000, 0.2, 2e-5),
    (2000, 0.05, 1.2e-4),
    (2000, 0.08, 0.97),
    (2000, 0.12, 0.98),
    (2000, 0.15, 0.027),
    (5000, 0.08, 0.53),
    (5000, 0.12, 0.63),
    (5000, 0.15, 3e-9),
]


@pytest.mark.parametrize(("n", "alpha", "accepted"), TABLE)
def test_intervals_are_those_of_the_table(n: int, alpha: float, accepted: tuple[int, int]) -> None:
    assert interval(n, 0.1, alpha) == accepted
    assert 0 < outside(n, 0.1, accepted) <= alpha
    low, high = accepted
    assert outside(n, 0.1, (low + 1, n)) > alpha / 2
    assert outside(n, 0.1, (0, high - 1)) > alpha / 2


@pytest.mark.parametrize(("n", "share", "missed"), MISSES)
def test_misses_are_those_of_the_table(n: int, share: float, missed: float) -> None:
    found = 1 - outside(n, share, interval(n, 0.1, 1e-6))
    assert found == pytest.approx(missed, rel=0.15)


def test_small_cases_agree_with_counting_by_hand() -> None:
    exact = [math.comb(12, k) * 0.3**k * 0.7 ** (12 - k) for k in range(13)]
    assert outside(12, 0.3, (2, 6)) == pytest.approx(sum(exact[:2]) + sum(exact[7:]), rel=1e-12)
    runs = Counter(
        sum(1 for _ in itertools.groupby(place in chosen for place in range(9)))
        for chosen in itertools.combinations(range(9), 4)
    )
    for seen in range(2, 10):
        few, many = runs_tails(4, 5, seen)
        assert few == pytest.approx(sum(runs[each] for each in range(2, seen + 1)) / 126)
        assert many == pytest.approx(sum(runs[each] for each in range(seen, 10)) / 126)


def test_size_and_power_agree_with_a_seeded_simulation() -> None:
    """The error of the simulation is five of its own standard deviations."""
    draw, times, n = random.Random(20261121), 5_000, 200
    accepted = interval(n, 0.1, 0.05)
    for share in (0.1, 0.16):
        said = outside(n, share, accepted)
        counts = [sum(draw.random() < share for _ in range(n)) for _ in range(times)]
        seen = sum(not accepted[0] <= count <= accepted[1] for count in counts) / times
        assert abs(seen - said) < 5 * math.sqrt(said * (1 - said) / times), share


def test_the_order_of_independent_draws_is_taken_as_often_as_promised() -> None:
    draw, times, alarms, expected = random.Random(4), 2_000, 0, 0.0
    for _ in range(times):
        drawn = [draw.random() < 0.2 for _ in range(120)]
        hits, runs = sum(drawn), sum(1 for _ in itertools.groupby(drawn))
        low, high = runs_interval(hits, 120 - hits, 0.05)
        alarms += not low <= runs <= high
        expected += _outside_runs(hits, 120 - hits, (low, high))
    assert expected / times <= 0.05
    assert abs(alarms - expected) < 5 * math.sqrt(expected)


def _outside_runs(hits: int, misses: int, accepted: tuple[int, int]) -> float:
    least, most = 2, 2 * min(hits, misses) + (hits != misses)
    few = runs_tails(hits, misses, accepted[0] - 1)[0] if accepted[0] > least else 0.0
    return few + (runs_tails(hits, misses, accepted[1] + 1)[1] if accepted[1] < most else 0.0)


def test_what_is_detectable_is_found_with_the_power_and_what_is_nearer_is_not() -> None:
    accepted = interval(2000, 0.1, 1e-6)
    below, above = detectable(2000, accepted, 0.1, 0.99)
    assert outside(2000, below, accepted) >= 0.99 > outside(2000, below + 0.001, accepted)
    assert outside(2000, above, accepted) >= 0.99 > outside(2000, above - 0.001, accepted)


@pytest.mark.parametrize("weights", [{"v1": 90, "v2": 10}, {"v1": 50, "v2": 50}, {"a": 80, "b": 10, "c": 10}])
def test_a_plan_has_the_power_it_promises_in_every_arm(weights: dict[str, float]) -> None:
    made = plan(weights, 1e-6, 0.9, difference=0.05)
    assert made.size <= 1e-6
    for arm in made.arms:
        assert made.power_against(arm.version, arm.share - 0.05) >= 0.9
        assert made.power_against(arm.version, arm.share + 0.05) >= 0.9
    assert f"one sample of {made.count} requests" in made.words()


def test_the_plan_says_before_it_starts_what_it_can_tell() -> None:
    assert plan({"v1": 90, "v2": 10}, count=2000).words().splitlines() == [
        "split v1=90%/v2=10%: one sample of 2000 requests, exact two-sided binomial test",
        "false-alarm rate 8.4e-07 (alpha 1e-06), power 0.95",
        "the order of the answers is tested for independence, exactly, at alpha 1e-06",
        "  v1: accepted 1731 to 1862 of 2000; a true share ≤ 85.23% or ≥ 94.01% is found with this power",
        "  v2: accepted 138 to 269 of 2000; a true share ≤ 5.99% or ≥ 14.77% is found with this power",
    ]


@pytest.mark.parametrize("weights", [{}, {"v1": 0}, {"v1": -1, "v2": 2}])
def test_weights_that_are_none_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="weights are numbers from 0 on"):
        plan(weights)


def test_a_difference_that_no_sample_tells_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot tell a difference"):
        plan({"v1": 1, "v2": 1}, difference=0.001)


def sample(versions: list[str], failed: Kind | None = None) -> Sample:
    """A sample in which these versions answered in this order, `!` being a failure."""
    names = list(dict.fromkeys(versions))
    outcomes = [verdict(failed or Kind.RESET if name == "!" else Kind.ANSWERED, version=name) for name in names]
    return Sample(flow=flow(), outcomes=tuple(outcomes), order=tuple(names.index(each) for each in versions))


def drawn(second: int, of: int = 2000) -> list[str]:
    """So many answers of v2 among v1, in a seeded random order."""
    versions = ["v2"] * second + ["v1"] * (of - second)
    random.Random(7).shuffle(versions)
    return versions


NINETY = plan({"v1": 90, "v2": 10}, count=2000)
JUDGED = [
    pytest.param(drawn(138), Standing.HOLDS, "", id="least-accepted"),
    pytest.param(drawn(269), Standing.HOLDS, "", id="most-accepted"),
    pytest.param(drawn(137), Standing.DIFFERS, "v1 answered 1863 of 2000, accepted 1731–1862", id="too-few"),
    pytest.param(drawn(1000), Standing.DIFFERS, "v1 answered 1000 of 2000", id="half-and-half"),
    pytest.param(["v3", *drawn(200)[1:]], Standing.DIFFERS, "answered by v3, which has no share", id="a-stranger"),
    pytest.param(["!", *drawn(200)[1:]], Standing.DIFFERS, "1 of 2000 not answered (reset)", id="one-failure"),
    pytest.param(drawn(200)[1:], Standing.UNDECIDED, "2000 requests were planned, 1999 were sent", id="one-missing"),
    pytest.param(["v1"] * 1800 + ["v2"] * 200, Standing.DIFFERS, "v1 answers in 2 runs", id="one-after-the-other"),
    pytest.param((["v1"] * 9 + ["v2"]) * 200, Standing.DIFFERS, "v1 answers in 400 runs", id="in-turn"),
]


@pytest.mark.parametrize(("versions", "standing", "reason"), JUDGED)
def test_a_sample_is_judged(versions: list[str], standing: Standing, reason: str) -> None:
    result = judge_split(NINETY, sample(versions))
    assert result.standing is standing
    assert reason in result.reason
    assert len(result.first_line()) <= 100


def test_a_probe_that_could_not_tell_leaves_the_split_undecided() -> None:
    result = judge_split(NINETY, sample(["!", *drawn(200)[1:]], Kind.PROBE_ERROR))
    with pytest.raises(InconclusiveError, match="1 of 2000 requests could not be told"):
        result.verify()


def test_all_to_one_version_is_broken_by_a_single_answer_of_another() -> None:
    whole = plan({"v1": 100, "v2": 0})
    judge_split(whole, sample(["v1"] * whole.count)).verify()
    with pytest.raises(VerdictError, match=r"v1 answered 499 of 500, accepted 500–500"):
        judge_split(whole, sample(["v1"] * (whole.count - 1) + ["v2"])).verify()


def test_three_arms_share_the_false_alarms() -> None:
    three = plan({"a": 80, "b": 10, "c": 10}, 1e-3, count=1000)
    assert three.arms[1].accepted == interval(1000, 0.1, 1e-3 / 3)
    versions = ["a"] * 800 + ["b"] * 145 + ["c"] * 55
    random.Random(1).shuffle(versions)
    result = judge_split(three, sample(versions))
    assert result.reason.startswith("b answered 145 of 1000")
    assert "!" in result.table()


def test_order_can_be_left_out_where_connections_choose() -> None:
    assert judge_split(NINETY, sample(["v1"] * 1800 + ["v2"] * 200), order=False).holds
