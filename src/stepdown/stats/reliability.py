"""How far confidences can be taken at their word.

Sources: Brier (1950); Naeini, Cooper & Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian
binning, AAAI, with bins of equal mass as in Nixon et al. (2019), Measuring calibration in deep learning.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepdown.stats.binomial import wilson_interval


@dataclass(frozen=True)
class ReliabilityBin:
    """Of `count` examples with mean confidence `confidence`, the share `accuracy` was right (95 % Wilson interval)."""

    confidence: float
    accuracy: float
    count: int
    lower: float
    upper: float


def reliability_curve(probabilities: ArrayLike, correct: ArrayLike, bins: int = 15) -> tuple[ReliabilityBin, ...]:
    """Bins of equal mass from least to most confident; equal confidences always share a bin, so bins may be fewer."""
    predicted, outcomes = _paired(probabilities, correct)
    order = np.argsort(predicted, kind="stable")
    predicted, outcomes = predicted[order], outcomes[order]
    targets = np.linspace(0, len(predicted), min(bins, len(predicted)) + 1).astype(np.int64)
    edges = np.unique(np.searchsorted(predicted, predicted[targets[:-1]], side="left"))
    return tuple(
        _bin(predicted[start:end], outcomes[start:end])
        for start, end in zip(edges, [*edges[1:], len(predicted)], strict=True)
    )


def expected_calibration_error(probabilities: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Mean over examples of the gap between confidence and accuracy in their bin of equal mass."""
    curve = reliability_curve(probabilities, correct, bins)
    total = sum(entry.count for entry in curve)
    return sum(entry.count * abs(entry.confidence - entry.accuracy) for entry in curve) / total


def _bin(predicted: NDArray[np.float64], outcomes: NDArray[np.float64]) -> ReliabilityBin:
    count, accuracy = len(outcomes), float(outcomes.mean())
    lower, upper = wilson_interval(round(accuracy * count), count)
    return ReliabilityBin(float(predicted.mean()), accuracy, count, lower, upper)


def _paired(probabilities: ArrayLike, correct: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    predicted, outcomes = np.asarray(probabilities, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if predicted.shape != outcomes.shape or predicted.ndim != 1 or not predicted.size:
        raise ValueError(f"Got shapes {predicted.shape} and {outcomes.shape}; expected two equal, flat, not empty.")
    return predicted, outcomes
