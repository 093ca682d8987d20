"""Intervals for what has no closed form (bootstrap) and for quantiles such as latency percentiles (order statistics).

Means of bounded losses belong to `betting`, proportions to `binomial`, paired 0/1 losses to `paired_binary`.

Sources: Efron (1987), Better bootstrap confidence intervals, JASA 82; David & Nagaraja (2003), Order Statistics, 7.1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepdown.stats import binomial

Floats = NDArray[np.float64]
Statistic = Callable[[NDArray[np.int64]], float]

_JACKKNIFE_BLOCKS = 200


@dataclass(frozen=True)
class Interval:
    """An estimate with the interval that covers the truth with probability about 1 - `error`."""

    estimate: float
    lower: float
    upper: float
    error: float


@dataclass(frozen=True)
class BootstrapOptions:
    """error: of both sides together; method: `bca` corrects bias and skew, `percentile` is plain."""

    error: float = 0.05
    resamples: int = 1000
    method: Literal["bca", "percentile"] = "bca"


def bootstrap_interval(
    statistic: Statistic, count: int, generator: np.random.Generator, options: BootstrapOptions | None = None
) -> Interval:
    """Interval for `statistic`, a function of row numbers (m,) among 0..count-1, over resampled rows. Asymptotic.

    Rows carry everything that belongs together, so paired differences and ratios are resampled as pairs. Resamples
    on which the statistic is not finite are left out.
    """
    chosen = options or BootstrapOptions()
    if count < 2 or chosen.resamples < 2:
        raise ValueError(f"Got {count} rows and {chosen.resamples} resamples; expected at least 2 of each.")
    estimate = float(statistic(np.arange(count)))
    drawn = (statistic(generator.integers(0, count, size=count)) for _ in range(chosen.resamples))
    values = np.fromiter(drawn, dtype=np.float64, count=chosen.resamples)
    values = values[np.isfinite(values)]
    if not values.size or not math.isfinite(estimate):
        return Interval(estimate, math.nan, math.nan, chosen.error)
    levels = (chosen.error / 2, 1 - chosen.error / 2)
    if chosen.method == "bca":
        levels = _corrected_levels(statistic, count, estimate, values, levels)
    lower, upper = np.quantile(values, levels)
    return Interval(estimate, float(lower), float(upper), chosen.error)


def quantile_interval(sample: ArrayLike, quantile: float, error: float = 0.05) -> Interval:
    """Interval for a quantile of any distribution from order statistics; exact coverage of at least 1 - `error`.

    An end is infinite where the sample is too small to bound it (p95 needs 72 values for 95 %, both sides).
    """
    ordered = _ordered(sample, quantile)
    count = len(ordered)
    estimate = float(np.quantile(ordered, quantile))
    return Interval(
        estimate,
        -math.inf if (rank := _lower_rank(count, quantile, error / 2)) is None else float(ordered[rank]),
        quantile_upper_bound(ordered, quantile, error / 2),
        error,
    )


def quantile_upper_bound(sample: ArrayLike, quantile: float, error: float) -> float:
    """Upper confidence bound on a quantile: the first order statistic that suffices, or infinity."""
    ordered = _ordered(sample, quantile)
    count = len(ordered)
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if binomial.probability_at_least(middle + 1, count, quantile) <= error:
            high = middle
        else:
            low = middle + 1
    return float(ordered[low]) if low < count else math.inf


def quantile_p_value(sample: ArrayLike, quantile: float, limit: float) -> float:
    """P-value of "the quantile is above `limit`", e.g. p95 latency above its contract. Exact in finite samples."""
    ordered = _ordered(sample, quantile)
    return binomial.p_value(int(np.count_nonzero(ordered > limit)), len(ordered), 1.0 - quantile)


def _ordered(sample: ArrayLike, quantile: float) -> Floats:
    values = np.sort(np.asarray(sample, dtype=np.float64).ravel())
    if not values.size or not 0.0 < quantile < 1.0 or bool(np.isnan(values).any()):
        raise ValueError(f"Got {values.size} values and quantile {quantile}; expected numbers and 0 < quantile < 1.")
    return values


def _lower_rank(count: int, quantile: float, error: float) -> int | None:
    """Largest rank whose order statistic lies above the quantile with probability at most `error`."""
    low, high = -1, count - 1
    while low < high:
        middle = (low + high + 1) // 2
        if binomial.probability_at_most(middle, count, quantile) <= error:
            low = middle
        else:
            high = middle - 1
    return low if low >= 0 else None


def _corrected_levels(
    statistic: Statistic, count: int, estimate: float, values: Floats, levels: tuple[float, float]
) -> tuple[float, float]:
    """Bias-corrected and accelerated levels; the jackknife leaves out blocks when there are many rows."""
    standard = NormalDist()
    below = (np.count_nonzero(values < estimate) + 0.5 * np.count_nonzero(values == estimate)) / values.size
    bias = standard.inv_cdf(min(max(float(below), 0.5 / values.size), 1 - 0.5 / values.size))
    rows = np.arange(count)
    blocks = np.array_split(rows, min(count, _JACKKNIFE_BLOCKS))
    left_out = np.array([statistic(np.concatenate([rows[: block[0]], rows[block[-1] + 1 :]])) for block in blocks])
    influence = left_out.mean() - left_out
    spread = float((influence**2).sum())
    acceleration = float((influence**3).sum()) / (6 * spread**1.5) if spread > 0.0 else 0.0

    def corrected(level: float) -> float:
        shifted = bias + standard.inv_cdf(level)
        return standard.cdf(bias + shifted / (1 - acceleration * shifted))

    return corrected(levels[0]), corrected(levels[1])
