import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stepdown.stats import binomial
from stepdown.stats.intervals import (
    BootstrapOptions,
    bootstrap_interval,
    quantile_interval,
    quantile_p_value,
    quantile_upper_bound,
)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_bootstrap_agrees_with_scipy(method: str) -> None:
    sample = np.random.default_rng(0).exponential(size=150)
    options = BootstrapOptions(method=method, resamples=4000)
    ours = bootstrap_interval(lambda rows: float(sample[rows].mean()), 150, np.random.default_rng(1), options)
    theirs = stats.bootstrap(
        (sample,), np.mean, n_resamples=4000, method="BCa" if method == "bca" else "percentile", rng=2
    ).confidence_interval
    assert (ours.lower, ours.upper) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert ours.lower < ours.estimate < ours.upper


def test_bootstrap_is_reproducible_and_serves_macro_f1() -> None:
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 4, 300)
    predicted = np.where(generator.random(300) < 0.8, truth, generator.integers(0, 4, 300))

    def macro_f1(rows: np.ndarray) -> float:
        table = np.zeros((4, 4))
        np.add.at(table, (truth[rows], predicted[rows]), 1)
        return float((2 * table.diagonal() / (table.sum(axis=0) + table.sum(axis=1))).mean())

    first, second = (
        bootstrap_interval(macro_f1, 300, np.random.default_rng(4), BootstrapOptions(resamples=100)) for _ in range(2)
    )
    assert first == second
    assert 0.7 < first.lower < first.estimate < first.upper < 0.95


def test_bootstrap_of_a_constant_or_of_nothing_finite() -> None:
    constant = bootstrap_interval(lambda rows: 1.0, 10, np.random.default_rng(0))
    assert (constant.lower, constant.upper) == (1.0, 1.0)
    nothing = bootstrap_interval(lambda rows: math.nan, 10, np.random.default_rng(0))
    assert math.isnan(nothing.lower)
    with pytest.raises(ValueError, match="at least 2"):
        bootstrap_interval(lambda rows: 0.0, 1, np.random.default_rng(0))


def test_quantile_intervals_cover_at_least_as_often_as_they_say() -> None:
    generator = np.random.default_rng(7)
    truth = -math.log(0.05)
    intervals = [quantile_interval(generator.exponential(size=200), 0.95, error=0.1) for _ in range(400)]
    assert binomial.probability_at_least(sum(not i.lower <= truth <= i.upper for i in intervals), 400, 0.1) > 1e-3


@given(st.integers(1, 400), st.sampled_from([0.5, 0.9, 0.95]), st.sampled_from([0.01, 0.05]))
def test_quantile_bound_is_the_least_that_is_valid(count: int, quantile: float, error: float) -> None:
    sample = np.arange(count, dtype=float)
    bound = quantile_upper_bound(sample, quantile, error)
    chances = stats.binom.sf(np.arange(count), count, quantile)
    valid = np.flatnonzero(chances <= error)
    assert bound == (float(valid[0]) if len(valid) else math.inf)


@given(st.integers(1, 400), st.sampled_from([0.5, 0.95]))
def test_lower_end_mirrors_the_upper(count: int, quantile: float) -> None:
    sample = np.arange(count, dtype=float)
    interval = quantile_interval(sample, quantile)
    assert interval.lower == -quantile_upper_bound(-sample, 1 - quantile, 0.025)


def test_p95_needs_enough_values() -> None:
    assert quantile_upper_bound(np.ones(58), 0.95, 0.05) == math.inf
    assert quantile_upper_bound(np.ones(59), 0.95, 0.05) == 1.0


def test_latency_claim_counts_the_slow_ones() -> None:
    sample = np.repeat([1.0, 30.0], [990, 10])
    assert quantile_p_value(sample, 0.95, 20.0) == binomial.p_value(10, 1000, 1 - 0.95)
    assert quantile_p_value(sample, 0.95, 0.5) == 1.0
    with pytest.raises(ValueError, match="expected numbers"):
        quantile_p_value([], 0.95, 1.0)
