import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stepdown.stats.monte_carlo import Fixed, Normal, Triangular, propagate, tornado

levels = st.floats(0.001, 0.999)


@given(levels)
def test_quantiles_agree_with_scipy(level: float) -> None:
    assert Triangular(1.0, 2.0, 5.0).quantile(level) == pytest.approx(stats.triang.ppf(level, 0.25, 1.0, 4.0))
    assert Normal(3.0, 2.0).quantile(level) == pytest.approx(stats.norm.ppf(level, 3.0, 2.0), abs=1e-9)
    assert Fixed(7.0).quantile(level) == Triangular(7.0, 7.0, 7.0).quantile(level) == 7.0


def test_a_sum_of_normals_comes_out_right() -> None:
    inputs = {"saving": Normal(10.0, 3.0), "cost": Normal(4.0, 4.0)}
    result = propagate(lambda x: x["saving"] - x["cost"], inputs, np.random.default_rng(0), draws=20_000)
    expected = stats.norm(6.0, 5.0)
    assert result.median == pytest.approx(6.0, abs=0.15)
    assert (result.lower, result.upper) == pytest.approx((expected.ppf(0.05), expected.ppf(0.95)), abs=0.3)


def test_same_seed_same_result() -> None:
    inputs = {"volume": Triangular(500.0, 1000.0, 2000.0)}
    first, second = (propagate(lambda x: x["volume"], inputs, np.random.default_rng(1), draws=50) for _ in range(2))
    assert first.draws.tolist() == second.draws.tolist()


def test_tornado_puts_the_widest_first_and_leaves_out_what_does_not_matter() -> None:
    inputs = {"price": Triangular(1.0, 2.0, 3.0), "volume": Triangular(30.0, 100.0, 300.0), "known": Fixed(5.0)}
    swings = tornado(lambda x: x["price"] * x["volume"] + x["known"], inputs)
    assert [swing.name for swing in swings] == ["volume", "price"]
    assert swings[0].at_low < swings[0].at_high


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="rising order"):
        Triangular(3.0, 2.0, 4.0)
    with pytest.raises(ValueError, match="deviation"):
        Normal(0.0, -1.0)
    with pytest.raises(ValueError, match="at least 2"):
        propagate(lambda x: 0.0, {}, np.random.default_rng(0), draws=1)
