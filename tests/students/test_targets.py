"""Targets: labels, doubt and teachers, as distributions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stepdown.core.errors import NotEnoughData
from stepdown.core.inputs import Input
from stepdown.core.students import TrainingData
from stepdown.students.targets import read_targets


def _data(soft: np.ndarray | None = None) -> TrainingData:
    return TrainingData(
        task="t",
        family="classify",
        inputs=[Input(f"text {row}") for row in range(10)],
        targets=["a", "b"] * 5,
        sources=["gold"] * 5 + ["incumbent"] * 5,
        weights=np.linspace(1.0, 2.0, 10),
        labels=("a", "b", "c"),
        dataset_hash="",
        soft=soft,
    )


def test_only_the_incumbents_answers_are_doubted_and_rows_sum_to_one() -> None:
    rows = read_targets(_data(), incumbent_smoothing=0.3).rows(slice(None))
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(rows[0], [1.0, 0.0, 0.0])
    np.testing.assert_allclose(rows[5], [0.1, 0.8, 0.1], atol=1e-6)


def test_a_teachers_probabilities_are_mixed_in_where_there_are_some() -> None:
    soft = np.full((10, 3), np.nan)
    soft[0] = [0.2, 0.3, 0.5]
    targets = read_targets(_data(soft), soft_share=0.5)
    np.testing.assert_allclose(targets.rows(slice(0, 2)), [[0.6, 0.15, 0.25], [0.0, 1.0, 0.0]], atol=1e-6)
    assert targets.weights.mean() == pytest.approx(1.0)


def test_too_little_to_learn_from_is_said() -> None:
    with pytest.raises(NotEnoughData, match="1 different"):
        read_targets(replace(_data(), targets=["a"] * 10))
    with pytest.raises(NotEnoughData, match="2 rows"):
        read_targets(replace(_data(), targets=["a", "b"] + [None] * 8))
