import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from stepdown.stats import binomial

positive = st.floats(-1.0, 5.0).map(lambda exponent: 10.0**exponent)


@given(positive, positive, st.floats(1e-6, 1.0 - 1e-6), st.booleans())
def test_incomplete_beta_agrees_with_scipy(a: float, b: float, share: float, near_the_bulk: bool) -> None:
    x = float(stats.beta.ppf(share, a, b)) if near_the_bulk else share
    if not 0.0 < x < 1.0:
        return
    expected = float(special.betainc(a, b, x))
    assert binomial.regularised_incomplete_beta(a, b, x) == pytest.approx(expected, rel=1e-9, abs=1e-10)


def test_incomplete_beta_keeps_digits_far_in_the_tail() -> None:
    assert binomial.regularised_incomplete_beta(900.0, 100.0, 0.5) == pytest.approx(
        float(special.betainc(900.0, 100.0, 0.5)), rel=1e-9
    )
    assert (
        binomial.regularised_incomplete_beta(2.0, 3.0, 0.0),
        binomial.regularised_incomplete_beta(2.0, 3.0, 1.0),
    ) == (
        0.0,
        1.0,
    )


@given(st.integers(1, 20_000), st.floats(0.0, 1.0), st.floats(0.0001, 0.9999))
def test_tails_agree_with_scipy_and_fit_together(trials: int, share: float, rate: float) -> None:
    successes = round(share * trials)
    below = binomial.probability_at_most(successes, trials, rate)
    assert below == pytest.approx(float(stats.binom.cdf(successes, trials, rate)), abs=1e-10)
    assert below + binomial.probability_at_least(successes + 1, trials, rate) == pytest.approx(1.0, abs=1e-10)


@given(st.integers(1, 3000), st.floats(0.0, 1.0), st.sampled_from([0.01, 0.05, 0.3]))
def test_clopper_pearson_agrees_with_the_beta_quantiles(trials: int, share: float, error: float) -> None:
    successes = round(share * trials)
    upper = 1.0 if successes == trials else float(stats.beta.ppf(1 - error, successes + 1, trials - successes))
    lower = 0.0 if successes == 0 else float(stats.beta.ppf(error, successes, trials - successes + 1))
    assert binomial.upper_bound(successes, trials, error) == pytest.approx(upper, abs=1e-9)
    assert binomial.lower_bound(successes, trials, error) == pytest.approx(lower, abs=1e-9)


def test_p_value_and_bound_are_the_same_statement() -> None:
    bound = binomial.upper_bound(12, 1000, 0.05)
    assert binomial.p_value(12, 1000, bound + 1e-9) <= 0.05 < binomial.p_value(12, 1000, bound - 1e-6)
    assert binomial.p_value(0, 100, -0.1) == 1.0
    assert binomial.p_value(100, 100, 0.5) == 1.0


def test_wilson_interval_agrees_with_scipy() -> None:
    lower, upper = binomial.wilson_interval(37, 120)
    expected = stats.binomtest(37, 120).proportion_ci(0.95, method="wilson")
    assert (lower, upper) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_zero_failures_follow_the_rule_of_three() -> None:
    assert binomial.upper_bound(0, 1000, 0.05) == pytest.approx(-math.log(0.05) / 1000, rel=0.01)


@pytest.mark.parametrize("counts", [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected a count between 0 and"):
        binomial.upper_bound(*counts, 0.05)
    with pytest.raises(ValueError, match="expected a > 0"):
        binomial.regularised_incomplete_beta(0.0, 1.0, 0.5)
