"""Confidence by field, and what leaving single fields to the incumbent would save, in a world whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from stepdown.build.field_escalation import StudentFields, escalate_fields
from stepdown.certificate.field_confidence import (
    FieldTable,
    confidences_of,
    field_confidences,
    fit_fields,
    open_fields,
    read_fields,
)
from stepdown.core.dataset import Example
from stepdown.core.errors import TamperedError
from stepdown.core.family import families
from stepdown.core.students import Predictions

PARTS = families().load("extract").parts
FIELDS = ("city", "day", "name")


def world(seed: int, n: int = 1500) -> tuple[list[Example], Predictions, np.ndarray]:
    """A student that is nearly always right of the city and day, and of the name half the time, and knows which half.

    It says its odds too high by a factor of e², which calibration has to undo.
    """
    generator = np.random.default_rng(seed)
    chances = np.column_stack([np.full(n, 0.99), np.full(n, 0.99), np.where(generator.random(n) < 0.5, 0.97, 0.5)])
    right = generator.random((n, 3)) < chances
    stated = 1.0 / (1.0 + np.exp(-(np.log(chances / (1.0 - chances)) + 2.0)))
    gold = [{name: f"{name} {row}" for name in FIELDS} for row in range(n)]
    answers = [
        {name: f"{name} {row}" if hit else "wrong" for name, hit in zip(FIELDS, hits, strict=True)}
        for row, hits in enumerate(right)
    ]
    parts = [dict(zip(FIELDS, row, strict=True)) for row in stated.tolist()]
    examples = [Example(id=str(row), input="x", incumbent=each, gold=each) for row, each in enumerate(gold)]
    return examples, Predictions(answers, np.empty((n, 0)), parts=parts), chances.prod(axis=1)


def table(seed: int) -> FieldTable:
    examples, predictions, sure = world(seed)
    found, reference = read_fields(examples, predictions, sure, PARTS)
    assert found is not None
    assert reference == "gold"
    return found


def student(tune: FieldTable, shown: FieldTable) -> StudentFields:
    return StudentFields("tagger", "abc", tune, shown, "certify", "gold", fit_fields(tune))


def test_stated_probabilities_become_those_that_come_true() -> None:
    tune, shown = table(0), table(1)
    found = field_confidences(shown, fit_fields(tune))
    for place in range(3):
        high = shown.raw[:, place] > 0.99
        for half in (high, ~high):
            if half.any():
                assert found[half, place].mean() == pytest.approx((~shown.wrong[half, place]).mean(), abs=0.05)
    assert found[:, 2].min() == pytest.approx(0.5, abs=0.06), "and not the 0.88 that it said"


def test_leaving_single_fields_gives_more_fields_at_the_same_margin() -> None:
    found = escalate_fields(student(table(0), table(1)), 0.04)
    # Half of the answers have a name that is a coin's throw: whole answers stop there, single fields do not.
    assert found.answers_whole.value == pytest.approx(0.5, abs=0.2)
    assert found.fields_single > found.fields_whole + 0.2
    assert found.lacking["0"] == pytest.approx(found.answers_complete.value)
    assert sum(found.lacking.values()) == pytest.approx(1.0)
    assert found.lacking["1"] > 0.3
    for excess in (found.excess_whole, found.excess_single):
        assert excess.low <= 0.04, "tune's choice holds elsewhere, as far as the rows can tell"
    rows = {row.name: row for row in found.rows}
    assert next(row.name for row in found.rows) == "name"
    assert rows["name"].error.value == pytest.approx(0.265, abs=0.05)
    assert rows["name"].calibration_error < 0.05
    assert rows["city"].accepted > 0.9 > rows["name"].accepted
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def test_nothing_is_given_where_no_threshold_keeps_within_the_margin() -> None:
    tune = table(0)
    wrong = replace(tune, wrong=np.ones_like(tune.wrong))
    found = escalate_fields(student(wrong, table(1)), 0.001)
    assert (found.answers_whole.value, found.fields_whole) == (0.0, 0.0)
    assert (found.answers_complete.value, found.fields_single) == (0.0, 0.0)
    assert found.lacking["3 or more"] == 1.0


def test_an_abstaining_student_gives_no_field() -> None:
    examples, predictions, sure = world(2)
    abstaining = np.arange(len(sure)) % 2 == 0
    shown, _ = read_fields(examples, predictions, np.where(abstaining, 0.0, sure), PARTS)
    assert shown is not None
    found = escalate_fields(student(table(0), shown), 0.5)
    assert found.lacking["3 or more"] >= 0.5
    assert found.fields_single <= 0.5
    assert (field_confidences(shown, fit_fields(table(0)))[abstaining] == 0.0).all()


def test_fields_that_the_student_did_not_decide_about_count_against_it() -> None:
    """Gold has a field that the student never heard of: its answer is wrong, and no threshold knows better."""
    examples, predictions, sure = world(3)
    noted = [{**(one.gold or {}), "note": "x"} for one in examples]
    wider = [msgspec.structs.replace(one, gold=gold, incumbent=gold) for one, gold in zip(examples, noted, strict=True)]
    found, _ = read_fields(wider, predictions, sure, PARTS)
    assert found is not None
    assert found.names == (*FIELDS, "note")
    assert found.wrong[:, 3].all()
    assert np.isnan(found.raw[:, 3]).all()
    assert "note" not in fit_fields(found)
    result = escalate_fields(student(found, found), 0.03)
    assert result.answers_whole.value == 0.0
    assert result.fields_single < 0.7, "with one field left to the incumbent, so is the note"


def test_without_parts_or_references_there_is_no_table() -> None:
    examples, predictions, sure = world(4, 20)
    assert read_fields(examples, Predictions(predictions.answers, predictions.signals), sure, PARTS)[0] is None
    nobody = [msgspec.structs.replace(one, gold=None, incumbent=None) for one in examples]
    assert read_fields(nobody, predictions, sure, PARTS)[0] is None


def test_one_answer_has_the_confidence_of_each_of_its_fields() -> None:
    calibrators = fit_fields(table(0))
    opened = open_fields(msgspec.json.decode(msgspec.json.encode(calibrators)))
    chances = {"city": 0.998, "day": 0.998, "name": 0.88, "other": 0.9}
    found = confidences_of({"city": "Rome", "name": "Ann", "unheard": 1}, chances, PARTS, opened)
    assert set(found) == {"city", "name"}
    assert found["city"] == pytest.approx(0.99, abs=0.03)
    assert found["name"] == pytest.approx(0.5, abs=0.1)
    with pytest.raises(TamperedError, match="Build the task again"):
        open_fields({"city": {"weights": []}})
