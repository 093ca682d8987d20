"""From a student's raw signals to its probability of being right, by logistic and isotonic regression.

A small ridge logistic regression on standardised signals (Platt scaling when there is one signal), optionally followed
by isotonic regression, or isotonic regression alone.

Sources: Platt (1999), Probabilistic outputs for support vector machines, also for the smoothed targets; Hastie,
Tibshirani & Friedman (2009), The Elements of Statistical Learning, 4.4, for the Newton steps; Ayer, Brunk, Ewing, Reid
& Silverman (1955) and Barlow, Bartholomew, Bremner & Brunk (1972) for pooling adjacent violators; Zadrozny & Elkan
(2002), Transforming classifier scores into accurate multiclass probability estimates, KDD; Niculescu-Mizil & Caruana
(2005), Predicting good probabilities with supervised learning, ICML.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepdown.core.calibrator import Calibrator, sigmoid

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LogisticFit:
    """Log-odds = bias + features @ weights."""

    bias: float
    weights: Floats


def fit_logistic(features: Floats, targets: Floats, ridge: float = 1.0, *, increasing: bool = False) -> LogisticFit:
    """Fit features (n, k) to targets (n,) in [0, 1]; `ridge` penalises the weights, not the bias.

    With `increasing`, a feature whose weight would be negative is dropped and the rest fitted again, so that the
    probability never falls when a feature rises. Targets are drawn in from 0 and 1 as Platt does, so the fit is finite
    even where all of them are equal.
    """
    kept = np.ones(features.shape[1], dtype=bool)
    while True:
        coefficients = _newton(features[:, kept], _smoothed(targets), ridge)
        negative = coefficients[1:] < 0.0
        if not increasing or not negative.any():
            weights = np.zeros(features.shape[1])
            weights[kept] = coefficients[1:]
            return LogisticFit(float(coefficients[0]), weights)
        kept[np.flatnonzero(kept)[negative]] = False


def _smoothed(targets: Floats) -> Floats:
    positives = float(targets.sum())
    high, low = (positives + 1.0) / (positives + 2.0), 1.0 / (len(targets) - positives + 2.0)
    return low + targets * (high - low)


def _newton(features: Floats, targets: Floats, ridge: float) -> Floats:
    design = np.column_stack([np.ones(len(features)), features])
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 0.0
    coefficients = np.zeros(design.shape[1])
    loss = _penalised_loss(design, targets, penalty, coefficients)
    for _ in range(100):
        fitted = sigmoid(design @ coefficients)
        gradient = design.T @ (fitted - targets) + penalty * coefficients
        curvature = np.maximum(fitted * (1.0 - fitted), 1e-10)
        hessian = (design * curvature[:, None]).T @ design + np.diag(penalty)
        step, size = np.linalg.lstsq(hessian, gradient)[0], 1.0
        proposal = coefficients - step
        while (proposed := _penalised_loss(design, targets, penalty, proposal)) > loss and size > 1e-6:
            size /= 2.0
            proposal = coefficients - size * step
        if loss - proposed <= 1e-12 * max(1.0, abs(loss)):
            return proposal if proposed <= loss else coefficients
        coefficients, loss = proposal, proposed
    return coefficients


def _penalised_loss(design: Floats, targets: Floats, penalty: Floats, coefficients: Floats) -> float:
    score = design @ coefficients
    return float((np.logaddexp(0.0, score) - targets * score).sum() + 0.5 * (penalty * coefficients**2).sum())


def pool_adjacent_violators(values: Floats, weights: Floats) -> Floats:
    """The non-decreasing sequence (n,) nearest to `values` (n,) in weighted squares."""
    means: list[float] = []
    masses: list[float] = []
    sizes: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, mass, size = value, weight, 1
        while means and means[-1] >= mean:
            earlier = masses.pop()
            mean = (means.pop() * earlier + mean * mass) / (earlier + mass)
            mass += earlier
            size += sizes.pop()
        means.append(mean)
        masses.append(mass)
        sizes.append(size)
    return np.repeat(np.asarray(means, dtype=np.float64), sizes)


def isotonic_knots(scores: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Knots (scores, fitted values) of the isotonic fit of targets (n,) on scores (n,), to be joined by straight lines.

    Equal scores are pooled first; only the ends of each flat stretch are kept.
    """
    positions, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(group, weights=targets) / counts
    fitted = pool_adjacent_violators(means, counts.astype(np.float64))
    differs = fitted[1:] != fitted[:-1]
    kept = np.concatenate([[True], differs]) | np.concatenate([differs, [True]])
    return positions[kept], fitted[kept]


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
