"""Betting test and bound for the mean of a bounded variable when the number of rows is fixed beforehand.

`betting` stakes as if it might be stopped at any time, and needs about 1.5 to 2 times the rows of an exact test. Where
the number of rows is known, the stake can aim at one goal: the wealth 1 / error by the last row. With d the log wealth
still missing, r the rows left and v the variance seen so far, a stake of sqrt(2 d / (r v)) is recomputed before each
row: it grows where the wealth has fallen behind and time runs out. The stake still depends on earlier rows only, so
the wealth is still a supermartingale under the hypothesis and 1 / (largest wealth) a p-value in finite samples (Ville).

Once the goal is reached the stake is the constant one of `betting`, so p-values go on falling below `error`.

The stake depends on the margin, so p-values need not fall with it. The upper bound therefore walks a fixed grid of
margins from the top and stops at the first that is not rejected: its hypotheses are nested, so the first true one must
be rejected for the bound to be wrong (fixed sequence; Maurer, Hothorn & Lehmacher 1995).

Source: Voráček & Orabona (2025), STaR-Bets: sequential target-recalculating bets for tighter confidence intervals,
arXiv:2505.22422; the problem of reaching a goal by a deadline is that of Kulldorff (1993), Optimal control of favorable
games with a time limit, SIAM Journal on Control and Optimization 31.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepdown.stats.betting import EXCESS_LOSS, Bounds, checked_columns

Floats = NDArray[np.float64]

GRID_STEPS = 2000
_LARGEST_FRACTION = 0.85  # never everything: one worst value would end the bet; 0.85 had the best power on ten worlds


def p_value(values: ArrayLike, margin: float, bounds: Bounds = EXCESS_LOSS, error: float = 0.05) -> float:
    """P-value of the hypothesis that the mean of `values` (n,) is at or above `margin`, sharpest near `error`.

    The p-value is valid at every level whatever `error` is. ValueError if a value lies outside the bounds.
    """
    return float(p_values(np.asarray(values, dtype=np.float64)[:, None], margin, bounds, error)[0])


def p_values(values: ArrayLike, margin: float, bounds: Bounds = EXCESS_LOSS, error: float = 0.05) -> Floats:
    """P-values (k,) of the hypotheses that the mean of each column of `values` (n, k) is at or above `margin`."""
    columns = checked_columns(values, bounds, error)
    if margin >= bounds.upper:
        return np.where(columns.min(axis=0) < margin, 0.0, 1.0)
    if margin <= bounds.lower:
        return np.ones(columns.shape[1])
    return np.exp(-largest_log_wealth(columns, margin, bounds.lower, bounds.upper, error))


def upper_bound(values: ArrayLike, error: float, bounds: Bounds = EXCESS_LOSS) -> float:
    """Upper confidence bound on the mean of `values` (n,), exceeded by the truth with probability at most `error`.

    A multiple of a 2,000th of the bounds' width above the lower bound.
    """
    columns = checked_columns(np.asarray(values, dtype=np.float64)[:, None], bounds, error)
    margins = margin_grid(bounds)
    wealth = largest_log_wealth(np.broadcast_to(columns, (len(columns), margins.size)), margins, *_ends(bounds), error)
    return least_rejected(margins, wealth >= math.log(1.0 / error), bounds.upper)


def margin_grid(bounds: Bounds) -> Floats:
    """The margins, rising and strictly inside the bounds, that an upper bound is looked for among."""
    return np.linspace(bounds.lower, bounds.upper, GRID_STEPS + 1)[1:-1]


def least_rejected(margins: Floats, rejected: NDArray[np.bool_], none: float) -> float:
    """The least of the rising `margins` (k,) from which on every one is rejected; `none` if the last one is not."""
    kept = np.flatnonzero(~rejected)
    first = int(kept[-1]) + 1 if kept.size else 0
    return float(margins[first]) if first < margins.size else none


def largest_log_wealth(
    values: Floats, margins: Floats | float, lower: Floats | float, upper: Floats | float, error: float
) -> Floats:
    """Largest log wealth over time (k,) of bets that the mean of each column of `values` (n, k) is below its margin.

    margins: one, or one a column. lower, upper: the range of each value: one, one a column (k,), or an array (n, 1) or
    (n, k) whose row i is known before row i of `values` is seen.
    """
    count, width = values.shape
    ranges = [np.broadcast_to(end, (count, np.shape(end)[-1] if np.ndim(end) else 1)) for end in (lower, upper)]
    goal = math.log(1.0 / error)
    wealth, largest, total = np.zeros(width), np.zeros(width), np.zeros(width)
    squares: Floats = np.zeros(width)
    for row, (value, least, most) in enumerate(zip(values, *ranges, strict=True)):
        if row == 0:  # the variance starts from that of a fair coin between the ends, counted as one value
            total, squares = total + (least + most) / 2, squares + (most - least) ** 2 / 4
        missing = np.where(largest < goal, (goal - wealth) / (count - row), goal / count)
        stake = np.minimum(np.sqrt(2.0 * missing * (row + 1) / squares), _LARGEST_FRACTION / (most - margins))
        wealth = wealth + np.log1p(stake * (margins - value))
        largest = np.maximum(largest, wealth)
        total = total + value
        squares = squares + (value - total / (row + 2)) ** 2
    return largest


def _ends(bounds: Bounds) -> tuple[float, float]:
    return bounds.lower, bounds.upper
