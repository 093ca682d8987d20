import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdown.stats.risk_coverage import risk_coverage


def test_worked_example() -> None:
    curve = risk_coverage([0.9, 0.5, 0.8, 0.1], [0.0, 1.0, 0.0, 1.0])
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve.risk == pytest.approx([0.0, 0.0, 1 / 3, 0.5])
    assert curve.area == pytest.approx((1 / 3 + 0.5) / 4)


def test_equal_confidences_make_the_order_of_rows_irrelevant() -> None:
    first, second = risk_coverage([1, 1, 1, 1], [1, 0, 0, 1]), risk_coverage([1, 1, 1, 1], [0, 0, 1, 1])
    assert first.risk.tolist() == second.risk.tolist() == [0.5] * 4


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=50))
def test_risk_ends_at_the_mean_loss_and_never_leaves_the_range(rows: list[tuple[float, float]]) -> None:
    confidence, loss = np.array(rows).T
    curve = risk_coverage(confidence, loss)
    assert curve.risk[-1] == pytest.approx(loss.mean())
    assert curve.risk.min() >= loss.min() - 1e-9
    assert curve.risk.max() <= loss.max() + 1e-9


def test_a_perfect_ranking_is_never_worse() -> None:
    generator = np.random.default_rng(3)
    loss = generator.random(200)
    assert risk_coverage(-loss, loss).area < risk_coverage(generator.random(200), loss).area


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="shapes"):
        risk_coverage([1.0], [1.0, 0.0])
