"""Training of a linear-chain conditional random field on sparse features: exact slopes, AdaGrad, small batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.pace import Clock
from stepdown.runtime.patterns.chain import LEAST, allowed_steps

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
_START = 1e-6


@dataclass(frozen=True)
class Sequences:
    """Texts to learn tags from. columns: the features of all tokens, one after the other; starts: (tokens + 1,), where
    each token's begin. whole, whole_starts: the same for texts, whose features hold for each of their tokens. first:
    (texts + 1,), where each text's tokens begin. tags: (tokens,). weights: (texts,), mean 1.
    """

    columns: NDArray[np.int32]
    starts: IntArray
    whole: NDArray[np.int32]
    whole_starts: IntArray
    first: IntArray
    tags: IntArray
    weights: FloatArray
    features: int

    def __len__(self) -> int:
        return len(self.weights)


@dataclass(frozen=True)
class ChainOptions:
    """rate: AdaGrad's (Duchi et al. 2011); it falls to nothing over the epochs. penalty: L2, on what a batch touches.
    dropout: the share of features left out of a batch, so that rarer ones learn what frequent ones hide."""

    epochs: int
    rate: float = 0.3
    penalty: float = 1e-6
    dropout: float = 0.1
    batch: int = 64


@dataclass(frozen=True)
class _Batch:
    """Texts side by side, the longest first. lengths: (texts,). order: (tokens,), the sequences' tokens, text by text.
    rows, places: (tokens,), where each goes."""

    texts: IntArray
    lengths: IntArray
    order: IntArray
    rows: IntArray
    places: IntArray


def fit_chain(
    sequences: Sequences,
    tags: int,
    options: ChainOptions,
    seed: int,
    progress: Callable[[float], None] | None = None,
    clock: Clock | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Weights float32 (features, tags) and transitions (tags, tags). The same seed gives the same weights.

    clock: which may end it early.
    """
    generator = np.random.default_rng(seed)
    learner = _Learner(sequences, tags, options)
    batches = _batches(sequences, options.batch, generator)
    pace = (clock or Clock()).pace("chain", options.epochs * len(batches), warm=1)
    step = 0
    while pace.goes_on(step):
        if step and step % len(batches) == 0:
            batches = _batches(sequences, options.batch, generator)
            if progress:
                progress(min(1.0, step / pace.total))
        learner.step(batches[step % len(batches)], np.float32(options.rate * pace.rate(step)), generator)
        step += 1
    return learner.weights, learner.transitions


class _Learner:
    """Weights and the squares of all slopes so far."""

    def __init__(self, sequences: Sequences, tags: int, options: ChainOptions) -> None:
        self._data, self._options, self._tags = sequences, options, tags
        steps, first = allowed_steps(tags)
        self._steps, self._first = steps.astype(np.float32), first.astype(np.float32)
        self.weights = np.zeros((sequences.features, tags), dtype=np.float32)
        self.transitions = np.zeros((tags, tags), dtype=np.float32)
        self._squares = np.full_like(self.weights, _START)
        self._step_squares = np.full_like(self.transitions, _START)

    def step(self, batch: _Batch, rate: np.float32, generator: np.random.Generator) -> None:
        matrix, columns = self._features(batch, generator)
        touched = self.weights[columns]
        sums = matrix @ touched
        tokens = len(batch.order)
        slopes, step_slopes = self._slopes(batch, sums[:tokens] + sums[tokens:][batch.rows])
        slopes = np.concatenate([slopes, np.add.reduceat(slopes, np.flatnonzero(batch.places == 0), axis=0)])
        scale = np.float32(1.0 / len(batch.texts))
        slope = (matrix.T @ slopes) * scale + np.float32(self._options.penalty) * touched
        squares = self._squares[columns] + slope * slope
        self._squares[columns] = squares
        self.weights[columns] = touched - rate * slope / np.sqrt(squares)
        step_slopes = step_slopes * scale + np.float32(self._options.penalty) * self.transitions
        self._step_squares += step_slopes * step_slopes
        self.transitions -= rate * step_slopes / np.sqrt(self._step_squares)

    def _features(self, batch: _Batch, generator: np.random.Generator) -> tuple[Any, IntArray]:
        """A CSR matrix (tokens and then texts, features of the batch), and which features those are."""
        from scipy import sparse

        data = self._data
        near, near_counts = _gather(data.columns, data.starts, batch.order)
        whole, whole_counts = _gather(data.whole, data.whole_starts, batch.texts)
        counts = np.concatenate([near_counts, whole_counts])
        columns, own = np.unique(np.concatenate([near, whole]), return_inverse=True)
        kept = generator.random(len(own), dtype=np.float32) >= self._options.dropout
        values = kept.astype(np.float32) / np.float32(1.0 - self._options.dropout)
        starts = np.concatenate([[0], np.cumsum(counts)])
        return sparse.csr_matrix((values, own, starts), shape=(len(counts), len(columns))), columns

    def _slopes(self, batch: _Batch, emissions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The slopes of minus the log-probability of the tags: by emissions (tokens, tags), by transitions."""
        longest = int(batch.lengths[0])
        wide = np.zeros((longest, len(batch.lengths), self._tags), dtype=np.float32)
        wide[batch.places, batch.rows] = np.exp(emissions - emissions.max(axis=1, keepdims=True))
        np.maximum(wide, np.float32(LEAST), out=wide)
        steps = np.exp(self.transitions) * self._steps
        active = [int((batch.lengths > token).sum()) for token in range(longest)]
        forward, scales = self._forward(wide, steps, active)
        weights = self._data.weights[batch.texts]
        pairs = np.zeros_like(steps)
        sums = np.ones_like(wide[0])
        marginals = forward.copy()
        for token in range(longest - 1, 0, -1):
            here = active[token]
            carried = sums[:here] * wide[token, :here] / scales[token, :here, None]
            pairs += (forward[token - 1, :here] * weights[:here, None]).T @ carried
            sums[:here] = carried @ steps.T
            marginals[token - 1] *= sums
        slopes: FloatArray = marginals[batch.places, batch.rows]
        tags = self._data.tags[batch.order]
        slopes[np.arange(len(tags)), tags] -= 1.0
        slopes *= weights[batch.rows][:, None]
        pairs *= steps
        goes_on = np.flatnonzero(batch.places > 0)
        np.subtract.at(pairs, (tags[goes_on - 1], tags[goes_on]), weights[batch.rows[goes_on]])
        return slopes, pairs

    def _forward(self, wide: FloatArray, steps: FloatArray, active: list[int]) -> tuple[FloatArray, FloatArray]:
        forward = np.zeros_like(wide)
        scales = np.ones(wide.shape[:2], dtype=np.float32)
        sums = wide[0] * self._first
        for token, here in enumerate(active):
            if token:
                sums = (forward[token - 1, :here] @ steps) * wide[token, :here]
            scales[token, :here] = sums.sum(axis=1)
            forward[token, :here] = sums / scales[token, :here, None]
        return forward, scales


def _gather(columns: NDArray[np.int32], starts: IntArray, rows: IntArray) -> tuple[NDArray[np.int32], IntArray]:
    """The features of some rows, one after the other, and how many each has."""
    counts = starts[rows + 1] - starts[rows]
    ends = np.cumsum(counts)
    return columns[np.arange(int(ends[-1])) + np.repeat(starts[rows] - (ends - counts), counts)], counts


def _batches(sequences: Sequences, size: int, generator: np.random.Generator) -> list[_Batch]:
    """All texts in a random order, those of a batch of nearly the same length."""
    lengths = np.diff(sequences.first)
    shuffled = generator.permutation(len(sequences))
    wide = size * 16
    chunks = []
    for start in range(0, len(shuffled), wide):
        near = shuffled[start : start + wide]
        near = near[np.argsort(-lengths[near], kind="stable")]
        chunks += [near[place : place + size] for place in range(0, len(near), size)]
    return [_batch(sequences, chunks[place], lengths) for place in generator.permutation(len(chunks)).tolist()]


def _batch(sequences: Sequences, texts: IntArray, lengths: IntArray) -> _Batch:
    own = lengths[texts]
    rows = np.repeat(np.arange(len(texts)), own)
    places = np.arange(int(own.sum())) - np.repeat(np.cumsum(own) - own, own)
    return _Batch(texts, own, sequences.first[texts][rows] + places, rows, places)
