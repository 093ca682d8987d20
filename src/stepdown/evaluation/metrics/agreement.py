"""How often the answer is the incumbent's, as a loss: the share of rows on which the two disagree."""

from __future__ import annotations

import numpy as np

from stepdown.core.estimates import Estimate
from stepdown.evaluation.intervals import mean_loss
from stepdown.evaluation.metric import MetricExample, complement
from stepdown.evaluation.rows import Rows

EXTRA = ""
FAMILIES: tuple[str, ...] = ()
REFERENCES = ("incumbent",)
NEEDS_CONFIDENCES = False


def measure(rows: Rows, generator: np.random.Generator) -> Estimate:
    """The mean loss against the incumbent's answers; Clopper-Pearson interval where losses are 0/1."""
    return mean_loss(rows.losses)


def shown_as(loss: Estimate) -> tuple[str, Estimate]:
    return "agreement", complement(loss)


def examples() -> list[MetricExample]:
    return [MetricExample(("refund", "refund", "card"), ("refund", "card", "card"), 1 / 3)]
