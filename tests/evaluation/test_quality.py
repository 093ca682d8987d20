from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepdown.core.dataset import Example
from stepdown.core.errors import NotEnoughData
from stepdown.evaluation.quality import (
    QualityOptions,
    cascade_curve,
    measure_incumbent,
    measure_quality,
    risk_coverage_curve,
)


def example(number: int, incumbent: str | None, gold: str | None) -> Example:
    return Example(id=f"e{number}", input=f"text {number}", incumbent=incumbent, gold=gold)


def test_the_incumbent_of_the_shipped_traffic_is_as_wrong_as_published(banking_test: list[Example]) -> None:
    quality = measure_incumbent(banking_test, "classify", "test")
    error = quality.metrics["error"]
    assert error.n == 3080
    assert error.value == pytest.approx(1 - 0.731, abs=5e-4)
    assert error.low < error.value < error.high
    assert error.high - error.low < 0.04
    scores = pytest.importorskip("sklearn.metrics")
    golds, answers = [each.gold for each in banking_test], [each.incumbent for each in banking_test]
    f1 = scores.f1_score(golds, answers, average="macro", zero_division=0.0)
    assert quality.metrics["macro_f1"].value == pytest.approx(1.0 - f1)


def test_labels_are_worst_first_and_paired_with_the_incumbent(banking_test: list[Example]) -> None:
    scores = pytest.importorskip("sklearn.metrics")
    answers = [each.gold if index % 3 else each.incumbent for index, each in enumerate(banking_test)]
    quality = measure_quality(answers, None, banking_test, "classify", "test", "gold")
    errors = [row.error.value for row in quality.labels]
    assert errors == sorted(errors, reverse=True)
    assert sum(row.n for row in quality.labels) == 3080
    assert len(quality.labels) == len({each.gold for each in banking_test})
    golds = [each.gold for each in banking_test]
    names = [row.name for row in quality.labels]
    theirs = scores.precision_recall_fscore_support(golds, answers, labels=names, zero_division=0.0)
    for column, field in zip(theirs[:3], ("precision", "recall", "f1"), strict=True):
        assert [getattr(row, field) for row in quality.labels] == pytest.approx(list(column))
    for row in quality.labels:
        right = [each.incumbent == each.gold for each in banking_test if each.gold == row.name]
        assert row.incumbent_error is not None
        assert row.incumbent_error.n == row.n == len(right)
        assert row.incumbent_error.value == pytest.approx(1.0 - np.mean(right))
        assert row.error.value <= row.incumbent_error.value


def test_against_the_incumbent_there_is_agreement_and_no_incumbent_error(banking_test: list[Example]) -> None:
    answers = [each.incumbent if index % 4 else "oos" for index, each in enumerate(banking_test)]
    quality = measure_quality(answers, None, banking_test, "classify", "test", "incumbent")
    wrong = np.mean([answer != each.incumbent for answer, each in zip(answers, banking_test, strict=True)])
    assert quality.metrics["agreement"].value == pytest.approx(wrong)
    assert all(row.incumbent_error is None for row in quality.labels)
    assert quality.labels[0].most_confused_with == "oos"


def test_rows_without_the_reference_are_left_out_and_n_says_so() -> None:
    rows = [example(0, "a", "a"), example(1, None, "b"), example(2, "b", None)]
    quality = measure_quality(["a", "b", "b"], [0.9, 0.8, 0.7], rows, "classify", "tune", "gold")
    assert quality.metrics["error"].n == 2
    assert quality.metrics["error"].value == 0.0
    by_name = {row.name: row for row in quality.labels}
    assert by_name["b"].incumbent_error is not None
    assert by_name["b"].incumbent_error.value == 1.0, "an answer that cannot be parsed is the incumbent's loss"
    with pytest.raises(NotEnoughData, match="import gold"):
        measure_quality(["a"], None, [example(0, "a", None)], "classify", "tune", "gold")
    with pytest.raises(ValueError, match="one each"):
        measure_quality(["a"], None, rows, "classify", "tune", "gold")
    with pytest.raises(ValueError, match="reference"):
        measure_quality(["a"], None, rows[:1], "classify", "tune", "judge")


def test_the_most_confused_label_is_the_commonest_wrong_answer() -> None:
    rows = [example(number, "a", "a") for number in range(6)]
    quality = measure_quality(["a", "b", "c", "c", None, "a"], None, rows, "classify", "tune", "gold")
    assert quality.labels[0].most_confused_with == "c"
    assert quality.labels[0].recall == pytest.approx(2 / 6)


@pytest.mark.slow
def test_ten_thousand_labels_are_no_trouble() -> None:
    generator = np.random.default_rng(0)
    rows = [example(number, f"l{generator.integers(10_000)}", f"l{number % 10_000}") for number in range(20_000)]
    answers = [each.gold if generator.random() < 0.8 else each.incumbent for each in rows]
    quality = measure_quality(answers, None, rows, "classify", "test", "gold")
    assert len(quality.labels) == 10_000
    assert quality.labels[0].error.value == 1.0
    assert quality.labels[-1].error.value == 0.0
    assert quality.labels[-1].error.high > 0.5, "two rows prove little"


BOOKINGS: list[tuple[Any, Any, Any]] = [
    # the student's, the incumbent's, gold
    (
        {"tool": "book", "arguments": {"to": "Rome", "day": 2}},
        None,
        {"tool": "book", "arguments": {"to": "Rome", "day": 2}},
    ),
    ({"tool": "book", "arguments": {"from": "Bonn"}}, {}, {"tool": "book", "arguments": {"to": "Bonn", "day": 1}}),
    ({"tool": "find", "arguments": {"to": "Bonn"}}, {"tool": "find"}, {"tool": "find", "arguments": {"to": "Bonn"}}),
    (None, {"tool": "find"}, {"tool": "find"}),
]


def test_of_objects_there_is_a_row_for_each_field() -> None:
    rows = [
        Example(id=f"e{number}", input="x", incumbent=incumbent, gold=gold)
        for number, (_, incumbent, gold) in enumerate(BOOKINGS)
    ]
    quality = measure_quality([answer for answer, *_ in BOOKINGS], None, rows, "extract", "test", "gold")
    assert [(row.name, row.n, row.error.value) for row in quality.labels] == [
        ("arguments.day", 2, 0.5),
        ("arguments.to", 3, pytest.approx(1 / 3)),
        ("tool", 4, 0.25),
    ], "a field is wrong where gold has it and the answer lacks it or has another value; from is nowhere in gold"
    day, to, tool = quality.labels
    assert (to.precision, to.recall, to.f1) == (1.0, pytest.approx(2 / 3), pytest.approx(4 / 5))
    assert to.most_confused_with == "arguments.from", "that is where Bonn went"
    assert day.most_confused_with == ""
    theirs = [row.incumbent_error.value for row in (day, to, tool) if row.incumbent_error is not None]
    assert theirs == [1.0, 1.0, 0.5], "an answer of the incumbent's that could not be used misses every field"
    assert quality.metrics["exact_match"].value == 0.5
    assert quality.metrics["error"].value == 0.5
    assert quality.metrics["field_f1"].value == pytest.approx(1 - 2 * 6 / (7 + 9))
    assert quality.metrics["invalid_schema"].value == 0.25


def test_the_loss_of_the_contract_is_the_error() -> None:
    rows = [
        Example(id=f"e{number}", input="x", incumbent=gold, gold=gold) for number, (*_, gold) in enumerate(BOOKINGS)
    ]
    answers = [answer for answer, *_ in BOOKINGS]
    graded = measure_quality(answers, None, rows, "extract", "test", "gold", QualityOptions(loss="field-f1"))
    per_answer = [0.0, 1 - 2 * 1 / (2 + 3), 0.0, 1.0]
    assert graded.metrics["error"].value == pytest.approx(np.mean(per_answer))
    assert graded.metrics["exact_match"].value == 0.5, "whatever the contract is about"


@pytest.fixture(scope="module")
def graded(banking_test: list[Example]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Losses and confidences of a made student on real rows, and the real incumbent's losses."""
    generator = np.random.default_rng(0)
    incumbent = np.array([float(each.incumbent != each.gold) for each in banking_test])
    confidences = generator.beta(5, 1, incumbent.size)
    return (generator.random(incumbent.size) > confidences).astype(float), incumbent, confidences


def test_points_rise_in_coverage_and_end_at_all_rows(graded: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    losses, incumbent, confidences = graded
    points = risk_coverage_curve(losses, incumbent, confidences, points=25, threshold=0.8)
    coverages = [point.coverage for point in points]
    assert coverages == sorted(set(coverages))
    assert 20 <= len(points) <= 26
    assert points[-1].coverage == 1.0
    assert points[-1].risk.value == pytest.approx(losses.mean())
    assert points[-1].incumbent_risk == pytest.approx(incumbent.mean())
    assert points[-1].excess.value == pytest.approx(losses.mean() - incumbent.mean())
    for point in points:
        assert point.risk.low <= point.risk.value <= point.risk.high
        assert point.excess.low <= point.excess.value <= point.excess.high
        assert point.risk.n == round(point.coverage * losses.size)
    (certified,) = [point for point in points if point.certified]
    assert certified.coverage == pytest.approx(np.mean(confidences >= 0.8))


def test_excess_counts_escalated_rows_as_zero(graded: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    losses, incumbent, confidences = graded
    accepted = confidences >= 0.9
    (point,) = cascade_curve(losses, incumbent, [accepted], certified=0)
    assert point.excess.value == pytest.approx((losses - incumbent)[accepted].sum() / losses.size)
    assert point.excess.n == losses.size
    assert point.certified


def test_a_cascade_walks_its_path_and_skips_what_accepts_nothing() -> None:
    losses = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    path = [np.array([False] * 3), np.array([True, False, True])]
    (point,) = cascade_curve(losses, None, path)
    assert (point.coverage, point.risk.value, point.incumbent_risk) == (pytest.approx(2 / 3), 1.0, 0.0)


def test_equal_confidences_make_one_point_and_an_unused_threshold_marks_nothing() -> None:
    points = risk_coverage_curve([0.0, 1.0, 1.0], None, [0.5, 0.5, 0.5], threshold=1.5)
    assert [(point.coverage, point.certified) for point in points] == [(1.0, False)]
    with pytest.raises(ValueError, match="expected as many"):
        risk_coverage_curve([0.0], None, [0.5, 0.5])
