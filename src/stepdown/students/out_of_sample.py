"""What the cheapest student of a family answers to rows that it never saw, by cross-validation: for the scan."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.dataset import Answer
from stepdown.core.errors import NotEnoughData
from stepdown.core.family import loss_named
from stepdown.core.students import TIME_OF_A_SCAN, StudentKind, TrainingContext, TrainingData
from stepdown.core.training_time import REFERENCE, TrainingSize
from stepdown.runtime.cascade import ABSTAINS
from stepdown.runtime.kinds import served_kinds
from stepdown.stats.calibration import fit_calibrator
from stepdown.students.cross_validate import assign_folds
from stepdown.students.kinds import student_kinds
from stepdown.students.train import train_student

Floats = NDArray[np.float64]
TRAINING_S = 8.0
"""What one fold may take, by the kind's own guess: a scan is a matter of seconds."""
_SHARES = (1, 2, 4, 8)
"""One row in so many is learned from, where there is no time for all."""
_FEWEST = 200
_ASKED = 2_000
"""So many rows tell whether a kind can learn answers like these."""


@dataclass(frozen=True)
class OutOfSample:
    """Answers to n rows by students that never saw the row, with how likely each is right (n,)."""

    answers: Sequence[Answer]
    confidences: Floats


def answer_out_of_sample(data: TrainingData, seed: int, folds: int = 3, threads: int = 2) -> OutOfSample:
    """Cross-validate the cheapest kind that reads these answers, or ask its own `out_of_sample` where it has one.

    Equal texts share a fold. Where a kind is too slow for all rows, each fold learns from as many as it has time for.
    Confidences are calibrated on the rows out of sample, all of them together. Raises NotEnoughData where no kind is
    quick enough or can learn these answers, naming the field.
    """
    name, kind = _cheapest(data, student_kinds().all())
    own = getattr(kind, "out_of_sample", None)
    if own is not None:
        return OutOfSample(*own(data, seed, folds, threads))
    options, share = _options(kind, data, folds)
    fold_of_row = assign_folds(data.texts, folds, seed)
    answers: list[Answer] = [None] * len(data.texts)
    signals: Floats | None = None
    names: tuple[str, ...] = ()
    for fold in range(folds):
        held_out = np.flatnonzero(fold_of_row == fold)
        with tempfile.TemporaryDirectory(prefix="stepdown-") as folder:
            context = TrainingContext(
                folder=Path(folder),
                home=Path(folder),
                seed=seed,
                seconds=TRAINING_S,
                threads=threads,
                progress=_quietly,
            )
            manifest = train_student(name, _rows(data, np.flatnonzero(fold_of_row != fold)[::share]), options, context)
            student = served_kinds().load(name).open(Path(folder), manifest, threads, "cpu")
            said = student.answer_many([data.inputs[row] for row in held_out])
        signals = np.empty((len(data.texts), said.signals.shape[1])) if signals is None else signals
        signals[held_out], names = said.signals, student.signal_names
        for row, answer in zip(held_out, said.answers, strict=True):
            answers[row] = answer
    return OutOfSample(answers, _confidences(data, answers, np.asarray(signals), names))


def _cheapest(data: TrainingData, kinds: dict[str, StudentKind]) -> tuple[str, StudentKind]:
    """The kind with the cheapest answers of those that can learn these. Raises NotEnoughData saying why none can."""
    able = [(name, kind) for name, kind in kinds.items() if data.family in kind.FAMILIES]
    if not able:
        raise NotEnoughData(f"there is no student yet for answers of the family {data.family!r}")
    reasons = []
    some = _rows(data, np.arange(0, len(data.texts), max(1, len(data.texts) // _ASKED)))
    for name, kind in sorted(able, key=lambda one: one[1].COST_ORDER):
        asked = getattr(kind, "why_not", None)
        reason = asked(some) if asked is not None else ""
        if not reason:
            return name, kind
        reasons.append(reason)
    raise NotEnoughData(reasons[0])


def _options(kind: StudentKind, data: TrainingData, folds: int) -> tuple[Any, int]:
    """What to train each fold with, and of how many rows one is learned from. Raises NotEnoughData."""
    whole = data.size
    rows = whole.rows * (folds - 1) // folds
    for share in _SHARES:
        size = TrainingSize(rows // share, whole.labels, whole.tokens * (folds - 1) // (folds * share))
        options = kind.options_for(size, TRAINING_S, REFERENCE)
        if options is not None and (share == 1 or rows // share >= _FEWEST):
            return options, share
    raise NotEnoughData(f"no student of the family {data.family!r} learns {rows:,} rows {TIME_OF_A_SCAN}")


def _rows(data: TrainingData, rows: NDArray[np.int64]) -> TrainingData:
    return replace(
        data,
        inputs=[data.inputs[row] for row in rows],
        targets=[data.targets[row] for row in rows],
        sources=[data.sources[row] for row in rows],
        weights=data.weights[rows],
        soft=None if data.soft is None else data.soft[rows],
    )


def _confidences(data: TrainingData, answers: Sequence[Answer], signals: Floats, names: tuple[str, ...]) -> Floats:
    loss = loss_named(data.family)
    right = np.array([1.0 - loss.of(answer, target) for answer, target in zip(answers, data.targets, strict=True)])
    said = signals[:, names.index(ABSTAINS)] < 0.5 if ABSTAINS in names else np.ones(len(signals), dtype=bool)
    found = np.zeros(len(signals))
    if said.any():
        found[said] = fit_calibrator(signals[said], right[said]).probabilities(signals[said])
    return found


def _quietly(what: str, share: float) -> None:
    """A scan says itself what it is at."""
