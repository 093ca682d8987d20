from __future__ import annotations

import math

from stepdown.curation.conflicts import collapse, conflicts, majority
from stepdown.curation.near_duplicates import exact_duplicates
from stepdown.curation.options import CurationOptions

OPTIONS = CurationOptions()


def test_exact_duplicates_are_counted_and_kept(make_example):
    examples = [make_example("1", "Hello"), make_example("2", "hello "), make_example("3", "bye")]
    outcome = exact_duplicates(examples, OPTIONS)
    assert len(outcome.examples) == 3
    assert outcome.examples[0].group == outcome.examples[1].group != outcome.examples[2].group
    assert outcome.findings["calls_that_repeat"] == 1
    assert outcome.findings["most_repeated"] == 2


def test_train_learns_the_majority_and_evidence_stays_as_it_came(make_example):
    answers = [("1", "a", "train"), ("2", "b", "train"), ("3", "b", "train"), ("4", "c", "certify")]
    outcome = conflicts([make_example(name, "same", answer, split=side) for name, answer, side in answers], OPTIONS)
    assert [one.incumbent for one in outcome.examples] == ["b", "b", "b", "c"]
    assert outcome.findings["inputs_answered_differently"] == 1
    assert outcome.findings["calls_among_them"] == 4


def test_of_answers_that_tie_the_earliest_is_learned(make_example):
    outcome = conflicts([make_example("1", "x", "b"), make_example("2", "x", "a")], OPTIONS)
    assert {one.incumbent for one in outcome.examples} == {"b"}


def test_gold_for_one_of_equal_inputs_holds_for_all_of_them_in_train(make_example):
    outcome = conflicts([make_example("1", "x", "a", gold="g"), make_example("2", "X", "a")], OPTIONS)
    assert [one.gold for one in outcome.examples] == ["g", "g"]


def test_gold_that_contradicts_itself_is_not_learned_from(make_example):
    both = [make_example("1", "x", "a", gold="g"), make_example("2", "x", "a", gold="h")]
    outcome = conflicts(both, OPTIONS)
    assert [(one.gold, one.incumbent) for one in outcome.examples] == [(None, "a"), (None, "a")]
    assert outcome.findings["inputs_with_contradicting_gold"] == 1
    unanswered = [make_example("1", "x", None, gold="g"), make_example("2", "x", None, gold="h")]
    outcome = conflicts(unanswered, OPTIONS)
    assert not outcome.examples
    assert [one.reason for one in outcome.excluded] == ["gold contradicts itself"] * 2


def test_majority():
    assert majority([None, "a", "b", "b"]) == "b"
    assert majority([{"k": 1}, {"k": 1}, None]) == {"k": 1}
    assert majority(["a", "b"]) is None
    assert majority([None]) is None


def test_collapse_weighs_train_and_leaves_evidence_alone(make_example):
    train = [make_example(str(number), "same") for number in range(3)]
    proof = [make_example(f"c{number}", "other", split="certify") for number in range(3)]
    outcome = collapse(train + proof, OPTIONS)
    assert [one.id for one in outcome.examples] == ["0", "c0", "c1", "c2"]
    assert outcome.examples[0].weight == 1 + math.log(3)
    assert {one.weight for one in outcome.examples[1:]} == {1.0}
    assert [(one.id, one.kin) for one in outcome.excluded] == [("1", "0"), ("2", "0")]
