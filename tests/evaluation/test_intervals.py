from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdown.core.estimates import Estimate
from stepdown.evaluation.intervals import mean_loss, paired_mean, product, quantile, rate, rates, resampled_mean


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60))
def test_a_mean_lies_in_its_interval_and_no_spread_is_not_certainty(losses: list[float]) -> None:
    found = mean_loss(losses)
    assert 0.0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1.0
    assert found.high > found.low


def test_zero_one_losses_get_the_exact_interval() -> None:
    found = mean_loss([0.0] * 100)
    assert found.method == "Clopper-Pearson"
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 100))
    stats = pytest.importorskip("scipy.stats")
    exact = stats.binomtest(7, 50).proportion_ci(method="exact")
    assert (rate(7, 50).low, rate(7, 50).high) == pytest.approx((exact.low, exact.high))
    assert rates(np.array([7, 0, 7]), np.array([50, 9, 50])) == [rate(7, 50), rate(0, 9), rate(7, 50)]


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=40), st.sampled_from([0.05, 0.5, 0.95]))
@settings(max_examples=60)
def test_a_quantile_is_finite_and_within_the_sample(values: list[float], probability: float) -> None:
    found = quantile(values, probability, "s")
    assert min(values) <= found.low <= found.value <= found.high <= max(values)
    assert math.isfinite(found.high)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Estimate) == found
    assert ("cut" in found.method) == ((len(values) < 72 and probability != 0.5) or len(values) < 6)


def test_the_interval_of_a_median_covers_it() -> None:
    generator = np.random.default_rng(4)
    covered = [
        found.low <= math.log(2.0) <= found.high
        for found in (quantile(generator.exponential(size=80), 0.5) for _ in range(300))
    ]
    assert np.mean(covered) >= 0.93


def test_amounts_are_resampled_and_one_amount_claims_nothing() -> None:
    generator = np.random.default_rng(4)
    amounts = generator.lognormal(size=300)
    found = resampled_mean(amounts, generator, "USD")
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(amounts.mean())
    alone = resampled_mean([2.5], generator)
    assert (alone.low, alone.value, alone.high, alone.n) == (2.5, 2.5, 2.5, 1)


def test_nothing_has_no_mean() -> None:
    for measure in (mean_loss, paired_mean):
        with pytest.raises(ValueError, match="no losses"):
            measure([])
    with pytest.raises(ValueError, match="0 values"):
        quantile([], 0.5)
    with pytest.raises(ValueError, match="no amounts"):
        resampled_mean([], np.random.default_rng(0))


def test_a_product_errs_on_the_wide_side() -> None:
    one = Estimate(value=2.0, low=1.0, high=3.0, n=9, method="m")
    two = Estimate(value=5.0, low=4.0, high=8.0, n=4, method="m")
    found = product((one, two), "USD", "1 × 2", estimated=True)
    assert (found.value, found.low, found.high, found.n, found.estimated) == (10.0, 4.0, 24.0, 4, True)
