from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from stepdown.curation.doubtful_answers import collapse, conflicts, estimate_noise, label_noise, majority
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


LABELS = ["a", "b", "c", "d"]


def noisy(rng, rows=4_000, flip=0.2, sharpness=12.0):
    """True labels, labels with a known part flipped to the next one, and probabilities that know the truth roughly."""
    true = rng.integers(0, 4, rows)
    flipped = rng.random(rows) < flip * (true == 1)
    given = np.where(flipped, 2, true)
    logits = rng.normal(size=(rows, 4))
    logits[np.arange(rows), true] += sharpness
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return true, given, probabilities


def naive_joint(given, probabilities):
    """Confident learning as its paper's algorithm 1 says, row by row."""
    rows, labels = probabilities.shape
    threshold = [np.mean([probabilities[r][j] for r in range(rows) if given[r] == j]) for j in range(labels)]
    counts = [[0.0] * labels for _ in range(labels)]
    for row in range(rows):
        over = [j for j in range(labels) if probabilities[row][j] >= threshold[j]]
        if over:
            counts[given[row]][max(over, key=lambda j: probabilities[row][j])] += 1
    scaled = []
    for label in range(labels):
        have = sum(1 for row in range(rows) if given[row] == label)
        scaled.append([count / sum(counts[label]) * have for count in counts[label]])
    total = sum(map(sum, scaled))
    return np.array(scaled) / total


def test_the_joint_is_that_of_a_naive_implementation(rng):
    _, given, probabilities = noisy(rng, rows=500, sharpness=2.0)
    assert np.allclose(estimate_noise(given, probabilities).joint, naive_joint(given, probabilities))


@pytest.mark.parametrize("flip", [0.0, 0.1, 0.3])
def test_known_noise_is_estimated(rng, flip):
    true, given, probabilities = noisy(rng, flip=flip)
    noise = estimate_noise(given, probabilities)
    assert noise.joint.sum() == pytest.approx(1.0)
    assert noise.joint[2, 1] == pytest.approx(np.mean((given == 2) & (true == 1)), abs=0.02)
    assert noise.rate[2] == pytest.approx(np.mean(true[given == 2] != 2), abs=0.06)
    assert noise.rate[0] == pytest.approx(0.0, abs=0.02)
    if flip:
        wrong = np.flatnonzero(given != true)
        assert len(set(noise.flagged.tolist()) & set(wrong.tolist())) >= 0.6 * len(wrong)
        assert np.mean(given[noise.flagged] != true[noise.flagged]) >= 0.9
        assert np.mean(noise.suggested == true[noise.flagged]) >= 0.9


def test_flags_come_worst_first(rng):
    _, given, probabilities = noisy(rng, flip=0.3, sharpness=2.0)
    noise = estimate_noise(given, probabilities)
    own = probabilities[noise.flagged, given[noise.flagged]]
    margins = probabilities[noise.flagged, noise.suggested] - own
    assert (np.diff(margins) <= 1e-12).all()
    assert (margins > 0).all()


def test_labels_without_rows_or_certainty_are_no_trouble():
    probabilities = np.array([[0.5, 0.5, 0.0], [0.4, 0.6, 0.0], [0.5, 0.5, 0.0]])
    noise = estimate_noise(np.array([0, 0, 1]), probabilities)
    assert np.isfinite(noise.joint).all()
    assert noise.rate[2] == 0.0


def examples_with_noise(rng, make_example):
    true, given, probabilities = noisy(rng, rows=400)
    examples = [
        make_example(f"{row:04}", f"text {row}", LABELS[given[row]], gold=LABELS[true[row]] if row % 2 else None)
        for row in range(400)
    ]
    return examples, probabilities


def test_flagged_answers_are_weighed_and_never_removed(rng, make_example):
    examples, probabilities = examples_with_noise(rng, make_example)
    options = CurationOptions(out_of_sample=lambda texts, answers: probabilities, flagged_weight=0.5)
    outcome = label_noise(examples, options)
    assert len(outcome.examples) == 400
    assert {one.weight for one in outcome.examples} == {0.5, 1.0}
    assert all(one.weight == 1.0 for one in outcome.examples if one.gold is not None)
    assert outcome.findings["checked_with_gold"]["precision"] >= 0.9
    whole = CurationOptions(out_of_sample=lambda texts, answers: probabilities, flagged_weight=1.0)
    kept = label_noise(examples, whole)
    assert kept.examples == examples
    assert kept.findings["flagged"] == outcome.findings["flagged"] > 0


def test_only_train_is_shown_to_the_cross_fitted_model(rng, make_example):
    examples, probabilities = examples_with_noise(rng, make_example)
    examples[300:] = [msgspec.structs.replace(one, split="test") for one in examples[300:]]
    seen = []

    def out_of_sample(texts, answers):
        seen.extend(texts)
        return probabilities[: len(texts)]

    label_noise(examples, CurationOptions(out_of_sample=out_of_sample))
    assert seen == [one.text for one in examples[:300]]


def test_it_says_why_it_did_not_run(make_example):
    def never(texts, answers):
        raise AssertionError("must not be asked")

    many = [make_example(str(row), f"text {row}", f"label {row}") for row in range(50)]
    assert "fewer than 5 a label" in label_noise(many, CurationOptions(out_of_sample=never)).findings["skipped"]
    one = [make_example("1", "x")]
    assert label_noise(one, CurationOptions(out_of_sample=never)).findings["skipped"] == "fewer than two labels"
    assert "no cross-fitted" in label_noise(many, CurationOptions()).findings["skipped"]
    objects = [make_example(str(row), f"text {row}", {"city": "ab"[row % 2]}) for row in range(50)]
    assert label_noise(objects, CurationOptions(out_of_sample=never)).findings["skipped"] == "answers are not labels"
