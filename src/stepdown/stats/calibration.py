"""From a student's raw signals to its probability of being right.

A small ridge logistic regression on standardised signals (Platt scaling when there is one signal), optionally
followed by isotonic regression, or isotonic regression alone.

Sources: Platt (1999); Zadrozny & Elkan (2002), Transforming classifier scores into accurate multiclass probability
estimates, KDD; Niculescu-Mizil & Caruana (2005), Predicting good probabilities with supervised learning, ICML.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepdown.core.calibrator import Calibrator
from stepdown.stats.isotonic import isotonic_knots
from stepdown.stats.logistic import fit_logistic

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
