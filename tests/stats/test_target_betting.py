import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from stepdown.stats import betting, binomial, paired_binary, target_betting
from stepdown.stats.betting import Bounds

losses = arrays(np.float64, st.integers(1, 60), elements=st.floats(-1.0, 1.0))


def trinomial(generator: np.random.Generator, shape: tuple[int, ...], worse: float, better: float) -> np.ndarray:
    luck = generator.random(shape)
    return (luck < worse).astype(float) - (luck > 1.0 - better)


def naive_p_value(values: list[float], margin: float, lower: float, upper: float, error: float) -> float:
    """The strategy as described, one value at a time, on the [0, 1] scale."""
    margin = (margin - lower) / (upper - lower)
    goal, wealth, largest = math.log(1 / error), 1.0, 1.0
    total, squares = 0.5, 0.25
    for row, value in enumerate(values):
        scaled, left = (value - lower) / (upper - lower), len(values) - row
        variance = squares / (row + 1)
        missing = (goal - math.log(wealth)) / left if largest < 1 / error * (1 - 1e-12) else goal / len(values)
        stake = min(math.sqrt(2 * missing / variance), 0.85 / (1 - margin))
        wealth *= 1 + stake * (margin - scaled)
        largest = max(largest, wealth)
        total += scaled
        squares += (scaled - total / (row + 2)) ** 2
    return 1 / largest


@given(losses, st.floats(-0.9, 0.9), st.sampled_from([0.01, 0.05, 0.2]))
def test_p_value_agrees_with_a_plain_loop(values: np.ndarray, margin: float, error: float) -> None:
    expected = naive_p_value(values.tolist(), margin, -1.0, 1.0, error)
    assert target_betting.p_value(values, margin, error=error) == pytest.approx(expected, rel=1e-7)


@given(losses, st.floats(-0.9, 0.9), st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_p_value_ignores_units(values: np.ndarray, margin: float, scale: float, shift: float) -> None:
    moved = np.clip(values * scale + shift, shift - scale, shift + scale)
    bounds = Bounds(shift - scale, shift + scale)
    expected = target_betting.p_value(values, margin)
    assert target_betting.p_value(moved, margin * scale + shift, bounds) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=20)
@given(losses)
def test_upper_bound_rejects_every_margin_of_the_grid_above_it(values: np.ndarray) -> None:
    upper = target_betting.upper_bound(values, 0.05)
    assert -1.0 < upper <= 1.0
    above = target_betting.margin_grid(Bounds())
    for margin in above[above >= upper][:: max(1, above.size // 20)]:
        assert target_betting.p_value(values, float(margin)) <= 0.05 + 1e-12


@pytest.mark.parametrize(
    ("worse", "better", "count"), [(0.07, 0.05, 400), (0.02, 0.0, 400), (0.021, 0.001, 60), (0.5, 0.48, 300)]
)
@pytest.mark.parametrize("error", [0.01, 0.05, 0.2])
def test_size_at_the_margin(worse: float, better: float, count: int, error: float) -> None:
    columns = trinomial(np.random.default_rng(2), (count, 4000), worse, better)
    p_values = target_betting.p_values(columns, 0.02, error=0.05)
    rejected = int((p_values <= error).sum())
    assert binomial.probability_at_least(rejected, 4000, error) > 1e-3


@pytest.mark.slow
def test_bound_covers() -> None:
    generator = np.random.default_rng(3)
    missed = sum(target_betting.upper_bound(row, 0.1) < 0.02 for row in trinomial(generator, (250, 300), 0.07, 0.05))
    assert binomial.probability_at_least(missed, 250, 0.1) > 1e-3


def test_power_lies_between_the_anytime_bets_and_the_exact_test() -> None:
    columns = trinomial(np.random.default_rng(4), (2000, 800), 0.05, 0.05)
    anytime = (betting.p_values(columns, 0.02, error=0.0375) <= 0.0375).mean()
    aimed = (target_betting.p_values(columns, 0.02, error=0.0375) <= 0.0375).mean()
    normal = stats.norm.cdf(0.02 / math.sqrt(0.1 / 2000) - stats.norm.ppf(1 - 0.0375))
    assert anytime + 0.08 < aimed < normal
    assert aimed > normal - 0.06
    counts = paired_binary.paired_counts(columns[:, 0])
    assert target_betting.upper_bound(columns[:, 0], 0.05) >= paired_binary.upper_bound(counts, 0.05) - 0.002


def test_margins_at_and_beyond_the_bounds_and_nonsense() -> None:
    values = np.array([0.0, 0.5])
    assert target_betting.p_value(values, -1.0) == 1.0
    assert target_betting.p_value(values, 1.0) == 0.0
    assert target_betting.p_value(np.ones(5), 1.0) == 1.0
    assert target_betting.upper_bound(np.ones(5), 0.05) == 1.0
    for bad in ([1.5], [math.nan]):
        with pytest.raises(ValueError, match="expected all of them within"):
            target_betting.p_value(bad, 0.0)
    with pytest.raises(ValueError, match="at least one"):
        target_betting.p_value([], 0.0)
    with pytest.raises(ValueError, match="error"):
        target_betting.upper_bound([0.0], 1.0)
