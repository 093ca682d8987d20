"""Estimates from observations: exact intervals for 0/1 values, resampled for others; the method is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepdown.core.estimates import Estimate
from stepdown.stats import binomial, intervals

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
REPLICATES = 400
_NORMAL_QUANTILE = 1.959963984540054


def mean_loss(losses: ArrayLike, unit: str = "") -> Estimate:
    """The mean of n losses in [0, 1]: Clopper-Pearson where each is 0 or 1, else a normal interval, ± 3/n or more.

    Raises ValueError when there are none.
    """
    values = np.asarray(losses, dtype=np.float64)
    if values.size == 0:
        raise ValueError("Got no losses; expected one or more.")
    if bool(np.isin(values, (0.0, 1.0)).all()):
        return rate(int(values.sum()), values.size, unit)
    return _normal_mean(values, 0.0, unit)


def paired_mean(excess: ArrayLike) -> Estimate:
    """The mean of n differences of two losses, in [−1, 1], with a normal interval that the rule of three keeps open.

    For charts of many points; claims are tested with stats.excess_loss. Raises ValueError when there are none.
    """
    values = np.asarray(excess, dtype=np.float64)
    if values.size == 0:
        raise ValueError("Got no losses; expected one or more.")
    return _normal_mean(values, -1.0, "")


def rate(successes: int, trials: int, unit: str = "") -> Estimate:
    """A proportion with its Clopper-Pearson interval."""
    low, high = binomial.proportion_interval(successes, trials, 1.0 - CONFIDENCE)
    value = successes / trials
    return Estimate(
        value=value, low=min(low, value), high=max(high, value), n=trials, method="Clopper-Pearson", unit=unit
    )


def rates(successes: NDArray[np.int64], trials: NDArray[np.int64]) -> list[Estimate]:
    """Many proportions; pairs of counts that repeat are worked out once, so ten thousand labels stay quick."""
    pairs = [(int(hits), int(total)) for hits, total in zip(successes, trials, strict=True)]
    known = {pair: rate(*pair) for pair in set(pairs)}
    return [known[pair] for pair in pairs]


def resampled(
    statistic: Callable[[NDArray[np.int64]], float],
    n: int,
    generator: np.random.Generator,
    floor: bool = True,
) -> Estimate:
    """A loss in [0, 1] of n rows with a bootstrap interval: value ± 1.96 standard errors of the replicates.

    statistic: from the number of times each row is drawn, int (n,), to the loss. A percentile interval would miss the
    value itself for statistics that are biased upward on resamples (calibration error, macro-F1 with rare labels), so
    only the spread of the replicates is used (Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 12).
    Where the replicates do not differ at all, that proves little: the interval then reaches as far as n rows without an
    exception can rule out, by the exact bound for 0 in n (`floor`, which a statistic that is no loss may turn off).
    """
    value = statistic(np.ones(n, dtype=np.int64))
    draws = np.array([statistic(_counts(n, generator)) for _ in range(REPLICATES)])
    half = _NORMAL_QUANTILE * float(draws.std(ddof=1))
    if floor and half < 1e-12:
        half = binomial.proportion_interval(0, n, 1.0 - CONFIDENCE)[1]
    return Estimate(
        value=value,
        low=max(0.0, value - half),
        high=min(1.0, value + half),
        n=n,
        method=f"bootstrap, {REPLICATES} resamples",
    )


def resampled_mean(values: ArrayLike, generator: np.random.Generator, unit: str = "") -> Estimate:
    """The mean of n skewed amounts (costs, times) with a bootstrap interval (BCa). Raises ValueError when none.

    One amount has no interval: low and high are the value and n says 1.
    """
    amounts = np.asarray(values, dtype=np.float64)
    if amounts.size == 0:
        raise ValueError("Got no amounts; expected one or more.")
    value = low = high = float(amounts.mean())
    if amounts.size > 1 and float(np.ptp(amounts)) > 0.0:
        options = intervals.BootstrapOptions(error=1.0 - CONFIDENCE)
        interval_ = intervals.bootstrap_interval(
            lambda rows: float(amounts[rows].mean()), amounts.size, generator, options
        )
        low, high = min(interval_.lower, value), max(interval_.upper, value)
    method = f"bootstrap (BCa), {intervals.BootstrapOptions().resamples} resamples"
    return Estimate(value=value, low=low, high=high, n=amounts.size, method=method, unit=unit)


def quantile(values: ArrayLike, probability: float, unit: str = "") -> Estimate:
    """A quantile with an interval from order statistics, which assumes nothing of the distribution but independence.

    Where n is too small to bound one end (a p95 needs 72 values), that end is the sample's extreme and the method says
    so. Raises ValueError when there are no values.
    """
    sample = np.asarray(values, dtype=np.float64)
    interval_ = intervals.quantile_interval(sample, probability, 1.0 - CONFIDENCE)
    bounded = bool(np.isfinite([interval_.lower, interval_.upper]).all())
    return Estimate(
        value=interval_.estimate,
        low=min(max(interval_.lower, float(sample.min())), interval_.estimate),
        high=max(min(interval_.upper, float(sample.max())), interval_.estimate),
        n=sample.size,
        method="order statistics" if bounded else "order statistics, cut at the sample's extremes",
        unit=unit,
    )


def product(factors: Sequence[Estimate], unit: str, method: str, estimated: bool) -> Estimate:
    """The product of positive estimates; its ends are the products of theirs, so it errs on the wide side."""
    return Estimate(
        value=float(np.prod([factor.value for factor in factors])),
        low=float(np.prod([factor.low for factor in factors])),
        high=float(np.prod([factor.high for factor in factors])),
        n=min(factor.n for factor in factors),
        method=method,
        unit=unit,
        estimated=estimated,
    )


def _normal_mean(values: Floats, least: float, unit: str) -> Estimate:
    """Mean of values in [least, 1]. A sample that saw no spread proves little: 3/n is what n rows can rule out."""
    value, n = float(values.mean()), values.size
    half = _NORMAL_QUANTILE * float(values.std(ddof=1)) / n**0.5 if n > 1 else 1.0 - least
    half = max(half, 3.0 / n)
    return Estimate(
        value=value, low=max(least, value - half), high=min(1.0, value + half), n=n, method="normal", unit=unit
    )


def _counts(n: int, generator: np.random.Generator) -> NDArray[np.int64]:
    return np.bincount(generator.integers(0, n, n), minlength=n).astype(np.int64, copy=False)
