"""Exact test and bounds for the excess loss of one 0/1 loss over another on the same inputs.

With 0/1 losses the excess loss of a pair is +1 (only the cascade errs), -1 (only the incumbent errs) or 0. The
mean of such a variable is tested against a margin by an unconditional exact test: order the outcomes (worse,
better) by an approximate upper limit, and take the largest probability, over every trinomial distribution whose
mean is at or above the margin, of an outcome at least as favourable as the one seen. It is valid for any sample
size and, because it does not pay for optional stopping, needs less than half the examples that a betting test
needs at 95 % confidence.

Sources: Hsueh, Liu & Chen (2001), Unconditional exact tests for equivalence or noninferiority for paired binary
endpoints, Biometrics 57; Lloyd & Moldovan (2007), Exact one-sided confidence limits for the difference between
two correlated proportions, Statistics in Medicine 26; the ordering is the limit of Bonett & Price (2012),
Adjusted Wald confidence interval for a difference of binomial proportions based on paired data; the nuisance
parameter is confined as in Berger & Boos (1994), P values maximized over a confidence set, JASA 89.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stepdown.stats.binomial import proportion_interval

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_ORDERING_QUANTILE = 1.645  # any fixed value is valid; this one makes the ordering sharpest near 95 % confidence
_NUISANCE_ERROR = 1e-6  # price, added to every p-value, of searching the discordance in a confidence set only
_TAIL = 1e-12  # probability left out at each end of each sum; added back, so that truncation never favours a rejection
_LEFT_OUT = 4 * _TAIL
_BOUND_TOLERANCE = 1e-5
_CELLS = 48
_SPLIT = 10
_STIRLING_FROM = 16
_SMALL_LOG_FACTORIALS = np.array([math.lgamma(value + 1.0) for value in range(_STIRLING_FROM)])


@dataclass(frozen=True)
class PairedCounts:
    """Of `total` pairs, `worse` lost only by the cascade and `better` lost only by the incumbent."""

    worse: int
    better: int
    total: int

    def __post_init__(self) -> None:
        if min(self.worse, self.better) < 0 or self.worse + self.better > self.total or self.total < 1:
            raise ValueError(
                f"Got {self.worse} worse and {self.better} better out of {self.total} pairs; expected counts that "
                "are not negative, sum to at most the total, and at least one pair."
            )

    @property
    def estimate(self) -> float:
        """Mean excess loss."""
        return (self.worse - self.better) / self.total

    @property
    def mirrored(self) -> "PairedCounts":
        """The same pairs with the sign of the excess loss turned round."""
        return PairedCounts(self.better, self.worse, self.total)


def paired_counts(excess: NDArray[np.floating] | NDArray[np.integer]) -> PairedCounts:
    """Counts of excess losses (n,) that are each -1, 0 or 1; ValueError for any other value."""
    values = np.asarray(excess)
    worse, better, same = (int(np.count_nonzero(values == level)) for level in (1, -1, 0))
    if worse + better + same != values.size:
        raise ValueError(
            "Got excess losses other than -1, 0 and 1; expected the difference of two 0/1 losses. "
            "Use the betting test (support 'bounded') for losses between 0 and 1."
        )
    return PairedCounts(worse, better, values.size)


def p_value(counts: PairedCounts, margin: float) -> float:
    """P-value of the hypothesis that the mean excess loss is at or above `margin`, in (-1, 1). Valid for every n.

    Never below 1e-6, the price of the search over the nuisance parameter.
    """
    if not -1.0 < margin < 1.0:
        raise ValueError(f"Got margin {margin}; expected a value between -1 and 1, both excluded.")
    return _p_value_within(counts, margin, _discordance_range(counts))


def upper_bound(counts: PairedCounts, error: float) -> float:
    """Upper confidence bound on the mean excess loss, exceeded by the truth with probability at most `error`."""
    _check_error(error)
    variance = (counts.worse + counts.better + 1) / counts.total - counts.estimate**2
    deviation = math.sqrt(max(variance, 0.0) / counts.total)
    wanted, within = _probit(error), _discordance_range(counts)
    accepted, rejected = counts.estimate, 1.0
    guess, step = counts.estimate - wanted * deviation, 0
    while rejected - accepted > _BOUND_TOLERANCE:
        step += 1
        if step % 4 == 0 or not accepted < guess < rejected:
            guess = (accepted + rejected) / 2
        p_here = _p_value_within(counts, guess, within)
        # The probit of the p-value is nearly straight in the margin; half a tolerance more closes in from both sides.
        straight = guess + deviation * (_probit(p_here) - wanted)
        if p_here <= error:
            rejected, guess = guess, straight - _BOUND_TOLERANCE / 2
        else:
            accepted, guess = guess, straight + _BOUND_TOLERANCE / 2
    return rejected


def lower_bound(counts: PairedCounts, error: float) -> float:
    """Lower confidence bound on the mean excess loss."""
    return -upper_bound(counts.mirrored, error)


def interval(counts: PairedCounts, error: float) -> tuple[float, float]:
    """Two-sided interval for the mean excess loss: both bounds, each at half the error."""
    return lower_bound(counts, error / 2), upper_bound(counts, error / 2)


def _probit(probability: float) -> float:
    return NormalDist().inv_cdf(min(max(probability, 1e-12), 1.0 - 1e-12))


def _check_error(error: float) -> None:
    if not 2 * _NUISANCE_ERROR < error < 1.0:
        raise ValueError(f"Got error {error}; expected a value between {2 * _NUISANCE_ERROR:g} and 1.")


def _discordance_range(counts: PairedCounts) -> tuple[float, float]:
    discordant = counts.worse + counts.better
    return proportion_interval(discordant, counts.total, _NUISANCE_ERROR, tolerance=1e-6)


def _p_value_within(counts: PairedCounts, margin: float, discordance: tuple[float, float]) -> float:
    low, high = max(discordance[0], abs(margin)), discordance[1]
    if high < abs(margin):
        return _NUISANCE_ERROR if margin > 0.0 else 1.0
    return min(1.0, _largest_probability(counts, margin, low, high) + _NUISANCE_ERROR)


def _largest_probability(counts: PairedCounts, margin: float, low: float, high: float) -> float:
    """Bound on the probability of the data's region over discordances in [low, high] and mean excess `margin`.

    Within a cell of discordances the probability rises as `worse` gets rarer and `better` commoner, so the corner with
    the least of one and the most of the other bounds the whole cell. Only cells that can hold the maximum are split.
    """
    edges = np.linspace(low, high, _CELLS + 1)
    left, right = edges[:-1], edges[1:]
    bound = _region_probability(counts, (left + margin) / 2, (right - margin) / 2)
    middle = (left + right) / 2
    reached = _region_probability(counts, (middle + margin) / 2, (middle - margin) / 2).max() - _LEFT_OUT
    promising = bound > reached
    if not promising.any():
        return float(bound.max())
    fractions = np.linspace(0.0, 1.0, _SPLIT + 1)
    finer = left[promising, None] + (right - left)[promising, None] * fractions
    split = _region_probability(counts, (finer[:, :-1].ravel() + margin) / 2, (finer[:, 1:].ravel() - margin) / 2)
    return max(float(split.max()), float(reached))


def _region_probability(counts: PairedCounts, worse_rate: Floats, better_rate: Floats) -> Floats:
    """Probability, for each pair of rates (g,), of an outcome ordered at or before the one seen; never too low."""
    total = counts.total
    better = _bernstein_range(total, better_rate)
    most_worse = _most_worse(counts, better)
    weights = _binomial_pmf(better, np.full_like(better, total), better_rate)
    conditional = np.clip(worse_rate / (1.0 - better_rate), 0.0, 1.0)
    distribution = _walk_distribution(most_worse, total - better, conditional)
    probability: Floats = (weights * distribution).sum(axis=1)
    return probability + _LEFT_OUT


def _most_worse(counts: PairedCounts, better: Integers) -> Integers:
    """For each number of `better` pairs, the largest number of `worse` ones that is ordered at or before the data.

    Solves limit(worse, better) <= limit(seen) for the Bonett-Price upper limit, a quadratic in the difference.
    """
    size = counts.total + 2
    shrink = _ORDERING_QUANTILE**2 / size
    seen = (counts.worse - counts.better) / size
    spread = (counts.worse + counts.better + 2) / size - seen**2
    limit = seen + math.sqrt(shrink * max(spread, 0.0))
    level = (better + 1) / size
    discriminant = 4 * limit * shrink * (1 - limit) + shrink**2 + 8 * shrink * (1 + shrink) * level
    difference = (2 * limit + shrink - np.sqrt(np.maximum(discriminant, 0.0))) / (2 * (1 + shrink))
    difference = np.minimum(difference, limit)
    worse = np.floor(better + size * difference + 1e-7).astype(np.int64)
    worse = np.where(better >= counts.better, np.maximum(worse, counts.worse), worse)
    # A region that only grows with `better` is what makes the bound over a cell valid; growing it is conservative.
    return np.clip(np.maximum.accumulate(worse), -1, counts.total - better)


def _walk_distribution(most: Integers, trials: Integers, rate: Floats) -> Floats:
    """P(Binomial(trials[j], rate[i]) <= most[j]) as (g, j), where trials fall by one and `most` never falls with j.

    One direct sum at j = 0, then positive increments: F(c; N - 1) = F(c; N) + rate * pmf(c; N - 1).
    """
    start = _bernstein_range(int(trials[0]), rate)
    start = start[start <= most[0]]
    first = _binomial_pmf(start, np.full_like(start, trials[0]), rate).sum(axis=1)
    fewer = trials[1:]
    step = rate[:, None] * _binomial_pmf(most[:-1], fewer, rate)
    rise = most[1:] - most[:-1]
    for jump in range(1, int(rise.max(initial=0)) + 1):
        reached = np.where(rise >= jump, most[:-1] + jump, -1)
        step += _binomial_pmf(reached, fewer, rate)
    grown = np.concatenate([first[:, None], step], axis=1)
    distribution: Floats = np.minimum(np.cumsum(grown, axis=1), 1.0)
    return distribution


def _bernstein_range(total: int, rate: Floats) -> Integers:
    """Counts outside which a binomial with any of these rates falls with probability below the tail (Bernstein)."""
    exponent = math.log(2.0 / _TAIL)
    slack = np.sqrt(2.0 * total * rate * (1.0 - rate) * exponent) + exponent
    low = max(0, math.floor(float((total * rate - slack).min())))
    high = min(total, math.ceil(float((total * rate + slack).max())))
    return np.arange(low, high + 1, dtype=np.int64)


def _binomial_pmf(successes: Integers, trials: Integers, rate: Floats) -> Floats:
    """P(Binomial(trials[j], rate[i]) = successes[j]) as (g, j); 0 where successes lie outside 0..trials."""
    possible = (successes >= 0) & (successes <= trials)
    hits = np.where(possible, successes, 0)
    misses = np.where(possible, trials - successes, 0)
    choices = _log_factorial(hits + misses) - _log_factorial(hits) - _log_factorial(misses)
    with np.errstate(divide="ignore"):
        log_hit = np.maximum(np.log(rate), -1e6)[:, None]
        log_miss = np.maximum(np.log1p(-rate), -1e6)[:, None]
    probability: Floats = np.exp(choices + hits * log_hit + misses * log_miss)
    return np.where(possible, probability, 0.0)


def _log_factorial(value: Integers) -> Floats:
    """Natural logarithm of value!, by table when small and by Stirling's series (error below 1e-12) above."""
    large = np.maximum(value, _STIRLING_FROM).astype(np.float64)
    inverse = 1.0 / large
    series = inverse / 12 - inverse**3 / 360 + inverse**5 / 1260 - inverse**7 / 1680
    stirling = (large + 0.5) * np.log(large) - large + 0.5 * math.log(2 * math.pi) + series
    return np.where(value < _STIRLING_FROM, _SMALL_LOG_FACTORIALS[np.minimum(value, _STIRLING_FROM - 1)], stirling)
