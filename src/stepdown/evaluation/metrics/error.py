"""The share of answers that are wrong (for answers that can be partly right: the mean loss)."""

from __future__ import annotations

import numpy as np

from stepdown.core.estimates import Estimate
from stepdown.evaluation.intervals import mean_loss
from stepdown.evaluation.metric import MetricExample, complement
from stepdown.evaluation.rows import Rows

EXTRA = ""
FAMILIES: tuple[str, ...] = ()
REFERENCES = ("gold", "incumbent")
NEEDS_CONFIDENCES = False


def measure(rows: Rows, generator: np.random.Generator) -> Estimate:
    """The mean loss; Clopper-Pearson interval where losses are 0/1. Nothing is resampled."""
    return mean_loss(rows.losses)


def shown_as(loss: Estimate) -> tuple[str, Estimate]:
    return "accuracy", complement(loss)


def examples() -> list[MetricExample]:
    return [
        MetricExample(("a", "b", "a", None), ("a", "b", "b", "b"), 0.5),
        MetricExample(("a",), ("a",), 0.0),
    ]
