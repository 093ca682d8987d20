import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stepdown.stats import binomial, paired_binary
from stepdown.stats.paired_binary import PairedCounts, interval, lower_bound, p_value, paired_counts, upper_bound

counts = st.integers(5, 150).flatmap(
    lambda total: st.integers(0, total).flatmap(
        lambda worse: st.integers(0, total - worse).map(lambda better: PairedCounts(worse, better, total))
    )
)


def all_outcomes(total: int) -> np.ndarray:
    """Every (worse, better) that `total` pairs can show, as (m, 2)."""
    return np.array([(worse, better) for worse in range(total + 1) for better in range(total + 1 - worse)])


def probabilities(outcomes: np.ndarray, total: int, worse_rate: float, better_rate: float) -> np.ndarray:
    table = np.column_stack([outcomes, total - outcomes.sum(axis=1)])
    rates = np.maximum([worse_rate, better_rate, 1.0 - worse_rate - better_rate], 0.0)
    return stats.multinomial.pmf(table, total, rates / rates.sum())


def naive_p_value(observed: PairedCounts, margin: float) -> float:
    """The definition by brute force: every outcome, a fine grid of discordances, no shortcuts."""
    total, quantile = observed.total, 1.645

    def limit(worse: float, better: float) -> float:
        difference = (worse - better) / (total + 2)
        spread = (worse + better + 2) / (total + 2) - difference**2
        return difference + quantile * math.sqrt(spread / (total + 2))

    outcomes = all_outcomes(total)
    reached = limit(observed.worse, observed.better) + 1e-9
    region = np.array([limit(worse, better) <= reached for worse, better in outcomes])
    low, high = binomial.proportion_interval(observed.worse + observed.better, total, 1e-6)
    grid = np.linspace(max(low, abs(margin)), high, 300)
    sizes = (probabilities(outcomes[region], total, (g + margin) / 2, (g - margin) / 2).sum() for g in grid)
    return min(1.0, max(sizes) + 1e-6)


@pytest.mark.parametrize(
    ("worse", "better", "total", "margin"),
    [(1, 4, 20, 0.02), (0, 0, 20, 0.10), (5, 5, 30, 0.2), (2, 8, 30, -0.05), (0, 3, 40, 0.05), (10, 20, 40, 0.02),
     (3, 2, 60, 0.10), (0, 1, 50, 0.02), (12, 3, 40, 0.4)],
)  # fmt: skip
def test_p_value_agrees_with_brute_force(worse: int, better: int, total: int, margin: float) -> None:
    fast, naive = (
        p_value(PairedCounts(worse, better, total), margin),
        naive_p_value(PairedCounts(worse, better, total), margin),
    )
    assert naive - 1e-9 <= fast <= 1.04 * naive + 1e-6


@pytest.mark.parametrize(("total", "margin"), [(12, 0.1), (20, 0.02), (22, 0.1), (14, -0.1)])
def test_size_is_exact_for_every_nuisance(total: int, margin: float) -> None:
    """P(p <= error) <= error under every distribution at the margin, by enumeration rather than simulation."""
    outcomes = all_outcomes(total)
    p_values = np.array([p_value(PairedCounts(int(w), int(b), total), margin) for w, b in outcomes])
    for discordant in np.linspace(abs(margin), 1.0, 25):
        weights = probabilities(outcomes, total, (discordant + margin) / 2, (discordant - margin) / 2)
        for error in (0.01, 0.05, 0.10, 0.5):
            assert weights[p_values <= error].sum() <= error + 1e-12


def test_power_is_close_to_the_normal_test_at_realistic_sizes() -> None:
    observed = PairedCounts(160, 155, 2000)
    deviation = math.sqrt((315 / 2000 - observed.estimate**2) / 2000)
    normal = float(stats.norm.cdf((observed.estimate - 0.02) / deviation))
    assert normal < p_value(observed, 0.02) < 1.2 * normal


@settings(max_examples=25)
@given(counts, st.floats(-0.5, 0.5), st.floats(0.0, 0.4))
def test_p_value_falls_as_the_margin_rises(observed: PairedCounts, margin: float, more: float) -> None:
    assert p_value(observed, margin + more) <= p_value(observed, margin) * 1.05 + 1e-9


@settings(max_examples=25)
@given(counts, st.floats(-0.3, 0.3))
def test_better_data_never_raise_the_p_value(observed: PairedCounts, margin: float) -> None:
    if observed.worse == 0:
        return
    improved = PairedCounts(observed.worse - 1, observed.better, observed.total)
    assert p_value(improved, margin) <= p_value(observed, margin) * 1.05 + 2e-6


@settings(max_examples=6)
@given(counts)
def test_bounds_invert_the_test_and_enclose_the_estimate(observed: PairedCounts) -> None:
    lower, upper = interval(observed, 0.1)
    assert -1.0 <= lower <= observed.estimate <= upper <= 1.0
    if upper < 1.0:
        assert p_value(observed, upper) <= 0.05
        assert p_value(observed, max(upper - 1e-3, observed.estimate)) > 0.05 * 0.9
    assert lower_bound(observed, 0.05) == pytest.approx(-upper_bound(observed.mirrored, 0.05), abs=1e-12)


def test_bound_covers() -> None:
    generator = np.random.default_rng(7)
    truth, total, runs = 0.01, 100, 300
    drawn, repeats = np.unique(generator.multinomial(total, [0.06, 0.05, 0.89], size=runs), axis=0, return_counts=True)
    missed = [p_value(PairedCounts(int(worse), int(better), total), truth) <= 0.1 for worse, better, _ in drawn]
    assert binomial.probability_at_least(int(repeats @ missed), runs, 0.1) > 1e-3


def test_only_losses_on_one_side_match_the_binomial_closely() -> None:
    assert upper_bound(PairedCounts(20, 0, 1000), 0.05) == pytest.approx(binomial.upper_bound(20, 1000, 0.05), abs=1e-3)


def test_nothing_discordant_is_strong_evidence() -> None:
    assert p_value(PairedCounts(0, 0, 500), 0.02) < 1e-3
    assert p_value(PairedCounts(0, 0, 50), 0.02) > 0.05


def test_large_samples_stay_finite() -> None:
    assert p_value(PairedCounts(9000, 8600, 100_000), 0.01) < 1e-3
    assert p_value(PairedCounts(1000, 0, 1000), 0.5) == pytest.approx(1.0)


def test_counts_read_the_signs_and_refuse_the_rest() -> None:
    assert paired_counts(np.array([1, 0, -1, -1, 0])) == PairedCounts(1, 2, 5)
    with pytest.raises(ValueError, match="other than -1, 0 and 1"):
        paired_counts(np.array([0.5]))
    with pytest.raises(ValueError, match="expected counts"):
        PairedCounts(3, 3, 5)
    with pytest.raises(ValueError, match="margin"):
        p_value(PairedCounts(1, 1, 5), 1.0)
    with pytest.raises(ValueError, match="error"):
        paired_binary.upper_bound(PairedCounts(1, 1, 5), 0.0)
