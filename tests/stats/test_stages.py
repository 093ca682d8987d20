import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from stepdown.stats import binomial
from stepdown.stats.stages import SHARE, level_left, stage_level

levels = st.floats(1e-6, 0.9)


@settings(max_examples=15)
@given(levels)
def test_the_conditional_error_integrates_to_what_the_stage_left(level: float) -> None:
    """By adaptive quadrature, where the source has a closed form."""
    start, spent = math.nextafter(stage_level(level), 1.0), 0.0
    for end in (min(10 * start, 1.0), 1.0):
        if end > start:
            spent += integrate.quad(lambda p: level_left(level, p), start, end, epsabs=1e-13, limit=200)[0]
            start = end
    assert spent == pytest.approx(level - stage_level(level), rel=1e-7)


def test_one_further_look_is_the_test_of_bauer_and_koehne() -> None:
    """Their boundary for alpha 0.05 without stopping for futility: p1 p2 <= exp(-chi2(4) / 2) = 0.0087."""
    product = math.exp(-stats.chi2.isf(0.05, 4) / 2)
    assert product == pytest.approx(0.0087, abs=5e-5)
    # Theirs rejects at once where p1 alone is below c; with that as the stage's level, the hyperbola is the same.
    assert product + product * math.log(1 / product) == pytest.approx(0.05)
    assert level_left(0.05, 0.5) * 0.5 == pytest.approx((1 - SHARE) * 0.05 / math.log(1 / (SHARE * 0.05)))


@given(levels, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_larger_p_value_never_leaves_more(level: float, first: float, second: float) -> None:
    start = math.nextafter(stage_level(level), 1.0)
    small, large = sorted(start + (1.0 - start) * part for part in (first, second))
    assert 0.0 <= level_left(level, large) <= level_left(level, small) < 1.0


def test_a_near_miss_leaves_more_than_the_level_and_a_failure_little() -> None:
    assert level_left(0.05, 0.04) > 0.05
    assert 0.0 < level_left(0.05, 1.0) < 0.005
    assert level_left(0.0, 0.5) == stage_level(0.0) == 0.0
    assert stage_level(0.05) == pytest.approx(SHARE * 0.05)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="level"):
        stage_level(0.95)
    for p_value in (0.01, 0.0375, 1.1, math.nan):
        with pytest.raises(ValueError, match="expected one above it"):
            level_left(0.05, p_value)


def rejected_ever(generator: np.random.Generator, rate: float, margin: float, level: float) -> bool:
    """Up to five stages of exact binomial tests, their sizes chosen with an eye on all that came before."""
    failures, rows, size = 0, 0, 60
    for _ in range(5):
        drawn = int(generator.binomial(size, rate))
        p_value = binomial.p_value(drawn, size, margin)
        if p_value <= stage_level(level):
            return True
        level = level_left(level, p_value)
        failures, rows = failures + drawn, rows + size
        # Promising: a small further sample. Not promising: a large one that washes the bad luck out.
        size = 40 if failures < margin * rows else 400
    return False


@pytest.mark.parametrize("level", [0.05, 0.2])
@pytest.mark.parametrize("margin", [0.02, 0.15])
def test_false_rejections_stay_within_the_level(level: float, margin: float) -> None:
    generator = np.random.default_rng(11)
    runs = 1500
    rejected = sum(rejected_ever(generator, margin, margin, level) for _ in range(runs))
    assert binomial.probability_at_least(rejected, runs, level) > 1e-3


def test_uniform_p_values_come_close_to_the_level() -> None:
    generator = np.random.default_rng(12)
    runs, rejected = 3000, 0
    for _ in range(runs):
        level = 0.2
        for p_value in generator.random(4).tolist():
            if p_value <= stage_level(level):
                rejected += 1
                break
            level = level_left(level, p_value)
    assert abs(rejected / runs - 0.2) < 0.022
