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

ANSWERS: dict[str, tuple[Any, ...]] = {
    "classify": ("card", "refund", "transfer", "oos"),
    "extract": (
        {"tool": "book", "arguments": {"city": "Rome", "guests": ["Ann", "Bo"]}},
        {"tool": "book", "arguments": {"city": "Rome", "guests": ["Bo"], "nights": 2}},
        {"tool": "find", "arguments": {"city": "Bonn", "late": True}},
        {"tool": "find", "arguments": {"late": False, "nights": 3}},
        {},
    ),
}
"""Answers of each family, the first two different in every way that a metric of that family counts."""
LABELS = ANSWERS["classify"]

label = st.sampled_from(LABELS)
sure = st.floats(0.0, 1.0, width=32)
some_rows = st.lists(st.tuples(st.none() | label, label, sure), min_size=1, max_size=40)


def _every_metric() -> list[Any]:
    """Each metric with each family whose answers it reads."""
    return [
        pytest.param(metric, family, id=f"{name}-{family}")
        for name, metric in metrics().all().items()
        for family in metric.FAMILIES or families().names()
    ]


every_metric = pytest.mark.parametrize(("metric", "family"), _every_metric())


def drawn_rows(family: str, data: st.DataObject, least: int = 1) -> list[tuple[Any, ...]]:
    answer = st.sampled_from(ANSWERS[family])
    return data.draw(st.lists(st.tuples(st.none() | answer, answer, sure), min_size=least, max_size=40))


def rows_of(table: list[tuple[Any, ...]], family: str = "classify") -> Rows:
    answers, references, confidences = (list(column) for column in zip(*table, strict=True))
    return grade(family, answers, references, confidences)


def losses_of(rows: Rows) -> dict[str, float]:
    """By every metric that reads these answers, against whatever reference it makes sense."""
    kinds = metrics().all().items()
    return {
        name: measured(one, rows).value for name, one in kinds if rows.family in (one.FAMILIES or families().names())
    }


def measured(metric: Metric, rows: Rows, seed: int = 0) -> Any:
    return metric.measure(rows, np.random.default_rng(seed))


@every_metric
def test_its_own_examples_come_out_as_worked_by_hand(metric: Metric, family: str) -> None:
    assert metric.examples()
    for example in metric.examples():
        assert measured(metric, example.rows()).value == pytest.approx(example.expected, abs=1e-12)


@every_metric
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_loss_in_its_interval_within_zero_and_one(metric: Metric, family: str, data: st.DataObject) -> None:
    table = drawn_rows(family, data)
    found = measured(metric, rows_of(table, family))
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    assert found.n == len(table)
    assert found.method
    assert found.high > found.low or found.value not in (0.0, 1.0), "no spread seen is not certainty"


@every_metric
@settings(max_examples=8, deadline=None)
@given(data=st.data(), seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(metric: Metric, family: str, data: st.DataObject, seed: int) -> None:
    table = drawn_rows(family, data)
    shuffled = [table[index] for index in np.random.default_rng(seed).permutation(len(table))]
    whole, mixed = measured(metric, rows_of(table, family)), measured(metric, rows_of(shuffled, family))
    assert whole.value == pytest.approx(mixed.value)


@every_metric
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_perfect_answers_lose_nothing(metric: Metric, family: str, data: st.DataObject) -> None:
    references = [reference for _, reference, _ in drawn_rows(family, data)]
    found = measured(metric, rows_of([(each, each, 1.0) for each in references], family))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high > 0.0


@every_metric
def test_more_rows_give_a_narrower_interval(metric: Metric, family: str) -> None:
    generator = np.random.default_rng(3)
    right = generator.random(4000) < 0.8
    sure = generator.random(4000).tolist()
    reference, other = ANSWERS[family][:2]
    table = [(reference if hit else other, reference, each) for hit, each in zip(right, sure, strict=True)]
    few, many = measured(metric, rows_of(table[:250], family)), measured(metric, rows_of(table, family))
    assert many.high - many.low < 0.5 * (few.high - few.low)


@every_metric
def test_the_same_seed_gives_the_same_interval(metric: Metric, family: str) -> None:
    one, two, *_, last = ANSWERS[family]
    rows = rows_of([(one, one, 0.9), (two, one, 0.4), (None, last, 0.2)] * 20, family)
    assert measured(metric, rows, 5) == measured(metric, rows, 5)


@every_metric
def test_it_says_what_it_reads_and_how_it_is_shown(metric: Metric, family: str) -> None:
    assert set(metric.FAMILIES) <= set(families().names())
    assert metric.REFERENCES
    assert set(metric.REFERENCES) <= {"gold", "incumbent"}
    one, two, *_ = ANSWERS[family]
    loss = measured(metric, rows_of([(one, one, 0.9), (two, one, 0.4)], family))
    name, shown = metric.shown_as(loss)
    assert name
    assert shown.low <= shown.value <= shown.high
    assert shown.value in (pytest.approx(loss.value), pytest.approx(1.0 - loss.value))


@every_metric
def test_it_refuses_to_go_without_the_confidences_it_needs(metric: Metric, family: str) -> None:
    rows = grade(family, ANSWERS[family][:1], ANSWERS[family][:1])
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
    assert {"exact_match", "field_f1", "field_macro_f1", "span_f1", "invalid_schema"} <= set(
        applicable("extract", "incumbent", False)
    )
    assert "field_f1" not in applicable("classify", "gold", True)


@settings(max_examples=15, deadline=None)
@given(table=st.lists(st.tuples(label, label, st.floats(0.0, 1.0, width=32)), min_size=2, max_size=60))
def test_losses_agree_with_scikit_learn(table: list[tuple[Any, ...]]) -> None:
    scores = pytest.importorskip("sklearn.metrics")
    rows = rows_of(table)
    found = losses_of(rows)
    right = 1.0 - rows.losses
    accuracy = scores.accuracy_score(rows.references, rows.answers)
    assert found["error"] == pytest.approx(1.0 - accuracy)
    assert found["agreement"] == pytest.approx(1.0 - accuracy)
    f1 = scores.f1_score(rows.references, rows.answers, average="macro", zero_division=0.0)
    assert found["macro_f1"] == pytest.approx(1.0 - f1)
    assert found["brier"] == pytest.approx(scores.brier_score_loss(right, rows.confidences, pos_label=1))


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_losses_of_objects_agree_with_scikit_learn_on_pairs_as_labels(data: st.DataObject) -> None:
    """Every (field, value) pair is one label of a multi-label problem."""
    scores = pytest.importorskip("sklearn.metrics")
    binary = pytest.importorskip("sklearn.preprocessing").MultiLabelBinarizer
    table = drawn_rows("extract", data)
    rows = rows_of(table, "extract")
    pairs = [[_pairs(each or {}) for each in side] for side in (rows.answers, rows.references)]
    columns = binary().fit([*pairs[0], *pairs[1]])
    found = losses_of(rows)
    seen = sorted({name for side in pairs for row in side for name, _ in row})
    if seen:
        said, wanted = (columns.transform(side) for side in pairs)
        micro = scores.f1_score(wanted, said, average="micro", zero_division=1.0)
        assert found["field_f1"] == pytest.approx(1.0 - micro)
        # A column that nobody has keeps scikit-learn from reading a single label as a problem of two classes.
        nobody = np.zeros((len(rows), 1), dtype=np.int64)
        names = np.array([name for name, _ in columns.classes_])
        each = [
            scores.f1_score(*(np.hstack([side[:, names == name], nobody]) for side in (wanted, said)), average="micro")
            for name in seen
        ]
        assert found["field_macro_f1"] == pytest.approx(1.0 - np.mean(each))
    exact = [answer != reference for answer, reference in zip(rows.answers, rows.references, strict=True)]
    assert found["exact_match"] == pytest.approx(np.mean(exact))


def _pairs(answer: dict[str, Any]) -> set[tuple[str, str]]:
    """The flat fields of the answers above, which nest one level, with their values as text."""
    fields = {f"arguments.{name}": value for name, value in answer.get("arguments", {}).items()}
    return {(name, repr(value)) for name, value in [*fields.items(), ("tool", answer.get("tool"))] if value is not None}


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_pieces_agree_with_pairing_them_off_one_by_one(data: st.DataObject) -> None:
    """Two lists of pieces, a piece of one struck out with an equal one of the other, is all that span F1 is."""
    rows = rows_of(drawn_rows("extract", data), "extract")
    hits = said = wanted = 0
    for answer, reference in zip(rows.answers, rows.references, strict=True):
        left = _pieces(reference)
        wanted += len(left)
        for piece in _pieces(answer or {}):
            said += 1
            if piece in left:
                left.remove(piece)
                hits += 1
    expected = 1.0 - 2.0 * hits / (said + wanted) if said + wanted else 0.0
    assert losses_of(rows)["span_f1"] == pytest.approx(expected)


def _pieces(answer: dict[str, Any]) -> list[tuple[str, Any]]:
    """Values of the arguments of the answers above, lists by item, without booleans."""
    arguments = answer.get("arguments", {}).items()
    values = [(name, each) for name, value in arguments for each in (value if isinstance(value, list) else [value])]
    return [(name, value) for name, value in values if not isinstance(value, bool)]


@settings(max_examples=15, deadline=None)
@given(table=some_rows)
def test_areas_and_calibration_agree_with_the_ground_floor(table: list[tuple[Any, ...]]) -> None:
    from stepdown.stats.reliability import expected_calibration_error
    from stepdown.stats.risk_coverage import risk_coverage

    rows = rows_of(table)
    found = losses_of(rows)
    assert rows.confidences is not None
    assert found["risk_coverage"] == pytest.approx(risk_coverage(rows.confidences, rows.losses).area)
    ours = expected_calibration_error(rows.confidences, 1.0 - rows.losses)
    assert found["calibration_error"] == pytest.approx(ours, abs=1e-12)


@pytest.mark.slow
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
