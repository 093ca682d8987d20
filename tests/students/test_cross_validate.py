"""Cross-validation: no row is predicted by a model that saw it."""

from __future__ import annotations

import numpy as np
import pytest

from stepdown.core.errors import NotEnoughData, UsageError
from stepdown.students.cross_validate import out_of_sample_probabilities
from stepdown.students.tiny_task import tiny_task

pytest.importorskip("scipy", reason="training needs the extra 'train'")


def test_probabilities_align_with_sorted_labels_and_repeat() -> None:
    task = tiny_task()
    answers = [str(target) for target in task.targets]
    found = out_of_sample_probabilities(task.texts, answers, seed=1)
    assert found.shape == (len(answers), 4)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)
    labels = np.array(sorted(set(answers)))
    assert (labels[found.argmax(axis=1)] == np.array(answers)).mean() > 0.9
    np.testing.assert_array_equal(found, out_of_sample_probabilities(task.texts, answers, seed=1))


def test_what_cannot_be_learned_is_not_known(rng: np.random.Generator) -> None:
    """Random answers to repeated texts: seen rows would be remembered, unseen ones are guessed at chance."""
    texts = [f"token{row // 2} here" for row in range(600)]
    answers = [str(rng.integers(0, 2)) for _ in range(300) for _ in range(2)]
    answers[1::2] = answers[::2]
    found = out_of_sample_probabilities(texts, answers, seed=2)
    right = (found.argmax(axis=1) == np.array([int(answer) for answer in answers])).mean()
    assert right < 0.6


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(NotEnoughData):
        out_of_sample_probabilities(["a"] * 20, ["x"] * 20, seed=0)
    with pytest.raises(UsageError, match="folds"):
        out_of_sample_probabilities(["a"] * 20, ["x", "y"] * 10, seed=0, folds=1)
