"""The sparse logistic regression, against scikit-learn's on the same problem."""

from __future__ import annotations

import numpy as np
import pytest

from stepdown.students.logistic import LogisticOptions, fit_logistic, fit_prototypes
from stepdown.students.targets import Targets

sparse = pytest.importorskip("scipy.sparse")


def _problem(rng: np.random.Generator, n: int = 300, features: int = 40, labels: int = 4) -> tuple[object, Targets]:
    matrix = sparse.random(n, features, density=0.2, random_state=rng, dtype=np.float32, format="csr")
    truth = rng.normal(size=(features, labels))
    index = (matrix @ truth + rng.gumbel(size=(n, labels)) * 0.2).argmax(axis=1)
    weights = np.where(rng.random(n) < 0.5, 0.5, 1.5).astype(np.float32)
    weights *= n / weights.sum()
    return matrix, Targets(index.astype(np.int64), np.zeros(n, np.float32), weights, labels)


def test_the_optimum_is_that_of_scikit_learn(rng: np.random.Generator) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    matrix, targets = _problem(rng)
    penalty = 1e-3
    options = LogisticOptions(penalty=penalty, max_iterations=500, tolerance=1e-9, threads=2)
    weight, bias = fit_logistic(matrix, targets, options)
    reference = linear_model.LogisticRegression(C=1.0 / (penalty * len(targets)), tol=1e-8, max_iter=5000)
    reference.fit(matrix, targets.index, sample_weight=targets.weights)
    np.testing.assert_allclose(weight, reference.coef_.T, atol=0.03 * np.abs(reference.coef_).max())
    np.testing.assert_allclose(bias - bias.mean(), reference.intercept_ - reference.intercept_.mean(), atol=0.05)


def test_threads_do_not_change_the_result_much_and_repeats_not_at_all(rng: np.random.Generator) -> None:
    matrix, targets = _problem(rng)
    one, _ = fit_logistic(matrix, targets, LogisticOptions(threads=1))
    again, _ = fit_logistic(matrix, targets, LogisticOptions(threads=1))
    two, _ = fit_logistic(matrix, targets, LogisticOptions(threads=2))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_allclose(one, two, atol=1e-2 * np.abs(one).max())


def test_prototypes_point_at_their_label(rng: np.random.Generator) -> None:
    labels = 50
    matrix = sparse.csr_matrix(np.repeat(np.eye(labels, dtype=np.float32), 3, axis=0))
    index = np.repeat(np.arange(labels), 3)
    targets = Targets(index, np.zeros(len(index), np.float32), np.ones(len(index), np.float32), labels)
    weight, bias = fit_prototypes(matrix, targets)
    assert ((matrix @ weight + bias).argmax(axis=1) == index).all()
