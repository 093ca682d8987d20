"""Where the decision sits in answers as models really write them."""

from __future__ import annotations

import json

import msgspec
import pytest

from stepdown.core.calls import Call
from stepdown.core.families import classify
from stepdown.core.tasks import Match, Task

LABELS = ("refund", "card", "limit", "pin")


def _answers(*fields: str) -> list[str]:
    makers = {
        "category": lambda n: LABELS[n % 4],
        "language": lambda n: ("en", "de")[n % 2],
        "reason": lambda n: f"because of number {n}",
        "status": lambda n: "ok",
        "confidence": lambda n: [0, 1][n % 2],
        "rating": lambda n: n % 5,
        "urgent": lambda n: n % 3 == 0,
    }
    return [json.dumps({field: makers[field](number) for field in fields}) for number in range(60)]


def _fits(contents: list[str]) -> float:
    answered = [{"choices": [{"message": {"role": "assistant", "content": content}}]} for content in contents]
    return classify.fits([Call(id="", request={}, response=response) for response in answered])


def test_the_decision_beats_a_side_field_with_fewer_values() -> None:
    assert classify.locate(_answers("language", "category", "confidence")) == "$.category"


def test_free_text_and_constants_are_no_decision() -> None:
    assert classify.locate(_answers("status", "reason", "urgent")) == "$.urgent"


def test_a_confidence_that_happens_to_be_whole_is_no_decision() -> None:
    assert classify.locate(_answers("confidence", "category")) == "$.category"


def test_whole_numbers_can_be_labels_where_nothing_else_is() -> None:
    contents = _answers("reason", "rating")
    assert classify.locate(contents) == "$.rating"
    assert _fits(contents) > 0.9


def test_plain_text_labels_and_free_text() -> None:
    assert classify.locate(["good", "bad"] * 20) == "$"
    assert _fits(["good", "bad"] * 20) > 0.9
    assert _fits([f"a new text {number}" for number in range(60)]) == 0.0


def test_a_label_that_was_never_seen_is_none_of_the_tasks() -> None:
    task = Task(name="t", family="classify", match=Match(), labels=("refund", "shipping"))
    assert classify.why_unfit(task, "refund", {}) == ""
    assert "'refund'" in classify.why_unfit(task, "refnd", {})
    assert "'refund', 'shipping'" in classify.why_unfit(task, "<script>", {})
    assert classify.why_unfit(msgspec.structs.replace(task, labels=()), "anything", {}) == ""


@pytest.mark.parametrize(("old", "new"), [("0.9", "0.8765"), ("73.85", "87.65"), ("null", "0.8765")])
def test_confidence_is_stated_in_the_incumbents_unit(old: str, new: str) -> None:
    task = Task(name="t", family="classify", match=Match(), answer="$.category")
    like = {"role": "assistant", "content": f'{{"category": "a", "confidence": {old}}}'}
    assert classify.write_answer(task, "b", 0.8765, like)["content"] == f'{{"category": "b", "confidence": {new}}}'


@pytest.mark.parametrize(
    ("answer", "given", "label"),
    [
        ("$", ' "Refund" ', "Refund"),
        ("$", '["Refund"]', "Refund"),
        ("$", '{"label": "Refund"}', "Refund"),
        ("$.category", '{"category": "Refund", "note": "x"}', "Refund"),
        ("$.category", '{"other": "Refund", "note": "x"}', '{"other": "Refund", "note": "x"}'),
        ("$", '["Refund", "Praise"]', '["Refund", "Praise"]'),
        ("$", "{not JSON", "{not JSON"),
        ("$", {"category": "Refund"}, None),
        ("route(team)", "Refund", "Refund"),
        ("route(team)", '{"tool": "route", "arguments": {"team": "Refund"}}', "Refund"),
        ("route(team)", {"tool": "route", "arguments": '{"team": "Refund"}'}, "Refund"),
        ("route(team)", '{"team": "Refund"}', "Refund"),
    ],
)
def test_gold_is_read_out_of_the_json_round_it(answer: str, given: object, label: str | None) -> None:
    assert classify.canonical(Task(name="t", family="classify", match=Match(), answer=answer), given) == label


def test_where_the_incumbent_states_its_confidence_either_way_the_usual_one_is_kept() -> None:
    task = Task(name="t", family="classify", match=Match(), answer="$.category")
    said = ['{"category": "oos", "confidence": 0.4}'] + [f'{{"category": "a", "confidence": {n}}}' for n in (70, 85.5)]
    found = classify.like(task, [{"role": "assistant", "content": content} for content in said])
    assert classify.write_answer(task, "b", 0.9, found)["content"] == '{"category": "b", "confidence": 90.0}'
