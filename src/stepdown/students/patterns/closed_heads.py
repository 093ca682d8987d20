"""The closed fields: one linear head each on the same words, phrases and character n-grams, in one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.extraction.spans import Alignment
from stepdown.runtime.tags.layout import Group, Layout
from stepdown.students.logistic import LogisticOptions, fit_logistic
from stepdown.students.targets import Targets

FloatArray = NDArray[np.float32]
NEVER = -20.0
"""The logit of what no training answer has."""


@dataclass(frozen=True)
class HeadTargets:
    """What all heads learn. rows: the alignments; doubt: (n,) for each how much of a target is spread evenly."""

    rows: Sequence[Alignment | None]
    doubt: FloatArray
    weights: FloatArray


def fit_heads(
    matrix: Any, layout: Layout, targets: HeadTargets, options: LogisticOptions, progress: Callable[[float], None]
) -> tuple[FloatArray, FloatArray]:
    """Weights float32 (features, logits) and bias (logits,) for all of a layout's groups."""
    weight = np.zeros((matrix.shape[1], layout.labels), dtype=np.float32)
    bias = np.zeros(layout.labels, dtype=np.float32)
    for number, group in enumerate(layout.groups):
        for place, labels, index in _questions(group, targets.rows):
            fitted = _fit(matrix, labels, index, targets, options)
            if group.one:
                columns = slice(place, place + labels)
                weight[:, columns], bias[columns] = fitted
            else:
                weight[:, place] = fitted[0][:, 1] - fitted[0][:, 0]
                bias[place] = fitted[1][1] - fitted[1][0]
        progress((number + 1) / len(layout.groups))
    return weight, bias


def _questions(group: Group, rows: Sequence[Alignment | None]) -> list[tuple[int, int, NDArray[np.int64]]]:
    """What a group asks: (its first logit, how many answers it has, the answer of each row or -1). A group of which
    each logit speaks for itself asks as many questions with two answers."""
    if group.one:
        return [(group.start, group.size, np.array([_chosen(group, row) for row in rows], dtype=np.int64))]
    return [
        (group.start + place, 2, np.array([_there(group, row, place + 1) for row in rows], dtype=np.int64))
        for place in range(group.size)
    ]


def _chosen(group: Group, row: Alignment | None) -> int:
    if row is None or group.field in row.unaligned:
        return -1
    choice = row.choices.get(group.field, 0)
    return choice if isinstance(choice, int) else -1


def _there(group: Group, row: Alignment | None, place: int) -> int:
    if row is None or group.field in row.unaligned:
        return -1
    if not group.choices:
        return int(group.field in row.present)
    chosen = row.choices.get(group.field, ())
    return int(place in (chosen if isinstance(chosen, tuple) else (chosen,)))


def _fit(
    matrix: Any, labels: int, index: NDArray[np.int64], targets: HeadTargets, options: LogisticOptions
) -> tuple[FloatArray, FloatArray]:
    """One head; where the rows know of one answer alone, or of none, a bias that says so."""
    there = sorted(set(index[index >= 0].tolist()))
    if len(there) < 2:
        bias = np.full(labels, NEVER if there else 0.0, dtype=np.float32)
        bias[there[0] if there else 0] = 0.0
        return np.zeros((matrix.shape[1], labels), dtype=np.float32), bias
    weights = np.where(index >= 0, targets.weights, 0.0)
    weights = (weights * (len(weights) / max(float(weights.sum()), 1e-12))).astype(np.float32)
    return fit_logistic(matrix, Targets(index, targets.doubt, weights, labels), options)
