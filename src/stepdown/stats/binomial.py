"""Exact inference on a proportion: distribution, tail p-values, Clopper-Pearson and Wilson intervals.

Sources: Clopper & Pearson (1934), The use of confidence or fiducial limits, Biometrika 26; Wilson (1927), Probable
inference, JASA 22; the incomplete beta function by its continued fraction (DLMF 8.17.22, evaluated as in Lentz
1976) with Loader's (2000) saddle-point form of the binomial probability as prefactor, which keeps digits when the
counts are large.
"""

import math
from collections.abc import Callable

_TINY = 1e-300


def regularised_incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b) for a, b > 0 and x in [0, 1]; relative error below 1e-10 for a + b up to a million."""
    if a <= 0.0 or b <= 0.0 or not 0.0 <= x <= 1.0:
        raise ValueError(f"Got a={a}, b={b}, x={x}; expected a > 0, b > 0 and x between 0 and 1.")
    if x in (0.0, 1.0):
        return x
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _lower_incomplete_beta(b, a, 1.0 - x, x)
    return _lower_incomplete_beta(a, b, x, 1.0 - x)


def probability_at_most(successes: int, trials: int, rate: float) -> float:
    """P(Binomial(trials, rate) <= successes)."""
    if successes < 0:
        return 0.0
    if successes >= trials:
        return 1.0
    return regularised_incomplete_beta(trials - successes, successes + 1.0, 1.0 - rate)


def probability_at_least(successes: int, trials: int, rate: float) -> float:
    """P(Binomial(trials, rate) >= successes)."""
    if successes <= 0:
        return 1.0
    if successes > trials:
        return 0.0
    return regularised_incomplete_beta(float(successes), trials - successes + 1.0, rate)


def p_value(failures: int, trials: int, margin: float) -> float:
    """P-value of the hypothesis that the failure rate is at or above `margin` (small: the rate is below it)."""
    _check_counts(failures, trials)
    return probability_at_most(failures, trials, min(max(margin, 0.0), 1.0))


def upper_bound(successes: int, trials: int, error: float, *, tolerance: float = 1e-12) -> float:
    """Clopper-Pearson upper confidence bound on the rate, exceeded by the truth with probability at most `error`.

    `tolerance` is how far above the exact bound the result may lie; it never lies below.
    """
    _check_counts(successes, trials, error)
    if successes == trials:
        return 1.0
    return _bisect_rate(lambda rate: probability_at_most(successes, trials, rate) <= error, tolerance)[1]


def lower_bound(successes: int, trials: int, error: float, *, tolerance: float = 1e-12) -> float:
    """Clopper-Pearson lower confidence bound on the rate; at most `tolerance` below the exact one, never above."""
    _check_counts(successes, trials, error)
    if successes == 0:
        return 0.0
    return _bisect_rate(lambda rate: probability_at_least(successes, trials, rate) > error, tolerance)[0]


def proportion_interval(successes: int, trials: int, error: float, *, tolerance: float = 1e-12) -> tuple[float, float]:
    """Two-sided Clopper-Pearson interval with total error at most `error`."""
    lower = lower_bound(successes, trials, error / 2, tolerance=tolerance)
    return lower, upper_bound(successes, trials, error / 2, tolerance=tolerance)


def wilson_interval(successes: int, trials: int, quantile: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson score interval, approximate, for error bars; `quantile` is the normal one (1.96 for 95 %)."""
    _check_counts(successes, trials)
    rate, square = successes / trials, quantile**2
    centre = (rate + square / (2 * trials)) / (1 + square / trials)
    half = quantile / (1 + square / trials) * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def _check_counts(successes: int, trials: int, error: float = 0.5) -> None:
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"Got {successes} out of {trials}; expected a count between 0 and a total of at least 1.")
    if not 0.0 < error < 1.0:
        raise ValueError(f"Got error {error}; expected a value between 0 and 1, both excluded.")


def _bisect_rate(is_high: Callable[[float], bool], tolerance: float) -> tuple[float, float]:
    low, high = 0.0, 1.0
    while high - low > tolerance:
        middle = (low + high) / 2
        low, high = (low, middle) if is_high(middle) else (middle, high)
    return low, high


def _lower_incomplete_beta(a: float, b: float, x: float, complement: float) -> float:
    """I_x(a, b) where x is left of the bulk, so that the continued fraction converges quickly."""
    if x <= 0.0:
        return 0.0
    log_density = _log_saddle_point(a, a + b, x) + _log_saddle_point(b, a + b, complement)
    log_density += _stirling_error(a + b) - _stirling_error(a) - _stirling_error(b)
    density = math.exp(log_density) * math.sqrt((a + b) / (2 * math.pi * a * b))
    return min(1.0, density * b / (a + b) * _continued_fraction(a, b, x))


def _continued_fraction(a: float, b: float, x: float) -> float:
    """1 / (1 + t1 / (1 + t2 / (1 + ...))), the factor of I_x(a, b), by the modified Lentz recurrence."""
    fraction, upper, lower, step = 1.0, 1.0 / _TINY, 1.0, 0
    while True:
        step += 1
        half = step // 2
        if step % 2:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        upper = 1.0 + term / upper
        lower = 1.0 / (1.0 + term * lower)
        change = upper * lower
        fraction *= change
        if abs(change - 1.0) < 1e-15:
            return fraction


def _log_saddle_point(value: float, total: float, rate: float) -> float:
    """-(value log(value / (total rate)) + total rate - value), by series where the two are close (Loader's bd0)."""
    expected = total * rate
    gap = (value - expected) / (value + expected)
    if abs(gap) >= 0.1:
        return -(value * math.log(value / expected) + expected - value)
    result, power, odd = (value - expected) * gap, 2.0 * value * gap, 1
    while True:
        power *= gap * gap
        odd += 2
        longer = result + power / odd
        if longer == result:
            return -result
        result = longer


def _stirling_error(value: float) -> float:
    """log Gamma(value + 1) less Stirling's formula."""
    if value < 16.0:
        return math.lgamma(value + 1.0) - (value + 0.5) * math.log(value) + value - 0.5 * math.log(2 * math.pi)
    inverse = 1.0 / value
    square = inverse * inverse
    return inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188))))
