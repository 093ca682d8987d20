"""1 − macro-F1: every label weighs the same, however rare.

F1 of a label is 2·hits / (rows with that reference + rows with that answer); the mean is over the labels that occur as
a reference or as an answer. An answer that could not be had counts as a miss and makes no label of its own.
"""

from __future__ import annotations

import numpy as np

from stepdown.core.estimates import Estimate
from stepdown.evaluation.intervals import resampled
from stepdown.evaluation.metric import MetricExample, complement
from stepdown.evaluation.pairs import count_pairs, macro_loss, parts_of
from stepdown.evaluation.rows import Rows

EXTRA = ""
FAMILIES: tuple[str, ...] = ("classify",)
REFERENCES = ("gold", "incumbent")
NEEDS_CONFIDENCES = False


def measure(rows: Rows, generator: np.random.Generator) -> Estimate:
    """1 − macro-F1 with a bootstrap interval over rows."""
    counts = count_pairs(rows.answers, rows.references, parts_of(rows.family))
    return resampled(macro_loss(counts), len(rows), generator)


def shown_as(loss: Estimate) -> tuple[str, Estimate]:
    return "macro-F1", complement(loss)


def examples() -> list[MetricExample]:
    return [
        MetricExample(("a", "a", "b", "b"), ("a", "b", "b", "b"), 1 - (2 / 3 + 4 / 5) / 2),
        MetricExample((None, "b"), ("a", "b"), 0.5),
        MetricExample(("c", "b"), ("a", "b"), 2 / 3),
    ]
