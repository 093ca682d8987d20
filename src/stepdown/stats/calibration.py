"""From a student's raw signals to its probability of being right.

A small ridge logistic regression on standardised signals (Platt scaling when there is one signal), optionally
followed by isotonic regression, or isotonic regression alone.

Sources: Platt (1999); Zadrozny & Elkan (2002), Transforming classifier scores into accurate multiclass probability
estimates, KDD; Niculescu-Mizil & Caruana (2005), Predicting good probabilities with supervised learning, ICML.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepdown.stats.isotonic import isotonic_knots
from stepdown.stats.logistic import fit_logistic, sigmoid

Floats = NDArray[np.float64]
Shape = Literal["logistic", "isotonic", "logistic_isotonic"]


@dataclass(frozen=True)
class CalibrationOptions:
    """How a calibrator is fitted.

    shape: `logistic` is smooth and safe from about a hundred examples; the isotonic ones need about a thousand.
    ridge: penalty on the weights of the standardised signals.
    increasing: never let the probability fall when a signal rises (give the signals such that higher is surer).
    """

    shape: Shape = "logistic"
    ridge: float = 1.0
    increasing: bool = False


@dataclass(frozen=True)
class Calibrator:
    """A fitted map from signals to a probability: plain floats only, cheap to keep, to send and to apply."""

    weights: tuple[float, ...]
    bias: float
    squash: bool
    knots: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()

    def probability(self, signals: Sequence[float]) -> float:
        """Probability for one request, in plain Python: a microsecond or two."""
        if len(signals) != len(self.weights):
            raise ValueError(f"Got {len(signals)} signals; expected {len(self.weights)}, as in the fit.")
        score = self.bias
        for weight, signal in zip(self.weights, signals, strict=True):
            score += weight * signal
        if self.knots:
            return self._interpolated(score)
        return _scalar_sigmoid(score) if self.squash else min(max(score, 0.0), 1.0)

    def probabilities(self, signals: ArrayLike) -> Floats:
        """Probabilities (n,) for signals (n, k)."""
        table = _table(signals)
        if table.shape[1] != len(self.weights):
            raise ValueError(f"Got {table.shape[1]} signals; expected {len(self.weights)}, as in the fit.")
        score: Floats = self.bias + table @ np.asarray(self.weights)
        if self.knots:
            return np.interp(score, self.knots, self.levels)
        return sigmoid(score) if self.squash else np.clip(score, 0.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for JSON."""
        return {
            "weights": list(self.weights),
            "bias": self.bias,
            "squash": self.squash,
            "knots": list(self.knots),
            "levels": list(self.levels),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "Calibrator":
        """The calibrator that `to_dict` wrote; ValueError where the numbers are not finite or do not fit together."""
        weights, knots, levels = (tuple(float(v) for v in state[key]) for key in ("weights", "knots", "levels"))
        bias = float(state["bias"])
        ordered = all(earlier < later for earlier, later in pairwise(knots))
        finite = all(math.isfinite(number) for number in (bias, *weights, *knots, *levels))
        if not (weights and finite and ordered and len(knots) == len(levels)):
            raise ValueError(
                "Got a calibrator whose numbers are not finite, whose knots do not rise, or whose knots and levels "
                "differ in number; expected what to_dict wrote. Fit it again."
            )
        return cls(weights, bias, bool(state["squash"]), knots, levels)

    def _interpolated(self, score: float) -> float:
        above = bisect_right(self.knots, score)
        if above == 0:
            return self.levels[0]
        if above == len(self.knots):
            return self.levels[-1]
        left, right = self.knots[above - 1], self.knots[above]
        share = (score - left) / (right - left)
        return self.levels[above - 1] + share * (self.levels[above] - self.levels[above - 1])


def fit_calibrator(signals: ArrayLike, targets: ArrayLike, options: CalibrationOptions | None = None) -> Calibrator:
    """Fit signals (n, k) or (n,) to targets (n,) in [0, 1]: 1 where the student is right, or 1 - loss.

    ValueError for no examples, unequal lengths, values that are not finite, targets outside [0, 1], or `isotonic` alone
    with more than one signal.
    """
    chosen = options or CalibrationOptions()
    table, wanted = _table(signals), np.asarray(targets, dtype=np.float64)
    _check_fit(table, wanted)
    if chosen.shape == "isotonic":
        if table.shape[1] != 1:
            raise ValueError(f"Got {table.shape[1]} signals for 'isotonic'; expected one. Use 'logistic_isotonic'.")
        knots, levels = isotonic_knots(table[:, 0], wanted)
        return Calibrator((1.0,), 0.0, False, tuple(knots.tolist()), tuple(levels.tolist()))
    centre, scale = table.mean(axis=0), table.std(axis=0)
    scale = np.where(scale > 0.0, scale, 1.0)
    fit = fit_logistic((table - centre) / scale, wanted, chosen.ridge, increasing=chosen.increasing)
    weights = fit.weights / scale
    bias = fit.bias - float(centre @ weights)
    smooth = Calibrator(tuple(weights.tolist()), bias, True)
    if chosen.shape == "logistic":
        return smooth
    knots, levels = isotonic_knots(bias + table @ weights, wanted)
    return Calibrator(smooth.weights, bias, True, tuple(knots.tolist()), tuple(levels.tolist()))


def _table(signals: ArrayLike) -> Floats:
    table = np.asarray(signals, dtype=np.float64)
    return table[:, None] if table.ndim == 1 else table


def _check_fit(table: Floats, targets: Floats) -> None:
    if table.ndim != 2 or targets.ndim != 1 or len(table) != len(targets) or not targets.size or not table.shape[1]:
        raise ValueError(f"Got signals {table.shape} and targets {targets.shape}; expected (n, k) and (n,), n >= 1.")
    if not (np.isfinite(table).all() and bool(((targets >= 0.0) & (targets <= 1.0)).all())):
        raise ValueError("Got signals that are not finite or targets outside [0, 1]; expected finite and within.")


def _scalar_sigmoid(score: float) -> float:
    if score >= 0.0:
        return 1.0 / (1.0 + math.exp(-score))
    small = math.exp(score) if score > -745.0 else 0.0
    return small / (1.0 + small)
