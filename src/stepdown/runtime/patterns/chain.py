"""A linear-chain conditional random field as it is served: the probability of every tag of every token.

Lafferty, McCallum & Pereira (2001), Conditional random fields. Forward and backward sums are kept as probabilities,
scaled every few tokens (Rabiner 1989, section V), so that a token costs two products of a vector and a matrix.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Doubles = NDArray[np.float64]
LEAST = 1e-12
_UNLIKELY = 1e-7
"""A tag that is so much less likely than the best one at each token, by the token alone, is not reckoned with."""
_SCALED_EVERY = 4
"""Tokens between scalings: a step changes sums by no more than LEAST and a few powers of ten."""


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
        self._steps = np.where(steps, np.exp(transitions.astype(np.float64)), 0.0)
        self._first = first.astype(np.float64)

    def marginals(self, emissions: FloatArray) -> Doubles:
        """The probability of every tag of every token: (tokens, tags), rows that sum to 1. tokens > 0.

        Fields that no token of the text speaks for are left out of the sums: their tags get 0.
        """
        local = np.exp(emissions - emissions.max(axis=1, keepdims=True), dtype=np.float64)
        # From below, so that no row of sums is empty, whatever the text.
        np.maximum(local, LEAST, out=local)
        likely = local.max(axis=0) > _UNLIKELY
        likely[0] = True
        likely[1::2] |= likely[2::2]
        likely[2::2] = likely[1::2]
        if likely.all():
            return _marginals(local, self._steps, self._first)
        tags = np.flatnonzero(likely)
        found: Doubles = np.zeros_like(local)
        found[:, tags] = _marginals(local[:, tags], self._steps[tags[:, None], tags], self._first[tags])
        return found


def _marginals(local: Doubles, steps: Doubles, first: Doubles) -> Doubles:
    forward = np.empty_like(local)
    np.multiply(local[0], first, out=forward[0])
    tokens = len(local)
    for token in range(1, tokens):
        row = forward[token]
        np.multiply(forward[token - 1].dot(steps), local[token], out=row)
        if not token % _SCALED_EVERY:
            row /= row.sum()
    sums = np.ones(len(steps))
    for token in range(tokens - 1, 0, -1):
        sums = steps.dot(sums * local[token])
        if not token % _SCALED_EVERY:
            sums /= sums.sum()
        forward[token - 1] *= sums
    forward /= forward.sum(axis=1, keepdims=True)
    return forward
