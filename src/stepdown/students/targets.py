"""What a student is taught, row by row: a label, doubt about it, and a larger model's probabilities where known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stepdown.core.errors import NotEnoughData, UsageError
from stepdown.core.extraction.form import Form
from stepdown.core.students import Student, TrainingData

MIN_ROWS = 8
INCUMBENT = "incumbent"


@dataclass(frozen=True)
class Targets:
    """Distributions over labels to learn, never held as one dense matrix unless `soft` is.

    index: (n,) the answer as a place in `labels`, −1 where only `soft` speaks. smoothing: (n,) the probability spread
    evenly over all labels. weights: (n,), mean 1. soft: float32 (n, labels), NaN rows where there is none, or None.
    soft_share: how much of a row's target is `soft` where it has one.
    """

    index: NDArray[np.int64]
    smoothing: NDArray[np.float32]
    weights: NDArray[np.float32]
    labels: int
    soft: NDArray[np.float32] | None = None
    soft_share: float = 0.5

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, chosen: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """The distributions of the chosen rows: float32 (k, labels), each summing to 1."""
        index, smoothing = self.index[chosen], self.smoothing[chosen]
        hard = np.empty((len(index), self.labels), dtype=np.float32)
        hard[:] = (smoothing / self.labels)[:, None]
        known = np.flatnonzero(index >= 0)
        hard[known, index[known]] += 1.0 - smoothing[known]
        if self.soft is None:
            return hard
        soft = self.soft[chosen]
        taught = ~np.isnan(soft[:, 0])
        share = np.where(index < 0, 1.0, self.soft_share).astype(np.float32)[:, None]
        hard[taught] = (share * np.nan_to_num(soft) + (1.0 - share) * hard)[taught]
        return hard


def read_targets(data: TrainingData, incumbent_smoothing: float = 0.0, soft_share: float = 0.5) -> Targets:
    """Targets from training data. `incumbent_smoothing` is the doubt about answers that are not gold.

    Raises NotEnoughData for fewer than 8 answered rows or fewer than two labels among them.
    """
    place = {label: position for position, label in enumerate(data.labels)}
    index = np.array([place.get(answer, -1) for answer in data.targets], dtype=np.int64)
    answered, distinct = int((index >= 0).sum()), len(set(index[index >= 0].tolist()))
    if answered < MIN_ROWS or distinct < 2:
        raise NotEnoughData(
            f"The task {data.task!r} has {answered} rows to learn from, with {distinct} different answers.",
            f"A student needs at least {MIN_ROWS} rows and two answers.",
            "Import more traffic, or check that `answer` in stepdown.toml points at the decision.",
        )
    doubt = [incumbent_smoothing if source == INCUMBENT else 0.0 for source in data.sources]
    soft = None if data.soft is None else data.soft.astype(np.float32)
    usable = (index >= 0) if soft is None else (index >= 0) | ~np.isnan(soft[:, 0])
    weights = np.where(usable, data.weights, 0.0)
    weights = weights * (len(weights) / max(float(weights.sum()), 1e-12))
    return Targets(
        index=index,
        smoothing=np.asarray(doubt, dtype=np.float32),
        weights=weights.astype(np.float32),
        labels=len(data.labels),
        soft=soft,
        soft_share=soft_share,
    )


def form_of(data: TrainingData) -> Form:
    """The form of the answers. Raises UsageError where they have no fields."""
    if data.form is None:
        raise UsageError(
            f"The answers of {data.task!r} have no fields.",
            "A student that fills in a form needs one.",
            "Build from answers that have fields.",
        )
    return data.form


def taught_by(data: TrainingData, teacher: Student | None, max_extra: int = 20_000) -> TrainingData:
    """`data` with a larger student's probabilities as soft targets, for its rows and its unlabelled texts.

    Where the data has soft targets of its own (the incumbent's log-probabilities), the two are averaged. The teacher's
    labels must be the data's. Source: Hinton et al. 2015, Distilling the knowledge in a neural network. Returns `data`
    itself where there is no teacher, or one without probabilities.
    """
    if teacher is None:
        return data
    extra = data.extra_inputs[:max_extra]
    probabilities = teacher.answer_many([*data.inputs, *extra]).probabilities
    if probabilities is None or probabilities.shape[1] != len(data.labels):
        return data
    soft = probabilities.copy()
    if data.soft is not None:
        rows = np.flatnonzero(~np.isnan(data.soft[:, 0]))
        soft[rows] = (soft[rows] + data.soft[rows]) / 2.0
    return replace(
        data,
        inputs=[*data.inputs, *extra],
        targets=[*data.targets, *([None] * len(extra))],
        sources=[*data.sources, *(["teacher"] * len(extra))],
        weights=np.concatenate([data.weights, np.full(len(extra), float(np.mean(data.weights)))]),
        soft=soft,
        extra_inputs=[],
    )
