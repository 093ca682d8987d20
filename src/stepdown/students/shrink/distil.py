"""distil: show a smaller student what a larger one answers, and where a larger encoder puts each text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.inputs import inputs_of
from stepdown.core.students import Lineage, Student
from stepdown.runtime.kinds.frozen import unit
from stepdown.students.encoders.embedding_head import fit_embedding_head
from stepdown.students.targets import Targets

if TYPE_CHECKING:
    from stepdown.students.encoders.network import Encoder

EXTRA = "train"
_LEAST = 1e-9
MAX_CELLS = 24_000_000
"""Rows times labels beyond which the untouched encoder is not asked: its heads would take longer than they help."""


@dataclass(frozen=True)
class Options:
    """Whose word counts for how much in `steadied`."""

    teacher_weight: float = 0.7
    """What the fine-tuned network's log-probabilities count for in what is shown."""
    untouched_weight: float = 0.5
    """What those of a head on the untouched encoder count for."""
    folds: int = 4
    """In so many parts is that head fitted, each row answered by the one that never saw it."""
    iterations: int = 80
    """Steps of L-BFGS for each of them."""
    penalty: float = 3e-3
    """L2 penalty on that head, for features of unit variance."""


@dataclass(frozen=True)
class Shown:
    """What a teacher shows. log_probabilities: float32 (n, labels). embeddings: float32 (n, hidden), or None."""

    log_probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32] | None
    lineage: Lineage


def ask_student(teacher: Student, texts: Sequence[str], labels: int, parent: str) -> Shown | None:
    """What an opened student shows: its probabilities. None where it has none, or other labels."""
    probabilities = teacher.answer_many(inputs_of(texts)).probabilities
    if probabilities is None or probabilities.shape[1] != labels:
        return None
    spoken = np.log(np.maximum(probabilities, _LEAST)).astype(np.float32)
    return Shown(spoken, None, Lineage(step="distil", parameters={"from": teacher.kind}, parents=(parent,)))


def ask_network(teacher: Encoder, sequences: list[NDArray[np.int64]]) -> Shown:
    """What a network shows: its log-probabilities and its embeddings."""
    import torch

    from stepdown.students.encoders.network import embed_all

    embedded = embed_all(teacher, sequences)
    with torch.inference_mode():
        spoken = torch.log_softmax(teacher.head(torch.tensor(embedded)), dim=-1).numpy()
    layers = teacher.shape.layers
    lineage = Lineage(step="distil", parameters={"from": "encoder", "layers": layers})
    return Shown(spoken, embedded, lineage)


def untouched(
    embeddings: NDArray[np.float32], targets: Targets, options: Options, seed: int
) -> NDArray[np.float32] | None:
    """Log-probabilities of a head on embeddings from before fine-tuning, cross-fitted: float32 (n, labels), or None.

    embeddings: (n, hidden); rows beyond the targets' are unlabelled and answered by the mean of all folds' heads.
    """
    rows = len(targets)
    if rows * targets.labels > MAX_CELLS or rows < 4 * options.folds:
        return None
    features = unit(embeddings)
    fold = np.random.default_rng(seed).permutation(rows) % options.folds
    logits = np.zeros((len(features), targets.labels), dtype=np.float32)
    for held in range(options.folds):
        seen = np.flatnonzero(fold != held)
        objective = _rows_of(targets, seen)
        head = fit_embedding_head(features[seen], objective, options.penalty, options.iterations)
        answered = np.flatnonzero(fold == held)
        logits[answered] = head.logits(features[answered])
        logits[rows:] += head.logits(features[rows:]) / options.folds
    return _log_softmax(logits)


def steadied(shown: Shown, other: NDArray[np.float32] | None, options: Options) -> Shown:
    """What a fine-tuned teacher shows, pooled with what the untouched encoder says of rows that its head never saw.

    A fine-tuned network is sure of all it was taught, right or wrong; the cross-fitted head is not, and its doubt is
    what a student learns most from. Pooled geometrically (Genest & Zidek 1986), which also keeps labels that both hold
    possible.
    """
    if other is None:
        return shown
    pooled = _log_softmax(options.teacher_weight * shown.log_probabilities + options.untouched_weight * other)
    parameters = {**shown.lineage.parameters, "untouched_weight": options.untouched_weight, "folds": options.folds}
    return Shown(pooled, shown.embeddings, msgspec.structs.replace(shown.lineage, parameters=parameters))


def _rows_of(targets: Targets, rows: NDArray[np.int64]) -> Targets:
    soft = None if targets.soft is None else targets.soft[rows]
    index, smoothing, weights = targets.index[rows], targets.smoothing[rows], targets.weights[rows]
    return replace(targets, index=index, smoothing=smoothing, weights=weights, soft=soft)


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    spoken: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return spoken
