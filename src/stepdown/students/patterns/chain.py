"""A linear-chain conditional random field as it is served: the probability of every tag of every token.

Lafferty, McCallum & Pereira (2001), Conditional random fields. Forward and backward sums are kept as probabilities,
scaled at each token (Rabiner 1989, section V), so that a token costs two products of a vector and a matrix.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
LEAST = 1e-12


def allowed_steps(tags: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which tag may follow which (tags, tags), and which may be first (tags,): inside goes on from begin or inside."""
    steps = np.ones((tags, tags), dtype=bool)
    insides = np.arange(2, tags, 2)
    steps[:, insides] = False
    steps[insides - 1, insides] = steps[insides, insides] = True
    first = np.ones(tags, dtype=bool)
    first[insides] = False
    return steps, first


class Chain:
    """Reads emissions. transitions: float32 (tags, tags), what a step from one tag to another adds."""

    def __init__(self, transitions: FloatArray) -> None:
        steps, first = allowed_steps(len(transitions))
        self._steps = np.where(steps, np.exp(transitions), 0.0).astype(np.float32)
        self._back = np.ascontiguousarray(self._steps.T)
        self._first = first.astype(np.float32)

    def marginals(self, emissions: FloatArray) -> FloatArray:
        """The probability of every tag of every token: (tokens, tags), rows that sum to 1. tokens > 0."""
        local = np.exp(emissions - emissions.max(axis=1, keepdims=True))
        # Scores are clipped from below so that no row of sums is empty, whatever the text.
        np.maximum(local, np.float32(LEAST), out=local)
        forward = np.empty_like(local)
        sums = local[0] * self._first
        forward[0] = sums = sums / sums.sum()
        steps, back = self._steps, self._back
        tokens = len(local)
        for token in range(1, tokens):
            sums = sums.dot(steps)
            sums *= local[token]
            sums /= sums.sum()
            forward[token] = sums
        sums = np.ones_like(sums)
        for token in range(tokens - 1, 0, -1):
            sums = (sums * local[token]).dot(back)
            sums /= sums.sum()
            forward[token - 1] *= sums
        forward /= forward.sum(axis=1, keepdims=True)
        return forward
