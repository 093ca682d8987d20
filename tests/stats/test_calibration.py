import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from stepdown.core.calibrator import Calibrator
from stepdown.stats.calibration import (
    CalibrationOptions,
    fit_calibrator,
    fit_logistic,
    isotonic_knots,
    pool_adjacent_violators,
)
from stepdown.stats.reliability import expected_calibration_error, reliability_curve

SHAPES = ["logistic", "isotonic", "logistic_isotonic"]


def overconfident(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw confidences, an unrelated signal, and outcomes that are right less often than the confidences say."""
    generator = np.random.default_rng(seed)
    score = generator.normal(1.0, 1.5, count)
    right = generator.random(count) < 1 / (1 + np.exp(-(score - 0.8)))
    return 1 / (1 + np.exp(-2 * score)), generator.normal(size=count), right.astype(float)


def test_logistic_fit_agrees_with_sklearn() -> None:
    generator = np.random.default_rng(1)
    features = generator.normal(size=(3000, 4))
    targets = (generator.random(3000) < 1 / (1 + np.exp(-(features @ [1.0, -0.5, 0.0, 2.0] + 0.3)))).astype(float)
    expected = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(features, targets)
    fit = fit_logistic(features, targets, ridge=1.0)
    assert fit.weights == pytest.approx(expected.coef_[0], abs=0.01)
    assert fit.bias == pytest.approx(expected.intercept_[0], abs=0.01)


def test_increasing_drops_what_would_fall() -> None:
    generator = np.random.default_rng(2)
    features = generator.normal(size=(500, 2))
    targets = (features @ [1.0, -1.0] + generator.normal(size=500) > 0).astype(float)
    free, increasing = (fit_logistic(features, targets, increasing=choice) for choice in (False, True))
    assert free.weights[1] < 0.0
    assert increasing.weights[0] > 0.0
    assert increasing.weights[1] == 0.0


@given(arrays(np.float64, st.integers(1, 80), elements=st.floats(-5, 5)))
def test_pooling_agrees_with_sklearn(values: np.ndarray) -> None:
    weights = np.linspace(1.0, 2.0, len(values))
    expected = (
        IsotonicRegression().fit(np.arange(len(values)), values, sample_weight=weights).predict(np.arange(len(values)))
    )
    assert pool_adjacent_violators(values, weights) == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=60))
def test_isotonic_knots_agree_with_sklearn_everywhere(rows: list[tuple[int, bool]]) -> None:
    scores, targets = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    knots, levels = isotonic_knots(scores, targets)
    places = np.linspace(-1.0, 10.0, 45)
    expected = IsotonicRegression(out_of_bounds="clip").fit(scores, targets).predict(places)
    assert np.interp(places, knots, levels) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_calibration_mends_overconfidence_on_rows_it_has_not_seen(shape: str) -> None:
    raw, _, right = overconfident(2000)
    fresh, _, truth = overconfident(4000, seed=1)
    calibrated = fit_calibrator(raw, right, CalibrationOptions(shape=shape)).probabilities(fresh)
    assert expected_calibration_error(calibrated, truth) < 0.6 * expected_calibration_error(fresh, truth)
    assert ((calibrated - truth) ** 2).mean() < ((fresh - truth) ** 2).mean()


@pytest.mark.parametrize("shape", SHAPES)
def test_one_request_gets_what_a_batch_gets_before_and_after_json(shape: str) -> None:
    raw, noise, right = overconfident(500)
    signals = raw[:, None] if shape == "isotonic" else np.column_stack([raw, noise])
    calibrator = fit_calibrator(signals, right, CalibrationOptions(shape=shape))
    restored = Calibrator.from_dict(json.loads(json.dumps(calibrator.to_dict())))
    assert restored == calibrator
    extreme = np.vstack([signals, signals * 1e3, signals * -1e3])
    one_by_one = [restored.probability(row.tolist()) for row in extreme]
    assert one_by_one == pytest.approx(calibrator.probabilities(extreme), abs=1e-9)
    assert 0.0 <= min(one_by_one) <= max(one_by_one) <= 1.0


@pytest.mark.parametrize("shape", SHAPES)
def test_increasing_calibration_never_falls(shape: str) -> None:
    raw, _, right = overconfident(400)
    calibrator = fit_calibrator(raw, right, CalibrationOptions(shape=shape, increasing=True))
    assert (np.diff(calibrator.probabilities(np.linspace(-0.5, 1.5, 300))) >= -1e-12).all()


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_all_right_or_all_wrong_stays_finite_and_unsure(level: float) -> None:
    calibrator = fit_calibrator(np.linspace(0, 1, 50), np.full(50, level))
    assert 0.0 < calibrator.probability([0.5]) < 1.0
    assert abs(calibrator.probability([0.5]) - level) < 0.05


def test_separable_and_constant_signals_do_not_diverge() -> None:
    signals = np.column_stack([np.repeat([0.0, 1.0], 50), np.full(100, 3.0)])
    calibrator = fit_calibrator(signals, np.repeat([0.0, 1.0], 50))
    assert all(math.isfinite(weight) for weight in calibrator.weights)
    assert calibrator.probability([1.0, 3.0]) > 0.8


def test_losses_between_0_and_1_may_be_targets() -> None:
    generator = np.random.default_rng(5)
    signal = generator.random(1000)
    calibrator = fit_calibrator(signal, np.clip(signal + generator.normal(0, 0.1, 1000), 0, 1))
    assert calibrator.probability([0.8]) == pytest.approx(0.8, abs=0.06)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(n, k\) and \(n,\)"):
        fit_calibrator([], [])
    with pytest.raises(ValueError, match="finite"):
        fit_calibrator([math.nan, 1.0], [0.0, 1.0])
    with pytest.raises(ValueError, match="outside"):
        fit_calibrator([0.0, 1.0], [0.0, 2.0])
    with pytest.raises(ValueError, match="logistic_isotonic"):
        fit_calibrator(np.zeros((2, 2)), [0.0, 1.0], CalibrationOptions(shape="isotonic"))
    calibrator = fit_calibrator([0.0, 1.0], [0.0, 1.0])
    with pytest.raises(ValueError, match="expected 1"):
        calibrator.probability([0.0, 1.0])
    with pytest.raises(ValueError, match="Fit it again"):
        Calibrator.from_dict({**calibrator.to_dict(), "bias": math.inf})
    with pytest.raises(ValueError, match="Fit it again"):
        Calibrator.from_dict({**calibrator.to_dict(), "knots": [1.0, 0.0], "levels": [0.0, 1.0]})


def test_calibration_error_by_hand() -> None:
    assert expected_calibration_error([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0], bins=2) == pytest.approx(0.25)
    curve = reliability_curve([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0], bins=2)
    assert [(entry.count, entry.accuracy) for entry in curve] == [(2, 0.0), (2, 0.5)]
    assert all(entry.lower <= entry.accuracy <= entry.upper for entry in curve)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.5, 0.9]), st.booleans()), min_size=1, max_size=60))
def test_bins_hold_every_example_once_and_never_split_ties(rows: list[tuple[float, bool]]) -> None:
    confidence, right = zip(*rows, strict=True)
    curve = reliability_curve(confidence, right, bins=7)
    assert sum(entry.count for entry in curve) == len(rows)
    assert len(curve) <= len(set(confidence))
