"""Isotonic regression by pooling adjacent violators.

Source: Ayer, Brunk, Ewing, Reid & Silverman (1955), An empirical distribution function for sampling with incomplete
information; Barlow, Bartholomew, Bremner & Brunk (1972).
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
