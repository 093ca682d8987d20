"""How the loss of what is accepted grows as more is accepted.

Source: Geifman & El-Yaniv (2017), Selective classification for deep neural networks, NeurIPS; the area under the
curve is that of Geifman, Uziel & El-Yaniv (2019), Bias-reduced uncertainty estimation for deep neural classifiers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RiskCoverage:
    """Mean loss of the accepted (`risk`) when the most confident share (`coverage`) is accepted, both (n,)."""

    coverage: Floats
    risk: Floats

    @property
    def area(self) -> float:
        """Area under the curve: the mean risk over all coverages."""
        return float(self.risk.mean())


def risk_coverage(confidence: ArrayLike, loss: ArrayLike) -> RiskCoverage:
    """Curve for confidences (n,) and losses (n,); examples of equal confidence share their mean loss."""
    confidences, losses = np.asarray(confidence, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    if confidences.shape != losses.shape or confidences.ndim != 1 or not losses.size:
        raise ValueError(f"Got shapes {confidences.shape} and {losses.shape}; expected two equal, flat, not empty.")
    _, group, sizes = np.unique(-confidences, return_inverse=True, return_counts=True)
    shared = np.bincount(group, weights=losses) / sizes
    counted = np.arange(1, losses.size + 1)
    return RiskCoverage(counted / losses.size, np.cumsum(np.repeat(shared, sizes)) / counted)
