"""Logistic regression with a ridge penalty, by Newton's method, for a handful of features.

Sources: Platt (1999), Probabilistic outputs for support vector machines, for the smoothed targets; Hastie, Tibshirani
& Friedman (2009), The Elements of Statistical Learning, 4.4, for the Newton steps.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepdown.core.calibrator import sigmoid

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
