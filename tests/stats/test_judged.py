import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdown.stats import binomial, target_betting
from stepdown.stats.judged import LEAST_GOLD, judged_p_value, judged_upper_bound

LEVEL = 0.0375
JUDGES = ("good", "kind", "useless", "adversarial", "graded")


def draw(generator: np.random.Generator, count: int, worse: float, better: float, judge: str):
    """Gold excess losses (n,) and a judge's (n,)."""
    luck, other = generator.random((2, count))
    gold = (luck < worse).astype(float) - (luck > 1.0 - better)
    unrelated = (other < worse).astype(float) - (other > 1.0 - better)
    careless = generator.random(count)
    match judge:
        case "good":
            return gold, np.where(careless < 0.05, unrelated, gold)
        case "kind":  # sees half of what the student does wrong
            return gold, np.where((gold > 0) & (careless < 0.5), 0.0, gold)
        case "useless":
            return gold, unrelated
        case "adversarial":
            return gold, -gold
    return gold, np.clip(0.7 * gold + 0.2 * generator.normal(size=count), -1, 1)


def hide(generator: np.random.Generator, gold: np.ndarray, share: float, *, fixed: bool) -> np.ndarray:
    """Gold with nan where not drawn: a fixed number of rows, or each with the same chance."""
    if fixed:
        return np.where(generator.permutation(gold.size) < round(share * gold.size), gold, math.nan)
    return np.where(generator.random(gold.size) < share, gold, math.nan)


def naive_p_value(judged: np.ndarray, gold: np.ndarray, chance: float, margin: float, error: float) -> float:
    """The definition, one row at a time."""
    count, goal, wealth, largest = gold.size, math.log(1 / error), 0.0, 0.0
    along, square, total = 0.5, 1.0, 0.0
    for row in range(count):
        weight = (1 - chance) * min(max(along / square, 0.0), 1.0)
        reach = 1 / chance + weight * (1 / chance - 1)
        if row == 0:
            squares = reach**2
        missing = (goal - wealth) / (count - row) if largest < goal else goal / count
        stake = min(math.sqrt(2 * missing * (row + 1) / squares), 0.85 / (reach - margin))
        score = weight * judged[row]
        if not math.isnan(gold[row]):
            score += (gold[row] - weight * judged[row]) / chance
            along, square = along + gold[row] * judged[row], square + judged[row] ** 2
        wealth += math.log1p(stake * (margin - score))
        largest = max(largest, wealth)
        total += score
        squares += (score - total / (row + 2)) ** 2
    return math.exp(-largest)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from(JUDGES), st.floats(0.3, 1.0), st.floats(-0.2, 0.5))
def test_p_value_agrees_with_a_plain_loop(seed: int, judge: str, chance: float, margin: float) -> None:
    generator = np.random.default_rng(seed)
    gold, judged = draw(generator, 200, 0.1, 0.15, judge)
    seen = hide(generator, gold, chance, fixed=False)
    expected = naive_p_value(judged, seen, chance, margin, 0.05)
    assert judged_p_value(judged, seen, chance, margin) == pytest.approx(expected, rel=1e-6)


def test_gold_on_every_row_is_the_plain_test() -> None:
    gold, judged = draw(np.random.default_rng(0), 300, 0.03, 0.06, "graded")
    expected = target_betting.p_value(gold, 0.02)
    assert judged_p_value(judged, gold, 1.0, 0.02) == pytest.approx(expected)
    assert judged_p_value(judged, gold, None, 0.02) == pytest.approx(expected)
    assert judged_upper_bound(judged, gold, None, 0.05) == target_betting.upper_bound(gold, 0.05)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from(JUDGES), st.booleans())
def test_bound_and_p_value_are_the_same_statement(seed: int, judge: str, fixed: bool) -> None:
    generator = np.random.default_rng(seed)
    gold, judged = draw(generator, 400, 0.04, 0.10, judge)
    seen = hide(generator, gold, 0.4, fixed=fixed)
    chance = None if fixed else 0.4
    upper = judged_upper_bound(judged, seen, chance, 0.05)
    for margin in np.arange(upper, 0.999, 0.05):
        assert judged_p_value(judged, seen, chance, float(margin)) <= 0.05 + 1e-9


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("worse", "better", "share"), [(0.20, 0.10, 0.5), (0.11, 0.01, 0.15)])
def test_false_rejections_at_the_margin(judge: str, fixed: bool, worse: float, better: float, share: float) -> None:
    generator = np.random.default_rng(1)
    runs, rejected = 120, 0
    for _ in range(runs):
        gold, judged = draw(generator, 300, worse, better, judge)
        seen = hide(generator, gold, share, fixed=fixed)
        p_value = judged_p_value(judged, seen, None if fixed else share, 0.1, LEVEL)
        assert 0.0 < p_value <= 1.0
        rejected += p_value <= LEVEL
    assert binomial.probability_at_least(rejected, runs, LEVEL) > 1e-3


def test_a_good_judge_helps_and_a_bad_one_does_little_harm() -> None:
    generator = np.random.default_rng(2)
    power = dict.fromkeys(("good", "adversarial", "gold alone"), 0)
    for _ in range(50):
        gold, judged = draw(generator, 1000, 0.05, 0.10, "good")
        seen = hide(generator, gold, 0.15, fixed=True)
        power["good"] += judged_p_value(judged, seen, None, 0.02, LEVEL) <= LEVEL
        power["adversarial"] += judged_p_value(-judged, seen, None, 0.02, LEVEL) <= LEVEL
        power["gold alone"] += target_betting.p_value(seen[~np.isnan(seen)], 0.02, error=LEVEL) <= LEVEL
    assert power["good"] > power["gold alone"] + 5
    assert power["adversarial"] > power["gold alone"] - 5


def test_few_gold_rows_claim_nothing() -> None:
    judged = np.full(5000, -1.0)
    gold = np.where(np.arange(5000) < LEAST_GOLD - 1, -1.0, math.nan)
    assert judged_p_value(judged, gold, None, 0.9) == judged_upper_bound(judged, gold, 0.01, 0.05) == 1.0
    assert judged_p_value(judged, np.where(np.arange(5000) < LEAST_GOLD, -1.0, math.nan), 0.006, 0.9) < 0.05


def test_nonsense_is_refused() -> None:
    gold = np.zeros(40)
    with pytest.raises(ValueError, match="two equal"):
        judged_p_value(np.zeros(3), gold, 0.5, 0.0)
    with pytest.raises(ValueError, match="outside"):
        judged_p_value(np.full(40, math.nan), gold, 0.5, 0.0)
    with pytest.raises(ValueError, match="outside"):
        judged_p_value(gold, np.full(40, 1.5), 0.5, 0.0)
    with pytest.raises(ValueError, match="probability"):
        judged_p_value(gold, gold, 0.0, 0.0)
    with pytest.raises(ValueError, match="margin"):
        judged_p_value(gold, gold, 0.5, 1.0)
    with pytest.raises(ValueError, match="error"):
        judged_upper_bound(gold, gold, 0.5, 0.0)
