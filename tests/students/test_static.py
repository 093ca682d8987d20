"""The token CNN: what is folded is exact, and what it starts from."""

from __future__ import annotations

import numpy as np
import pytest

from stepdown.students.targets import Targets
from stepdown.students.token_vectors import starting_vectors
from stepdown.students.token_windows import Fitting, fit_windows

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")


def test_folded_tables_answer_what_the_convolution_answers(rng: np.random.Generator) -> None:
    """The served form against the definition, written out with torch's own convolution."""
    start = rng.normal(size=(12, 5)).astype(np.float32)
    sequences = [rng.integers(0, 12, size=int(length)) for length in rng.integers(1, 9, size=40)]
    index = np.array([int(tokens.sum() % 3) for tokens in sequences])
    ones = np.ones(len(index), np.float32)
    targets = Targets(index, np.zeros(len(index), np.float32), ones, 3)
    windows = fit_windows(start, sequences, targets, Fitting(hidden=7, epochs=3), seed=1, progress=lambda share: None)
    logits = windows.logits_many(sequences)
    for tokens, got in zip(sequences, logits, strict=True):
        padded = np.concatenate([np.zeros((1, 3, 7)), windows.tables[tokens], np.zeros((1, 3, 7))])
        hidden = np.maximum(padded[:-2, 0] + padded[1:-1, 1] + padded[2:, 2] + windows.offset, 0.0)
        pooled = torch.tensor(np.concatenate([hidden.max(axis=0), hidden.sum(axis=0) / np.sqrt(len(tokens))]))
        normed = torch.nn.functional.layer_norm(pooled, pooled.shape).numpy()
        np.testing.assert_allclose(got, normed @ windows.weight + windows.bias, atol=1e-3)
        np.testing.assert_allclose(windows.logits(tokens), got, atol=1e-4)


def test_order_matters_to_windows(rng: np.random.Generator) -> None:
    """Two answers that the same two tokens decide by their order: no bag of tokens can tell them apart."""
    start = rng.normal(size=(20, 8)).astype(np.float32)
    sequences, index = [], []
    for row in range(600):
        noise = rng.integers(2, 20, size=3)
        pair = [0, 1] if row % 2 else [1, 0]
        sequences.append(np.array([noise[0], *pair, *noise[1:]], dtype=np.int64))
        index.append(row % 2)
    targets = Targets(np.array(index), np.zeros(600, np.float32), np.ones(600, np.float32), 2)
    fitting = Fitting(hidden=16, epochs=12, dropout=0.1)
    windows = fit_windows(start, sequences, targets, fitting, seed=1, progress=lambda share: None)
    assert (windows.logits_many(sequences).argmax(axis=1) == np.array(index)).mean() > 0.97


def test_starting_vectors_are_components_with_frequent_pieces_weighted_down(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(50, 6)).astype(np.float32)
    even = starting_vectors(vectors, np.zeros(50, np.int64), 3)
    covariance = np.cov(even.T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-4)
    counts = np.zeros(50, np.int64)
    counts[7] = 100
    weighted = starting_vectors(vectors, counts, 3)
    np.testing.assert_allclose(weighted[7], even[7] * (1e-3 / 1.001), rtol=1e-4)
    np.testing.assert_allclose(weighted[8], even[8], rtol=1e-5)
