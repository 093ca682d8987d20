"""The cheapest student of a family, each row answered by one that never saw it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stepdown.core.errors import NotEnoughData
from stepdown.core.family import loss_named
from stepdown.core.inputs import Input
from stepdown.core.students import TrainingData
from stepdown.students.cross_validate import out_of_sample_probabilities
from stepdown.students.kinds import student_kinds
from stepdown.students.out_of_sample import answer_out_of_sample

pytest.importorskip("scipy")


def data_of(family: str) -> TrainingData:
    kinds = [kind for kind in student_kinds().all().values() if family in kind.FAMILIES]
    return min(kinds, key=lambda kind: kind.COST_ORDER).examples()


def test_labels_are_those_of_the_linear_cross_validation() -> None:
    data = data_of("classify")
    found = answer_out_of_sample(data, 3)
    probabilities = out_of_sample_probabilities(data.texts, data.targets, 3)
    labels = sorted(set(data.targets))
    assert list(found.answers) == [labels[best] for best in probabilities.argmax(axis=1)]
    assert found.confidences.tolist() == probabilities.max(axis=1).astype(float).tolist()


@pytest.mark.slow
def test_objects_are_read_by_a_student_that_was_trained_without_them() -> None:
    data = data_of("extract")
    found = answer_out_of_sample(data, 0)
    loss = loss_named("extract", "field-f1")
    lost = [loss.of(answer, target) for answer, target in zip(found.answers, data.targets, strict=True)]
    assert np.mean(lost) < 0.5
    assert found.confidences.shape == (len(data.texts),)
    assert ((found.confidences >= 0.0) & (found.confidences <= 1.0)).all()
    again = answer_out_of_sample(data, 0)
    assert list(again.answers) == list(found.answers)
    assert (again.confidences == found.confidences).all()


def test_why_nobody_can_learn_it_names_the_field() -> None:
    rows = 60
    data = replace(
        data_of("extract"),
        inputs=[Input(f"tell me about {row}") for row in range(rows)],
        targets=[{"note": f"nothing that stands there, number {row * 31 % 101}"} for row in range(rows)],
        sources=["incumbent"] * rows,
        weights=np.ones(rows),
    )
    form = data.form
    assert form is not None
    wordy = replace(data, form=type(form)(fields=(type(form.fields[0])(name="note"),)))
    with pytest.raises(NotEnoughData, match="'note' is free text"):
        answer_out_of_sample(wordy, 0)
    with pytest.raises(NotEnoughData, match="no student yet"):
        answer_out_of_sample(replace(data, family="generate"), 0)
    learnable = data_of("extract")
    many = replace(
        learnable,
        inputs=learnable.inputs * 4000,
        targets=learnable.targets * 4000,
        sources=list(learnable.sources) * 4000,
        weights=np.tile(learnable.weights, 4000),
    )
    with pytest.raises(NotEnoughData, match="rows in the time of a scan"):
        answer_out_of_sample(many, 0)
