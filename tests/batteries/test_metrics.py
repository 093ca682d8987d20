"""Every metric faces the same battery: a new file in `evaluation/metrics/` is tested unasked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdown.core.family import families
from stepdown.evaluation.metric import Metric, applicable, metrics
from stepdown.evaluation.rows import Rows, grade

LABELS = ("card", "refund", "transfer", "oos")

label = st.sampled_from(LABELS)
one_row = st.tuples(st.none() | label, label, st.floats(0.0, 1.0, width=32))
some_rows = st.lists(one_row, min_size=1, max_size=40)
every_metric = pytest.mark.parametrize("metric", metrics().all().values(), ids=metrics().names())


def rows_of(table: list[tuple[Any, ...]]) -> Rows:
    answers, references, confidences = (list(column) for column in zip(*table, strict=True))
    return grade("classify", answers, references, confidences)


def measured(metric: Metric, rows: Rows, seed: int = 0) -> Any:
    return metric.measure(rows, np.random.default_rng(seed))


@every_metric
def test_its_own_examples_come_out_as_worked_by_hand(metric: Metric) -> None:
    assert metric.examples()
    for example in metric.examples():
        assert measured(metric, example.rows()).value == pytest.approx(example.expected, abs=1e-12)


@every_metric
@settings(max_examples=15, deadline=None)
@given(table=some_rows)
def test_a_loss_in_its_interval_within_zero_and_one(metric: Metric, table: list[tuple[Any, ...]]) -> None:
    found = measured(metric, rows_of(table))
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    assert found.n == len(table)
    assert found.method
    assert found.high > found.low or found.value not in (0.0, 1.0), "no spread seen is not certainty"


@every_metric
@settings(max_examples=8, deadline=None)
@given(table=some_rows, seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(metric: Metric, table: list[tuple[Any, ...]], seed: int) -> None:
    shuffled = [table[index] for index in np.random.default_rng(seed).permutation(len(table))]
    assert measured(metric, rows_of(table)).value == pytest.approx(measured(metric, rows_of(shuffled)).value)


@every_metric
@given(references=st.lists(label, min_size=1, max_size=40))
@settings(max_examples=15, deadline=None)
def test_perfect_answers_lose_nothing(metric: Metric, references: list[str]) -> None:
    found = measured(metric, rows_of([(each, each, 1.0) for each in references]))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high > 0.0


@every_metric
def test_more_rows_give_a_narrower_interval(metric: Metric) -> None:
    generator = np.random.default_rng(3)
    right = generator.random(4000) < 0.8
    sure = generator.random(4000).tolist()
    table = [("card" if hit else "refund", "card", each) for hit, each in zip(right, sure, strict=True)]
    few, many = measured(metric, rows_of(table[:250])), measured(metric, rows_of(table))
    assert many.high - many.low < 0.5 * (few.high - few.low)


@every_metric
def test_the_same_seed_gives_the_same_interval(metric: Metric) -> None:
    rows = rows_of([("card", "card", 0.9), ("refund", "card", 0.4), (None, "oos", 0.2)] * 20)
    assert measured(metric, rows, 5) == measured(metric, rows, 5)


@every_metric
def test_it_says_what_it_reads_and_how_it_is_shown(metric: Metric) -> None:
    assert set(metric.FAMILIES) <= set(families().names())
    assert metric.REFERENCES
    assert set(metric.REFERENCES) <= {"gold", "incumbent"}
    loss = measured(metric, rows_of([("card", "card", 0.9), ("refund", "card", 0.4)]))
    name, shown = metric.shown_as(loss)
    assert name
    assert shown.low <= shown.value <= shown.high
    assert shown.value in (pytest.approx(loss.value), pytest.approx(1.0 - loss.value))


@every_metric
def test_it_refuses_to_go_without_the_confidences_it_needs(metric: Metric) -> None:
    rows = grade("classify", ["card"], ["card"])
    if metric.NEEDS_CONFIDENCES:
        with pytest.raises(ValueError, match="confidence"):
            measured(metric, rows)
    else:
        assert measured(metric, rows).value == 0.0


def test_what_applies_follows_from_reference_family_and_confidences() -> None:
    assert "agreement" not in applicable("classify", "gold", True)
    assert "agreement" in applicable("classify", "incumbent", True)
    assert {"brier", "calibration_error", "risk_coverage"}.isdisjoint(applicable("classify", "gold", False))
    assert "macro_f1" not in applicable("extract", "gold", True)
    assert "error" in applicable("extract", "gold", True)


@settings(max_examples=15, deadline=None)
@given(table=st.lists(st.tuples(label, label, st.floats(0.0, 1.0, width=32)), min_size=2, max_size=60))
def test_losses_agree_with_scikit_learn(table: list[tuple[Any, ...]]) -> None:
    scores = pytest.importorskip("sklearn.metrics")
    rows = rows_of(table)
    found = {name: measured(metric, rows).value for name, metric in metrics().all().items()}
    right = 1.0 - rows.losses
    accuracy = scores.accuracy_score(rows.references, rows.answers)
    assert found["error"] == pytest.approx(1.0 - accuracy)
    assert found["agreement"] == pytest.approx(1.0 - accuracy)
    f1 = scores.f1_score(rows.references, rows.answers, average="macro", zero_division=0.0)
    assert found["macro_f1"] == pytest.approx(1.0 - f1)
    assert found["brier"] == pytest.approx(scores.brier_score_loss(right, rows.confidences, pos_label=1))


@settings(max_examples=15, deadline=None)
@given(table=some_rows)
def test_areas_and_calibration_agree_with_the_ground_floor(table: list[tuple[Any, ...]]) -> None:
    from stepdown.stats.reliability import expected_calibration_error
    from stepdown.stats.risk_coverage import risk_coverage

    rows = rows_of(table)
    found = {name: measured(metric, rows).value for name, metric in metrics().all().items()}
    assert rows.confidences is not None
    assert found["risk_coverage"] == pytest.approx(risk_coverage(rows.confidences, rows.losses).area)
    ours = expected_calibration_error(rows.confidences, 1.0 - rows.losses)
    assert found["calibration_error"] == pytest.approx(ours, abs=1e-12)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """100 samples of 200 rows from a known source; 95 % nominal, 0.88 allows for asymptotics and for 100 trials."""
    scores = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(11)
    large = rows_of(_draw(generator, 40_000))
    truth = {
        "error": large.losses.mean(),
        "macro_f1": 1.0 - scores.f1_score(large.references, large.answers, average="macro"),
    }
    samples = [rows_of(_draw(generator, 200)) for _ in range(100)]
    for name, value in truth.items():
        found = [metrics().load(name).measure(sample, generator) for sample in samples]
        assert np.mean([each.low <= value <= each.high for each in found]) >= 0.88, name


def _draw(generator: np.random.Generator, n: int) -> list[tuple[Any, ...]]:
    references = generator.choice(LABELS, n, p=[0.5, 0.3, 0.15, 0.05])
    confidences = generator.beta(4, 1.5, n)
    hits = generator.random(n) < confidences
    wrong = generator.choice(LABELS, n)
    return [
        (str(ref if hit else other), str(ref), float(sure))
        for ref, other, hit, sure in zip(references, wrong, hits, confidences, strict=True)
    ]


def test_a_wrong_shape_or_confidence_is_refused() -> None:
    with pytest.raises(ValueError, match="answers"):
        grade("classify", ["a"], [])
    for bad in ([1.2], [math.nan], [0.1, 0.2]):
        with pytest.raises(ValueError, match="confidences"):
            grade("classify", ["a"], ["a"], bad)
