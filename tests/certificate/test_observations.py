from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepdown.certificate.observations import SEPARATOR, CandidateStudent, JudgedLosses, Observations, outcome

TWO = Observations(
    ids=("a", "b", "c"),
    reference="gold",
    references=("x", "y", "z"),
    candidate_students=(
        CandidateStudent(kind="cheap", artefact="1", cost_usd=0.001),
        CandidateStudent(kind="dear", artefact="2", cost_usd=0.01),
    ),
    signals=(np.zeros((3, 1)), np.zeros((3, 2))),
    losses=np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]),
    incumbent_loss=np.array([0.0, 1.0, 1.0]),
    escalation_cost_usd=np.array([1.0, 2.0, 4.0]),
    latency_s=np.array([[0.1, np.nan, 0.1], [1.0, 1.0, 1.0]]),
)
SURE = np.array([[0.9, 0.2, 0.1], [0.9, 0.8, 0.3]])


def test_the_first_rung_that_is_sure_answers_and_escalated_rows_have_no_excess() -> None:
    found = outcome(TWO, SURE, (0.9, 0.5))
    assert found.rung.tolist() == [0, 1, -1]
    assert found.excess.tolist() == [1.0, 0.0, 0.0]
    assert found.offload == pytest.approx(2 / 3)


def test_every_rung_that_was_asked_is_paid_and_waited_for() -> None:
    found = outcome(TWO, SURE, (0.9, 0.5))
    assert found.cost_usd is not None
    assert found.latency_s is not None
    assert found.cost_usd.tolist() == pytest.approx([0.001, 0.011, 4.011])
    assert found.latency_s[0] == pytest.approx(0.1)
    assert np.isnan(found.latency_s[1:]).all()


def test_cost_is_unknown_where_an_escalation_of_unknown_price_is_needed() -> None:
    unpriced = replace(TWO, escalation_cost_usd=None)
    assert outcome(unpriced, SURE, (0.9, 0.5)).cost_usd is None
    everything = outcome(unpriced, SURE, (0.0, 0.0)).cost_usd
    assert everything is not None
    assert everything.tolist() == pytest.approx([0.001] * 3)


def test_rows_and_students_can_be_picked() -> None:
    part = TWO.rows(np.array([2, 0])).students([1])
    assert part.ids == ("c", "a")
    assert part.losses.tolist() == [[1.0, 0.0]]
    assert part.candidate_students[0].kind == "dear"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": ("a", "a", "c")}, "twice"),
        ({"losses": np.zeros((2, 2))}, "size"),
        ({"references": ("x",)}, "size"),
        ({"losses": np.array([[2.0, 0, 0], [0, 0, 0]])}, "outside"),
        ({"losses": np.array([[0.5, 0, 0], [0, 0, 0]])}, "zero_one"),
        ({"incumbent_loss": np.array([np.nan, 0, 0])}, "without a loss"),
        ({"reference": "agreement"}, "incumbent errs"),
        ({"reference": "judged"}, "without verdicts"),
        ({"reference": "judged", "judged": JudgedLosses(np.full((2, 3), np.nan), np.zeros(3))}, "without a verdict"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TWO, **changes)


def test_a_row_may_belong_to_several_slices_of_one_name_or_to_none() -> None:
    fields = (f"city{SEPARATOR}date", "city", "")
    seen = replace(TWO, slices=tuple({"field": value} for value in fields))
    assert {name: rows.tolist() for name, rows in seen.slices_named("field").items()} == {
        "city": [True, True, False],
        "date": [True, False, False],
    }
    assert seen.slices_named("label") == {}
