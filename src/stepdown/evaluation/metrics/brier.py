"""Brier score: the mean squared gap between the stated probability of being right and being right.

Source: Brier (1950), Verification of forecasts expressed in terms of probability, Monthly Weather Review 78. It is that
of the event "this answer is right", not the multi-class one over labels, so that it means the same for every family.
"""

from __future__ import annotations

import numpy as np

from stepdown.core.estimates import Estimate
from stepdown.evaluation.intervals import mean_loss
from stepdown.evaluation.metric import MetricExample
from stepdown.evaluation.rows import Rows

EXTRA = ""
FAMILIES: tuple[str, ...] = ()
REFERENCES = ("gold", "incumbent")
NEEDS_CONFIDENCES = True


def measure(rows: Rows, generator: np.random.Generator) -> Estimate:
    """Mean of (confidence − (1 − loss))². Raises ValueError without confidences."""
    if rows.confidences is None:
        raise ValueError("The Brier score needs a confidence per row.")
    return mean_loss((rows.confidences - (1.0 - rows.losses)) ** 2)


def shown_as(loss: Estimate) -> tuple[str, Estimate]:
    return "Brier score", loss


def examples() -> list[MetricExample]:
    return [
        MetricExample(("a", "b"), ("a", "a"), (0.2**2 + 0.4**2) / 2, confidences=(0.8, 0.4)),
        MetricExample(("a", "b"), ("a", "b"), 0.0, confidences=(1.0, 1.0)),
    ]
