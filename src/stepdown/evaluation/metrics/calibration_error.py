"""Expected calibration error: how far stated confidence and the share that is right lie apart, bin by bin.

Bins hold equally many rows (see stats.reliability). The plain estimate is biased upward in small samples; it is given
as it is, because that is the number people compare.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stepdown.core.estimates import Estimate
from stepdown.evaluation.intervals import resampled
from stepdown.evaluation.metric import MetricExample
from stepdown.evaluation.rows import Rows
from stepdown.stats.reliability import reliability_curve

EXTRA = ""
FAMILIES: tuple[str, ...] = ()
REFERENCES = ("gold", "incumbent")
NEEDS_CONFIDENCES = True
BINS = 15


def measure(rows: Rows, generator: np.random.Generator) -> Estimate:
    """The error with a bootstrap interval, the bins held. Raises ValueError without confidences."""
    if rows.confidences is None:
        raise ValueError("The calibration error needs a confidence per row.")
    return resampled(_statistic(rows.confidences, 1.0 - rows.losses), len(rows), generator)


def shown_as(loss: Estimate) -> tuple[str, Estimate]:
    return "calibration error (ECE)", loss


def examples() -> list[MetricExample]:
    return [
        MetricExample(("a", "a"), ("a", "b"), 0.2, confidences=(0.7, 0.7)),
        MetricExample(("a", "b"), ("a", "b"), 0.0, confidences=(1.0, 1.0)),
    ]


def _statistic(confidences: NDArray[np.float64], right: NDArray[np.float64]) -> Callable[[NDArray[np.int64]], float]:
    order = np.argsort(confidences, kind="stable")
    counts = [each.count for each in reliability_curve(confidences, right, BINS)]
    starts = np.r_[0, np.cumsum(counts)[:-1]]
    gaps = (confidences - right)[order]

    def error(drawn: NDArray[np.int64]) -> float:
        return float(np.abs(np.add.reduceat(drawn[order] * gaps, starts)).sum() / gaps.size)

    return error
