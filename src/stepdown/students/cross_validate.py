"""Out-of-sample probabilities of labels for every row, from a linear student: for the noise audit and for the scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stepdown.core.errors import UsageError
from stepdown.core.inputs import inputs_of
from stepdown.core.students import TrainingData
from stepdown.runtime.signals import softmax
from stepdown.students.logistic import LogisticOptions, fit_logistic
from stepdown.students.ngrams import choose_vocabulary, count_ngrams, features
from stepdown.students.targets import Targets, read_targets

MAX_FEATURES = 20_000
MAX_WEIGHTS = 24_000_000
ITERATIONS = 15
_SMOOTHING = 0.1


def out_of_sample_probabilities(
    texts: Sequence[str],
    answers: Sequence[str],
    seed: int,
    folds: int = 3,
    threads: int = 2,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float32]:
    """For each row the probabilities of a linear student that never saw it: float32 (n, labels), labels sorted.

    Equal texts share a fold, so that no row is predicted from its own duplicate. Raises NotEnoughData for fewer than 8
    rows or two labels, UsageError for fewer than two folds, MissingExtra without scipy.
    """
    if folds < 2:
        raise UsageError(f"Cross-validation was asked for {folds} folds.", "It needs at least 2.", "Use 3.")
    labels = tuple(sorted(set(answers)))
    targets = read_targets(_as_data(texts, answers, labels), incumbent_smoothing=_SMOOTHING)
    counted = count_ngrams(texts, shortest=3, longest=4)
    most = max(1_000, min(MAX_FEATURES, MAX_WEIGHTS // len(labels)))
    vocabulary, idf = choose_vocabulary(counted, min_count=2, max_features=most)
    matrix = features(counted.texts, vocabulary, idf)
    fold_of_row = assign_folds(texts, folds, seed)
    probabilities = np.empty((len(texts), len(labels)), dtype=np.float32)
    options = LogisticOptions(penalty=3e-5, max_iterations=ITERATIONS, threads=threads)
    for fold in range(folds):
        held_out = np.flatnonzero(fold_of_row == fold)
        learned = np.flatnonzero(fold_of_row != fold)
        weight, bias = fit_logistic(matrix[learned], _subset(targets, learned), options)
        # In slices, so that the float64 of the softmax stays small beside the result.
        for rows in np.array_split(held_out, max(1, len(held_out) * len(labels) // 4_000_000)):
            probabilities[rows] = softmax(matrix[rows] @ weight + bias)
        if progress:
            progress((fold + 1) / folds)
    return probabilities


def assign_folds(texts: Sequence[str], folds: int, seed: int) -> NDArray[np.int64]:
    """Distinct texts dealt to folds at random."""
    place: dict[str, int] = {}
    distinct = np.array([place.setdefault(text, len(place)) for text in texts])
    dealt = np.random.default_rng(seed).permutation(len(place)) % folds
    assigned: NDArray[np.int64] = dealt[distinct]
    return assigned


def _subset(targets: Targets, rows: NDArray[np.int64]) -> Targets:
    return Targets(targets.index[rows], targets.smoothing[rows], targets.weights[rows], targets.labels)


def _as_data(texts: Sequence[str], answers: Sequence[str], labels: tuple[str, ...]) -> TrainingData:
    return TrainingData(
        task="cross-validation",
        family="classify",
        inputs=inputs_of(texts),
        targets=list(answers),
        sources=["incumbent"] * len(answers),
        weights=np.ones(len(answers)),
        labels=labels,
        dataset_hash="",
    )
