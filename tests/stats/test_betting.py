import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value

from stepdown.stats import betting, binomial
from stepdown.stats.betting import Bounds, ConfidenceSequence

losses = arrays(np.float64, st.integers(1, 60), elements=st.floats(-1.0, 1.0))


def trinomial(generator: np.random.Generator, shape: tuple[int, ...], worse: float, better: float) -> np.ndarray:
    luck = generator.random(shape)
    return (luck < worse).astype(float) - (luck > 1.0 - better)


def naive_p_value(values: list[float], margin: float, lower: float, upper: float, error: float) -> float:
    """Predictable plug-in betting straight from the paper's formulas, one value at a time, on the [0, 1] scale."""
    count, wealth, largest = len(values), 1.0, 1.0
    scaled_margin = (margin - lower) / (upper - lower)
    seen: list[float] = []
    squares = 0.25
    mean, variance = 0.5, 0.25
    for value in values:
        scaled = (value - lower) / (upper - lower)
        stake = math.sqrt(2 * math.log(1 / error) / (count * variance)) * (1 - mean)
        bet = min(stake, 0.75) / (1 - scaled_margin)
        wealth *= 1 - bet * (scaled - scaled_margin)
        largest = max(largest, wealth)
        seen.append(scaled)
        mean = (0.5 + sum(seen)) / (len(seen) + 1)
        squares += (scaled - mean) ** 2
        variance = squares / (len(seen) + 1)
    return 1 / largest


@given(losses, st.floats(-0.9, 0.9), st.sampled_from([0.01, 0.05, 0.2]))
def test_p_value_agrees_with_a_plain_loop(values: np.ndarray, margin: float, error: float) -> None:
    expected = naive_p_value(values.tolist(), margin, -1.0, 1.0, error)
    assert betting.p_value(values, margin, error=error) == pytest.approx(expected, rel=1e-9)


@given(losses, st.floats(-0.9, 0.9), st.floats(0.0, 0.5))
def test_p_value_is_a_probability_and_falls_with_the_margin(values: np.ndarray, margin: float, more: float) -> None:
    strict, loose = betting.p_value(values, margin), betting.p_value(values, margin + more)
    assert 0.0 <= loose <= strict <= 1.0


@given(losses, st.floats(-0.9, 0.9), st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_p_value_ignores_units(values: np.ndarray, margin: float, scale: float, shift: float) -> None:
    moved = np.clip(values * scale + shift, shift - scale, shift + scale)
    bounds = Bounds(shift - scale, shift + scale)
    expected = betting.p_value(values, margin)
    assert betting.p_value(moved, margin * scale + shift, bounds) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=30)
@given(losses)
def test_bounds_invert_the_test_and_mirror(values: np.ndarray) -> None:
    upper = betting.upper_bound(values, 0.05)
    assert values.mean() <= upper <= 1.0
    if upper < 1.0:
        assert betting.p_value(values, upper) <= 0.05
    assert betting.lower_bound(values, 0.05) == pytest.approx(-betting.upper_bound(-values, 0.05))


def test_columns_are_tested_as_if_alone() -> None:
    columns = trinomial(np.random.default_rng(1), (300, 7), 0.05, 0.08)
    together = betting.p_values(columns, 0.02)
    assert together == pytest.approx([betting.p_value(column, 0.02) for column in columns.T])


def test_size_at_the_margin() -> None:
    columns = trinomial(np.random.default_rng(2), (400, 3000), 0.07, 0.05)
    rejected = int((betting.p_values(columns, 0.02) <= 0.05).sum())
    assert binomial.probability_at_least(rejected, 3000, 0.05) > 1e-3


def test_sharper_than_hoeffding_bentkus_where_the_excess_is_sparse() -> None:
    values = trinomial(np.random.default_rng(3), (2000,), 0.02, 0.02)
    scaled = (values + 1.0) / 2.0
    hoeffding_bentkus = compute_hoeffding_bentkus_p_value(np.array([scaled.mean()]), 2000, 0.51)[0, 0]
    assert betting.p_value(values, 0.02) < hoeffding_bentkus


def test_margins_at_and_beyond_the_bounds() -> None:
    values = np.array([0.0, 0.5])
    assert betting.p_value(values, -1.0) == 1.0
    assert betting.p_value(values, 1.0) == 0.0
    assert betting.p_value(np.ones(5), 1.0) == 1.0


def test_values_outside_the_declared_bounds_are_refused() -> None:
    for values in ([1.5], [math.nan]):
        with pytest.raises(ValueError, match="expected all of them within"):
            betting.p_value(values, 0.0)
    with pytest.raises(ValueError, match="at least one"):
        betting.p_value([], 0.0)
    with pytest.raises(ValueError, match="the lower first"):
        Bounds(1.0, 0.0)
    with pytest.raises(ValueError, match="error"):
        betting.upper_bound([0.0], 1.0)


def test_confidence_sequence_covers_at_all_times() -> None:
    generator = np.random.default_rng(4)
    missed = 0
    for _ in range(80):
        sequence = ConfidenceSequence(0.1, focus=0.02)
        for batch in trinomial(generator, (6, 80), 0.07, 0.05):
            sequence = sequence.updated(batch)
        missed += sequence.upper < 0.02 or sequence.lower > 0.02
    assert binomial.probability_at_least(missed, 80, 0.2) > 1e-3


def test_confidence_sequence_settles_on_the_mean() -> None:
    sequence = ConfidenceSequence(0.05).updated(trinomial(np.random.default_rng(5), (20_000,), 0.10, 0.05))
    assert 0.03 < sequence.lower < sequence.mean < sequence.upper < 0.07
    assert sequence.count == 20_000


def test_confidence_sequence_only_ever_narrows_and_survives_json() -> None:
    generator = np.random.default_rng(6)
    sequence = ConfidenceSequence(0.05, Bounds(0.0, 2.0), focus=0.3)
    for _ in range(5):
        batch = generator.random(37) * 2.0
        following = sequence.updated(batch)
        assert sequence.lower <= following.lower <= following.upper <= sequence.upper
        restored = ConfidenceSequence.from_dict(json.loads(json.dumps(sequence.to_dict(), allow_nan=False)))
        resumed = restored.updated(batch)
        assert (resumed.lower, resumed.upper) == (following.lower, following.upper)
        sequence = following
    assert sequence.updated([]) is sequence
    with pytest.raises(ValueError, match="shape"):
        ConfidenceSequence.from_dict({**sequence.to_dict(), "log_wealth": [0.0]})
