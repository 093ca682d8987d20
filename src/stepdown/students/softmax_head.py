"""A multinomial logistic head on dense features: convex, so the same rows give the same head whatever the seed."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from stepdown.core.errors import needs
from stepdown.core.pace import Pace
from stepdown.runtime.kinds.frozen import SoftmaxHead
from stepdown.students.targets import Targets

FloatArray = NDArray[np.float32]


def fit_softmax_head(
    features: FloatArray,
    targets: Targets,
    penalty: float = 1e-4,
    max_iterations: int = 200,
    tolerance: float = 1e-4,
    pace: Pace | None = None,
) -> SoftmaxHead:
    """The head that minimises weighted cross-entropy + penalty/2·‖weight‖², by L-BFGS in float32.

    features: (n, dimensions), best with columns of about unit variance. penalty: relative to the mean loss of a row.
    pace: asked before each step, and may end it early. Needs n × labels floats of memory. Raises MissingExtra without
    scipy.
    """
    with needs("train", "Training a student's head"):
        from scipy.optimize import minimize
    n, dimensions = features.shape
    labels = targets.labels
    wanted = targets.rows(slice(None))
    weights = (targets.weights / n).astype(np.float32)[:, None]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight = flat[: dimensions * labels].reshape(dimensions, labels).astype(np.float32)
        logits = features @ weight + flat[dimensions * labels :].astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        exponents = np.exp(logits)
        total = exponents.sum(axis=1, keepdims=True)
        value = float((weights * (np.log(total) - (wanted * logits).sum(axis=1, keepdims=True))).sum(dtype=np.float64))
        residual = weights * (exponents / total - wanted)
        slope = np.concatenate([(features.T @ residual + penalty * weight).ravel(), residual.sum(axis=0)])
        return value + 0.5 * penalty * float((weight * weight).sum(dtype=np.float64)), slope.astype(np.float64)

    start = np.zeros((dimensions + 1) * labels)
    steps = itertools.count(1)

    def stop(_: object) -> None:
        if pace and not pace.goes_on(next(steps)):
            raise StopIteration

    settings = {"maxiter": max_iterations, "gtol": tolerance / labels}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=settings, callback=stop).x.astype(np.float32)
    return SoftmaxHead(
        weight=np.ascontiguousarray(found[: dimensions * labels].reshape(dimensions, labels)),
        bias=found[dimensions * labels :],
    )
