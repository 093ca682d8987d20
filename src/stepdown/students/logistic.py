"""Multinomial logistic regression on sparse features: full-batch L-BFGS, or prototypes for huge label sets."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepdown.core.pace import Pace
from stepdown.students.targets import Targets

FloatArray = NDArray[np.float32]

MAX_CELLS = 60_000_000
"""Rows × labels that one full-batch fit may hold; above it, rows are sampled or prototypes are taken."""
_MEMORY = 6
_PROTOTYPE_SCALE = 20.0


@dataclass(frozen=True)
class LogisticOptions:
    """penalty: on ‖weight‖²/2, relative to the mean loss of a row. tolerance: relative fall of the loss to stop at."""

    penalty: float = 1e-5
    max_iterations: int = 35
    tolerance: float = 1e-4
    threads: int = 1


def fit_logistic(
    matrix: Any,
    targets: Targets,
    options: LogisticOptions,
    progress: Callable[[float], None] | None = None,
    pace: Pace | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Weight float32 (features, labels) and bias (labels,) for a CSR matrix (n, features). pace: asked for each step.

    Convex and without randomness: the same rows give the same weights. n × labels above MAX_CELLS gives prototypes.
    """
    if matrix.shape[0] * targets.labels > MAX_CELLS:
        return fit_prototypes(matrix, targets)
    with ThreadPoolExecutor(max(1, options.threads)) as pool:
        problem = _Problem(matrix, targets, options, pool)
        return _minimise(problem, options, progress, pace)


def fit_prototypes(matrix: Any, targets: Targets) -> tuple[FloatArray, FloatArray]:
    """One mean direction per label (Rocchio): a single pass, for label sets too large to optimise over."""
    from scipy import sparse

    known = targets.index >= 0
    rows, labels = np.flatnonzero(known), targets.index[known]
    member = sparse.csr_matrix(
        (targets.weights[known], (labels, rows)), shape=(targets.labels, matrix.shape[0]), dtype=np.float32
    )
    means = (member @ matrix).toarray()
    means *= _PROTOTYPE_SCALE / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return np.ascontiguousarray(means.T), np.zeros(targets.labels, dtype=np.float32)


class _Problem:
    """Loss and slope at weights that move along straight lines, so that a step's length costs no product with X."""

    def __init__(self, matrix: Any, targets: Targets, options: LogisticOptions, pool: ThreadPoolExecutor) -> None:
        self.features, self.labels = matrix.shape[1], targets.labels
        self.penalty = np.float32(options.penalty)
        self._pool = pool
        self._forward = _halves(matrix, options.threads)
        self._backward = _halves(matrix.T.tocsr(), options.threads)
        self._wanted = targets.rows(slice(None))
        self._weights = (targets.weights / matrix.shape[0]).astype(np.float32)[:, None]

    def start(self) -> FloatArray:
        """Zero weights and the bias of the label shares."""
        shares = (self._wanted * self._weights).sum(axis=0) + 1e-3 / self.labels
        bias = np.log(shares) - np.log(shares).mean()
        return np.concatenate([np.zeros(self.features * self.labels, dtype=np.float32), bias.astype(np.float32)])

    def logits(self, flat: FloatArray) -> FloatArray:
        weight, bias = self.split(flat)
        return self._product(self._forward, weight) + bias

    def loss(self, logits: FloatArray) -> tuple[float, FloatArray]:
        """The data's part of the loss, and its slope in the logits."""
        shifted = logits - logits.max(axis=1, keepdims=True)
        exponents = np.exp(shifted)
        total = exponents.sum(axis=1, keepdims=True)
        losses = np.log(total) - (self._wanted * shifted).sum(axis=1, keepdims=True)
        exponents /= total
        exponents -= self._wanted
        exponents *= self._weights
        return float((self._weights * losses).sum(dtype=np.float64)), exponents

    def slope(self, flat: FloatArray, residual: FloatArray) -> FloatArray:
        weight, _ = self.split(flat)
        inner = self._product(self._backward, residual) + self.penalty * weight
        return np.concatenate([inner.ravel(), residual.sum(axis=0)])

    def split(self, flat: FloatArray) -> tuple[FloatArray, FloatArray]:
        cut = self.features * self.labels
        return flat[:cut].reshape(self.features, self.labels), flat[cut:]

    def _product(self, parts: list[Any], dense: FloatArray) -> FloatArray:
        return np.concatenate(list(self._pool.map(lambda part: part @ dense, parts)))


def _minimise(
    problem: _Problem, options: LogisticOptions, progress: Callable[[float], None] | None, pace: Pace | None
) -> tuple[FloatArray, FloatArray]:
    """L-BFGS with a backtracking line search (Nocedal & Wright 2006, algorithms 7.5 and 3.1)."""
    flat = problem.start()
    logits = problem.logits(flat)
    data_loss, residual = problem.loss(logits)
    loss, squared, slow = data_loss, 0.0, 0
    slope = problem.slope(flat, residual)
    pairs: deque[tuple[FloatArray, FloatArray, float]] = deque(maxlen=_MEMORY)
    for iteration in range(options.max_iterations):
        if pace and not pace.goes_on(iteration):
            break
        direction = _direction(slope, pairs)
        along = float(slope @ direction)
        weight, step_weight = problem.split(flat)[0].ravel(), problem.split(direction)[0].ravel()
        cross, length = float(weight @ step_weight), float(step_weight @ step_weight)
        moved = problem.logits(direction)
        step = 1.0
        for _ in range(20):
            new_logits = logits + np.float32(step) * moved
            new_squared = squared + 2.0 * step * cross + step * step * length
            data_loss, residual = problem.loss(new_logits)
            new_loss = data_loss + 0.5 * float(problem.penalty) * new_squared
            if new_loss <= loss + 1e-4 * step * along:
                break
            step *= 0.5
        else:
            break
        new_flat = flat + np.float32(step) * direction
        new_slope = problem.slope(new_flat, residual)
        change, bend = new_flat - flat, new_slope - slope
        curvature = float(change @ bend)
        if curvature > 0.0:
            pairs.append((change, bend, curvature))
        # One short step is not the end: stop only after three in a row that gain next to nothing.
        slow = slow + 1 if loss - new_loss < options.tolerance * abs(loss) else 0
        flat, slope, logits, loss, squared = new_flat, new_slope, new_logits, new_loss, new_squared
        if progress:
            progress((iteration + 1) / options.max_iterations)
        if slow == 3:
            break
    return problem.split(flat)


def _direction(slope: FloatArray, pairs: deque[tuple[FloatArray, FloatArray, float]]) -> FloatArray:
    """The quasi-Newton direction from the last few steps; for the first, the slope at a fixed length."""
    direction = -slope
    if not pairs:
        direction *= np.float32(5.0 / max(float(np.linalg.norm(slope)), 1e-12))
        return direction
    factors = []
    for change, bend, curvature in reversed(pairs):
        factor = np.float32(float(change @ direction) / curvature)
        factors.append(factor)
        direction -= factor * bend
    _, bend, curvature = pairs[-1]
    direction *= np.float32(curvature / float(bend @ bend))
    for (change, bend, curvature), factor in zip(pairs, reversed(factors), strict=True):
        direction += (factor - np.float32(float(bend @ direction) / curvature)) * change
    return direction


def _halves(matrix: Any, parts: int) -> list[Any]:
    cuts = np.linspace(0, matrix.shape[0], max(1, parts) + 1).astype(int)
    return [matrix[start:stop] for start, stop in itertools.pairwise(cuts)]
