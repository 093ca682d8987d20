import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapie.risk_control.fwer_control import control_fwer

from stepdown.stats.multiple_testing import holm_adjusted, walk_sequence

probabilities = st.floats(0.0, 1.0)


@given(st.lists(st.one_of(st.floats(0.0, 0.1), probabilities), min_size=1, max_size=30), st.floats(0.01, 0.5))
def test_agrees_with_mapie(p_values: list[float], error: float) -> None:
    rejected = control_fwer(np.array(p_values), error, "fixed_sequence")
    walk = walk_sequence(p_values, error)
    assert walk.last_rejected == (int(rejected[-1]) if len(rejected) else None)


def test_asks_for_nothing_after_the_first_failure() -> None:
    def lazily():
        yield from (0.01, 0.02, 0.5)
        raise AssertionError("asked for a p-value after the walk had ended")

    walk = walk_sequence(lazily(), 0.05)
    assert (walk.last_rejected, walk.p_values) == (1, (0.01, 0.02, 0.5))


def test_edges() -> None:
    assert walk_sequence([], 0.05).last_rejected is None
    assert walk_sequence([0.06, 0.0], 0.05).last_rejected is None
    assert walk_sequence([0.05, 0.05], 0.05).last_rejected == 1
    assert walk_sequence([0.0, float("nan")], 0.05).last_rejected == 0
    with pytest.raises(ValueError, match="error"):
        walk_sequence([0.1], 0.0)


def test_family_wise_error_holds_on_a_path_of_true_hypotheses() -> None:
    uniform = np.random.default_rng(0).random((4000, 50))
    false = sum(walk_sequence(row, 0.05).last_rejected is not None for row in uniform)
    assert false / 4000 == pytest.approx(0.05, abs=0.011)


families = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20)


@given(families, st.floats(0.01, 0.3))
def test_decisions_agree_with_mapie(p_values: list[float], error: float) -> None:
    adjusted = holm_adjusted(p_values)
    if np.abs(adjusted - error).min() < 1e-9:
        return
    rejected = np.flatnonzero(adjusted <= error)
    assert rejected.tolist() == sorted(control_fwer(np.array(p_values), error, "bonferroni_holm").tolist())


@given(families)
def test_between_the_raw_and_the_bonferroni_values_in_the_same_order(p_values: list[float]) -> None:
    raw, adjusted, union = np.array(p_values), holm_adjusted(p_values), len(p_values) * np.array(p_values)
    assert (raw <= adjusted).all()
    assert (adjusted <= union + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(raw, kind="stable")]) >= 0).all()


def test_worked_example() -> None:
    assert holm_adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_adjusted([]).size == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm_adjusted([1.2])
