"""Area under risk against coverage: the mean, over every coverage, of the loss among the most confident rows.

Low when the student is right and knows when it is not. Rows of equal confidence are taken in random order, in
expectation, so the area does not depend on the order of rows. Source: Geifman, Uziel & El-Yaniv (2019), Bias-reduced
uncertainty estimation for deep neural classifiers (AURC).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stepdown.core.estimates import Estimate
from stepdown.evaluation.intervals import resampled
from stepdown.evaluation.metric import MetricExample
from stepdown.evaluation.rows import Rows

EXTRA = ""
FAMILIES: tuple[str, ...] = ()
REFERENCES = ("gold", "incumbent")
NEEDS_CONFIDENCES = True

Floats = NDArray[np.float64]


def measure(rows: Rows, generator: np.random.Generator) -> Estimate:
    """The area with a bootstrap interval over rows. Raises ValueError without confidences."""
    if rows.confidences is None:
        raise ValueError("Risk against coverage needs a confidence per row.")
    return resampled(_statistic(rows.losses, rows.confidences), len(rows), generator)


def shown_as(loss: Estimate) -> tuple[str, Estimate]:
    return "area under risk-coverage", loss


def examples() -> list[MetricExample]:
    return [
        MetricExample(
            ("a", "a", "a", "a"), ("a", "a", "b", "b"), (1 / 3 + 1 / 2) / 4, confidences=(0.9, 0.8, 0.7, 0.6)
        ),
        MetricExample(("a", "a"), ("a", "b"), 0.5, confidences=(0.7, 0.7)),
    ]


def _statistic(losses: Floats, confidences: Floats) -> Callable[[NDArray[np.int64]], float]:
    order = np.argsort(-confidences, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(confidences[order]) != 0.0])
    ordered = losses[order]
    harmonic = np.r_[0.0, np.cumsum(1.0 / np.arange(1, losses.size + 1))]

    def area(drawn: NDArray[np.int64]) -> float:
        """In a block of ties, risk at its j-th row is mean + (loss before − mean · rows before) / (before + j)."""
        counts = np.add.reduceat(drawn[order], starts)
        lost = np.add.reduceat(drawn[order] * ordered, starts)
        after = np.cumsum(counts)
        before, lost_before = after - counts, np.cumsum(lost) - lost
        mean = lost / np.maximum(counts, 1)
        blocks = mean * counts + (lost_before - mean * before) * (harmonic[after] - harmonic[before])
        return float(np.clip(blocks.sum() / losses.size, 0.0, 1.0))

    return area
