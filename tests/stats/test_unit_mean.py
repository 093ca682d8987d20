from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stepdown.stats import binomial, target_betting, unit_mean
from stepdown.stats.betting import Bounds

LEVEL = 0.0375
calls = st.lists(st.tuples(st.integers(0, 9), st.sampled_from([-1.0, -0.5, 0.0, 1.0])), min_size=1, max_size=50)


@given(calls)
def test_unit_sums_agree_with_grouping(rows: list[tuple[int, float]]) -> None:
    totals, sizes = unit_mean.unit_sums([value for _, value in rows], [f"u{unit}" for unit, _ in rows])
    order = list(dict.fromkeys(unit for unit, _ in rows))
    grouped = {unit: [value for _, value in group] for unit, group in groupby(sorted(rows), key=lambda row: row[0])}
    assert totals.tolist() == [sum(grouped[unit]) for unit in order]
    assert sizes.tolist() == [len(grouped[unit]) for unit in order]


@settings(max_examples=25)
@given(st.lists(st.sampled_from([-1.0, 0.0, 0.3, 1.0]), min_size=1, max_size=60), st.floats(-0.5, 0.5))
def test_units_of_one_call_give_the_plain_test(values: list[float], margin: float) -> None:
    ones = np.ones(len(values), dtype=np.int64)
    expected = target_betting.p_value(values, margin)
    assert unit_mean.p_value(values, ones, margin, 1) == pytest.approx(expected, rel=1e-9)
    assert unit_mean.upper_bound(values, ones, 0.05, 1) == pytest.approx(target_betting.upper_bound(values, 0.05))


def test_equal_units_give_the_test_of_their_means() -> None:
    totals = np.random.default_rng(0).integers(-5, 5, 80).astype(float)
    expected = target_betting.p_value(totals / 5, 0.05)
    assert unit_mean.p_value(totals, np.full(80, 5), 0.05, 5) == pytest.approx(expected, rel=1e-9)


def draw(generator: np.random.Generator, sizes: np.ndarray, worse: float, better: float) -> np.ndarray:
    """Totals of units whose calls are all alike."""
    luck = generator.random(sizes.shape)
    return ((luck < worse).astype(float) - (luck > 1.0 - better)) * sizes


@pytest.mark.parametrize("world", ["groups of 5", "groups of 20", "conversations of 8", "geometric", "long ones worse"])
def test_false_rejections_at_the_margin(world: str) -> None:
    generator = np.random.default_rng(1)
    shape, margin, largest = (400, 1500), 0.02, 12
    if world in ("geometric", "long ones worse"):
        sizes = np.minimum(generator.geometric(0.3, shape), largest)
    else:
        largest = int(world.rsplit(maxsplit=1)[-1])
        sizes = np.full(shape, largest)
    totals = draw(generator, sizes, 0.06, 0.04)
    if world == "long ones worse":  # the mean over units is far below the margin, the mean over calls is at it
        chance = margin * stats.geom.expect(lambda s: np.minimum(s, largest), (0.3,)) / (largest * 0.7 ** (largest - 1))
        totals = np.where((sizes == largest) & (generator.random(shape) < chance), sizes, 0).astype(float)
    above = totals - margin * sizes
    bounds = Bounds(-largest * (1 + margin), largest * (1 - margin))
    p_values = target_betting.p_values(above, 0.0, bounds, LEVEL)
    assert unit_mean.p_value(totals[:, 0], sizes[:, 0], margin, largest, LEVEL) == pytest.approx(p_values[0])
    assert binomial.probability_at_least(int((p_values <= LEVEL).sum()), shape[1], LEVEL) > 1e-3


@pytest.mark.slow
def test_bound_covers_the_mean_over_calls() -> None:
    generator = np.random.default_rng(2)
    missed = 0
    for _ in range(150):
        sizes = np.minimum(generator.geometric(0.4, 200), 6)
        missed += unit_mean.upper_bound(draw(generator, sizes, 0.06, 0.04), sizes, 0.1, 6) < 0.02
    assert binomial.probability_at_least(missed, 150, 0.1) > 1e-3


def test_more_alike_calls_are_no_more_evidence() -> None:
    values = draw(np.random.default_rng(3), np.ones(300), 0.02, 0.03)
    alone = unit_mean.p_value(values, np.ones(300), 0.02, 1)
    repeated = unit_mean.p_value(values * 8, np.full(300, 8), 0.02, 8)
    assert repeated == pytest.approx(alone)


def test_one_call_a_unit_is_a_sample_of_calls() -> None:
    generator = np.random.default_rng(4)
    units = [unit for unit in range(300) for _ in range(1 + unit % 5)]
    drawn = np.zeros(len(units))
    for _ in range(400):
        positions = unit_mean.one_call_a_unit(units, 8, generator)
        assert len({units[position] for position in positions}) == len(positions)
        drawn[positions] += 1
    by_size = [drawn[[1 + unit % 5 == size for unit in units]].mean() / 400 for size in range(1, 6)]
    assert by_size == pytest.approx([1 / 8] * 5, rel=0.1)
    with pytest.raises(ValueError, match="largest stated"):
        unit_mean.one_call_a_unit(["a"] * 3, 2, generator)


def test_margins_beyond_the_bounds_and_nonsense() -> None:
    assert unit_mean.p_value([1.0], [2], 1.0, 2) == 0.0
    assert unit_mean.p_value([2.0], [2], 1.0, 2) == 1.0
    assert unit_mean.p_value([1.0], [2], -1.0, 2) == 1.0
    with pytest.raises(ValueError, match="largest stated"):
        unit_mean.p_value([1.0], [3], 0.0, 2)
    with pytest.raises(ValueError, match="number of calls"):
        unit_mean.p_value([2.0], [1], 0.0, 2)
    with pytest.raises(ValueError, match="two equal"):
        unit_mean.upper_bound([], [], 0.05, 2)
    with pytest.raises(ValueError, match="error"):
        unit_mean.p_value([1.0], [1], 0.0, 2, error=1.0)
    with pytest.raises(ValueError, match="one unit for each"):
        unit_mean.unit_sums([1.0, 0.0], ["a"])
