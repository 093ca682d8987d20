"""Betting tests, bounds and confidence sequences for the mean of any bounded variable.

A gambler bets, before each value is seen, that the mean lies below the margin. If it does not, no strategy makes the
wealth grow, so the chance that it ever exceeds 1 / error is at most `error` (Ville's inequality): the inverse of the
largest wealth is a p-value, in finite samples and under optional stopping.

Each bet is written as a fraction f in [0, 1) of the largest bet that cannot lose more than everything, which turns the
wealth factor into 1 + f ((upper - x) / (upper - margin) - 1). That factor rises with the margin for every f, so
p-values are monotone in the margin and bounds are found by bisection, exactly.

Source: Waudby-Smith & Ramdas (2024), Estimating means of bounded random variables by betting, JRSS B 86; the mixture
over constant fractions is Cover's (1991) universal portfolio, as in Orabona & Jun (2024), Tight concentrations and
confidence sequences from the regret of universal portfolio, IEEE Transactions on Information Theory 70.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_LARGEST_FRACTION = 0.75  # never stake everything: one worst value would end the bet for good
_MIXTURE = np.geomspace(0.005, _LARGEST_FRACTION, 12)
_GRID_HALF = 240
_CHUNK = 256


@dataclass(frozen=True)
class Bounds:
    """The range that a variable is known, before the data is seen, never to leave."""

    lower: float = -1.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower < self.upper):
            raise ValueError(f"Got bounds [{self.lower}, {self.upper}]; expected finite ones, the lower first.")

    @property
    def mirrored(self) -> "Bounds":
        """The bounds of the variable with its sign turned round."""
        return Bounds(-self.upper, -self.lower)


EXCESS_LOSS = Bounds(-1.0, 1.0)


def p_value(values: ArrayLike, margin: float, bounds: Bounds = EXCESS_LOSS, error: float = 0.05) -> float:
    """P-value of the hypothesis that the mean of `values` (n,) is at or above `margin`.

    `error` is the level that the bets are tuned for; the p-value is valid at every level whatever it is. ValueError if
    a value lies outside the bounds.
    """
    return float(p_values(np.asarray(values, dtype=np.float64)[:, None], margin, bounds, error)[0])


def p_values(values: ArrayLike, margin: float, bounds: Bounds = EXCESS_LOSS, error: float = 0.05) -> Floats:
    """P-values (k,) of the hypotheses that the mean of each column of `values` (n, k) is at or above `margin`."""
    columns = checked_columns(values, bounds, error)
    if margin >= bounds.upper:
        return np.where(columns.min(axis=0) < margin, 0.0, 1.0)
    return np.exp(-_largest_log_wealth(columns, _fractions(columns, bounds, error), margin, bounds))


def upper_bound(
    values: ArrayLike, error: float, bounds: Bounds = EXCESS_LOSS, *, tuned_for: float | None = None
) -> float:
    """Upper confidence bound on the mean of `values` (n,), exceeded by the truth with probability at most `error`.

    The bets are tuned for `error`, or for `tuned_for`: bounds at several errors are nested only if that is the same.
    """
    columns = checked_columns(np.asarray(values, dtype=np.float64)[:, None], bounds, error)
    fractions = _fractions(columns, bounds, tuned_for or error)
    needed = math.log(1.0 / error)
    accepted, rejected = float(columns.mean()), bounds.upper
    while rejected - accepted > 1e-6 * (bounds.upper - bounds.lower):
        middle = (accepted + rejected) / 2
        if _largest_log_wealth(columns, fractions, middle, bounds)[0] >= needed:
            rejected = middle
        else:
            accepted = middle
    return rejected


def lower_bound(values: ArrayLike, error: float, bounds: Bounds = EXCESS_LOSS) -> float:
    """Lower confidence bound on the mean of `values` (n,)."""
    return -upper_bound(-np.asarray(values, dtype=np.float64), error, bounds.mirrored)


def interval(values: ArrayLike, error: float, bounds: Bounds = EXCESS_LOSS) -> tuple[float, float]:
    """Two-sided interval for the mean of `values` (n,): both bounds, each at half the error."""
    return lower_bound(values, error / 2, bounds), upper_bound(values, error / 2, bounds)


@dataclass(frozen=True)
class ConfidenceSequence:
    """Bounds on a mean that hold at all times at once: look after every batch, stop whenever, the error stays.

    `upper` and `lower` are each wrong, ever, with probability at most `error`. Frozen: `updated` returns the next one.
    The bets are a mixture over constant fractions, so no horizon need be known. Bounds are read off a grid of margins
    that is finest around `focus` (best set to the contract's margin), rounded to the safe side.

    `upper` and `lower` are intersections over time: each only ever tightens. That is right for one mean that never
    changes, and it means that nothing may be renewed by them. After a change they still hold what was true before it:
    `upper` cannot rise again, so it would renew a certificate for ever on rows of long ago, and a mean that drifts may
    leave the interval empty. Renew by a test of the rows since the last renewal; detect a change by a change detector.
    """

    error: float
    bounds: Bounds = EXCESS_LOSS
    focus: float = 0.0
    count: int = 0
    total: float = 0.0
    upper: float = math.inf
    lower: float = -math.inf
    log_wealth: Floats = field(default_factory=lambda: np.zeros((2, 2 * _GRID_HALF - 1, len(_MIXTURE))), repr=False)

    @property
    def mean(self) -> float:
        """Mean of the values so far; nan before the first."""
        return self.total / self.count if self.count else math.nan

    def updated(self, values: ArrayLike) -> "ConfidenceSequence":
        """The sequence after a further batch (n,), in the order it was drawn; ValueError outside the bounds."""
        batch = np.asarray(values, dtype=np.float64).ravel()
        if batch.size == 0:
            return self
        checked_columns(batch[:, None], self.bounds, self.error)
        grid = _margin_grid(self.bounds, self.focus)
        rise = _log_factors(batch, grid, self.bounds)
        fall = _log_factors(-batch, -grid, self.bounds.mirrored)
        wealth = self.log_wealth + np.stack([rise, fall])
        above, below = _log_mean_exp(wealth) >= math.log(1.0 / self.error)
        return replace(
            self,
            count=self.count + batch.size,
            total=self.total + float(batch.sum()),
            upper=min(self.upper, float(grid[above].min(initial=self.bounds.upper))),
            lower=max(self.lower, float(grid[below].max(initial=self.bounds.lower))),
            log_wealth=wealth,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for JSON; JSON has no infinity, so bounds not yet known are None."""
        return {
            "error": self.error,
            "bounds": [self.bounds.lower, self.bounds.upper],
            "focus": self.focus,
            "count": self.count,
            "total": self.total,
            "upper": self.upper if self.count else None,
            "lower": self.lower if self.count else None,
            "log_wealth": self.log_wealth.tolist(),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "ConfidenceSequence":
        """The sequence that `to_dict` wrote; ValueError where the wealth has another shape."""
        wealth = np.asarray(state["log_wealth"], dtype=np.float64)
        expected = (2, 2 * _GRID_HALF - 1, len(_MIXTURE))
        if wealth.shape != expected:
            raise ValueError(f"Got log_wealth of shape {wealth.shape}; expected {expected}, as to_dict writes it.")
        return cls(
            error=float(state["error"]),
            bounds=Bounds(*(float(bound) for bound in state["bounds"])),
            focus=float(state["focus"]),
            count=int(state["count"]),
            total=float(state["total"]),
            upper=math.inf if state["upper"] is None else float(state["upper"]),
            lower=-math.inf if state["lower"] is None else float(state["lower"]),
            log_wealth=wealth,
        )


def checked_columns(values: ArrayLike, bounds: Bounds, error: float) -> Floats:
    """The values (n, k) as numbers. ValueError for another shape, no row, an error that is none, or values outside."""
    columns = np.asarray(values, dtype=np.float64)
    if columns.ndim != 2 or columns.shape[0] == 0:
        raise ValueError(f"Got values of shape {columns.shape}; expected one row for each example, and at least one.")
    if not 0.0 < error < 1.0:
        raise ValueError(f"Got error {error}; expected a value between 0 and 1, both excluded.")
    if columns.size and not (columns.min() >= bounds.lower and columns.max() <= bounds.upper):
        raise ValueError(
            f"Got values from {columns.min()} to {columns.max()}; expected all of them within "
            f"[{bounds.lower}, {bounds.upper}], the range declared for them."
        )
    return columns


def _fractions(columns: Floats, bounds: Bounds, error: float) -> Floats:
    """Predictable plug-in bets: row i depends on the rows before i only, and not on the margin."""
    count = len(columns)
    scaled = (columns - bounds.lower) / (bounds.upper - bounds.lower)
    seen = np.arange(1, count + 1)[:, None]
    mean = (0.5 + np.cumsum(scaled, axis=0)) / (seen + 1)
    variance = (0.25 + np.cumsum((scaled - mean) ** 2, axis=0)) / (seen + 1)
    start = np.ones((1, columns.shape[1]))
    mean, variance = np.vstack([0.5 * start, mean[:-1]]), np.vstack([0.25 * start, variance[:-1]])
    fractions: Floats = np.sqrt(2.0 * math.log(1.0 / error) / (count * variance)) * (1.0 - mean)
    return np.minimum(fractions, _LARGEST_FRACTION)


def _largest_log_wealth(columns: Floats, fractions: Floats, margin: float, bounds: Bounds) -> Floats:
    """Largest log wealth over time (k,), counting the start, where it is 0."""
    if margin <= bounds.lower:
        return np.zeros(columns.shape[1])
    factors: Floats = np.log1p(fractions * ((bounds.upper - columns) / (bounds.upper - margin) - 1.0))
    largest: Floats = np.cumsum(factors, axis=0, out=factors).max(axis=0, initial=0.0)
    return largest


def _margin_grid(bounds: Bounds, focus: float) -> Floats:
    """Margins strictly inside the bounds, spaced by a cubic law around the focus."""
    centre = min(max(focus, bounds.lower), bounds.upper)
    steps = (np.arange(1, _GRID_HALF) / _GRID_HALF) ** 3
    below, above = centre - (centre - bounds.lower) * steps[::-1], centre + (bounds.upper - centre) * steps
    grid = np.concatenate([below, [centre], above])
    inside = (bounds.upper - bounds.lower) * 1e-9
    clipped: Floats = np.clip(grid, bounds.lower + inside, bounds.upper - inside)
    return clipped


def _log_factors(values: Floats, margins: Floats, bounds: Bounds) -> Floats:
    """Log wealth (margins, fractions) that a batch adds to each constant fraction; equal values are counted once."""
    distinct, repeats = np.unique(values, return_counts=True)
    added = np.zeros((len(margins), len(_MIXTURE)))
    for start in range(0, len(distinct), _CHUNK):
        part = slice(start, start + _CHUNK)
        gain = (bounds.upper - distinct[part, None]) / (bounds.upper - margins) - 1.0
        added += np.einsum("v,vgf->gf", repeats[part], np.log1p(gain[:, :, None] * _MIXTURE))
    return added


def _log_mean_exp(wealth: Floats) -> Floats:
    """Log of the mean over the last axis."""
    largest: Floats = wealth.max(axis=-1)
    mean: Floats = np.exp(wealth - largest[..., None]).mean(axis=-1)
    return np.asarray(largest + np.log(mean))
