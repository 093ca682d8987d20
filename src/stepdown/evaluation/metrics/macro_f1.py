"""1 − macro-F1: every label weighs the same, however rare.

F1 of a label is 2·hits / (rows with that reference + rows with that answer); the mean is over the labels that occur as
a reference or as an answer. An answer that could not be had counts as a miss and makes no label of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stepdown.core.estimates import Estimate
from stepdown.evaluation.confusion import encode
from stepdown.evaluation.intervals import resampled
from stepdown.evaluation.metric import MetricExample, complement
from stepdown.evaluation.rows import Rows

EXTRA = ""
FAMILIES: tuple[str, ...] = ("classify",)
REFERENCES = ("gold", "incumbent")
NEEDS_CONFIDENCES = False


def measure(rows: Rows, generator: np.random.Generator) -> Estimate:
    """1 − macro-F1 with a bootstrap interval over rows."""
    return resampled(_statistic(rows), len(rows), generator)


def shown_as(loss: Estimate) -> tuple[str, Estimate]:
    return "macro-F1", complement(loss)


def examples() -> list[MetricExample]:
    return [
        MetricExample(("a", "a", "b", "b"), ("a", "b", "b", "b"), 1 - (2 / 3 + 4 / 5) / 2),
        MetricExample((None, "b"), ("a", "b"), 0.5),
        MetricExample(("c", "b"), ("a", "b"), 2 / 3),
    ]


def _statistic(rows: Rows) -> Callable[[NDArray[np.int64]], float]:
    codes = encode(rows.answers, rows.references)
    size = len(codes.labels) + 1
    hit = codes.answers == codes.references

    def loss(drawn: NDArray[np.int64]) -> float:
        hits = np.bincount(codes.references[hit], drawn[hit], minlength=size)[:-1]
        seen = np.bincount(codes.references, drawn, minlength=size) + np.bincount(codes.answers, drawn, minlength=size)
        present = seen[:-1] > 0
        return float(1.0 - np.mean(2.0 * hits[present] / seen[:-1][present]))

    return loss
