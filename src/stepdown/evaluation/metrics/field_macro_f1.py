"""1 − macro-F1 over fields: every field weighs the same, however rare.

F1 of a field is that of its (field, value) pairs (see field_f1); the mean is over the fields that occur in a reference
or in an answer.
"""

from __future__ import annotations

import numpy as np

from stepdown.core.estimates import Estimate
from stepdown.evaluation.intervals import resampled
from stepdown.evaluation.metric import MetricExample, complement
from stepdown.evaluation.pairs import count_pairs, macro_loss, parts_of
from stepdown.evaluation.rows import Rows

EXTRA = ""
FAMILIES: tuple[str, ...] = ("extract",)
REFERENCES = ("gold", "incumbent")
NEEDS_CONFIDENCES = False


def measure(rows: Rows, generator: np.random.Generator) -> Estimate:
    """1 − macro-F1 over fields with a bootstrap interval over rows."""
    counts = count_pairs(rows.answers, rows.references, parts_of(rows.family))
    return resampled(macro_loss(counts), len(rows), generator)


def shown_as(loss: Estimate) -> tuple[str, Estimate]:
    return "field macro-F1", complement(loss)


def examples() -> list[MetricExample]:
    return [
        # city: 2 hits, 2 said, 2 wanted: 1. day: 0 hits: 0. name: 1 hit, 1 said, 2 wanted: 2/3.
        MetricExample(
            ({"city": "Rome", "day": 3, "name": "Ann"}, {"city": "Paris"}),
            ({"city": "Rome", "day": 2, "name": "Ann"}, {"city": "Paris", "name": "Bo"}),
            1 - (1 + 0 + 2 / 3) / 3,
            family="extract",
        ),
        MetricExample((None, {}), ({"city": "Rome"}, {}), 1.0, family="extract"),
    ]
