import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapie.risk_control.fwer_control import control_fwer

from stepdown.stats.holm import bonferroni_adjusted, holm_adjusted

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
    raw, adjusted, union = np.array(p_values), holm_adjusted(p_values), bonferroni_adjusted(p_values)
    assert (raw <= adjusted).all()
    assert (adjusted <= union + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(raw, kind="stable")]) >= 0).all()


def test_worked_example() -> None:
    assert holm_adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_adjusted([]).size == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm_adjusted([1.2])
