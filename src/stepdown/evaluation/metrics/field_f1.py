"""1 − micro-F1 over (field, value) pairs, as slot filling is scored: every field of every answer weighs the same.

A pair is a field of the flat answer with its whole value; a list is one value. F1 is 2·(pairs in both) / (pairs of the
answers + pairs of the references); where neither has any, nothing is lost. An answer that could not be had has none.
"""

from __future__ import annotations

import numpy as np

from stepdown.core.estimates import Estimate
from stepdown.evaluation.intervals import resampled
from stepdown.evaluation.metric import MetricExample, complement
from stepdown.evaluation.pairs import count_pairs, micro_loss, parts_of
from stepdown.evaluation.rows import Rows

EXTRA = ""
FAMILIES: tuple[str, ...] = ("extract",)
REFERENCES = ("gold", "incumbent")
NEEDS_CONFIDENCES = False


def measure(rows: Rows, generator: np.random.Generator) -> Estimate:
    """1 − micro-F1 with a bootstrap interval over rows."""
    counts = count_pairs(rows.answers, rows.references, parts_of(rows.family))
    return resampled(micro_loss(counts), len(rows), generator)


def shown_as(loss: Estimate) -> tuple[str, Estimate]:
    return "field F1", complement(loss)


def examples() -> list[MetricExample]:
    return [
        # 3 pairs said, 4 wanted, 2 in both: city twice, but the day is another.
        MetricExample(
            ({"city": "Rome", "day": 3}, {"city": "Paris"}),
            ({"city": "Rome", "day": 2}, {"city": "Paris", "day": 1}),
            1 - 4 / 7,
            family="extract",
        ),
        # A list is one value; an answer that could not be had misses its one pair.
        MetricExample(({"to": ["a", "b"]}, None), ({"to": ["a"]}, {"to": ["a"]}), 1.0, family="extract"),
        MetricExample(({},), ({},), 0.0, family="extract"),
    ]
