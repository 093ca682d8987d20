from __future__ import annotations

import numpy as np
import pytest

from stepdown.core.dataset import Example
from stepdown.evaluation.curve import cascade_curve, risk_coverage_curve


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
