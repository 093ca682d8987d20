"""What the certificate room reads of a split: losses by the contract's name, slices by the family's word."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from stepdown.certificate.observations import CandidateStudent, Observations
from stepdown.certificate.split_answers import Grader, SplitAnswers, content_keys, observe, observe_evidence
from stepdown.core.contract import Evidence
from stepdown.core.dataset import Example
from stepdown.core.errors import ContractError
from stepdown.core.family import families, loss_named
from stepdown.core.students import Predictions

EXAMPLES = [
    Example(id="1", input="a table for two in Paris", incumbent={"city": "Paris", "people": 2}),
    Example(id="2", input="something in Rome", incumbent={"city": "Rome"}),
    Example(id="3", input="hello", incumbent={}),
]
ANSWERS = [{"city": "Paris", "people": 3}, {"city": "Rome"}, {"city": "hello"}]


def _observed(loss: str) -> tuple[list[float], str, tuple[dict[str, str], ...]]:
    said = Predictions(ANSWERS, np.zeros((3, 1)))
    grader = Grader(families().load("extract"), loss_named("extract", loss), ("label", "field"))
    seen = observe(
        SplitAnswers(EXAMPLES, (said,)),
        [CandidateStudent(kind="a", artefact="1", signal_names=("top",))],
        grader,
        "agreement",
        None,
    )
    assert {name: rows.tolist() for name, rows in seen.slices_named("field").items()} == {
        "city": [True, True, False],
        "people": [True, False, False],
    }
    return seen.losses[0].tolist(), seen.support, seen.slices


def test_the_contract_names_the_loss_and_the_loss_its_support() -> None:
    assert _observed("")[:2] == _observed("exact-match")[:2] == ([1.0, 0.0, 1.0], "zero_one")
    assert _observed("field-f1")[:2] == ([0.5, 0.0, 1.0], "bounded")


def test_a_loss_that_the_family_lacks_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="exact-match, field-f1"):
        loss_named("extract", "field-f")
    with pytest.raises(ContractError, match="'classify' have: error"):
        loss_named("classify", "exact-match")


def test_the_slice_label_is_what_the_family_says() -> None:
    rows = [Example(id=str(n), input=f"text {n}", incumbent="ab"[n % 2]) for n in range(4)]
    said = Predictions(["a"] * 4, np.zeros((4, 1)))
    grader = Grader(families().load("classify"), loss_named("classify"), ("label",))
    seen = observe(SplitAnswers(rows, (said,)), [CandidateStudent(kind="a", artefact="1")], grader, "agreement", None)
    assert [row["label"] for row in seen.slices] == ["a", "b", "a", "b"]


# Evidence: every row that was drawn

DRAWN = [
    Example(id="1", input="one", incumbent="a", gold="a", unit="u1"),
    Example(id="2", input="two", incumbent="b", gold="a", unit="u1"),
    Example(id="3", input="three", incumbent="a"),
    Example(id="4", input="four", incumbent=None, gold="b"),
    Example(id="5", input="five", incumbent=None),
]
SAID = ["a", "a", "a", "b", None]


def _evidence(kind: Evidence) -> Observations:
    grader = Grader(families().load("classify"), loss_named("classify"), ("label",))
    answered = SplitAnswers(DRAWN, (Predictions(SAID, np.zeros((5, 1))),))
    return observe_evidence(answered, [CandidateStudent(kind="s", artefact="1")], grader, kind, None)


def test_drawn_rows_are_all_there_whether_anybody_labelled_them_or_not() -> None:
    seen = _evidence("gold")
    assert seen.ids == ("1", "2", "3", "4", "5")
    assert seen.references == ("a", "a", "", "b", "")
    assert seen.losses[0, [0, 1, 3]].tolist() == [0.0, 0.0, 0.0]
    assert seen.incumbent_loss[[0, 1, 3]].tolist() == [0.0, 1.0, 1.0]
    assert np.isnan(seen.losses[0, [2, 4]]).all()
    assert seen.labelled.tolist() == [True, True, False, True, False]
    assert seen.units == ("u1", "u1", "3", "4", "5")


def test_two_answers_that_cannot_be_read_do_not_agree() -> None:
    """Nobody knows that they are the same."""
    seen = _evidence("gold")
    assert seen.agrees is not None
    assert seen.agrees[0].tolist() == [True, False, True, False, False]


def test_an_answer_of_the_incumbent_that_cannot_be_read_counts_in_agreement() -> None:
    seen = _evidence("agreement")
    assert seen.losses[0].tolist() == [0.0, 1.0, 0.0, 1.0, 1.0]
    assert seen.incumbent_loss.tolist() == [0.0] * 5
    assert seen.agrees is None


def test_a_row_is_known_by_input_and_time_and_not_by_its_id() -> None:
    row = Example(id="1", input="where?", incumbent="a", timestamp=5.0)
    same = msgspec.structs.replace(row, id="2", incumbent="b", gold="c")
    later, other = msgspec.structs.replace(row, timestamp=5.5), msgspec.structs.replace(row, input="when?")
    assert content_keys([row]) == content_keys([same])
    assert len(set(content_keys([row, later, other]))) == 3
    assert content_keys([msgspec.structs.replace(row, input="lone \ud800 surrogate")])
